"""Make before break: a connection is replaced without a moment in which nobody listens.

This is done with a connection that has reached its `max_age`, and with one that is in doubt (`doubt`, an error): it was
silent for longer than its heartbeat allows, or new connections would leave from another address.

A second connection is made beside the first. Until its response head has been accepted, the first is read as before.
Then everything that has been received on the first is handed out, the first is closed, and the second is read.

Both are coroutines, which the task of the stream drives in turn: it waits for the descriptors of both, and until the
earlier deadline. So a loop still has one task for one stream. `close`, `restart`, `remove`, a fork and a signal handler
that raises end that task, and with it both connections. No host, and nothing above this module, knows of the second.

The second connection has a `Record` of its own, so `state` tells of the first until the change. The two share what
belongs to the endpoint: the secrets, the pace, the gate, the heartbeat, and the counts.

* The second connection costs what every connection costs: a token of the pace, and a place in the gate. If the pace
  allows none yet, the first connection is read alone until it does.
* If the first connection ends meanwhile, the attempt is given up, and all goes on as after any end.
* An event that both connections bring is handed out once as far as ids allow: see `repeats`. A wake is given for
  the change, as for every connection.

At its `max_age`:

* If the attempt fails, the first connection is read alone until the pause that follows such a failure is over. No
  failure is for good here: the first connection proves that the stream can be had.
* Once an attempt has failed and the first connection is twice `max_age` old, it is closed before the next attempt.

In doubt:

* The attempt begins after the pause that would follow if the first connection had ended with that error. Meanwhile only
  `read` limits the silence of the first connection, so `read` after its last byte it is over in any case.
* If the first connection speaks before the second is accepted, it goes on, and the attempt is given up.
* If the attempt fails, there are two witnesses: the first connection ends with the doubt's error, and the next attempt
  follows after the pause that the failure calls for. A refusal for good ends the stream as it always does.
* A doubt that begins while a second connection is made at the `max_age` changes only what follows from a failure. If an
  attempt has failed before, a doubt is the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse import second
from wire_rawsse.connection import Accepted, Live, broken, open_stream, read
from wire_rawsse.errors import HeartbeatTimeout, StaleConnectionError, WireRawSSEError
from wire_rawsse.halves import Both, Half
from wire_rawsse.log import info, warn
from wire_rawsse.plan import Plan
from wire_rawsse.record import Record
from wire_rawsse.second import SecondServices, SecondSink
from wire_rawsse.waits import READ, RECEIVE_BYTES, WAKE, Coroutine, Receive, Wait

if TYPE_CHECKING:
    from wire_rawsse.services import HostServices

MOST_BYTES: Final = 1 << 26
"""Bytes after which a connection that always has more is closed: 64 MiB, more than a socket holds."""
WHOLE_WITHIN: Final = 1.0
"""Seconds that an event of which a part has come has to end, once the new connection has been accepted."""
PAUSE_LOOK_EVERY: Final = 0.25
"""Seconds between two looks whether a paused stream is still paused."""


class Renewal:
    """Replaces `live`, the present connection of a stream: for a `doubt`, or without one because of its age.

    `turn` and `pause_after` are those of `reconnect`: the wait for the gate, and the pause after a failed attempt.
    """

    def __init__(
        self,
        services: HostServices,
        plan: Plan,
        record: Record,
        sink: Any,
        live: Live,
        doubt: WireRawSSEError | None,
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
        self._due = doubt is None
        """The old connection has reached its `max_age`, so it is replaced even if it is alive."""
        self._expires_at = live.clocks.expires_at
        self._limit = self._expires_at + plan.timeouts.max_age
        """When the old connection is closed before another attempt, if one has failed."""
        self._has_failed = False
        self._doubt: WireRawSSEError | None = None
        self._attempts_before = record.attempt
        """`Record.attempt` before the doubt."""
        if doubt is None:
            record.pace.ended(record.healthy_for, sink.delivered)
            self._pause = record.pace.delay(services.now())
        else:
            self._pause = self._begin_doubt(doubt)
        self._second = second.new_record(record)
        self._second_sink = SecondSink(sink)

    def run(self) -> Coroutine[Accepted | Live | None]:
        """Returns the new connection, whose place the caller reads from now on, or the old one if it goes on, or None
        if the stream has ended.

        Raises as `connection.read` does for the old connection, and the doubt if no other connection can be made.
        """
        services, record, pause = self._services, self._record, self._pause
        while True:
            if pause and not (yield from self._read_old(pause)):
                return None
            if self._is_needless():
                return self._go_on()
            if self._has_failed and services.now() >= self._limit:
                record.renewed = True  # It is connected again at once.
                return None
            self._old_has_until(math.inf)
            result = yield from self._attempt()
            if not isinstance(result, WireRawSSEError):
                return result
            if self._doubt is not None:
                raise self._second_witness(result, self._doubt)
            self._has_failed = True
            pause = self._failed(result)

    # The doubt.

    def _begin_doubt(self, error: WireRawSSEError) -> float:
        """Returns the seconds until the attempt."""
        services, record = self._services, self._record
        if self._doubt is None:
            self._attempts_before = record.attempt
        pause = self._pause_after(services, self._plan, record, self._sink, error, persistent=True)
        assert pause is not None
        self._note_doubt(error, pause)
        return pause

    def _note_doubt(self, error: WireRawSSEError, pause: float) -> None:
        self._doubt = error.with_traceback(None)  # Which would keep what has been read alive.
        self._live.clocks.be_patient()
        self._live.receive.deadline = self._live.clocks.deadline
        self._record.doubted(error, pause)

    def _is_needless(self) -> bool:
        """Whether no other connection is needed any more. If the old one has spoken, the doubt is over."""
        record = self._record
        if self._doubt is not None and record.has_spoken:
            self._doubt = None
            record.attempt = self._attempts_before
            warn(f"{record.url}: the connection that was in doubt has spoken, and goes on")
        return self._doubt is None and not self._due

    def _go_on(self) -> Live:
        """The old connection is not replaced."""
        self._second.given_up()
        self._record.pace.excuse()
        self._old_has_until(self._expires_at)
        return self._live

    def _second_witness(self, failure: WireRawSSEError, doubt: WireRawSSEError) -> WireRawSSEError:
        """The old connection is silent, and another one cannot be made. Returns the error that ends the stream's
        connection.
        """
        record, failed = self._record, self._second
        record.refused = failed.refused
        record.addresses.settle()  # They were judged when the doubt began; the failed attempt is newer.
        if failure.permanent and not failed.renewed:
            failed.refused_for_good(record, doubt, failure)
            return failure
        failed.attempt = record.attempt
        record.next_pause = self._failed(failure)
        record.attempt, record.least_pause = failed.attempt, failed.least_pause
        return doubt

    # The two connections.

    def _read_old(self, seconds: float) -> Coroutine[bool]:
        """Read the old connection for so long, or until the attempt for a doubt that begins. False: it has ended."""
        services = self._services
        until = services.now() + seconds
        while True:
            self._old_has_until(until)
            try:
                return (yield from read(services, self._record, self._live, opening=False))
            except WireRawSSEError as error:
                if self._has_failed or not error.in_doubt:
                    raise
                until = services.now() + self._begin_doubt(error)

    def _old_has_until(self, expires_at: float) -> None:
        clocks = self._live.clocks
        clocks.expires_at = expires_at
        self._live.receive.deadline = clocks.deadline

    def _attempt(self) -> Coroutine[Accepted | Live | WireRawSSEError | None]:
        """Make a second connection while the first is read. Returns it once it has taken over.

        None: the first has ended. `Live`: it goes on, as it was in doubt and has spoken. An error: the attempt has
        failed, and the first is as it was.
        """
        services, record = self._services, self._record
        record.reconnect_count += 1
        self._sink.renewing()
        clock = SecondServices(services)
        new = Half(self._make(clock))
        self._old = Half(read(services, record, self._live, opening=False))
        accepted: Accepted | None = None
        taken_over = False
        try:
            new.resume()
            self._old.resume()
            yield from self._drive_both(new, clock)
            old = self._old
            if not isinstance(new.result, WireRawSSEError):
                accepted = new.result
            if accepted is not None:
                yield from self._drain(old, wake=False)
                self._take_over()
                result, accepted = accepted, None
                taken_over = True
                return result
            yield from self._look_once_more(old)
            if old.over:
                return None
            return self._go_on() if self._is_needless() else new.result
        except StaleConnectionError:
            new.end()
            yield from self._drain(self._old, wake=True)
            raise
        finally:
            new.end()
            self._old.end()
            self._second.leave_gate()
            if not taken_over:
                self._sink.not_renewed()
                record.pace.ended(0.0)
            if accepted is not None:
                accepted[0].end(services)

    def _take_over(self) -> None:
        record, doubt = self._record, self._doubt
        self._live.channel.end(self._services)
        self._second.take_over(record, self._services.now(), doubt)
        self._second_sink.hand_over(doubt)
        if doubt is None:
            info(f"{record.url}: another connection has taken over, as this one has reached its max_age")
        else:  # As loud as the doubt, so that both or none are seen.
            warn(f"{record.url}: another connection has taken over, as this one was in doubt")
        if record.changed is not None:
            record.changed()

    def _look_once_more(self, old: Half) -> Coroutine[None]:
        """The attempt is over. Bytes that came meanwhile on a connection in doubt end the doubt."""
        if self._doubt is not None:
            while self._services.paused():  # A stream that is not received from cannot be called silent.
                yield Wait({}, self._services.now() + PAUSE_LOOK_EVERY)
            if isinstance(old.step, Receive):
                old.receive(old.step)
        while old.step is WAKE:
            yield WAKE
            old.resume()

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

    def _drive_both(self, new: Half, clock: SecondServices) -> Coroutine[None]:
        """Until one of the two is over, or no second connection is needed any more."""
        services, gate, beside = self._services, self._second.gate, self._second
        while not (self._old.over or new.over):
            old = self._old
            if old.step is WAKE:
                before = services.now()
                yield WAKE
                clock.away += services.now() - before  # The caller's absence is no time of the second connection.
                old.resume()
                continue
            if gate is not None and beside.phase == "waiting" and gate.has_turn(beside):
                new.resume()
                continue
            assert isinstance(old.step, Wait) and isinstance(new.step, Wait)
            ready = yield self._both(old.step, new.step, clock.away)
            if not services.paused():  # A paused stream is not received from, so it cannot be judged.
                self._answer_old(ready)
            if self._is_needless():
                break
            if not self._old.over:
                new.answer(ready, clock.now())

    def _answer_old(self, ready: tuple[int, ...] | None) -> None:
        try:
            self._old.answer(ready, self._services.now())
        except HeartbeatTimeout as error:  # The attempt that is under way for the age is one for the doubt, too.
            self._note_doubt(error, 0.0)
            self._old = Half(read(self._services, self._record, self._live, opening=False))
            self._old.resume()

    def _both(self, old: Wait, new: Wait, away: float) -> Wait:
        """The wait for whichever comes first."""
        now = self._services.now()
        new_deadline = new.deadline + away
        if self._services.paused():
            return Wait(new.interest, max(now, min(new_deadline, now + PAUSE_LOOK_EVERY)), new.future)
        deadline = max(now, min(old.deadline, new_deadline))
        wait = Both({**old.interest, **new.interest}, deadline, new.future, self._live.channel.sock)
        wait.renewed = old.renewed and old.deadline <= new_deadline
        old.renewed = False
        return wait

    def _drain(self, old: Half, *, wake: bool) -> Coroutine[None]:
        """Hand out what has been received on the old connection, and the rest of an event that has begun.

        The change is a wake, so a wake meanwhile is not given by itself: at each, the caller could be away for so long
        that more lies there when it is back. `wake`: no change follows, so give it at the end.
        """
        services, lines = self._services, self._live.body.lines
        whole_until, due = services.now() + WHOLE_WITHIN, False
        left, left_in_step = MOST_BYTES, RECEIVE_BYTES
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
                    yield Wait({}, now + PAUSE_LOOK_EVERY)
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
                interest = dict.fromkeys(old.step.interest, READ)
                wait = Wait(interest, max(now, whole_until) if lines.unfinished else now)
                wait.renewed = not lines.unfinished
                ready = yield wait
                if ready is None:
                    break
                old.answer(ready, now)
        except (WireRawSSEError, OSError):
            pass  # It has ended by itself, and is not needed any more.
        if due and wake:
            yield WAKE

    def _failed(self, error: WireRawSSEError) -> float:
        """Note a failed attempt. Returns the seconds until the next."""
        services, record, failed = self._services, self._record, self._second
        pause = self._pause_after(services, self._plan, failed, self._second_sink, error, persistent=True)
        assert pause is not None
        failed.ended(error, pause, services.time())
        record.last_error = failed.last_error
        record.addresses.learn_from(failed.addresses)
        if self._doubt is None:
            follows = f"the connection that has reached its max_age goes on, trying again in {pause:.1f} s"
        else:
            follows = "the connection that is in doubt is closed"
        warn(f"{failed.named(error)}; {follows}")
        if record.changed is not None:
            record.changed()
        return pause
