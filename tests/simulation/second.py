"""A connection that is made beside the live one of a stream, and what it may do: the second half of a `Watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.changes import count
from tests.simulation.lateness import EARLY, back_from
from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.phases import PHASES

if TYPE_CHECKING:
    from tests.simulation.scene import Journal
    from tests.simulation.watch import Watch

SOCKETS: Final = {"tunnel": 1, "handshake": 1, "head": 1}
"""How many it holds; none in any other phase but "connecting"."""


class Second:
    """Of one stream; there is one at a time. In fair weather none fails."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.under_way = False
        """One is made, or has failed since the live one was accepted."""
        self.began = 0.0
        self.connections = 0
        """Of the present attempt, redirects included."""
        self.news = 0
        """Reasons for a wake that the stream had had when the attempt began: body bytes may come with the head."""
        self._not_before = 0.0

    def follow(self, record: Journal) -> None:
        self.under_way = False
        record.on_second_begin = self._begin
        record.on_second_enter = self._enter
        record.on_second_end = self._end
        record.on_renewed = self._renewed

    def leave(self) -> None:
        """It is given up, as the live connection has ended."""
        watch, second = self._watch, self._watch.record.second
        if second is not None and second.phase == "resolving" and watch.cap is not None:
            watch.cap.never_began()
            watch.never_begun += 1
        self.under_way = False

    def check_sockets(self, count: int) -> None:
        """`count`: those of the stream, while it has a live connection."""
        second = self._watch.record.second
        phase = "streaming" if second is None else second.phase
        if phase != "connecting" and count != 1 + SOCKETS.get(phase, 0):
            self._watch.fail(f"holds {count} sockets while streaming, and the second is {phase}")

    @property
    def waits(self) -> int:
        """Both connections have one clock, which stands at each deadline of a late host."""
        return 1000 if self.under_way else 0

    def _begin(self) -> None:
        watch, now = self._watch, self._watch.kernel.now
        watch.kernel.tell("%s: a second connection is attempted", watch.name)
        if not self.under_way:
            watch.proved_good()
        elif now < self._not_before:
            watch.fail(f"a second connection is attempted {self._not_before - now:.3f} s too early")
        self.under_way, self.began, self.connections, self.news = True, now, 0, watch.news

    def _enter(self, before: str, phase: str) -> None:
        watch = self._watch
        assert watch.cap is not None
        if phase not in PHASES[before].then:
            watch.fail(f"a second connection takes a step that the phase table does not have: {before} to {phase}")
        if before == "resolving" and phase != "connecting":
            watch.cap.never_began()
            watch.never_begun += 1
        if phase == "resolving" or (phase == "connecting" and before != "resolving"):
            too_many = watch.cap.begun(watch.kernel.now, self.connections)
            self.connections += 1
            watch.begun += 1
            if too_many:
                watch.fail(too_many)

    def _end(self, error: WireRawSSEError | None, delay: float | None) -> None:
        watch, now = self._watch, self._watch.kernel.now
        watch.kernel.tell("%s: the second connection has failed: %s (again in %s)", watch.name, error, delay)
        assert delay is not None
        if error is not None and "internal error" in str(error):
            watch.fail(f"a fault of the library's own: {error.__cause__!r}")
        if watch.in_fair_weather(self.began):
            watch.fail(f"in fair weather a second connection failed: {error}")
        self._not_before = now + delay - back_from(watch.kernel, now) - EARLY

    def _renewed(self) -> None:
        """It has taken the place of the first, which is closed."""
        watch = self._watch
        watch.kernel.tell("%s: renewed", watch.name)
        self.under_way = False
        (watch.live,) = watch._sockets()
        watch.accepted, watch._begun, watch._connections = watch.kernel.now, self.began, self.connections
        watch._failures = watch.record.attempt
        watch._owes_wake, watch._drip, watch._free = True, None, False
        watch._news_before = self.news
        watch.news += 1
        watch.streams += 1
        count(watch, "max_age")
        watch.repeatable = watch.relay.posted
