"""The most connections that a stream may begin within an hour, by the rules of its backoff: at most 180 with the
default settings as long as all of them come to nothing, and at most 360 otherwise.

A connection costs a token, and so does each redirect. `BURST` of them lie there at first, and never more; one comes
back each 0.75 × `maximum` seconds, and one for each connection whose stream proved good: it lived `healthy_after`, or
it brought an event. All together they come no faster than one each 1.07 × `healthy_after` seconds. So within an hour
there are, with the defaults:

* 1 + 8 + 3600 / 22.5 = 169 where nothing is good (the first may have been paid for before the hour began);
* one more for each connection that was;
* 1 + 8 + 3600 / 10.7 = 345.4 at the very most;
* and in each case as many more as the longest chain of redirects has, which do not wait: 10, so 179 and 355.4.

Free connections are added: those of an attempt requested by `restart()`, or by a server that ended cleanly after an
event and a `retry:`.

These numbers of `wire_rawsse.policy.TokenBucket` are repeated here, so that a change there alone is noticed. Whether a
connection was good is judged by the network, not by the stream's own account.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from wire_rawsse.policy import Backoff

HOUR: Final = 3600.0
BURST: Final = 8
_SLOW: Final = 0.75
_HEALTHY: Final = 1.07


def most(backoff: Backoff, good: int, redirects: int = 0) -> int:
    """Connections within an hour; `good`: how many that ended in it had proved good; `redirects`: of one attempt."""
    slow = _SLOW * backoff.maximum
    fast = min(slow, _HEALTHY * backoff.healthy_after or slow)
    return int(1 + BURST + redirects + min(HOUR / slow + good, HOUR / fast))


class Cap:
    """The connections that one stream began within the last hour, and those that are free."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self._attempts: deque[float] = deque()
        self._good: deque[float] = deque()
        self._free: deque[float] = deque()
        self.redirects = 0
        """Of the attempt that had most of them."""

    def excused(self, now: float) -> None:
        """One connection costs no token: the caller or the server has asked for it."""
        self._free.append(now)

    def proved_good(self, now: float, connections: int = 1) -> None:
        """A good stream is over, which took so many connections."""
        self._good.extend([now] * connections)

    def begun(self, now: float, redirects: int = 0) -> str | None:
        """A connection begins, after so many redirects. Returns the violation, if there is one."""
        self.redirects = max(self.redirects, redirects)
        self._attempts.append(now)
        for moments in (self._attempts, self._good, self._free):
            while moments and moments[0] < now - HOUR:
                moments.popleft()
        allowed = most(self.backoff, len(self._good), self.redirects) + len(self._free)
        if len(self._attempts) <= allowed:
            return None
        return f"{len(self._attempts)} connections within an hour, {allowed} allowed ({len(self._good)} were good)"

    def never_began(self) -> None:
        """The last one was removed before it got any further than the look-up: it costs nothing."""
        if self._attempts:
            self._attempts.pop()

    def forget(self) -> None:
        """A new stream, which knows nothing of the one before it."""
        self._attempts.clear()
