"""Trouble of our own, and the ends of streams as an `EventSource` hears of them."""

from __future__ import annotations

import errno

from tests.simulation.answers import well
from tests.simulation.single import HTTPS, LATENCY, Single, stop
from wire_rawsse.errors import (
    ConnectionBrokenError,
    CredentialsError,
    DialError,
    ReadTimeout,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.event_source import Closed, EventSink, Opened

ROUND_TRIP = 2 * LATENCY
HOUR = 3600.0


# Trouble of our own.


def test_no_descriptor_left_is_an_error_to_retry() -> None:
    scene = Single()
    scene.at(0, setattr, scene.kernel, "most_descriptors", 2)
    scene.at(100, setattr, scene.kernel, "most_descriptors", 100)
    scene.run(150)
    assert isinstance(scene.end[1], DialError)
    assert scene.end[1].attempts[0][1].errno == errno.EMFILE
    assert scene.phase == "streaming"
    scene.close()


def test_no_descriptor_for_the_poller_is_waited_out() -> None:
    scene = Single()
    scene.kernel.most_descriptors = 1
    assert not scene.loop.run(5)
    assert scene.time == 5
    scene.kernel.most_descriptors = 100
    scene.run(10)
    assert scene.phase == "streaming"
    scene.close()


def test_a_host_that_looks_in_at_each_deadline_does_not_spin_while_there_is_no_descriptor() -> None:
    """Until the poller could be opened, the next attempt to open it is the deadline."""
    scene = Single()
    scene.kernel.most_descriptors = 1
    looks = 0
    while scene.time < 10:
        assert not scene.loop.run(0)
        looks += 1
        assert looks < 300
        scene.kernel.advance(max(0.0, scene.loop.deadline() - scene.kernel.now))
    scene.kernel.most_descriptors = 100
    scene.run(20)
    assert scene.phase == "streaming"
    scene.close()


def test_no_room_in_the_poller_is_an_error_to_retry() -> None:
    scene = Single()
    scene.loop.fileno()
    scene.kernel.most_watched = 1
    scene.at(100, setattr, scene.kernel, "most_watched", 100)
    scene.run(150)
    assert isinstance(scene.end[1], WireRawSSEError)
    assert "internal" not in str(scene.end[1])
    assert scene.phase == "streaming"
    scene.close()


def test_a_callable_that_raises_is_asked_again() -> None:
    asked: list[float] = []

    def token() -> str:
        asked.append(scene.time)
        if len(asked) < 4:
            raise OSError("no token yet")
        return "t"

    scene = Single(bearer_token=token)
    scene.run(60)
    assert asked == [0, 0.75, 2.25, 5.25]
    assert all(isinstance(error, CredentialsError) for _, error, _ in scene.only.ends)
    assert scene.phase == "streaming"
    scene.close()


def test_the_wall_clock_moves_time_stamps_and_nothing_else() -> None:
    scene = Single()
    scene.at(40, setattr, scene.kernel, "wall_ahead", 0.0)
    scene.at(100, setattr, scene.kernel, "wall_ahead", 4e9)
    scene.at(301, stop, scene.relay)
    scene.run(400)
    last = scene.ends[0] - 75
    assert 270 < last <= 301
    assert isinstance(scene.end[1], ReadTimeout)
    scene.close()


# Clean and dirty ends, as an `EventSource` hears of them.


def test_a_gap_is_told_where_nothing_is_replayed() -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(well(), sink=sink)
    scene.at(10, scene.relay.post)
    scene.at(20, lambda: scene.visit.cut())
    scene.at(20.5, scene.relay.post)
    scene.at(30, scene.relay.post)
    scene.run(40)
    kinds = [type(item).__name__ for item in sink.items]
    assert kinds == ["Opened", "Event", "Closed", "Opened", "Event"]
    closed = sink.items[2]
    assert isinstance(closed, Closed) and isinstance(closed.error, TruncatedError) and closed.retry_in == 0.75
    assert isinstance(sink.items[3], Opened)
    scene.close()


# Ends behind TLS.


def test_a_reset_behind_tls_is_told_as_one() -> None:
    scene = Single(url=HTTPS)
    scene.at(40, lambda: scene.visit.reset())
    scene.run(41)
    check_broken(scene, errno.ECONNRESET)


def test_a_peer_that_the_kernel_gives_up_behind_tls_is_told_as_one() -> None:
    scene = Single(url=HTTPS)
    scene.run(10)
    scene.there.gone = 1
    scene.visit.lose()
    scene.run(74)
    check_broken(scene, errno.ETIMEDOUT)


def test_an_end_behind_tls_that_nobody_announced_is_told_as_one() -> None:
    scene = Single(url=HTTPS)
    scene.at(40, lambda: scene.visit.cut())
    scene.run(41)
    assert isinstance(scene.end[1], TruncatedError)
    scene.close()


def check_broken(scene: Single, code: int) -> None:
    error = scene.end[1]
    assert isinstance(error, ConnectionBrokenError) and isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == code
    scene.close()


def test_health_runs_from_the_head_to_the_last_byte_of_the_body() -> None:
    """Neither a slow connect counts nor the silence at the end. The relay's heartbeats come every 30 s."""
    scene = Single(latency=3.0)
    scene.at(80, stop, scene.relay)
    scene.run(80)
    [accepted] = [when for when, phase in scene.phases if phase == "streaming"]
    assert accepted == 4 * 3.0
    scene.run(accepted + 60 + 75 + 0.25)
    assert isinstance(scene.end[1], ReadTimeout)
    assert scene.end[0] - 75 - accepted == scene.only.record.healthy_for == 60
    scene.close()
