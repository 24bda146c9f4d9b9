"""A connection that is made beside the live one of a stream, and what it may do: the second half of a `Watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation import changes, silence
from tests.simulation.lateness import EARLY, back_from
from wire_rawsse.errors import StaleConnectionError, WireRawSSEError
from wire_rawsse.phases import PHASES

if TYPE_CHECKING:
    from tests.simulation.scene import Journal
    from tests.simulation.watch import Watch

SOCKETS: Final = {"tunnel": 1, "handshake": 1, "head": 1}
"""How many it holds; none in any other phase but "connecting"."""


class Second:
    """Of one stream; there is one at a time. In fair weather none fails. A live one in doubt has one in time."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.under_way = False
        """One is made, or has failed since the live one was accepted; or that has been in doubt."""
        self.began = 0.0
        self.connections = 0
        """Of the present attempt, redirects included."""
        self.news = 0
        """Reasons for a wake that the stream had had when the attempt began: body bytes may come with the head."""
        self._not_before = 0.0
        self._attempting = False
        self._doubted_at: float | None = None
        self._due: tuple[float, float] | None = None
        """When the live one was doubted, and the seconds until the attempt; None if that has begun."""
        self.doubt: WireRawSSEError | None = None
        self._pause: float | None = None
        """That after an attempt which has failed beside a live one in doubt: it ends now."""

    def follow(self, record: Journal) -> None:
        self._forget()
        record.on_doubt = self._doubted
        record.on_second_begin = self._begin
        record.on_second_enter = self._enter
        record.on_second_end = self._end
        record.on_renewed = self._renewed
        record.on_given_up = self._given_up

    def leave(self) -> None:
        """It is given up, as the live connection has ended."""
        second = self._watch.record.second
        if second is not None:
            self._never_began(second.phase)
        self._forget()

    def _never_began(self, phase: str) -> None:
        watch = self._watch
        if phase == "resolving" and watch.cap is not None:
            watch.cap.never_began()
            watch.never_begun += 1

    def _forget(self) -> None:
        self.under_way = self._attempting = False
        self._doubted_at = self._due = self.doubt = self._pause = None

    def in_doubt(self, spoke_at: float) -> bool:
        """Whether the live one is, if it last spoke then."""
        return self._doubted_at is not None and spoke_at <= self._doubted_at

    def _doubted(self, error: WireRawSSEError, delay: float) -> None:
        watch, now = self._watch, self._watch.kernel.now
        if watch.kernel.violation is not None:
            return
        watch.kernel.tell("%s: in doubt: %s (another in %s)", watch.name, error, delay)
        silence.not_too_early(watch, error)
        if isinstance(error, StaleConnectionError):
            changes.check(watch, error, watch._since_before)
        if not self._attempting:
            watch._check_pause(error, delay)
            self._not_before = now + delay - back_from(watch.kernel, now) - EARLY
            self._due = now, delay
        self.under_way, self._doubted_at, self.doubt = True, now, error

    def check(self, count: int, spoke_at: float) -> None:
        """`count`: the sockets of the stream, while it has a live connection, which last spoke at `spoke_at`."""
        self._check_sockets(count)
        second = self._watch.record.second
        waits_for_turn = second is not None and second.phase == "waiting"
        if self._due is not None and self.in_doubt(spoke_at) and not waits_for_turn:
            self._watch._bound(*self._due, "in doubt, and no other connection is made", self.waits)

    def ends(self, error: WireRawSSEError | None, delay: float | None) -> bool:
        """Whether the live one ends for a doubt, after an attempt beside it has failed."""
        watch, pause = self._watch, self._pause
        if error is None or error is not self.doubt:
            return False
        if pause is None:
            watch.fail(f"no other connection has failed, and one in doubt ends: {error}")
        if delay != pause:
            watch.fail(f"a pause of {delay} s after an attempt that failed, and {pause} s are asked for")
        watch._failures, watch._wish = watch.record.attempt, watch.record.least_pause
        return True

    def _check_sockets(self, count: int) -> None:
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
        self._due, self._attempting = None, True
        self.under_way, self.began, self.connections, self.news = True, now, 0, watch.news

    def _enter(self, before: str, phase: str) -> None:
        watch = self._watch
        assert watch.cap is not None
        if phase not in PHASES[before].then:
            watch.fail(f"a second connection takes a step that the phase table does not have: {before} to {phase}")
        if phase != "connecting":
            self._never_began(before)
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
        self._attempting = False
        self._not_before = now + delay - back_from(watch.kernel, now) - EARLY
        self._pause = None if self.doubt is None else delay

    def _given_up(self, phase: str) -> None:
        """The live one has spoken, and goes on."""
        watch = self._watch
        watch.kernel.tell("%s: goes on", watch.name)
        if self._attempting:
            self._never_began(phase)
        if self._doubted_at is None:
            watch.fail("an attempt is given up, and there was no doubt")
        elif watch.live is not None and watch.live.last_life <= self._doubted_at:
            watch.fail("an attempt is given up, and the old connection has not spoken")
        self._attempting, self._not_before = False, 0.0
        self._doubted_at = self._due = self.doubt = None

    def _renewed(self) -> None:
        """It has taken the place of the first, which is closed."""
        watch = self._watch
        watch.kernel.tell("%s: renewed", watch.name)
        cause = None if self.doubt is None else changes.cause(self.doubt)
        self._forget()
        (watch.live,) = watch._sockets()
        watch.accepted, watch._begun, watch._connections = watch.kernel.now, self.began, self.connections
        watch._failures = watch.record.attempt
        watch._owes_wake, watch._drip, watch._free = True, None, False
        watch._news_before = self.news
        watch.news += 1
        watch.streams += 1
        changes.count(watch, cause or "max_age")
        watch.repeatable = watch.relay.posted
