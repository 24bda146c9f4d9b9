"""How long a stream may be silent, when it may end although the relay is well, and whether its end is told truly."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from tests.simulation.faults_of_relays import FASTEST_DRIP
from tests.simulation.habits import SPREAD
from tests.simulation.lateness import EARLY, slack
from wire_rawsse.errors import (
    ConnectionBrokenError,
    ConnectTimeout,
    HeartbeatTimeout,
    RateTimeout,
    ReadTimeout,
    ResponseTimeout,
    TruncatedError,
    WireRawSSEError,
)

if TYPE_CHECKING:
    from tests.simulation.network import Socket
    from tests.simulation.watch import Watch


def longest(watch: Watch, sock: Socket) -> float:
    """`read`, or less between two lines of a server that sends a heartbeat after its events, too.

    One in doubt has until `read` if no attempt fails before: another connection is being made beside it.
    """
    heartbeat, read, connection = watch.record.heartbeat, watch.plan.timeouts.read, sock.connection
    if watch.second.in_doubt(max(sock.last_life, watch.accepted)):
        return read
    in_line = watch.relay.tls or sock.line_since is not None or connection is None or connection.drip_from is not None
    return read if in_line or not heartbeat.follows_events else heartbeat.limit(read)


def limit_of(watch: Watch, error: HeartbeatTimeout) -> float:
    """Seconds. Only comments teach a heartbeat, and a relay that sends it in time is never dropped for it."""
    habit = watch.relay.habit
    least = 1.5 * (1 - SPREAD) * watch.relay.heartbeat * habit.shortest + 2
    if error.seconds < min(least, watch.plan.timeouts.read) - EARLY:
        watch.fail(f"silent for {error.seconds:.3f} s is too long for a heartbeat, and {least:.3f} s are allowed")
    if watch.in_fair_weather():
        watch.false_alarms += 1
        if watch.false_alarms > habit.false_alarms:
            watch.fail(f"false alarm number {watch.false_alarms} of a relay whose habit is {habit.name}")
    return error.seconds


def deadlines_of_a_drip(watch: Watch, since: float) -> int:
    """Two deadlines, each with doubts of its own, and more for a late host, for which the drip may look fast: its clock
    leaves the absences out, and the bytes that came meanwhile count for `min_rate`.
    """
    timeouts = watch.plan.timeouts
    if not timeouts.min_rate or not slack(watch.kernel, since):
        return 2
    brought = (watch.kernel.now - since) / (FASTEST_DRIP * timeouts.read)
    return 2 + int(brought / (timeouts.min_rate * timeouts.read))


def expired(watch: Watch, error: WireRawSSEError | None) -> bool:
    """Whether the connection is twice its `max_age` old: it could not be replaced."""
    age, live = watch.plan.timeouts.max_age, watch.live
    if error is not None or not age or live is None or live.ended:
        return False
    return watch.kernel.now >= watch.accepted + 1.9 * age - EARLY


def check_left(watch: Watch, since: float, clock: float) -> None:
    """A host that returns after a deadline and finds its answer has the time it had left at its last poll."""
    away = [(back, seconds) for back, seconds in watch.kernel.absences if back > since]
    if len(away) == 1:
        (back, seconds) = away[0]
        left = clock - max(0.0, back - seconds - since)
        found = abs(watch._since_before - back) < EARLY
        if found and back > since + clock and watch.kernel.now - back < left - EARLY:
            watch.fail(f"was away for {seconds:.3f} s, had {left:.3f} s left, and gave up all the same")


def check_cause(watch: Watch, error: WireRawSSEError) -> None:
    """The reported end of a live stream is the one that its kernel gave."""
    sock = watch.live
    if sock is None or not sock.broke:
        return
    if isinstance(error, TruncatedError):
        watch.fail(f"broken by {errno.errorcode[sock.broke]}, and told as an end: {error}")
    if isinstance(error, ConnectionBrokenError) and not slack(watch.kernel, sock.heard_at):
        told = error.__cause__
        if not isinstance(told, OSError) or told.errno != sock.broke:
            watch.fail(f"broken by {errno.errorcode[sock.broke]}, and told as {told!r}")


def not_too_early(watch: Watch, error: WireRawSSEError) -> None:
    """Fails if the clock that this error names has not run out."""
    timeouts, now = watch.plan.timeouts, watch.kernel.now
    if isinstance(error, ConnectTimeout):
        passed, clock = now - watch._hop_since, timeouts.connect
        check_left(watch, watch._hop_since, clock)
    elif isinstance(error, ResponseTimeout):
        passed, clock = now - watch._since_before, error.seconds
        if not timeouts.response <= clock <= max(timeouts.response, timeouts.read):
            watch.fail(f"waited {clock} s for a head")
    elif isinstance(error, ReadTimeout):
        assert watch.live is not None
        passed, clock = now - max(watch.live.last_life, watch.accepted), timeouts.read
        if isinstance(error, HeartbeatTimeout):
            clock = limit_of(watch, error)
        doubted = watch.stream.task.out_of_grace  # The drip may just have ended.
        dripped = watch.live.connection is None or watch.live.connection.drip_from is not None
        if watch.live.unread_life and not (dripped or doubted):
            watch.fail("called silent, and its bytes lay there unread")
    elif isinstance(error, RateTimeout):
        assert watch.live is not None
        since = watch.live.line_since
        if watch.relay.tls:
            return  # The content of records is not checked here.
        if since is None:
            watch.fail("called slow inside a line, and stood between two")
        passed, clock = now - since, timeouts.read
    else:
        return
    if passed < clock - EARLY:
        watch.fail(f"{type(error).__name__} after {passed:.3f} s of {clock:g} s")
