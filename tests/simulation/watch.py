"""The invariants: the true state of a stream, compared with the library's reports and actions before each sleep.

* Every wait has a deadline, and no phase outlives the clock that the phase table names for it.
* No clock runs out early: what is called silent was silent, what is called slow was slow, nothing lay unread, and no
  host's absence has used it up.
* A dead stream is never "connected" past its bound: silence `read`, a drip twice that.
* All delivered data is read before the host sleeps; every event among it has been announced by a wake, and so
  has every connection.
* Steps lead along the phase table. Pauses are those of the backoff, connections stay below the pace.
* No stream waits for a look-up that is over. The reported cause of a stream's end is the true one.
* A stream holds exactly the sockets that its phase needs, and one thread for a name at the most.
* In fair weather nothing fails, and a renewal leaves no moment without a live connection.

A host that comes late stretches the bounds by its absences, but not without end: see `slack`.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Final, NoReturn

from tests.simulation import changes, silence
from tests.simulation.cap import Cap
from tests.simulation.lateness import EARLY, back_from, slack
from tests.simulation.network import Socket
from tests.simulation.relay import Relay
from tests.simulation.scene import Journal, Scene, Watched
from tests.simulation.second import Second
from wire_rawsse.errors import (
    ConnectionBrokenError,
    EventTooLargeError,
    HeartbeatTimeout,
    MalformedResponseError,
    ReadTimeout,
    ResponseTimeout,
    StaleConnectionError,
    StatusError,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.hosts.clock import MAX_GRACES
from wire_rawsse.hosts.surroundings import EVERY
from wire_rawsse.phases import PHASES
from wire_rawsse.plan import Plan
from wire_rawsse.policy import LONGEST_WISH, retry_after
from wire_rawsse.wake_streams import WakeSink

EPSILON: Final = 0.25
"""Seconds beyond a bound that are allowed."""
SETTLED: Final = 60.0
"""Seconds of fair weather after which nothing of the bad one is left."""
_WHERE_SOCKETS_ARE: Final = {"resolving": 0, "streaming": 1, "head": 1, "handshake": 1, "tunnel": 1, "backing off": 0}


class Watch:
    """One stream's. `relay` is the truth."""

    stream: Watched
    plan: Plan
    record: Journal

    def __init__(self, scene: Scene, relay: Relay, name: str, looked_up: Sequence[str] = ()) -> None:
        """`looked_up`: the names that it may have to look up."""
        self.relay = relay
        self.name = name
        self.looked_up = looked_up
        self.names = scene.names
        self.kernel = scene.kernel
        self.machine = scene.machine
        self.network = scene.network
        self.absent = True
        """There is no stream to be watched."""
        self.entered: Callable[[], None] = lambda: None
        """Called after each change of its phase."""
        self.announced = 0
        """The last event that the host knows of, or has a wake pending for."""
        self.fair_since: float | None = 0.0
        self.closing = False
        self.over = False  # The stream has ended for good, and the host has made no other yet.
        self.streams = 0
        """Connections that came about."""
        self.causes: dict[str, int] = {}  # How often a connection was replaced for each of `changes.CAUSES`.
        self.live: Socket | None = None
        self.begun = self.never_begun = 0
        """How many connections were attempted, and how many of them got no further than the look-up before their stream
        was removed."""
        self.good: list[int] = []
        """How many connections each stream took that lived long enough or brought an event."""
        self.excused = 0
        """Connections that the caller or the server asked for."""
        self.news = 0
        """Reasons for a wake: see `wakes`."""
        self.cap: Cap | None = None
        self.false_alarms, self._network_at, self._changed_at, self._wish = 0, -math.inf, 0.0, 0.0
        """When its loop saw a change, when that came, and the pause that the server has asked for (seconds)."""
        self._restarted_at: float | None = None
        self._owes_wake = False
        self._drip: tuple[int, float] | None = None
        """The offset at which the present drip began, and when its first byte was seen to be received."""
        self._failures = 0
        self._since = self._since_before = self._hop_since = self._begun = self.accepted = self.kernel.now
        self._ended: tuple[float, float] | None = None
        self._interrupted = False
        self._polled = False
        """The server has asked for the next connection: by a clean end after an event, and a `retry:`."""
        self._free = False
        self._connections = 0
        """Of the present attempt."""
        self.repeatable = 0
        """The last event that may come twice where events have no ids, as two connections of the stream brought it."""
        self.second = Second(self)
        self._news_before = 0
        """When the present attempt began."""

    @property
    def since(self) -> float:
        """When the present phase began."""
        return self._since

    @property
    def begun_at(self) -> float:
        """When the present connection was attempted."""
        return self._begun

    def follow(self, stream: Watched, fresh: bool = True) -> None:
        """Watch this one from now on; `fresh`: nothing is left of the one before it, if there was one."""
        self.stream = stream
        self.plan = stream.plan
        self.record = stream.record
        self.live = self._ended = self._restarted_at = None
        self._polled = False
        self.over = self.absent = self._interrupted = self._owes_wake = False
        self._failures = self.false_alarms = 0
        if self.cap is None:
            self.cap = Cap(self.plan.backoff)
        elif fresh:
            self.cap.forget()
        self.record.on_enter = self._enter
        self.record.on_begin = self._begin
        self.record.on_end = self._end
        self.second.follow(self.record)

    def leave(self) -> None:
        """It is about to be removed."""
        self.absent = True
        self.second.leave()
        if self.record.phase == "resolving" and self.cap is not None:
            self.cap.never_began()
            self.never_begun += 1

    # Called by the host.

    def woken(self) -> None:
        """The host has its wake, and pulls."""
        self.announced = self.relay.posted
        self._owes_wake = False

    def saw(self, number: int) -> None:
        """The host has this event in its hands."""
        self.announced = max(self.announced, number)
        self._owes_wake = False

    def network_changed(self) -> None:
        """The machine was suspended, or its network has changed: the loop sees it when it next has a moment."""
        self._changed_at, self._network_at = self.kernel.now, math.inf

    def interrupt(self) -> None:
        """The host calls `restart()`, or its signal handler raises."""
        self._interrupted = True

    def restarted(self) -> None:
        """The host calls `restart()`: whatever the stream is at, another begins at once."""
        self.interrupt()
        if self._restarted_at is None:
            self._restarted_at = self.kernel.now

    # Called by the library.

    def _enter(self, before: str, phase: str) -> None:
        kernel = self.kernel
        if kernel.violation is not None:
            return
        kernel.tell("%s: %s -> %s", self.name, before, phase)
        if phase not in PHASES[before].then:
            self.fail(f"a step that the phase table does not have: {before} to {phase}")
        self._since_before, self._since = self._since, kernel.now
        if before == "resolving" and phase != "connecting" and self.cap is not None and not self.absent:
            self.cap.never_began()  # No address, no connection.
            self.never_begun += 1
        if phase == "resolving" or (phase == "connecting" and before != "resolving"):
            self._hop_since = kernel.now
            self._connections += 1
            if self._connections > 1:  # A redirect has led here.
                self.begun += 1
                self._count()
        if phase == "streaming":
            (self.live,) = self._sockets()
            self.accepted = kernel.now
            self._owes_wake = True
            self.news += 1
            self._drip = None
            self.streams += 1
        self.entered()

    def proved_good(self) -> None:
        """If the live connection is good, each of those that led to it has earned another one."""
        healthy_after = self.plan.backoff.healthy_after
        if self.stream.sink.delivered or self.record.healthy_for >= healthy_after > 0:
            assert self.cap is not None
            self.good.append(self._connections)
            self.cap.proved_good(self.kernel.now, self._connections)
        self._connections = 0

    def _begin(self) -> None:
        now = self.kernel.now
        self._begun = now
        self._restarted_at = None
        self.begun += 1
        self.live = None
        if self._ended is not None and not self._interrupted:
            ended, delay = self._ended
            # An end found just before the host is busy takes effect afterwards; the pause counts from the finding.
            if self._network_at >= ended:  # It ends a pause, but for what the server has asked for.
                delay = self._wish
            if now < ended + delay - back_from(self.kernel, ended) - EARLY:
                self.fail(f"connects {now - ended:.3f} s after an end that asked for {delay:.3f} s")
        self._ended = None
        self._free = self._interrupted or self._polled
        self._interrupted = self._polled = False
        self._news_before = self.news
        self._connections = 0
        self._count()

    def _count(self) -> None:
        """One more connection."""
        assert self.cap is not None
        if self._free:
            self.cap.excused(self.kernel.now)
            self.excused += 1
        too_many = self.cap.begun(self.kernel.now, max(0, self._connections - 1))
        if too_many:
            self.fail(too_many)

    def _end(self, error: WireRawSSEError | None, delay: float | None) -> None:
        kernel, now = self.kernel, self.kernel.now
        if kernel.violation is not None:
            return
        kernel.tell("%s: ended: %s (again in %s)", self.name, error, delay)
        witnessed = self.second.ends(error, delay)
        self.second.leave()
        if error is not None:
            if "internal error" in str(error):
                self.fail(f"a fault of the library's own: {error.__cause__!r}")
            if witnessed:
                changes.count(self, changes.cause(error) or "")
            else:
                silence.not_too_early(self, error)
                silence.check_cause(self, error)
                changes.note(self, error, self._since_before)
        allowed = isinstance(error, (HeartbeatTimeout, StaleConnectionError))
        if self.in_fair_weather() and not (self._interrupted or self.closing or self.absent or allowed):
            self.fail(f"in fair weather a stream ended: {error}")
        if delay is None:
            if not (self.closing or self.absent or self._interrupted) and (error is None or not error.permanent):
                self.fail(f"gave up for good over what is not for good: {error}")
            self._ended = None
            return
        self._ended = now, delay
        if error is None and delay == 0 and self._interrupted:
            self._failures = 0
        elif not witnessed:
            self._check_pause(error, delay)

    def in_fair_weather(self, began: float | None = None) -> bool:
        """`began`: when the connection was attempted; None: the present one."""
        return self.fair_since is not None and (self._begun if began is None else began) > self.fair_since + SETTLED

    def _check_pause(self, error: WireRawSSEError | None, delay: float) -> None:
        backoff = self.plan.backoff
        healthy = self.record.healthy_for
        true = 0.0
        if self.live is not None:
            true = (
                self.kernel.now if self._was_alive(error) else max(self.live.last_life, self.accepted)
            ) - self.accepted
            away = slack(self.kernel, self.accepted)
            # A stream's clock may have lost the benefit of some doubts, each a moment between two bytes.
            if away < EPSILON and not 0.95 * true - 2 <= healthy <= true + EARLY + away:
                self.fail(f"healthy for {true:.3f} s, and {healthy:.3f} s are counted")
        elif healthy:
            self.fail(f"healthy for {healthy:.3f} s, and there was no stream")
        wish, least, longest = backoff.initial, 0.0, backoff.maximum
        if self.stream.sink.retry_ms is not None:
            least = wish = min(max(self.stream.sink.retry_ms / 1000, 0.1), LONGEST_WISH)
            longest = max(longest, wish)
        if isinstance(error, StatusError) and error.status in (429, 503) and error.retry_after is not None:
            least = max(least, min(retry_after(error.retry_after, self.kernel.wall()), LONGEST_WISH))
        delivered = self.stream.sink.delivered
        # A wake stream counts from a data line on, so half an event counts too.
        if delivered and not isinstance(self.stream.sink, WakeSink) and not self._has_brought():
            self.fail("an event is claimed, and none has come")
        if healthy >= backoff.healthy_after or (error is None and delivered):
            self._failures = 0
        self.proved_good()
        expired = silence.expired(self, error)
        if error is None and delivered and self.stream.sink.retry_ms is not None and not expired:
            self._failures = 0
            self._polled = True
            longest_poll = min(1.25 * least, LONGEST_WISH)
            if not least - EARLY <= delay <= longest_poll + EARLY:
                self.fail(f"a pause of {delay:.3f} s between two polls, expected {least:.3f} to {longest_poll:.3f} s")
            return
        low = min(longest, wish * 2.0 ** min(self._failures, 40)) / 2
        if isinstance(error, (ResponseTimeout, ReadTimeout)):  # The wait counts towards the pause.
            low = max(wish / 2, low - error.seconds)
        if error is not None and error.permanent:
            low = longest / 2
        if isinstance(error, StaleConnectionError) or expired:
            low = least = 0.0  # No fault of the server, so its wish is not asked for.
            self._failures = 0 if healthy >= backoff.healthy_after else self._failures
        elif error is None and healthy >= backoff.healthy_after:
            low = 0.0
        elif not (error is None and delivered):
            self._failures += 1
        self._wish = least
        # Tokens may be owed for the redirects of one attempt.
        paced = 0.75 * backoff.maximum * (1 + (0 if self.cap is None else self.cap.redirects))
        high = max(longest, min(1.5 * least, LONGEST_WISH), paced)
        if not max(low, least) - EARLY <= delay <= high + EARLY:
            self.fail(f"a pause of {delay:.3f} s after {error}, expected {max(low, least):.3f} to {high:.3f} s")

    def _was_alive(self, error: WireRawSSEError | None) -> bool:
        """Whether the end was the peer's own: a FIN, a RST, or bytes."""
        assert self.live is not None
        if isinstance(error, StaleConnectionError):
            return False
        if isinstance(error, ConnectionBrokenError):
            return self.live.broke in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)
        return error is None or isinstance(error, (TruncatedError, MalformedResponseError, EventTooLargeError))

    def _has_brought(self) -> bool:
        """Whether the present stream has brought an event, or the beginning of one; that it is there is news, too."""
        return self.news > self._news_before + 1

    # Before the host sleeps.

    def check(self, sleeps: bool = True) -> None:
        """`sleeps`: in the library. A host that only looks in leaves for later what came while it looked."""
        if self.absent:
            return
        phase, sock = self.record.phase, self.live
        if self._network_at == math.inf and self.kernel.now > self._changed_at + 2 * EVERY:
            self._network_at = self.kernel.now
        if phase == "streaming" and sock is not None:
            unread = sock.inbox or sock.ended or sock.error
            if unread and sleeps:
                self.fail("the host sleeps, and what was delivered lies unread")
            if sleeps and sock.session is not None and sock.session.unsent() and sock.room() > 0 and not unread:
                self.fail("the host sleeps, and an answer of TLS is unsent")
            connection = sock.connection
            assert connection is not None
            events = connection.events
            while events and events[0][0] <= sock.delivered and not unread:
                number = events.popleft()[1]
                if number > self.announced:
                    self.fail(f"the host sleeps, and event {number} was delivered without a wake")
            if self._owes_wake:
                self.fail("the host sleeps, and a connection has come about without a wake")
            self.second.check(len(self._sockets()), max(sock.last_life, self.accepted))
            since, longest = max(sock.last_life, self.accepted), silence.longest(self, sock)
            if self.kernel.now - since > longest + EPSILON:
                self._bound(since, longest, "silent and still connected", self.second.waits)
            if connection.drip_from is None:
                self._drip = None
            elif sock.received > connection.drip_from:
                if self._drip is None or self._drip[0] != connection.drip_from:  # A busy host may never sleep between.
                    self._drip = connection.drip_from, self.kernel.now
                deadlines = silence.deadlines_of_a_drip(self, self._drip[1])
                seconds, waits = deadlines * self.plan.timeouts.read, (deadlines - 1) * MAX_GRACES + self.second.waits
                self._bound(self._drip[1], seconds, "dripping and still connected", waits)
        else:
            self._check_phase(phase, sleeps)
        if self._restarted_at is not None and not (self.closing or self.over):
            self._bound(self._restarted_at, 0.0, "asked to restart, and goes on")
        wait = self.stream.task.wait
        bounded = wait is not None and math.isfinite(wait.deadline)
        if not (self.closing or self.over or bounded or phase == "waiting"):  # For that see `changes`.
            self.fail("waits without a deadline")

    def _check_phase(self, phase: str, sleeps: bool) -> None:
        timeouts = self.plan.timeouts
        if phase in ("resolving", "connecting", "tunnel", "handshake"):
            # Each address is a wait of its own, at which a late host's clock stands once more.
            addresses = max(map(self.names.answered.get, self.looked_up, repeat(0)), default=0)
            self._bound(self._hop_since, timeouts.connect, "connecting", addresses)
            if phase == "resolving" and sleeps and not any(map(self.names.under_way.get, self.looked_up)):
                self.fail("waits for a look-up, and none is under way")
        elif phase == "head":
            self._bound(self._since, self.record.patience.seconds(timeouts), "waiting for a head")
            for sock in self._sockets() if sleeps else ():
                head = None if sock.connection is None else sock.connection.head_end
                if head is not None and sock.delivered >= head:
                    self.fail("the host sleeps, and a head that was delivered is waited for")
        elif phase == "backing off" and self._ended is not None:
            self._bound(self._ended[0], self._ended[1], "backing off")
        if phase in _WHERE_SOCKETS_ARE and len(self._sockets()) != _WHERE_SOCKETS_ARE[phase]:
            self.fail(f"holds {len(self._sockets())} sockets while {phase}")

    def _bound(self, since: float, seconds: float, what: str, waits: int = 0) -> None:
        passed = self.kernel.now - since
        if passed > seconds + EPSILON and passed > seconds + EPSILON + slack(self.kernel, since, waits):
            self.fail(f"{what} after {passed:.3f} s; its clock is {seconds:g} s")

    def _sockets(self) -> list[Socket]:
        return [sock for sock in self.network.open_sockets if sock.owner is self]

    def fail(self, text: str) -> NoReturn:
        self.kernel.fail(f"{self.name}: {text}")
