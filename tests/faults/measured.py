"""The measurements of a cell as plain data, and facts read from a daemon's lines without judging them."""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from tests.faults.bounds import Promise
from tests.faults.check import Check
from tests.faults.daemon import StateWatch
from tests.faults.lines import Line
from tests.faults.look import Held
from tests.faults.stage import Post

WAKE_SECONDS: Final = 1.0
"""From the end of a post, or the opening of a stream, to its wake: for a busy machine's scheduling, not our latency."""


@dataclasses.dataclass
class Measured:
    """All that a verdict is made from. Moments are on CLOCK_MONOTONIC."""

    promise: Promise
    injected: float = 0.0
    lifted: float = 0.0
    struck: float = 0.0
    noticed: Line | None = None
    back: Line | None = None
    mend_bound: float = 0.0
    round_began: float = 0.0
    lines: list[Line] = dataclasses.field(default_factory=list)
    """The daemon's lines in the tested round."""
    mark: int = 0
    """The position in `lines` from which a failure is the fault's doing."""
    flowed: float = math.inf
    """When the first event came through after the lifting."""
    spared: bool = False
    """An open stream is kept waiting by nothing while the fault lasts."""
    calm: list[Post] = dataclasses.field(default_factory=list)
    """Events that were posted one by one while the stream was open and well."""
    posts: list[Post] = dataclasses.field(default_factory=list)
    stored: list[str] = dataclasses.field(default_factory=list)
    known: set[str] = dataclasses.field(default_factory=set)
    """Events that were fetched in the rounds before."""
    living: Held | None = None
    idle: Held | None = None
    living_after: Held | None = None
    idle_after: Held | None = None
    per_connection: float = 0.0
    """Seconds of processor, from the name to the open stream: the median of the calm rounds, without the first."""
    per_event: float = 0.0
    """Seconds of processor for a wake and its pull, or for an event that is handed over: the mean of the last calm
    round's."""
    bulk: float = 0.0
    """Seconds of processor for the same bytes as the fault moves, in a run without it."""
    bulk_events: int = 0
    """And how often the daemon was woken in that, or handed an event."""
    cpu: float = 0.0
    wall: float = 0.0
    watch: StateWatch | None = None
    silence: float | None = None
    """Seconds that the stream's bytes stayed away at the longest, where the fault could see that on the wire."""
    own: list[Check] = dataclasses.field(default_factory=list)
    """Checks that belong to this fault alone."""
    ended: int | None = 0
    """The daemon's exit status; None where it had to be killed."""


def asked(lines: list[Line]) -> int:
    """How many connections came as far as their request, which is after a whole handshake."""
    return sum(line.word == "state" and line.first == "head" for line in lines)


def handled(lines: list[Line]) -> int:
    """How often a daemon was woken, or handed an event."""
    return sum(line.word in ("wake", "event") for line in lines)


def events_in(line: Line) -> list[str]:
    """The events that a line says were fetched or handed over."""
    return line.words.split() if line.word in ("pulled", "event") else []
