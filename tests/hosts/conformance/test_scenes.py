"""The scenes that every host passes; see this package's page for what they are about."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator

import pytest

from tests.hosts.conformance import many
from tests.hosts.conformance.hosts import HOSTS, NOTHING, Host, RealHost
from tests.hosts.conftest import Serve
from tests.hosts.support import AT_ONCE, EVENT, PATIENCE
from tests.support.aio import libuv
from wire_rawsse.errors import ClosedError

Make = Callable[..., Host]
__all__ = ["libuv"]  # A fixture.


@pytest.fixture(
    params=[(host, tls) for host in (*HOSTS, *many.HOSTS) for tls in (False, True)],
    ids=lambda one: one[0].name + "-tls" * one[1],
)
def make(request: pytest.FixtureRequest, serve: Serve, ca_file: str, libuv: None) -> Iterator[Make]:
    """`make(streams=1, max_age=0)` is a host whose streams are open, and whose program has had the wakes for that."""
    kind: type[Host]
    kind, tls = request.param
    made: list[Host] = []
    needs = request.node.get_closest_marker("needs")
    if needs is not None and needs.args[0] not in kind.can:
        pytest.skip(f"{kind.name}: no {needs.args[0]}")

    def make(streams: int = 1, max_age: float = 0) -> Host:
        host = kind(serve, tls, ca_file, streams, max_age)
        made.append(host)
        end = host.now() + PATIENCE
        while [host.phase(number) for number in range(streams)] != ["streaming"] * streams:
            host.wait(0.05)
            for number in range(streams):
                if host.phase(number) == "streaming":
                    host.say(NOTHING, number)  # The others may take long on a busy machine.
            assert host.now() < end
        while host.wait(0.05):
            pass
        for number in range(streams):
            host.say(NOTHING, number)
        return host

    yield make
    for host in made:
        host.end()


def wakes(host: Host, seconds: float) -> int:
    """Be the program for so long, and count."""
    end, count = host.now() + seconds, 0
    while (left := end - host.now()) > 0:
        count += host.wait(left)
    return count


def until(host: Host, condition: Callable[[], bool]) -> None:
    end = host.now() + PATIENCE
    while not condition():
        assert host.now() < end, "it does not come true"
        host.wait(0.01)


# A wake is given once and at once, and what was received is parsed.


def test_an_event_is_one_wake(make: Make) -> None:
    host = make()
    for _ in range(3):
        host.say(EVENT)
        assert host.wait(PATIENCE)
        assert wakes(host, host.read / 8) == 0


def test_a_heartbeat_is_none(make: Make) -> None:
    host = make()
    host.say(NOTHING)
    assert wakes(host, host.read / 4) == 0


def test_what_was_received_is_parsed_before_the_next_sleep(make: Make) -> None:
    host = make()
    host.say(EVENT)
    assert host.wait(PATIENCE)
    host.wait(0)
    until(host, host.events_seen)  # Of a thread, it is another that parses.


def test_a_large_event_is_drained_before_the_next_sleep(make: Make) -> None:
    """Larger than one reception and one TLS record. Its one data line is at the beginning, what ends it at the end."""
    host = make()
    host.say(b"data: " + b"x" * 50_000 + b"\n")
    host.say(b"\n" + NOTHING)
    assert host.wait(PATIENCE)
    until(host, host.events_seen)
    host.say(EVENT)
    assert host.wait(PATIENCE)


# A deadline is judged only by a look that began after it.


def test_silence_ends_a_stream_when_its_time_is_up(make: Make) -> None:
    host = make()
    host.say(NOTHING)
    began = host.now()
    while host.phase() == "streaming":
        host.wait(host.read / 20)
        assert host.now() - began <= host.read + 1 + host.slack
    assert host.now() - began >= host.read * 0.99


@pytest.mark.needs("late")
def test_a_healthy_stream_outlives_a_busy_program(make: Make) -> None:
    host = make()
    for _ in range(2):
        host.wait(0)
        host.say(NOTHING)
        host.away(3 * host.read)
        assert not host.wait(0)
        assert not host.wait(0)
        assert host.phase() == "streaming" and host.connections() == 1


@pytest.mark.needs("late")
def test_a_dead_stream_is_dropped_at_once_by_a_program_that_was_busy(make: Make) -> None:
    host = make()
    wakes(host, host.read / 8)
    host.away(3 * host.read)
    host.wait(0)
    host.wait(0)
    assert host.phase() == "backing off"


@pytest.mark.needs("late")
def test_an_event_that_came_in_an_absence_is_a_wake_at_the_first_look(make: Make) -> None:
    host = make()
    wakes(host, host.read / 8)
    host.say(EVENT)
    host.away(3 * host.read)
    assert host.wait(0)
    assert host.phase() == "streaming"


# A flood of one stream keeps nobody from their turn.


def test_the_program_has_its_turn_under_a_flood(make: Make) -> None:
    host = make()
    stop = host.flood(PATIENCE)
    try:
        for _ in range(5):
            began = host.now()
            host.wait(0.05)
            assert host.now() - began <= AT_ONCE
        host.close()
        assert host.now() - began <= 2 * AT_ONCE
        assert not host.left_open()
    finally:
        stop()


def test_other_streams_have_their_turn_under_a_flood(make: Make) -> None:
    host = make(streams=2)
    stop = host.flood(PATIENCE, 0)
    try:
        host.say(EVENT, 1)
        assert host.wait(PATIENCE)
        until(host, lambda: host.events_seen(1))
    finally:
        stop()


# Several streams.


def test_each_of_several_streams_wakes(make: Make) -> None:
    host = make(streams=5)
    for stream in range(5):
        host.say(EVENT, stream)
        assert host.wait(PATIENCE)
        until(host, lambda stream=stream: host.events_seen(stream))  # type: ignore[misc]  # mypy infers no default


def test_a_dead_stream_ends_and_the_others_live(make: Make) -> None:
    host = make(streams=5)
    end = host.now() + PATIENCE
    while host.phase(2) == "streaming":
        for stream in (0, 1, 3, 4):
            host.say(NOTHING, stream)
        host.wait(host.read / 10)
        assert host.now() < end
    for stream in (0, 1, 3, 4):
        assert host.phase(stream) == "streaming" and host.connections(stream) == 1


def test_more_ready_streams_than_one_poll_reports_are_all_heard(make: Make) -> None:
    count = 40
    host = make(streams=count)
    for stream in range(count):
        host.say(EVENT, stream)
    until(host, lambda: all(host.events_seen(stream) for stream in range(count)))


# `close` works in every phase and leaves nothing; `restart` makes a new connection.


@pytest.mark.parametrize("phase", ["idle", "streaming", "mid-event", "backing off"])
def test_close_leaves_nothing(make: Make, phase: str) -> None:
    host = make()
    if phase == "mid-event":
        host.say(b"data: half an eve")
        host.wait(0.01)
    if phase == "backing off":
        host.hang_up()
        until(host, lambda: host.phase() == "backing off")
    if phase == "streaming":
        host.say(EVENT)
    host.close()
    assert not host.left_open()


def test_a_restart_makes_a_new_connection(make: Make) -> None:
    host = make()
    host.restart()
    assert host.wait(PATIENCE)
    until(host, lambda: host.phase() == "streaming")
    assert host.connections() == 2
    host.say(EVENT)
    assert host.wait(PATIENCE)


def test_a_restart_ends_a_pause(make: Make) -> None:
    host = make()
    host.hang_up()
    until(host, lambda: host.phase() == "backing off")
    host.restart()
    assert host.wait(PATIENCE)
    until(host, lambda: host.phase() == "streaming")


# A renewal.


def test_a_connection_is_renewed_without_a_moment_in_which_none_is_open(make: Make) -> None:
    host = make(max_age=1.0)
    end = host.now() + PATIENCE
    woken = 0
    while host.connections() < 3:
        woken += host.wait(0.02)
        assert host.phase() == "streaming" and host.now() < end
    woken += wakes(host, 0.1)
    assert woken >= 2  # One for each change.
    host.say(EVENT)
    assert host.wait(PATIENCE)
    host.close()
    assert not host.left_open()


# Forks and signal handlers.


@pytest.mark.needs("fork")
def test_a_forked_child_refuses_and_leaves_the_parent_alone(make: Make) -> None:
    host = make()
    assert isinstance(host, RealHost)
    with warnings.catch_warnings():
        # From 3.12 on, on account of the servers' threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            host.look()
        except ClosedError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    host.say(EVENT)
    assert host.wait(PATIENCE)
    assert host.connections() == 1


@pytest.mark.needs("signal")
def test_a_handler_that_raises_in_the_sleep_costs_nothing(make: Make) -> None:
    host = make()
    assert host.strike()
    host.say(EVENT)
    assert host.wait(PATIENCE)
    assert host.connections() == 1
