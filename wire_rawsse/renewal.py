"""Make before break: a connection that has reached its `max_age` is replaced without a moment in which nobody listens.

A second connection is made beside the first. Until its response head has been accepted, the first is read as before.
Then everything that has been received on the first is handed out, the first is closed, and the second is read.

Both are coroutines, which the task of the stream drives in turn: it waits for the descriptors of both, and until the
earlier deadline. So a loop still has one task for one stream. `close`, `restart`, `remove`, a fork and a signal handler
that raises end that task, and with it both connections. No host, and nothing above this module, knows of the second.

The second connection has a `Record` of its own, so `state` tells of the first until the change. The two share what
belongs to the endpoint: the secrets, the pace, the gate, the heartbeat, and the counts.

* The second connection costs what every connection costs: a token of the pace, and a place in the gate. If the pace
  allows none yet, the first connection is read alone until it does.
* If the attempt fails, the first connection is read alone until the pause that follows such a failure is over. No
  failure is for good here: the first connection proves that the stream can be had.
* If the first connection ends meanwhile, the attempt is given up, and all goes on as after any end.
* Once an attempt has failed and the first connection is twice `max_age` old, it is closed before the next attempt.
* An event that both connections bring is handed out once as far as ids allow: see `repeats`. A wake is given for
  the change, as for every connection.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.connection import Accepted, Live, broken, open_stream, read
from wire_rawsse.errors import StaleConnectionError, WireRawSSEError
from wire_rawsse.log import info, warn
from wire_rawsse.plan import Plan
from wire_rawsse.record import Record
from wire_rawsse.transport.addresses import AddressMemory
from wire_rawsse.transport.channel import Channel
from wire_rawsse.waits import READ, RECEIVE_BYTES, WAKE, Coroutine, Future, Receive, Step, Wait

if TYPE_CHECKING:
    from wire_rawsse.protocol.response import Response
    from wire_rawsse.services import HostServices

MOST_BYTES: Final = 1 << 26
"""Bytes after which a connection that always has more is closed: 64 MiB, more than a socket holds."""
WHOLE_WITHIN: Final = 1.0
"""Seconds that an event of which a part has come has to end, once the new connection has been accepted."""
LOOK_EVERY: Final = 0.25
"""Seconds between two looks whether a paused stream is still paused."""


class Renewal:
    """Replaces `live`, the present connection of a stream.

    `turn` and `pause_after` are those of `reconnect`: the wait for the gate, and the pause after a failed attempt.
    """

    def __init__(
        self,
        services: HostServices,
        plan: Plan,
        record: Record,
        sink: Any,
        live: Live,
        turn: Callable[..., Coroutine[None]],
        pause_after: Callable[..., float | None],
    ) -> None:
        self._services = services
        self._plan = plan
        self._record = record
        self._sink = sink
        self._live = live
        self._turn = turn
        self._pause_after = pause_after
        self._limit = live.clocks.expires_at + plan.timeouts.max_age
        """When the old connection is closed before another attempt, if one has failed."""
        self._second = new_record(record)
        self._second_sink = SecondSink(sink)

    def run(self) -> Coroutine[Accepted | None]:
        """Returns the new connection, whose place the caller reads from now on, or None if the stream has ended.

        Raises as `connection.read` does for the old connection.
        """
        services, record, live = self._services, self._record, self._live
        record.pace.ended(record.healthy_for, self._sink.delivered)
        pause = record.pace.delay(services.now())
        limit = math.inf
        while True:
            if pause:
                self._old_has_until(services.now() + pause)
                if not (yield from read(services, record, live, opening=False)):
                    return None
            if services.now() >= limit:
                record.renewed = True  # It is connected again at once.
                return None
            self._old_has_until(math.inf)
            result = yield from self._attempt()
            if not isinstance(result, WireRawSSEError):
                return result
            pause, limit = self._failed(result), self._limit

    def _old_has_until(self, expires_at: float) -> None:
        clocks = self._live.clocks
        clocks.expires_at = expires_at
        self._live.receive.deadline = clocks.deadline

    def _attempt(self) -> Coroutine[Accepted | WireRawSSEError | None]:
        """Make a second connection while the first is read. Returns it once it has taken over.

        None: the first has ended. An error: the attempt has failed, and the first is as it was.
        """
        services, record = self._services, self._record
        record.reconnect_count += 1
        self._sink.renewing()
        clock = SecondServices(services)
        new = Half(self._make(clock))
        old = Half(read(services, record, self._live, opening=False))
        accepted: Accepted | None = None
        taken_over = False
        try:
            new.resume()
            old.resume()
            yield from self._drive_both(old, new, clock)
            if not isinstance(new.result, WireRawSSEError):
                accepted = new.result
            if accepted is not None:
                yield from self._drain(old, accepted[0])
                self._live.channel.end(services)
                self._second.take_over(record, services.now())
                self._second_sink.hand_over()
                info(f"{record.url}: another connection has taken over, as this one has reached its max_age")
                if record.changed is not None:
                    record.changed()
                result, accepted = accepted, None
                taken_over = True
                return result
            while old.step is WAKE:
                yield WAKE
                old.resume()
            return None if old.over else new.result
        except StaleConnectionError:
            new.end()
            yield from self._drain(old, None)
            raise
        finally:
            new.end()
            old.end()
            self._second.leave_gate()
            if not taken_over:
                record.pace.ended(0.0)
            if accepted is not None:
                accepted[0].end(services)

    def _make(self, clock: SecondServices) -> Coroutine[Accepted | WireRawSSEError]:
        """One attempt. Its pause is over, and its token is paid for."""
        services, record = self._services, self._second
        if record.gate is not None:
            yield from self._turn(services, record, record.gate)
        record.begin(services.now())
        try:
            sink: Any = self._second_sink  # Nothing is fed to it.
            return (yield from open_stream(clock, self._plan, record, sink))
        except WireRawSSEError as error:
            return error
        except OSError as error:
            public = broken(record, error)
            public.__cause__ = error
            return public

    def _drive_both(self, old: Half, new: Half, clock: SecondServices) -> Coroutine[None]:
        """Until one of the two is over."""
        services, gate, beside = self._services, self._second.gate, self._second
        while not (old.over or new.over):
            if old.step is WAKE:
                before = services.now()
                yield WAKE
                clock.away += services.now() - before  # The caller's absence is no time of the second connection.
                old.resume()
                continue
            assert isinstance(old.step, Wait) and isinstance(new.step, Wait)
            ready = yield self._both(old.step, new.step, clock.away)
            old.answer(ready, services.now())
            if gate is not None and beside.phase == "waiting" and gate.has_turn(beside):
                new.resume()
            elif not old.over:
                new.answer(ready, clock.now())

    def _both(self, old: Wait, new: Wait, away: float) -> Wait:
        """The wait for whichever comes first."""
        now = self._services.now()
        new_deadline = new.deadline + away
        if self._services.paused():
            return Wait(new.interest, max(now, min(new_deadline, now + LOOK_EVERY)), new.future)
        deadline = max(now, min(old.deadline, new_deadline))
        wait = Both({**old.interest, **new.interest}, deadline, new.future, self._live.channel.sock)
        wait.renewed = old.renewed and old.deadline <= new_deadline
        old.renewed = False
        return wait

    def _drain(self, old: Half, new: Channel | None) -> Coroutine[None]:
        """Hand out what has been received on the old connection, and the rest of an event that has begun.

        The change is a wake, so a wake meanwhile is not given by itself: at each, the caller could be away for so long
        that more lies there when it is back.
        """
        services, lines = self._services, self._live.body.lines
        whole_until, due = services.now() + WHOLE_WITHIN, False
        left, left_in_step = MOST_BYTES, RECEIVE_BYTES
        # The new connection is watched for nothing, only so that a forked child closes its copy of it.
        beside = {} if new is None else {new.sock.fileno(): 0}
        try:
            while left > 0:
                while old.step is WAKE:
                    due = True
                    old.resume()
                if old.over:
                    break
                assert isinstance(old.step, Wait)
                if due and (lines.unfinished or services.paused()):
                    yield WAKE
                    due = False
                now = services.now()
                if services.paused():
                    yield Wait({}, now + LOOK_EVERY)
                    continue
                if isinstance(old.step, Receive) and left_in_step:
                    size = old.receive(old.step, left_in_step)
                    left, left_in_step = left - size, left_in_step - size
                    if size:
                        continue
                    if not lines.unfinished:
                        break
                left, left_in_step = left - 1, RECEIVE_BYTES
                # A poll, so that the loop and its other streams have a turn.
                interest = {**dict.fromkeys(old.step.interest, READ), **beside}
                wait = Wait(interest, max(now, whole_until) if lines.unfinished else now)
                wait.renewed = not lines.unfinished
                ready = yield wait
                if ready is None or beside.keys() & ready:
                    break
                old.answer(ready, now)
        except (WireRawSSEError, OSError):
            pass  # It has ended by itself, and is not needed any more.
        if due and new is None:
            yield WAKE

    def _failed(self, error: WireRawSSEError) -> float:
        """Note a failed attempt. Returns the seconds until the next."""
        services, record, failed = self._services, self._record, self._second
        pause = self._pause_after(services, self._plan, failed, self._second_sink, error, persistent=True)
        assert pause is not None
        failed.ended(error, pause, services.time())
        record.last_error = failed.last_error
        record.addresses._failed = failed.addresses._failed
        place = "" if failed.is_named_in(error) else f"{failed.url}: "
        warn(f"{place}{error}; the connection that has reached its max_age goes on, trying again in {pause:.1f} s")
        if record.changed is not None:
            record.changed()
        return pause


class SecondRecord(Record):
    """The record of a second connection of the same stream. Both share everything that belongs to the endpoint."""

    __slots__ = ()

    def __init__(self, first: Record) -> None:
        for name in Record.__slots__:
            setattr(self, name, getattr(first, name))
        self.phase, self.changed = "idle", None
        self.attempt = self.polls = 0
        self.addresses = AddressMemory()
        self.addresses._failed = dict(first.addresses._failed)

    def take_over(self, first: Record, now: float) -> None:
        """The second connection is the stream's from now on. Its record becomes a part of the first."""
        self.leave_gate()
        first.ends["renewal"] = first.ends.get("renewal", 0) + 1
        first._judge_address(None)
        if first.healthy_for >= first._healthy_after:
            first.attempt = 0
        first.goes_to(self.url)
        first.addresses = self.addresses
        first.refused, first.refused_before, first.redirected = self.refused, self.refused_before, self.redirected
        first._spoke = False
        first._accepted = first._last_life = now
        first.connections[0] += 1
        first.secrets.settle()


new_record: Callable[[Record], SecondRecord] = SecondRecord
"""The simulation replaces it, to observe it."""


class SecondServices:
    """The services of the host, with a clock that leaves out the time for which the first connection's wakes kept it
    away.
    """

    def __init__(self, services: HostServices) -> None:
        self._now = services.now
        self.away = 0.0
        """Seconds."""
        self.time, self.random, self.unwatched = services.time, services.random, services.unwatched
        self.paused, self.resolve = services.paused, services.resolve
        self.open, self.release = services.open, services.release

    def now(self) -> float:
        return self._now() - self.away


class SecondSink:
    """The sink of the second connection until it takes over: it keeps what the real one must hear then."""

    delivered = False

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self._opened: tuple[Response, bool] | None = None
        self._id: str | None = None

    @property
    def last_event_id(self) -> str:
        found: str = self._sink.last_event_id
        return found

    @property
    def retry_ms(self) -> int | None:
        found: int | None = self._sink.retry_ms
        return found

    def resume_from(self, last_event_id: str) -> None:
        self._id = last_event_id

    def opened(self, response: Response, id_left_out: bool) -> None:
        self._opened = response, id_left_out

    def hand_over(self) -> None:
        assert self._opened is not None
        if self._id is not None:
            self._sink.resume_from(self._id)
        self._sink.renewed(*self._opened)


class Both(Wait):
    """The wait of two connections. `sock` is that of the old one."""

    __slots__ = ("sock",)

    def __init__(
        self, interest: Mapping[int, int], deadline: float, future: Future[Any] | None, sock: socket.socket
    ) -> None:
        super().__init__(interest, deadline, future)
        self.sock = sock


class Half:
    """One of two coroutines that share a task."""

    __slots__ = ("_coroutine", "over", "result", "step")

    def __init__(self, coroutine: Coroutine[Any]) -> None:
        self._coroutine = coroutine
        self.step: Step | None = None
        """The present step; None before the first and after the last."""
        self.over = False
        self.result: Any = None
        """The value that it has returned."""

    def resume(self, value: Any = None, error: OSError | None = None) -> None:
        try:
            self.step = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
        except StopIteration as end:
            self.step, self.over, self.result = None, True, end.value

    def answer(self, ready: tuple[int, ...] | None, now: float) -> None:
        """Resume it if its wait was answered: by descriptors that are `ready`, its future, or its deadline."""
        step = self.step
        if not isinstance(step, Wait):
            return
        if step.future is not None and step.future.done:
            self.resume(())
        elif own := tuple(fd for fd in ready or () if fd in step.interest):
            if isinstance(step, Receive):
                self.receive(step)
            else:
                self.resume(own)
        elif ready is None and now >= step.deadline:
            self.resume()

    def receive(self, receive: Receive, most: int = RECEIVE_BYTES) -> int:
        """As the loop does it, but no wake is given before the bytes are parsed.

        Returns how many bytes it was, at most `most`. The end of the connection counts as one.
        """
        try:
            data = receive.recv(min(most, receive.bufsize))
        except BlockingIOError:
            return 0
        except OSError as error:
            self.resume(error=error)
            return 1
        if receive.is_wake is not None:
            receive.is_wake(data)
        self.resume(data)
        return len(data) or 1

    def end(self) -> None:
        self._coroutine.close()
