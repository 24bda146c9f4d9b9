"""A host that comes late: how much of its absence the clocks may have cost."""

from __future__ import annotations

from typing import Final

from tests.simulation.kernel import Kernel
from wire_rawsse.hosts.clock import MAX_GRACES

EARLY: Final = 0.01
"""Seconds by which a bound may be missed, early: those of rounding."""


def slack(kernel: Kernel, since: float, waits: int = 0) -> float:
    """Seconds that a host's absences since then may have cost: all of them, but not more than doubt allows.

    `waits`: as many more may have been waited for as there were deadlines on the way.
    """
    away = []
    for back, seconds in reversed(kernel.absences):
        if back <= since:
            break
        away.append(seconds)
    return min(sum(away), (MAX_GRACES + 4 + waits) * max(away, default=0.0))


def back_from(kernel: Kernel, moment: float) -> float:
    """Seconds of the absence that ended just then, if one did."""
    for back, seconds in reversed(kernel.absences):
        if back < moment - EARLY:
            break
        if back < moment + EARLY:
            return seconds
    return 0.0
