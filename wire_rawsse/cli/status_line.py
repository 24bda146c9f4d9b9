"""The one-line status that a terminal shows in a long silence: state, age of the last byte, next deadline.

It is on standard error, in the line below the output, and is erased before anything else is written, so that neither a
scroll-back nor a pipe ever holds it. It appears when nothing has come for a while, and shows that the silence is
watched.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from wire_rawsse.cli import stdio
from wire_rawsse.phases import PHASES
from wire_rawsse.state import EndpointState
from wire_rawsse.wire.spans import span

_ERASE: Final = "\r\x1b[K"
_FAINT: Final = "\x1b[2m{}\x1b[22m"


class QuietLine:
    """Shown after `after` seconds in which nothing was written, and then renewed each second. Moments are monotonic."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._every = min(1.0, after)
        self._since = time.monotonic()
        self._renewed = 0.0
        self._shown = False
        self._colours = stdio.has_colours(sys.stderr)

    def due(self) -> float:
        """When `show` is due."""
        return self._renewed + self._every if self._shown else self._since + self._after

    def show(self, text: str) -> None:
        self._shown = True
        self._renewed = time.monotonic()
        text = stdio.one_line(text)[: max(10, stdio.terminal_size(2)[0] - 1)]
        stdio.whisper(_ERASE + (_FAINT.format(text) if self._colours else text))

    def erase(self) -> None:
        """Take the line away, before anything is written, and start the wait over. From any thread."""
        self._since = time.monotonic()
        if self._shown:
            self._shown = False
            stdio.whisper(_ERASE)


def describe(state: EndpointState, wall: float, left: float) -> str:
    """The status in words, at `wall` (seconds since the epoch), `left` seconds before the next deadline."""
    came = "nothing came yet" if state.last_byte_at is None else f"last byte {span(wall - state.last_byte_at)} ago"
    then = "next attempt" if state.phase == "backing off" else "given up"
    return f"{PHASES[state.phase].doing} · {came} · {then} in {span(left)}"
