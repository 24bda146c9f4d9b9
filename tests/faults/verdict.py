"""Compares measurements with promises: one check for each bullet of the lab's bounds."""

from __future__ import annotations

from typing import Final

from tests.faults import bounds
from tests.faults.bounds import Setup
from tests.faults.catalogue.base import Fault
from tests.faults.check import Check
from tests.faults.look import Held
from tests.faults.measured import Measured, asked, handled
from tests.faults.statefile import state_file
from tests.faults.wakes import truth

EARLY: Final = 0.1
"""Seconds by which a notice may seem to come too soon: the kernel's clock counts from the packet's arrival, and a busy
daemon says a little later that it has heard something, a busy relay that it has done something."""
CPU_SHARE: Final = 0.01
ALIKE: Final = 0.15
"""As much of what they cost may lie between two runs that do the same: so much did on a shared machine of two cores."""


def judge(found: Measured, setup: Setup, fault: Fault) -> list[Check]:
    """Every check of this cell."""
    checks = [
        *_notice(found, setup),
        *_mend(found),
        *truth(found, setup, fault),
        *_leftovers(found, fault.memory),
        *state_file(found, setup, fault.blinds),
        *found.own,
    ]
    if found.per_event and found.wall and not fault.burns:  # No wall: the daemon did not come back.
        checks.append(_cpu(found))
    return checks


_OF_SILENCE: Final = ("read", "keepalive")
_PHASE_OF: Final = {"attempt": "resolving", "dial": "connecting", "tunnel": "tunnel", "request": "head"}
"""In which phase a clock begins that is the attempt's own."""


def notice_seconds(found: Measured, setup: Setup) -> float | None:
    """From the start of the clock that is to notice to the notice; None where nobody noticed."""
    line = found.noticed
    if line is None:
        return None
    start = found.promise.start
    began: float | None = found.struck
    before = [one for one in found.lines if one.at <= line.at and one.word == "state"]
    if start == "heard":
        began = line.named("heard") or found.struck
    elif start in _PHASE_OF:
        began = max((one.at for one in before if one.first == _PHASE_OF[start]), default=found.struck)
    return line.at - (began or found.struck)


def _notice(found: Measured, setup: Setup) -> list[Check]:
    promise = found.promise
    failures = [line for line in found.lines[found.mark :] if line.word == "failed"]
    if promise.survives:
        broken = [line for line in failures if line.first not in promise.allowed]
        told, bound = [line.words for line in broken], "none"
        if found.silence is not None and found.silence >= bounds.SURVIVABLE * setup.settings.read:
            # Seen on the wire, not told by the daemon. Only a clock of silence may make anything of it.
            bound = f"by {'/'.join(_OF_SILENCE)}: {found.silence:.1f} s of silence, 0.8 × read or more"
            broken = [line for line in broken if line.first not in _OF_SILENCE]
        return [Check("no reconnect", not broken, told, bound)]
    seconds = notice_seconds(found, setup)
    if seconds is None:
        return [Check("noticed", False, "never", promise.within)]
    assert found.noticed is not None
    clock = found.noticed.first if found.noticed.word == "failed" else ""
    least = (0.0 if clock == bounds.AT_ONCE else promise.least) - EARLY
    return [
        Check("noticed", least <= seconds <= promise.within, round(seconds, 3), promise.within),
        *([Check("clock", clock in promise.clocks, clock, "/".join(promise.clocks))] if clock else []),
    ]


def _mend(found: Measured) -> list[Check]:
    if found.noticed is None and found.back is None and found.promise.survives:
        return []
    if found.back is None:
        return [Check("mended", False, "never", round(found.mend_bound, 3))]
    seconds = max(0.0, found.back.at - found.lifted)
    return [Check("mended", seconds <= found.mend_bound, round(seconds, 3), round(found.mend_bound, 3))]


def _leftovers(found: Measured, memory: int) -> list[Check]:
    checks = []
    for name, before, after in (("held", found.living, found.living_after), ("left", found.idle, found.idle_after)):
        if before is None or after is None:
            continue
        more = _more(before, after, memory)
        checks.append(Check(name, not more, more or _shown(after), _shown(before)))
    checks.append(Check("ends", found.ended is not None, found.ended, "by itself"))
    return checks


def _more(before: Held, after: Held, memory: int) -> dict[str, int]:
    room = {"threads": 0, "descriptors": 0, "sockets": 0, "memory": memory}
    grown = {name: getattr(after, name) - getattr(before, name) for name in room}
    return {name: by for name, by in grown.items() if by > room[name]}


def _shown(held: Held) -> dict[str, int]:
    return {"threads": held.threads, "descriptors": held.descriptors, "sockets": held.sockets, "memory": held.memory}


def _cpu(found: Measured) -> Check:
    """Beyond a run without the fault that moves the same bytes.

    That run opens as many connections. A connection that sent its request costs as much as one in the calm rounds; an
    attempt that failed earlier is charged to the fault. Each wake with its pull costs as much as in the calm round. The
    bytes that the fault moves cost as much as in a calm run of their own, corrected for a different number of wakes at
    the same price. The share is that of the whole round, from the attempt to the end of the calm after the fault. The
    cost of the fault's own bytes (seconds in a storm) varies between two such runs, so a single run fails only beyond
    that variation, and the table judges the median of the repetitions.
    """
    connections = max(1, asked(found.lines))
    events = handled(found.lines) - found.bulk_events
    excess = found.cpu - connections * found.per_connection - events * found.per_event - found.bulk
    share = excess / found.wall
    bound = CPU_SHARE + ALIKE * found.bulk / found.wall
    return Check("cpu", share <= bound, round(max(0.0, share), 5), round(bound, 5))
