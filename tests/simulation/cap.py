"""The most connections that a stream may begin within an hour, by the rules of its backoff: at most 180 with the
default settings, and more only in proportion to what its healthy streams have earned, 360 at the very most.

A connection costs a token. `BURST` of them lie there at first, and never more; one comes back each 0.7 × `maximum`
seconds, and one each 1.03 × `healthy_after` seconds while a stream lives that proves healthy. So within an hour there
are, with the defaults:

* 1 + 8 + 3600 / 21 = 180.4 where nothing is healthy: 180 (the first may have been paid for before the hour began);
* for each stream of `s` healthy seconds s / 10.3 - s / 21 more, but 8 at the most: half a connection for one that
  lives ten seconds, all eight for one that lives for three minutes or longer. A single healthy stream does not double
  an hour's connections;
* 1 + 8 + 3600 / 10.3 = 358.5 where the whole hour is spent in healthy streams: below 360.

These are the numbers that `wire_rawsse.policy.Pace` promises, written down once more, so that it cannot change them
alone. The seconds are those that the network has seen, not those that the stream claims.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from wire_rawsse.policy import Backoff

HOUR: Final = 3600.0
BURST: Final = 8
_SLOW: Final = 0.7
_HEALTHY: Final = 1.03


def most(backoff: Backoff, healthy: Iterable[float]) -> int:
    """Connections within an hour; `healthy`: the seconds of each healthy stream that ended in it."""
    slow = _SLOW * backoff.maximum
    fast = min(slow, _HEALTHY * backoff.healthy_after)
    earned = sum(min(BURST, seconds / fast - seconds / slow) for seconds in healthy)
    return int(1 + BURST + min(HOUR / slow + earned, HOUR / fast))


class Cap:
    """What one stream has begun within the last hour, and what excuses it."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self._attempts: deque[float] = deque()
        self._healthy: deque[tuple[float, float]] = deque()
        self._interruptions: deque[float] = deque()

    def interrupted(self, now: float) -> None:
        """Somebody has called `restart()`, as often as he likes; one connection each costs no token."""
        self._interruptions.append(now)

    def lived(self, now: float, seconds: float) -> None:
        """A healthy stream is over."""
        self._healthy.append((now, seconds))

    def begun(self, now: float) -> str | None:
        """A connection begins. What is wrong with that, if anything is."""
        since = now - HOUR
        attempts, healthy, interruptions = self._attempts, self._healthy, self._interruptions
        attempts.append(now)
        while attempts[0] < since:
            attempts.popleft()
        while healthy and healthy[0][0] < since:
            healthy.popleft()
        while interruptions and interruptions[0] < since:
            interruptions.popleft()
        allowed = most(self.backoff, (seconds for _, seconds in healthy)) + len(interruptions)
        if len(attempts) <= allowed:
            return None
        return f"{len(attempts)} connections within an hour, {allowed} allowed ({len(healthy)} were healthy)"

    def never_began(self) -> None:
        """The last one was removed before it got any further than the look-up: it costs nothing."""
        if self._attempts:
            self._attempts.pop()

    def forget(self) -> None:
        """A new stream, which knows nothing of the one before it."""
        self._attempts.clear()
