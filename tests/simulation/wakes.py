"""No wake without news: how many wakes a host may get, held against what its streams were handed.

That every event brings a wake is looked at before each sleep (see `watch`). Here is the other bound: a wake is owed for
a reception that holds a data line and for a connection that comes about (for an `EventSource`: for an item), and for
nothing else. So a stream on which nothing but heartbeats come never wakes its host, however long it lives. Only over
TLS a long record may wake without news, and then the state of its stream says so.

One pending wake is as good as many: a wake accounts for all data handed over before it, which cannot justify a later
one. With several streams, one stream's wake may return from the loop before another stream has given its own, for data
it already has: so each may keep one until the next sleep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.simulation.kernel import Kernel

_NAME: Final = re.compile(rb"(?:\A|[\r\n])data(:?)")
_KEPT: Final = 5
"""Bytes of an open line: the name of a field `data`, and its colon."""


class DataLines:
    """The places in a body, which is written in pieces, for which a wake is owed.

    They are after the four letters at the beginning of a line, which are all that is searched for in raw bytes, and
    after the colon, when the parser is certain. A cut between the two may cause one extra wake, which the design
    allows.
    """

    def __init__(self) -> None:
        self._line = b""

    def ends(self, piece: bytes) -> Iterator[int]:
        """Offsets in `piece`, in order."""
        before = len(self._line)
        text = self._line + piece
        for found in _NAME.finditer(text):
            letters, colon = found.start(1) - before, found.end(1) - before
            if letters > 0:
                yield letters
            if colon > max(letters, 0):
                yield colon
        line = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        self._line = text[line : line + _KEPT]


class Wakes:
    """Of one host. `news`: how much each of its streams has been handed so far that is worth a wake; `spurious`: how
    many wakes without news they admit."""

    def __init__(
        self, kernel: Kernel, news: Sequence[Callable[[], int]], spurious: Callable[[], int] = lambda: 0
    ) -> None:
        self._kernel = kernel
        self._news = news
        self._spurious = spurious
        self._unexplained = 0
        """Wakes for which there was no news."""
        self._seen = [0] * len(news)
        self._late: set[int] = set()
        """Streams that may still have to say what was handed to them before the last wake."""

    def given(self) -> None:
        """The host has a wake."""
        fresh = {number for number, news in enumerate(self._news) if news() > self._seen[number]}
        if not fresh and not self._late:
            self._unexplained += 1
        elif not fresh:
            self._late.pop()
        elif len(self._news) > 1:
            self._late |= fresh
        self._note()

    def before_sleep(self) -> None:
        """All news that was handed over has been told by now, and everything received has been parsed."""
        if self._unexplained > self._spurious():
            self._kernel.fail("a wake, and there was no news: neither a data line nor a connection since the last one")
        self._late.clear()
        self._note()

    def _note(self) -> None:
        self._seen = [news() for news in self._news]
