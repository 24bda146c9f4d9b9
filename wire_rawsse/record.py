"""The record of one stream: the mutable state that outlives its connections.

The coroutine writes it, in the thread of its host. Any thread may call `snapshot`: each field is set by one assignment,
so at worst a snapshot mixes two moments a microsecond apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from wire_rawsse.errors import StaleConnectionError, WireRawSSEError
from wire_rawsse.heartbeat import Heartbeat
from wire_rawsse.log import info, warn
from wire_rawsse.patience import Patience
from wire_rawsse.phases import PHASES, PhaseName
from wire_rawsse.policy import Backoff, Timeouts, TokenBucket
from wire_rawsse.redact import Secrets
from wire_rawsse.resume import Resume
from wire_rawsse.state import EndpointState, State
from wire_rawsse.transport.addresses import AddressMemory

if TYPE_CHECKING:
    from wire_rawsse.early_wakes import EarlyWakes
    from wire_rawsse.gate import Gate

Origin: TypeAlias = "tuple[str, str, int, str]"
"""See `Url.origin`."""


class Record:
    """The state of one stream over all its connections. Moments in `*_at` are seconds since the epoch."""

    __slots__ = (
        "_accepted",
        "_down_since",
        "_failed",
        "_healthy_after",
        "_last_life",
        "_timeouts",
        "_warned",
        "addresses",
        "attempt",
        "began",
        "changed",
        "connections",
        "early_wakes",
        "ends",
        "event_count",
        "gate",
        "has_spoken",
        "heartbeat",
        "last_byte_at",
        "last_error",
        "last_event_at",
        "last_wake_at",
        "least_pause",
        "next_attempt_at",
        "next_pause",
        "origin",
        "pace",
        "patience",
        "phase",
        "polls",
        "reconnect_count",
        "redirected",
        "refused",
        "refused_before",
        "renewed",
        "resume",
        "secrets",
        "since",
        "url",
        "wake_count",
    )

    def __init__(
        self,
        url: str,
        backoff: Backoff,
        changed: Callable[[], None] | None = None,
        wall: Callable[[], float] = time.time,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        self.url = url
        self.phase: PhaseName = "idle"
        self.since = wall()
        self.last_byte_at: float | None = None
        self.last_wake_at: float | None = None
        self.last_event_at: float | None = None
        self.last_error: WireRawSSEError | None = None
        self.next_attempt_at: float | None = None
        self.reconnect_count = 0
        self.wake_count = self.event_count = 0
        self.connections = [0]
        """How many connections have been accepted; a set of streams gives all of its records the same list."""
        self.ends: dict[str, int] = {}
        """Why connections ended (the class of the error, `end` or `restart`), with how often."""
        self.attempt = 0
        """For `policy.decide`: connections in a row that ended before they were healthy."""
        self.pace = TokenBucket(backoff)
        self.secrets = Secrets(shown=url)
        """Every secret that was sent, since a server may echo a token of an earlier connection."""
        self.origin: Origin | None = None
        self.gate: Gate | None = None
        """Bounds how many streams of a set connect at a time; None for a stream alone."""
        self.addresses = AddressMemory()
        self.resume = Resume()
        self.early_wakes: EarlyWakes | None = None
        """Which lengths of TLS records give a wake. Only for a stream of wakes over TLS."""
        self.patience = Patience()
        self.heartbeat = Heartbeat()
        """Learns only where `Timeouts.learn` allows it."""
        self._timeouts = timeouts
        self._healthy_after = backoff.healthy_after
        self.has_spoken = False
        """Body bytes have come on the present connection, and since it was doubted."""
        self.began = False
        """A connection has been attempted."""
        self.refused = self.refused_before = False
        """The present attempt was answered 401, and so was the one before it."""
        self.redirected = False
        """The present attempt has followed a redirect."""
        self.renewed = False
        """The next connection follows at once: the callables have given other credentials since that 401, or the
        connection is too old."""
        self.changed = changed
        self._failed = False
        self._accepted = 0.0
        self._last_life = 0.0
        self._down_since: float | None = None
        self._warned = False
        """Whether a failure was logged since the last connection."""
        self.least_pause = 0.0
        """Seconds of the present pause that the server has asked for. No change of the network shortens them."""
        self.next_pause: float | None = None
        """Seconds until the next attempt, if they are known before the connection has ended."""
        self.polls = 0
        """How many responses in a row ended like those of a polled server. Only the first is logged."""

    @property
    def state(self) -> State:
        """The present phase in wire's four words."""
        known = PHASES[self.phase].state
        if known is not None:
            return known
        if self.phase == "backing off" and self._failed:
            return "error"
        return "reconnecting" if self.reconnect_count else "connecting"

    @property
    def healthy_for(self) -> float:
        """Seconds from the accepted head to the last sign of life of the present connection, on the stream's clock."""
        return self._last_life - self._accepted

    def goes_to(self, url: str) -> None:
        """The present attempt begins at `url`, redacted: a callable may give another URL each time."""
        if url != self.url:
            self.url = url
            self.secrets.show(url)
            self.heartbeat = Heartbeat()  # Of another endpoint.

    def enter(self, phase: PhaseName, wall: float) -> None:
        """The next phase, which must be one that the table allows after the present one."""
        assert phase in PHASES[self.phase].then, f"{phase} after {self.phase}"
        self.phase = phase  # First, so that the phase is right even if a call below raises.
        self.since = wall
        if phase in ("resolving", "connecting"):
            self.addresses.current = None
        if phase == "connecting":
            self.pace.started()
        if self.changed is not None:
            self.changed()

    def start_over(self, wall: float) -> None:
        """A new coroutine takes the stream over. A signal handler may have raised in the last one, in any phase."""
        if self.phase != "idle":
            self.phase, self.since = "idle", wall
            if self.changed is not None:
                self.changed()

    def leave_gate(self) -> None:
        """Give up the turn to connect, or the place in the queue for one."""
        if self.gate is not None:
            self.gate.leave(self, self.origin)

    def begin(self, now: float) -> None:
        """A new connection is attempted."""
        self.addresses.begin()
        self.patience.begin()
        self.pace.begin(now)
        self.has_spoken = self.redirected = False
        self.began = True
        self.refused_before, self.refused, self.renewed = self.refused, False, False
        self.next_attempt_at = None
        self._accepted = self._last_life = now

    def accepted(self, now: float, wall: float) -> None:
        """The head has been accepted: the stream is live."""
        self.connections[0] += 1
        self._accepted = self._last_life = now
        self.leave_gate()
        self.secrets.settle()
        self.enter("streaming", wall)
        self._tell_connected(wall)

    def _tell_connected(self, wall: float) -> None:
        """Log the connection at the level at which its outage was logged, so that both are seen or neither."""
        if self._down_since is None:
            info(f"{self.url}: connected")
        elif not self.polls:
            text = f"{self.url}: connected again after {max(0.0, wall - self._down_since):.1f} s"
            say = warn if self._warned else info
            say(text)
        self._down_since, self._warned = None, False

    def heard(self, now: float, wall: float, wake: bool) -> None:
        """Body bytes came. `wake`: they hold a data line or, for an `EventSource`, an item."""
        if wake:
            self.last_event_at = wall
            self.event_count += 1
        self.has_spoken = True
        self._last_life = now
        self.last_byte_at = wall

    def restarted(self, wall: float) -> None:
        """The caller has asked for another connection, at once."""
        self.attempt = self.polls = 0
        self.pace.excuse()
        self.ended(None, 0, wall, cause="restart")

    def ended_by_peer(self, now: float) -> None:
        """The peer ended the connection, so a stream was alive until now."""
        if self.phase == "streaming":
            self._last_life = now

    def ended(self, error: WireRawSSEError | None, delay: float | None, wall: float, cause: str = "end") -> None:
        """The connection has ended; the next one follows after `delay` seconds, or never if it is None.

        `cause`: the key in `ends` for an end without an error.

        From here an error reaches the caller, the log and the state, so all secrets in it are masked here.
        """
        self._failed = error is not None
        self.leave_gate()
        cause = cause if error is None else type(error).__name__
        self.count(cause)
        self._judge_address(error)
        if error is not None:
            self.keep(error)
            self._warned = True
        if self._down_since is None:
            self._down_since = wall
        if delay is None:
            self.next_attempt_at = None  # `close` during a pause: the announced attempt will not come.
            self.enter("closed", wall)
            return
        self.reconnect_count += 1
        self.next_attempt_at = wall + delay
        self.enter("backing off", wall)

    def count(self, cause: str) -> None:
        """Count one more end: see `ends`."""
        self.ends[cause] = self.ends.get(cause, 0) + 1

    def doubted(self, error: WireRawSSEError, delay: float) -> None:
        """The connection may be dead. Another one is made beside it in `delay` seconds, unless it speaks before."""
        self._judge_address(error)
        self.keep(error)
        self.has_spoken = False
        warn(f"{self.named(error)}; trying another connection beside it" + (f" in {delay:.1f} s" if delay else ""))
        if self.changed is not None:
            self.changed()

    def keep(self, error: WireRawSSEError) -> None:
        """This is the last error, without secrets."""
        if self.redirected and not self.is_named_in(error):
            error.redirected_from = self.url
        self.secrets.cleanse(error)
        self.last_error = error

    def named(self, error: WireRawSSEError) -> str:
        """The text of an error, with the URL of the stream: a proxy, a callable or a file may be at fault."""
        return str(error) if self.is_named_in(error) else f"{self.url}: {error}"

    def is_named_in(self, error: WireRawSSEError) -> bool:
        """Whether the text of an error names the URL of this stream."""
        return self.url in [word.strip("(),:;") for word in str(error).split()]

    def _judge_address(self, error: WireRawSSEError | None) -> None:
        """Whether the address of this connection stays first, and which address an error concerns."""
        if error is not None and error.address is None and self.addresses.current is not None:
            error.address = str(self.addresses.current)
        if 0 < self.healthy_for >= self._healthy_after or (error is None and self.has_spoken):
            self.addresses.worked()
        elif not isinstance(error, StaleConnectionError):
            self.addresses.failed()

    def snapshot(self, wall: float) -> EndpointState:
        next_attempt_at, address = self.next_attempt_at, self.addresses.current
        return EndpointState(
            url=self.url,
            phase=self.phase,
            state=self.state,
            since=self.since,
            last_byte_at=self.last_byte_at,
            last_wake_at=self.last_wake_at,
            last_event_at=self.last_event_at,
            last_error=None if self.last_error is None else str(self.last_error),
            next_attempt_in=None if next_attempt_at is None else max(0.0, next_attempt_at - wall),
            reconnect_count=self.reconnect_count,
            address=None if address is None else str(address),
            heartbeat=self.heartbeat.period,
            read_limit=self.heartbeat.limit(self._timeouts.read),
            wake_count=self.wake_count,
            event_count=self.event_count,
            ends=tuple(self.ends.items()),
            early_wakes=0 if self.early_wakes is None else self.early_wakes.given,
            spurious_wakes=0 if self.early_wakes is None else self.early_wakes.spurious,
        )
