"""One thing that was found, how bad it is, and what to change. And the words for numbers."""

from __future__ import annotations

import time
from typing import Final, Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["broken", "doubtful", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("broken", "doubtful", "note")
"""The worst first."""


class Finding(NamedTuple):
    """`code` is a stable word for programs; `text` is the finding, `change` what to do ("" for notes)."""

    severity: Severity
    code: str
    text: str
    change: str = ""


def seconds(value: float) -> str:
    """A duration, with as many digits as matter."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.00095 else "<1 ms"
    if value < 120:
        return f"{value:.1f} s" if value < 10 and round(value, 1) != round(value) else f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 172800 else f"{value / 86400:.0f} days"


def day(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(max(0.0, min(epoch, 2.0**40))))


def count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
