"""What was measured against what was promised: one check for each bullet of the lab's bounds."""

from __future__ import annotations

import bisect
import dataclasses
import math
from typing import Any, Final

from tests.faults import bounds
from tests.faults.bounds import Setup
from tests.faults.catalogue.base import Fault
from tests.faults.cell import WAKE_SECONDS, Measured, asked, handled
from tests.faults.lines import Line
from tests.faults.look import Held
from tests.faults.stage import Post

EARLY: Final = 0.1
"""Seconds by which a notice may seem to come too soon: the kernel's clock counts from the packet's arrival, and a busy
daemon says a little later that it has heard something, a busy relay that it has done something."""
CPU_SHARE: Final = 0.01


@dataclasses.dataclass(frozen=True)
class Check:
    """One promise: whether it was kept, what was found, what was allowed."""

    name: str
    kept: bool
    found: Any
    bound: Any

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def judge(found: Measured, setup: Setup, fault: Fault) -> list[Check]:
    """Every check of this cell."""
    checks = [
        *_notice(found, setup),
        *_mend(found),
        *_truth(found, setup),
        *_leftovers(found, fault.memory),
        *_state_file(found, setup, fault.blinds),
    ]
    if found.per_event:
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


def _truth(found: Measured, setup: Setup) -> list[Check]:
    return _wakes(found) if setup.consumer == "subscriber" else _handed(found, setup)


def _wakes(found: Measured) -> list[Check]:
    wakes = [line.at for line in found.lines if line.word == "wake"]
    owed = [(at, at + WAKE_SECONDS, f"the stream that opened at {at:.3f}") for at in _openings(found)]
    owed += [(post.began, by, post.event_id) for post in found.posts if (by := wakes_by(post, found)) is not None]
    late = [what for began, by, what in owed if not any(began <= wake <= by for wake in wakes)]
    surplus = _surplus(found, wakes)
    pulled = [event for line in found.lines if line.word == "pulled" for event in line.words.split()]
    fetched = found.known | set(pulled)
    lost = [event for event in found.stored if event not in fetched]
    twice = sorted(_doubled(pulled))
    return [
        Check("each wakes", not late, late[:20], "every opening, every event"),
        Check("wakes owed", not surplus, f"{surplus} too many of {len(wakes)}", "events + openings"),
        Check("none lost", not lost, lost[:20], f"{len(found.stored)} in the store"),
        Check("none twice", not twice, twice[:20], "none"),
    ]


def _openings(found: Measured) -> list[float]:
    return [line.at for line in found.lines if line.word == "state" and line.first == "streaming"]


def wakes_by(post: Post, found: Measured) -> float | None:
    """The moment by which an event that was posted must have woken the daemon; None where it owes no wake.

    `WAKE_SECONDS` after the relay took it, where the stream was well. While the fault keeps packets from a stream, that
    time begins once an event has come through again. Where no stream was open, or the one that was ended first,
    noticed or not, the wake is that of the next: what was posted in between is not replayed.
    """
    if post.answered is None or post.began < found.round_began:
        return None
    by = post.answered + WAKE_SECONDS
    if not found.spared and post.began < found.flowed and by > found.injected:
        by = max(by, found.flowed + WAKE_SECONDS)
    states = [line for line in found.lines if line.word == "state"]
    before = next((line for line in reversed(states) if line.at <= post.began), None)
    end = post.began
    if before is not None and before.first == "streaming":
        after = (line.at for line in states if line.at > post.began and line.first not in ("streaming", "closed"))
        end = next(after, math.inf)
    if end > by:
        return by
    following = next((at for at in _openings(found) if at >= end), None)
    # That none followed, be it because the round was over, is for others to judge.
    return None if following is None else max(post.answered, following) + WAKE_SECONDS


def _surplus(found: Measured, wakes: list[float]) -> int:
    """By how many wakes there were ever more than openings so far, and events so far that a stream could bring."""
    owed = _openings(found)
    own = [post for post in found.posts if post.began >= found.round_began]
    owed += [post.began for post in own if not _nobody_listened(post, found.lines)]
    bulk = set(found.stored) - {post.event_id for post in found.posts} - found.known
    owed += [found.injected] * len(bulk)
    owed.sort()
    return max((0, *(count - bisect.bisect_right(owed, wake) for count, wake in enumerate(sorted(wakes), 1))))


def _nobody_listened(post: Post, lines: list[Line]) -> bool:
    """Whether the relay had no request for a stream, or had ended all, from before the post to after its answer."""
    states = [line for line in lines if line.word == "state"]
    before = [line for line in states if line.at <= post.began]
    meanwhile = [line for line in states if post.answered is None or post.began < line.at <= post.answered]
    return bool(before) and not any(line.first in ("head", "streaming") for line in (before[-1], *meanwhile))


def _doubled(events: list[str]) -> set[str]:
    seen: set[str] = set()
    return {event for event in events if event in seen or seen.add(event)}  # type: ignore[func-returns-value]


def _handed(found: Measured, setup: Setup) -> list[Check]:
    """For an event source: in order, once; and what is missing lies in a gap that it was told of."""
    order = {event: position for position, event in enumerate(found.stored)}
    events: list[str] = []
    silent_gaps: list[str] = []
    position = max((order[event] for event in found.known if event in order), default=-1)
    told = True  # The round's own opening: what was posted before it belongs to nobody.
    for line in found.lines:
        if line.word in ("opened", "closed"):
            told = True
        elif line.word == "event":
            event = line.words
            if event in order:
                if order[event] > position + 1 and (setup.ids or not told):
                    silent_gaps += found.stored[position + 1 : order[event]]
                position = order[event]
            events.append(event)
            told = False
    missing_end = found.stored[position + 1 :]
    twice = sorted(_doubled(events))
    calm = {post.event_id for post in found.calm if post.answered is not None}
    unheard = sorted((calm & set(found.stored)) - set(events))
    return [
        Check("each handed over", not unheard, unheard, "every event on an open stream"),
        Check(
            "none lost", not (silent_gaps or missing_end), (silent_gaps + missing_end)[:20], "none without a told gap"
        ),
        Check("none twice", not twice, twice[:20], "none"),
    ]


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

    That is a run that opens as many connections: each that came as far as its request has the price of one in the calm
    rounds. What an attempt costs that failed before is the fault's. Each wake with its pull has the price of the calm
    round, and what the fault itself moves that of a calm run of its own; what wakes that run took more or less is set
    off at the same price. The share is that of the whole round, from the attempt to the end of the calm that follows
    the fault.
    """
    connections = max(1, asked(found.lines))
    events = handled(found.lines) - found.bulk_events
    excess = found.cpu - connections * found.per_connection - events * found.per_event - found.bulk
    share = excess / found.wall
    return Check("cpu", share <= CPU_SHARE, round(max(0.0, share), 5), CPU_SHARE)


def _state_file(found: Measured, setup: Setup, blind: bool) -> list[Check]:
    """`blind`: nobody could write from the injection to the lifting. The bound begins anew at the lifting, then."""
    if setup.consumer != "subscriber" or setup.command is not None or found.watch is None:
        return []
    watch = found.watch
    checks = [Check("state whole", not watch.broken and watch.reads > 0, watch.broken[:3], f"{watch.reads} reads")]
    limit = bounds.STATE_FILE_INTERVAL + bounds.SLACK
    worst = afterwards = 0.0
    away = _away(found.lines) if setup.host == "inline" else []
    for start, stop in _wrong(found):
        # Who pulls when the file is due writes it when he is back.
        due = start + bounds.STATE_FILE_INTERVAL
        stop -= next((min(back, stop) - due for left, back in away if left <= due < min(back, stop)), 0.0)
        if blind and start < found.lifted and stop > found.injected:
            worst = max(worst, found.injected - start)
            afterwards = max(afterwards, stop - found.lifted)
        else:
            worst = max(worst, stop - start)
    checks.append(Check("state true", worst <= limit, round(worst, 3), limit))
    if blind:
        long_enough = bool(found.lines) and found.lines[-1].at - found.lifted >= limit
        shown = round(afterwards, 3) if long_enough else "the round ended too soon to tell"
        checks.append(Check("state true again", afterwards <= limit and long_enough, shown, limit))
    return checks


def _away(lines: list[Line]) -> list[tuple[float, float]]:
    """(from, to): when the daemon did what it was woken for."""
    intervals: list[tuple[float, float]] = []
    left: float | None = None
    for line in lines:
        if line.word == "wake" and left is None:
            left = line.at
        elif line.word in ("waits", "over") and left is not None:
            intervals.append((left, line.at))
            left = None
    return intervals


def _wrong(found: Measured) -> list[tuple[float, float]]:
    """(from, to): when stream_state.json said the contrary of what was."""
    assert found.watch is not None
    intervals = []
    end = found.lines[-1].at if found.lines else 0.0
    for start, stop, connected in _connected_spans(found.lines):
        said = [(at, word) for at, word in found.watch.seen if at <= stop]
        since: float | None = start if (_at(said, start) == "connected") != connected else None
        for at, word in [*((at, word) for at, word in said if at > start), (stop, "")]:
            if since is not None and ((word == "connected") == connected or word == ""):
                intervals.append((since, min(at, stop, end)))
                since = None
            elif since is None and word and (word == "connected") != connected:
                since = at
    return intervals


def _at(said: list[tuple[float, str]], moment: float) -> str:
    return next((word for at, word in reversed(said) if at <= moment), "")


def _connected_spans(lines: list[Line]) -> list[tuple[float, float, bool]]:
    """(from, to, whether the stream was open) over the tested round."""
    spans: list[tuple[float, float, bool]] = []
    start, connected = (lines[0].at if lines else 0.0), False
    for line in lines:
        if line.word == "over":
            return [*spans, (start, line.at, connected)]
        is_open = line.first == "streaming"
        if line.word == "state" and is_open != connected:
            spans.append((start, line.at, connected))
            start, connected = line.at, is_open
    return spans
