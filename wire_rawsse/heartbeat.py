"""How long a server may be silent, learned from its heartbeat: numbers in, numbers out, no clock.

Many servers send a comment whenever they have been idle for a fixed time. Once that time, the period P, is known,
silence is a fault long before `Timeouts.read` runs out: after 1.5 P + 2 s (15 s: 24.5 s; 1 s: 3.5 s). The rules:

* Only comments teach. While a server has events to send, it shows nothing about its silence without events. So a gap
  counts only if it begins and ends with a reception of comments alone.
* Three gaps in a row, the longest at most 1.2 times the shortest, are a period: the longest of them. A longer period
  replaces it in the same way. A shorter one needs twenty gaps, as a server may have fast and slow times.
* After an event the limit is `Timeouts.read`, until the server has once sent a heartbeat after an event. Some servers
  send comments only until they have an answer, and then need longer between two events than between two comments. So a
  gap before or after an event that exceeds the limit lengthens it.
* A silence that was too long for the heartbeat may have been a pause of the server. So an alarm doubles the factor on
  probation, and a second alarm during the probation raises the limit to `read`. If a gap follows that is longer than
  the limit of the alarm, the server does pause, and the doubled factor stays, whatever ended that gap. If 20 steady
  gaps follow instead (80 after the next alarm, then 320, and so on), the factor is as before.

So a server that changes its heartbeat is dropped in vain at most twice. A server that pauses now and then is dropped in
vain a few times and not for ever, because the confirmed factor never falls. `Timeouts.read` is the limit in any case.
"""

from __future__ import annotations

import math
from typing import Final

SHORTEST: Final = 0.5
"""Seconds. A comment that comes sooner after the last bytes belongs to the same message, and ends no silence."""
STEADY: Final = 1.2
"""The longest gap of a period is at most so many times the shortest."""
TO_LEARN: Final = 3
"""Gaps."""
TO_LEARN_SHORTER: Final = 20
FACTOR: Final = 1.5
MARGIN: Final = 2.0
"""Seconds."""
PROBATION: Final = 20
"""Gaps, after the first alarm."""
_LARGEST_FACTOR: Final = FACTOR * 2**16
_LONGEST_PROBATION: Final = PROBATION * 4**8


def all_comments(text: bytes) -> bool | None:
    """Whether a text that begins with a line holds comments and nothing else; None: it holds line ends only."""
    lines = [line for line in text.splitlines() if line]
    return all(line.startswith(b":") for line in lines) if lines else None


class Heartbeat:
    """The heartbeat of one endpoint, over all its connections. All numbers are seconds, or gaps that are counted."""

    __slots__ = (
        *("_confirmed", "_count", "_factor", "_high", "_left", "_low", "_probation", "_suspected"),
        *("follows_events", "period"),
    )

    def __init__(self) -> None:
        self.period: float | None = None
        """Seconds between two heartbeats, once known."""
        self.follows_events = False
        """A heartbeat has come after an event, so one may be expected after each."""
        self._low = self._high = 0.0
        """The shortest and the longest gap of the present run of steady gaps."""
        self._count = 0
        """How many gaps the run has."""
        self._factor = self._confirmed = FACTOR
        self._suspected: float | None = None
        """The limit that the last alarm exceeded, while that alarm is on probation."""
        self._left = 0
        """Steady gaps until the end of the probation."""
        self._probation = PROBATION

    def limit(self, read: float) -> float:
        """The longest silence that is no fault; `read` is `Timeouts.read`."""
        return read if self.period is None else min(read, self._factor * self.period + MARGIN)

    def limit_after_event(self, read: float) -> float:
        """The same after an event."""
        return self.limit(read) if self.follows_events else read

    def heard(self, gap: float) -> bool:
        """Comments and nothing else came, `gap` seconds after the head or after other comments.

        Returns whether `limit` may have changed.
        """
        if gap < SHORTEST:
            return False
        if self._low <= gap <= self._high == self.period and self._suspected is None:
            self._count += 1  # The usual case: one more of a known heartbeat.
            return False
        if self._suspected is not None:
            self._left -= 1
            if self.suspects(gap):
                self.pauses(gap)
            elif self._left <= 0:
                self._end_probation()
        low, high = min(self._low, gap), max(self._high, gap)
        if self._count and high <= STEADY * low:
            self._low, self._high = low, high
            self._count += 1
        else:
            self._low = self._high = gap
            self._count = 1
        enough = TO_LEARN if self.period is None or self._high > self.period else TO_LEARN_SHORTER
        if self._count >= enough:
            self.period = self._high
        return True

    def heard_after_event(self, gap: float) -> None:
        """Comments and nothing else came, `gap` seconds after an event."""
        if self.exceeds(gap):
            self.pauses(gap)
        elif self.period is not None and gap >= SHORTEST:
            self.follows_events = True

    def suspects(self, gap: float) -> bool:
        """Whether a silence of `gap` seconds, which has ended, shows that the last alarm was false."""
        return self._suspected is not None and gap > self._suspected

    def exceeds(self, gap: float) -> bool:
        """Whether a silence of `gap` seconds before or after an event, which has ended, is longer than the heartbeat
        allows.
        """
        return self.period is not None and gap > self._confirmed * self.period + MARGIN

    def pauses(self, gap: float) -> None:
        """The server is well, and was silent for `gap` seconds."""
        assert self.period is not None
        while self._confirmed * self.period + MARGIN < gap and self._confirmed < _LARGEST_FACTOR:
            self._confirmed *= 2
        self._end_probation()

    def alarm(self) -> None:
        """The connection was put in doubt, as it was silent for `limit`, which was below `read`."""
        assert self.period is not None
        if self._suspected is None:
            self._suspected = self._confirmed * self.period + MARGIN
            self._factor = min(2 * self._confirmed, _LARGEST_FACTOR)
        else:
            self._factor = math.inf
        self._left = self._probation
        self._probation = min(4 * self._probation, _LONGEST_PROBATION)
        self._count = 0

    def _end_probation(self) -> None:
        self._factor, self._suspected = self._confirmed, None
