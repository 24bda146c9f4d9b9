"""The rhythm of a stream's arrivals: its heartbeat, its silences, and whether something holds events back.

Pure functions on `Life` and `Arrival`. The difficulty with buffers is that a stream that is written in bunches looks
like one that is held back. So a suspicion needs more than a bunch:

* Events that carry their own times were made at different moments and arrived together: this is proof.
* Comments are heartbeats. A server sends one each time; two together were held back.
* Pieces that end in the middle of a line, followed by a silence, are what a buffer of a fixed size lets out.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wire_rawsse.heartbeat import SHORTEST, Heartbeat
from wire_rawsse.probe.measurements import Arrival, Life

TOGETHER: Final = 0.1
"""Seconds: arrivals with smaller gaps are one burst."""
_STEADY: Final = 0.2
"""A heartbeat's gaps differ from their median by at most this part of it."""
_HELD: Final = 1.0
"""Seconds by which the times of events in one burst must differ."""
_CUT_SILENCE: Final = 0.2
_LINES_OF_COMMENT: Final = 3
_SMALLEST_BUFFER: Final = 256
"""Bytes. A piece that stops within fewer was written so by the server itself."""


@dataclass(frozen=True)
class Burst:
    """Arrivals that came together."""

    first: float
    last: float
    arrivals: tuple[Arrival, ...]

    @property
    def size(self) -> int:
        return sum(one.size for one in self.arrivals)

    @property
    def events(self) -> int:
        return sum(one.events for one in self.arrivals)

    @property
    def comments(self) -> int:
        return sum(one.comments for one in self.arrivals)


@dataclass(frozen=True)
class MeasuredHeartbeat:
    """`period` and `jitter` (the largest difference from it) in seconds."""

    period: float
    jitter: float
    count: int
    """Gaps that were measured."""
    of_events: bool = False
    """There were no comments, but events at a steady pace."""


@dataclass(frozen=True)
class Held:
    """Something holds events back. `proof` is what shows it, `seconds` the longest time, if known."""

    proof: str
    seconds: float | None
    certain: bool


def bursts(life: Life) -> list[Burst]:
    groups: list[list[Arrival]] = []
    for arrival in life.arrivals:
        if groups and arrival.at - groups[-1][-1].at < TOGETHER:
            groups[-1].append(arrival)
        else:
            groups.append([arrival])
    return [Burst(group[0].at, group[-1].at, tuple(group)) for group in groups]


def heartbeat(lives: Sequence[Life]) -> MeasuredHeartbeat | None:
    """The period of comments that come alone; without them, of events, if it is steady."""
    gaps = gaps_before_comments(lives) or gaps_before_comments(lives, after_head=True)
    of_events = not gaps
    if of_events:
        gaps = [after.first - before.first for life in lives for before, after in itertools.pairwise(bursts(life))]
        if len(gaps) < 2 or not _steady(gaps):
            return None
    period = statistics.median(gaps)
    return MeasuredHeartbeat(period, max(abs(gap - period) for gap in gaps), len(gaps), of_events)


def gaps_before_comments(lives: Sequence[Life], *, after_head: bool = False) -> list[float]:
    """Seconds of the silences that ended with comments and nothing else; that after the head may not be a whole one."""
    gaps: list[float] = []
    for life in lives:
        found = bursts(life)
        if after_head and found and found[0].comments and not found[0].events:
            gaps += [gap for gap in (found[0].first - life.opened,) if gap >= SHORTEST]
        gaps += [
            after.first - before.first
            for before, after in itertools.pairwise(found)
            if after.comments and not after.events
        ]
    return gaps


def learned_limit(lives: Sequence[Life], read: float) -> float | None:
    """After how much silence ours would give the stream up, by what it has learned from these heartbeats; or None."""
    known = Heartbeat()
    for gap in gaps_before_comments(lives, after_head=True):
        known.heard(gap)
    return None if known.period is None else known.limit(read)


def _steady(gaps: Sequence[float]) -> bool:
    period = statistics.median(gaps)
    return all(abs(gap - period) <= _STEADY * period for gap in gaps)


def silence_before_end(life: Life) -> float:
    """Seconds from the last body byte, or from the head, to the end of the stream or of listening."""
    return life.stopped - (life.arrivals[-1].at if life.arrivals else life.opened)


def longest_gap(life: Life) -> float:
    """The longest silence within a life, the one at its end included."""
    moments = [life.opened, *(one.at for one in life.arrivals), life.stopped]
    return max(after - before for before, after in itertools.pairwise(moments))


def held_back(life: Life, skew: float = 0.0, wall_of_request: float = 0.0) -> Held | None:
    """Whether something between the server's program and us keeps bytes back. The strongest sign, or None.

    `skew` is the server's clock minus ours. Events that were made before the request are history and prove nothing.
    """
    groups = [burst for burst in bursts(life) if not any(one.late for one in burst.arrivals)]
    longest = 0.0
    for burst in groups:
        stamps = [stamp for one in burst.arrivals for stamp in one.stamps if stamp - skew >= wall_of_request]
        if len(stamps) > 1:
            longest = max(longest, max(stamps) - min(stamps))
    if longest >= _HELD:
        return Held(f"events whose own time stamps are {longest:.1f} s apart arrived together", longest, True)
    later = groups[1:]
    doubled = [burst for burst in later if burst.comments > 1]
    if len(doubled) > 1 and len(doubled) * 2 >= len([burst for burst in later if burst.comments]):
        # A server may write two or three lines of comment each time.
        always = {burst.comments for burst in later if burst.comments}
        usual = len(always) == 1 and max(always) <= _LINES_OF_COMMENT
        if not usual:
            pause = _longest_between(groups)
            return Held(f"several heartbeats (comments) arrived at once, {pause:.1f} s after the last", pause, True)
    cut = [
        (burst, after)
        for burst, after in itertools.pairwise(groups)
        if burst.arrivals[-1].line_open and burst.size >= _SMALLEST_BUFFER and after.first - burst.last >= _CUT_SILENCE
    ]
    if len(cut) > 1:
        sizes = sorted(burst.size for burst, _ in cut)
        pause = max(after.first - burst.last for burst, after in cut)
        size = statistics.median(sizes)
        return Held(
            f"after {size:.0f} bytes or so it stops in the middle of an event, for up to {pause:.1f} s", pause, True
        )
    crowded = [burst for burst in later if burst.events > 2]
    gaps = [after.first - before.last for before, after in itertools.pairwise(groups)]
    if len(crowded) > 1 and len(crowded) == len([burst for burst in later if burst.events]) and min(gaps) >= _HELD:
        count = statistics.median([burst.events for burst in crowded])
        return Held(f"they come in bunches of {count:.0f}, with nothing in between", None, False)
    return None


def _longest_between(groups: Sequence[Burst]) -> float:
    return max((after.first - before.last for before, after in itertools.pairwise(groups)), default=0.0)
