"""How many streams of one loop connect at a time, and how fast they begin.

Ten thousand streams that connect at once overload a relay, and each handshake under way needs memory that an open
stream does not need. So a stream that wants to connect passes a gate:

* At most `STARTS_A_SECOND` streams begin to one origin in each second, at random intervals, after a burst of as many as
  may connect at a time. So a few streams are not delayed at all.
* At most `most` streams connect at a time, from the look-up of the name until the response head is accepted. The others
  wait in line. Origins take turns. So streams to a dead relay, each of which holds its place for its whole budget,
  delay those to a healthy relay by one attempt and not by the whole line.

No budget of a stream runs before its turn. A gate belongs to one loop, and only the thread that runs the loop calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

MAX_CONNECTING: Final = 16
"""Streams of one loop, unless the caller says otherwise."""
STARTS_A_SECOND: Final = 1000
"""Streams to one origin. To open one takes this library about 0.2 ms of processor time, and a relay hardly less."""


class Gate:
    """The streams that connect, and those that wait. A stream is identified by its `Record`.

    `call` resumes a waiting stream whose turn has come. Its argument is the `task` that the stream gave to `enter`.
    """

    __slots__ = ("_call", "_connecting", "_lines", "_most", "_next", "_prune_at", "monotonic", "random")

    def __init__(
        self, most: int, call: Callable[[Any], None], monotonic: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._most = most
        self._call = call
        self.monotonic = monotonic
        self.random = random
        self._connecting: set[object] = set()
        self._lines: dict[Hashable, dict[object, Any]] = {}
        """The waiting streams, by origin. The first origin has the next turn."""
        self._next: dict[Hashable, float] = {}
        """When the next stream to an origin may begin, on the system's monotonic clock; it may lie in the past."""
        self._prune_at = 64

    def delay(self, origin: Hashable) -> float:
        """Seconds until one more stream to `origin` may begin. Each call is one stream."""
        now = self.monotonic()
        begins = max(self._next.get(origin, 0.0), now - self._most / STARTS_A_SECOND)
        self._next[origin] = begins + 2 * self.random() / STARTS_A_SECOND
        if len(self._next) > self._prune_at:
            self._next = {known: at for known, at in self._next.items() if at > now}
            self._prune_at = max(64, 2 * len(self._next))
        return max(0.0, begins - now)

    def enter(self, stream: object, origin: Hashable, task: Any) -> bool:
        """Take a place among the streams that connect (True: it may connect now), or in line (False)."""
        if stream in self._connecting:
            return True  # A signal handler raised before it could leave.
        if len(self._connecting) < self._most and not self._lines:
            self._connecting.add(stream)
            return True
        self._lines.setdefault(origin, {})[stream] = task
        return False

    def has_turn(self, stream: object) -> bool:
        return stream in self._connecting

    def leave(self, stream: object, origin: Hashable) -> None:
        """Give up its place. If it was connecting, the next in line has its turn. Twice is fine."""
        if stream in self._connecting:
            self._connecting.remove(stream)
            self._call_next()
        elif origin in self._lines:
            line = self._lines[origin]
            line.pop(stream, None)
            if not line:
                del self._lines[origin]

    def _call_next(self) -> None:
        if not self._lines:
            return
        origin = next(iter(self._lines))
        line = self._lines.pop(origin)
        stream = next(iter(line))
        task = line.pop(stream)
        if line:
            self._lines[origin] = line  # At the end: other origins first.
        self._connecting.add(stream)
        self._call(task)
