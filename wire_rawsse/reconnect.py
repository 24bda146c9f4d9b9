"""The loop that keeps any stream alive: connect, listen, back off, again.

It holds no state. The `Record` (attempts, pace) and the sink (the last event id) keep all that outlasts a connection.
So it can be started over at any moment, which happens when a signal handler of the host raises inside it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from wire_rawsse.connection import Accepted, Live, one_stream
from wire_rawsse.errors import ConnectionBrokenError, WireRawSSEError
from wire_rawsse.log import info, warn
from wire_rawsse.plan import Plan
from wire_rawsse.policy import decide, ended_by_peer, least_pause
from wire_rawsse.record import Record
from wire_rawsse.waits import WAKE, Coroutine, Pause, Wait

if TYPE_CHECKING:
    from wire_rawsse.gate import Gate
    from wire_rawsse.services import HostServices
    from wire_rawsse.sink import OwnedSink

SOON: Final = 1.0
"""Seconds. After a change of the network the next attempt comes within this time, at a random moment."""


class Restart(Exception):
    """Thrown into a stream's coroutine by `restart()`: drop the connection and make a new one at once."""


def reconnect_forever(
    services: HostServices, plan: Plan, record: Record, sink: OwnedSink, *, persistent: bool
) -> Coroutine[None]:
    """Make one connection after another: for ever if `persistent`, otherwise until an end that is for good.

    If `plan.reconnect` is False, the first end is the last, whatever its cause, and no second request is ever sent.
    The sink is told of every end, with its error. Only a `BaseException` that is no `Exception` is passed on.
    """
    fault: Exception | None = None
    while True:
        try:
            if fault is None or record.phase == "closed":
                record.start_over(services.time())
            # Here again although only one request is allowed: an internal error, or a signal handler that raised.
            if record.began and not plan.reconnect:
                yield from _end_for_good(services, record, sink, fault)
                return
            if fault is not None:
                yield from _after_a_fault(services, plan, record, sink, fault)
            yield from _one_after_another(services, plan, record, sink, persistent)
            return
        except Exception as error:
            fault = error
        except BaseException:  # Closed, or a signal handler of the host's raised in here.
            if record.phase != "closed":  # Closed already, while the consumer was being told of an end for good.
                record.ended(None, None, services.time())
            raise


def _end_for_good(services: HostServices, record: Record, sink: OwnedSink, fault: Exception | None) -> Coroutine[None]:
    """End the stream: an internal error, or a signal handler that raised, has interrupted its only request."""
    if fault is None:
        text = f"{record.url}: an exception interrupted the response, and reconnect=False allows no second request"
        error: WireRawSSEError = ConnectionBrokenError(text)
    else:
        error = internal_error(fault)
    record.ended(error, None, services.time())
    yield from _tell_end(sink, error, None)


def _after_a_fault(
    services: HostServices, plan: Plan, record: Record, sink: OwnedSink, fault: Exception
) -> Coroutine[None]:
    """An internal error between two connections must not end the stream: log it, and make the longest pause."""
    error, pause = internal_error(fault), plan.backoff.maximum
    try:
        record.ended(error, pause, services.time())
        warn(f"{record.url}: {error}; trying again in {pause:.1f} s")
        yield from _tell_end(sink, error, pause)
    except Exception:
        pass  # Perhaps the same fault again: it has been logged.
    try:
        yield Wait({}, services.now() + pause)
    except Restart:
        pass


def internal_error(fault: Exception) -> WireRawSSEError:
    """The public error for an unexpected exception, which becomes its cause."""
    error = WireRawSSEError(f"internal error ({type(fault).__name__}); please report it")
    error.__cause__ = fault
    return error


def _one_after_another(
    services: HostServices, plan: Plan, record: Record, sink: OwnedSink, persistent: bool
) -> Coroutine[None]:
    pause: float | None = record.pace.delay(services.now())
    while True:
        if pause:
            yield from _pause(services, record, pause)
        if record.gate is not None:
            yield from turn(services, record, record.gate)
        record.begin(services.now())
        sink.begin()
        error: WireRawSSEError | None = None
        try:
            yield from one_stream(services, plan, record, sink, renew if plan.reconnect else None)
        except Restart:
            record.restarted(services.time())
            yield from _tell_end(sink, None, 0)
            pause = 0
            continue
        except WireRawSSEError as reason:
            error = reason
        except Exception as fault:
            # An internal error must not end the stream: it is logged, and a connection is tried again.
            error = internal_error(fault)
        pause = pause_after(services, plan, record, sink, error, persistent) if plan.reconnect else None
        record.ended(error, pause, services.time())
        if pause is not None:
            _log_end(record, error, pause)
        restarted = yield from _tell_end(sink, error, pause)
        if pause is None:
            return
        if restarted:
            record.pace.excuse()
            pause = 0


def renew(
    services: HostServices, plan: Plan, record: Record, sink: OwnedSink, live: Live, doubt: WireRawSSEError | None
) -> Coroutine[Accepted | Live | None]:
    """See `renewal`, which is loaded by the first connection that is renewed."""
    from wire_rawsse.renewal import Renewal

    return Renewal(services, plan, record, sink, live, doubt, turn, pause_after).run()


def turn(services: HostServices, record: Record, gate: Gate) -> Coroutine[None]:
    """Wait until this stream may connect. A restart does not shorten that: the stream connects soon anyway."""
    delay = gate.delay(record.origin)
    if not delay and gate.enter(record, record.origin, services):
        return
    begins = services.now() + delay
    record.next_attempt_at = services.time() + delay
    record.enter("waiting", services.time())
    while services.now() < begins:
        try:
            yield Wait({}, begins)
        except Restart:
            pass
    gate.enter(record, record.origin, services)
    while not gate.has_turn(record):
        try:
            yield Wait({}, math.inf)
        except Restart:
            pass


def _pause(services: HostServices, record: Record, seconds: float) -> Coroutine[None]:
    """Wait for the next attempt. `restart()` ends this at once, a change of the network within `SOON`.

    A change of the network shortens neither the delay of the token bucket nor a delay that the server asked for.
    """
    now = services.now()
    until, server_until = now + seconds, now + record.least_pause
    # A polled server sets the time of the next request, so nothing but a restart ends this pause early.
    wait = Wait({}, until) if record.polls else Pause(until, record.addresses.families)
    try:
        while (yield wait) is not None:
            now = services.now()
            until = min(until, max(now + SOON * services.random(), now + record.pace.delay(now), server_until))
            record.next_attempt_at = services.time() + until - now
            wait = Wait({}, until)  # Another change of the network cannot bring the attempt forward again.
    except Restart:
        record.pace.excuse()


def pause_after(
    services: HostServices, plan: Plan, record: Record, sink: OwnedSink, error: WireRawSSEError | None, persistent: bool
) -> float | None:
    """Seconds until the next connection; None if there is none. Counts this connection in the backoff and the pace."""
    if record.next_pause is not None:
        pause, record.next_pause = record.next_pause, None
        return pause
    if ended_by_peer(error):
        record.ended_by_peer(services.now())
    healthy_for, delivered = record.healthy_for, sink.delivered
    record.pace.ended(healthy_for, delivered)
    decision = decide(
        error,
        attempt=record.attempt,
        healthy_for=healthy_for,
        retry_ms=sink.retry_ms,
        wall=services.time(),
        random=services.random(),
        backoff=plan.backoff,
        persistent=persistent,
        delivered=delivered,
        renewed=record.renewed,
    )
    record.attempt = decision.attempt
    record.least_pause = least_pause(error, sink.retry_ms, services.time())
    record.polls = 0 if decision.paced else record.polls + 1
    if decision.delay is None or not decision.paced:
        return decision.delay
    return max(decision.delay, record.pace.delay(services.now()))


def _log_end(record: Record, error: WireRawSSEError | None, pause: float) -> None:
    if error is None and record.renewed:
        info(f"{record.url}: connecting again, as the connection is twice its max_age old and could not be renewed")
    elif error is None and record.polls == 0:
        info(f"{record.url} ended the stream; connecting again in {pause:.1f} s")
    elif error is None and record.polls == 1:  # Said once, as it may happen twice a second from now on.
        info(f"{record.url} ended the stream after an event; connecting again in {pause:.1f} s, each time (polling)")
    elif error is not None:
        warn(f"{record.named(error)}; trying again in {pause:.1f} s")


def _tell_end(sink: OwnedSink, error: WireRawSSEError | None, retry_in: float | None) -> Coroutine[bool]:
    """Tell the sink. Returns whether the consumer asked for a restart when it heard of the end."""
    if sink.closed(error, retry_in):
        try:
            yield WAKE
        except Restart:
            return True
    return False
