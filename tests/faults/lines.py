"""The lines that a daemon prints on its standard output; the lab reads those of our daemons and of yours.

    state PHASE        the stream enters a phase: resolving, connecting, tunnel, handshake, head, streaming or
                       backing-off
    failed CLOCK …     a connection is over. CLOCK is the one that noticed: connect, response, read, min_rate or
                       keepalive; `peer` where no clock was needed (reset, end, refusal, garbage). Then any of
                       `heard=SECONDS` (the moment of the last body byte) and `pause=SECONDS` (until the next
                       attempt), then words for a person
    wake               the daemon was told that there is something to fetch
    pulled ID …        it has fetched these events
    event ID           an event stream's consumer was handed this event
    waits              it has done what it was woken for, and goes back to its sleep. Until then, in a daemon without
                       a thread for its stream, nobody looks after the stream and its files
    opened, closed     it was told that a connection has begun, or is over: what lies between them is a gap

A line may end in ` @SECONDS`, the moment on CLOCK_MONOTONIC; without it the moment is the line's arrival. Other lines
are kept for the report and mean nothing. Only `state streaming` and `wake` are needed; without `failed` the lab takes
the `state` that follows for the end of a connection and cannot tell which clock it was; without `pulled` it is not
checked that nothing was lost.

`LineLog` holds the lines so far, and waits for the next.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

_STAMP = re.compile(r"(.*?)\s+@([0-9]+(?:\.[0-9]+)?)\Z")
_NAMED = re.compile(r"\b(heard|pause)=([0-9.]+)")


class Line(NamedTuple):
    """One line. `at` is on CLOCK_MONOTONIC, `words` are what follows the first word."""

    at: float
    word: str
    words: str

    def named(self, name: str) -> float | None:
        """The number of `name=NUMBER`."""
        found = {key: float(value) for key, value in _NAMED.findall(self.words)}
        return found.get(name)

    @property
    def first(self) -> str:
        """The word after `word`; empty where there is none."""
        return self.words.split(" ", 1)[0]


def read_line(text: str, now: float) -> Line | None:
    """None for an empty line."""
    text = text.strip()
    at = now
    if found := _STAMP.match(text):
        text, at = found[1], float(found[2])
    word, _, words = text.partition(" ")
    return Line(at, word, words.strip()) if word else None


class LineLog:
    """Lines in the order in which they came; one thread writes, any thread reads and waits."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._changed = threading.Condition()
        self.ended = False

    def add(self, line: Line) -> None:
        with self._changed:
            self._lines.append(line)
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._lines)

    def since(self, position: int = 0) -> list[Line]:
        return self._lines[position:]

    def wait(self, there: Callable[[Line], bool], seconds: float, position: int = 0) -> Line | None:
        """The first line from `position` on that `there` is true of; None after `seconds`, or at the end of all."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                while position < len(self._lines):
                    if there(self._lines[position]):
                        return self._lines[position]
                    position += 1
                left = until - time.monotonic()
                if left <= 0 or self.ended:
                    return None
                self._changed.wait(left)


def state(*phases: str) -> Callable[[Line], bool]:
    """True of a `state` line of one of these phases."""
    return lambda line: line.word == "state" and line.first in phases


def word(*words: str) -> Callable[[Line], bool]:
    return lambda line: line.word in words
