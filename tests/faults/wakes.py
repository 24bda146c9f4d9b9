"""Whether the daemon came to know of every event: woken for each, or handed each, and none lost or doubled."""

from __future__ import annotations

import heapq
import math

from tests.faults.bounds import Setup
from tests.faults.catalogue.base import Fault
from tests.faults.check import Check
from tests.faults.lines import Line
from tests.faults.measured import WAKE_SECONDS, Measured
from tests.faults.stage import Post


def truth(found: Measured, setup: Setup, fault: Fault) -> list[Check]:
    """Every check of what the daemon was woken for and fetched, or was handed."""
    return _wakes(found, fault) if setup.consumer == "subscriber" else _handed(found, setup)


def _wakes(found: Measured, fault: Fault) -> list[Check]:
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
        # A session ticket that comes late in a live stream may be taken for an event, once: see `early_wakes`.
        Check("wakes owed", surplus <= fault.burns, f"{surplus} too many of {len(wakes)}", "events + openings"),
        Check("none lost", not lost, lost[:20], f"{len(found.stored)} in the store"),
        Check("none twice", not twice, twice[:20], "none"),
    ]


def _openings(found: Measured) -> list[float]:
    return [line.at for line in found.lines if line.word == "state" and line.first == "streaming"]


def wakes_by(post: Post, found: Measured) -> float | None:
    """The moment by which an event that was posted must have woken the daemon; None where it owes no wake.

    `WAKE_SECONDS` after the relay accepted it, if the stream was healthy. While the fault keeps packets from a stream,
    that time begins once an event has come through again. If no stream was open, or it ended first (noticed or not),
    the opening of the next stream is the wake: events posted in between are not replayed.
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
    """How many wakes there were for which no opening and no event, each from its moment to its bound, was left."""
    owed = [(at, at + WAKE_SECONDS) for at in _openings(found)]
    for post in found.posts:
        if post.began >= found.round_began and not _nobody_listened(post, found.lines):
            by = wakes_by(post, found)
            owed.append((post.began, math.inf if by is None else by))
    # In a storm the stream may lag behind the events already fetched.
    bulk = set(found.stored) - {post.event_id for post in found.posts} - found.known
    owed = sorted([*owed, *[(found.injected, math.inf)] * len(bulk)], reverse=True)
    bounds: list[float] = []
    surplus = 0
    for wake in sorted(wakes):
        while owed and owed[-1][0] <= wake:
            heapq.heappush(bounds, owed.pop()[1])
        while bounds and bounds[0] < wake:
            heapq.heappop(bounds)
        if bounds:
            heapq.heappop(bounds)
        else:
            surplus += 1
    return surplus


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
