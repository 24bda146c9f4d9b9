"""Hosts that are late, stopped, or change their mind: whose clock runs when, to the last bit, and what is kept."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.simulation.answers import drip, dripping_head, garbage_behind, short_lived, silence, well
from tests.simulation.relay import Relay, Visit
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, stop
from wire_rawsse import Timeouts
from wire_rawsse.errors import (
    CredentialsError,
    DialError,
    RateTimeout,
    ReadTimeout,
    ResponseTimeout,
    Truncated,
    WireRawSSEError,
)
from wire_rawsse.source import Closed, EventSink, Opened
from wire_rawsse.streams import WakeSink

ROUND_TRIP = 2 * LATENCY
HOUR = 3600.0


# A host that is busy elsewhere.


@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_a_host_that_was_busy_for_an_hour_keeps_a_healthy_stream(url: str) -> None:
    scene = Single(url=url)
    scene.run(100)
    scene.kernel.advance(HOUR)
    scene.relay.post()
    scene.run(100 + HOUR + 60)
    assert scene.only.ends == []
    assert scene.phase == "streaming"
    scene.close()


def test_a_host_that_was_busy_for_an_hour_drops_a_dead_stream_at_once() -> None:
    scene = Single()
    scene.run(100)
    stop(scene.relay)
    scene.loop.run(1)  # Takes what is under way.
    scene.kernel.advance(HOUR)
    back = scene.time
    scene.run(back + 0.5)
    ended, error, _ = scene.end
    assert isinstance(error, ReadTimeout)
    assert ended == back
    scene.close()


def test_silence_counts_anew_from_what_a_late_host_found() -> None:
    """Nobody can know when it came, so the benefit of the doubt is the stream's."""
    scene = Single()
    scene.relay.heartbeat = 1e9
    scene.run(10)
    scene.at(20, lambda: scene.visit.write(b":\n"))
    scene.kernel.advance(HOUR)
    back = scene.time
    scene.run(back + 200)
    # The clock resumed where the host had last looked; what it has left of `read` begins there.
    assert scene.ends[0] == back + 75
    scene.close()


@pytest.mark.parametrize("url, proxy", [(HTTP, False), (HTTPS, False), (HTTPS, True)])
def test_a_host_that_looks_in_every_one_and_a_half_seconds_connects_within_one(url: str, proxy: bool) -> None:
    scene = Single(url=url, proxy=proxy, timeouts=Timeouts(connect=1, response=1))
    scene.look(1.5, 30)
    assert scene.phase == "streaming"
    assert scene.only.ends == []
    scene.close()


@pytest.mark.parametrize("url, proxy", [(HTTPS, False), (HTTPS, True)])
@pytest.mark.parametrize("tick", [0.0, 2.0**-10])
def test_a_host_that_looks_in_just_when_a_deadline_passes_is_late_for_it(url: str, proxy: bool, tick: float) -> None:
    """Twice every 5 s, as a daemon may, and 10 s are allowed: what the third finds would be judged by the fourth."""
    scene = Single(url=url, proxy=proxy)
    scene.kernel.tick = tick
    scene.found.delay = 1.0
    for _ in range(12):
        scene.loop.run(0)
        scene.loop.run(0)
        scene.kernel.advance(5.0)
    assert scene.phase == "streaming"
    assert scene.only.ends == []
    scene.close()


def test_a_time_out_that_passed_while_we_were_stopped_is_judged_by_another_look() -> None:
    scene = Single()
    scene.run(30)
    stop(scene.relay)
    last = scene.phases[-1][0]
    scene.kernel.random.random = lambda: 0.0  # type: ignore[method-assign]  # The poll that was stopped finds nothing.
    scene.at(last + 74, scene.kernel.stop, 100)
    scene.at(last + 76, scene.relay.go_on)
    scene.run(last + 300)
    assert scene.only.ends == []
    scene.close()


def test_what_one_streams_wake_costs_a_host_is_no_time_of_another_that_connects() -> None:
    scene = Single()
    other = Relay(scene.kernel, well())
    other.gate.program = other
    scene.place("192.0.2.3", 80, other.gate, LATENCY)
    scene.name("other.test", "192.0.2.3", delay=1.0)
    scene.run(20)
    second = scene.stream("http://other.test/")
    second.keep_journal()
    for _ in range(6):
        # The wake of the first and a step of the second are found at one look; the wake is a quarter of an hour's work.
        scene.loop.run(0)
        scene.relay.post()
        scene.kernel.advance(2.0)
        scene.loop.run(0)
        scene.kernel.advance(900.0)
    scene.run(scene.time + 5)
    assert second.ends == []
    assert second.phase == "streaming"
    scene.close()


def test_a_host_that_is_always_later_than_silence_may_last_keeps_a_healthy_stream() -> None:
    """Its clock stands, so that each deadline is the same moment as the one before; none of them has been doubted."""
    scene = Single()
    scene.look(100, 40 * 100)
    assert scene.phase == "streaming"
    assert scene.only.ends == []
    scene.close()


# What drips is found at every look, and must not stop the clock for ever.


@pytest.mark.parametrize("interval", [0.125, 1.0, 2.5])
def test_a_drip_in_step_with_its_deadline_does_not_push_it_ahead(interval: float) -> None:
    """A byte that comes just when the deadline passes was waited for: there is no doubt whose benefit to give."""
    scene = Single()
    scene.kernel.tick = 2.0**-20

    def more() -> None:
        for visit in scene.relay.visits.values():
            visit.write(b"x")
        scene.at((scene.time // interval + 1) * interval, more)

    scene.at(20, more)
    scene.run(200)
    ended, error, _ = scene.end
    assert isinstance(error, RateTimeout)
    assert ended == pytest.approx(20 + LATENCY + 75, abs=0.001)
    scene.close()


def test_a_head_that_drips_ends_for_a_host_that_only_looks_in() -> None:
    scene = Single(dripping_head(1.0))
    scene.look(1.5, 60)
    ended, error, _ = scene.end
    assert isinstance(error, ResponseTimeout)
    assert ended <= 15 + 20 * 1.5
    scene.close()


@pytest.mark.parametrize("interval", [1.5, 100.0])
def test_a_line_that_drips_ends_for_a_host_that_only_looks_in(interval: float) -> None:
    scene = Single()
    began = 20 + 5 * interval  # It takes a few looks to connect.

    def more() -> None:
        for visit in scene.relay.visits.values():
            visit.write(b"x")
        scene.kernel.after(1, more)

    scene.at(began, more)
    scene.look(interval, began + 75 + 25 * interval)
    ended, error, _ = scene.end
    assert isinstance(error, (RateTimeout, ReadTimeout))
    assert isinstance(error, RateTimeout) or interval > 75
    assert ended <= began + 75 + 20 * interval
    scene.close()


def test_a_chunk_extension_that_drips_ends_for_a_host_that_only_looks_in() -> None:
    scene = Single(garbage_behind(b"5;x="))
    scene.at(5, lambda: drip(scene.visit, b"x", 1.0))
    scene.look(1.5, 150)
    ended, error, _ = scene.end
    assert isinstance(error, ReadTimeout)
    assert ended <= 5 + 75 + 20 * 1.5
    scene.close()


def test_a_long_event_that_flows_is_no_drip_for_a_host_that_only_looks_in() -> None:
    scene = Single()
    scene.look(1.5, 3)

    def more() -> None:
        for visit in scene.relay.visits.values():
            visit.write(b"data: " + b"x" * 500)
        if scene.time < 500:
            scene.kernel.after(1, more)
        else:
            visit.write(b"\n\n")

    scene.at(20, more)
    scene.look(1.5, 600)
    assert scene.only.ends == []
    scene.close()


# restart(), in each phase.


def no_answer(scene: Single) -> None:
    scene.found.silent = 1


def blackhole(scene: Single) -> None:
    scene.there.path.block(1)


def no_tunnel(scene: Single) -> None:
    scene.proxy.answer = b""


def no_handshake(scene: Single) -> None:
    scene.endpoint.stalls_at = 0


def no_head(scene: Single) -> None:
    scene.relay.answer = silence


def refused(scene: Single) -> None:
    scene.there.refuses = 1


def nothing(scene: Single) -> None:
    pass


MOMENTS: list[tuple[str, str, bool, Callable[[Single], None], float]] = [
    ("resolving", HTTP, False, no_answer, 4.0),
    ("connecting", HTTP, False, blackhole, 4.0),
    ("tunnel", HTTPS, True, no_tunnel, 4.0),
    ("handshake", HTTPS, False, no_handshake, 4.0),
    ("head", HTTP, False, no_head, 14.0),
    ("streaming", HTTP, False, nothing, 20.0),
    ("streaming", HTTPS, False, nothing, 29.0),
    ("backing off", HTTP, False, refused, 6.0),
]


@pytest.mark.parametrize("phase, url, proxy, fault, when", MOMENTS)
def test_restart_begins_anew_at_once_with_clocks_of_its_own(
    phase: str, url: str, proxy: bool, fault: Callable[[Single], None], when: float
) -> None:
    scene = Single(url=url, proxy=proxy)
    fault(scene)
    seen: list[str] = []
    scene.at(when, lambda: seen.append(scene.phase))
    scene.at(when, scene.only.restart)
    scene.run(when + 7)
    assert seen == [phase]
    assert when in scene.begun
    if fault is refused:
        assert when + ROUND_TRIP in scene.ends
    else:
        assert [ended for ended in scene.ends if ended >= when] == [when]  # What it began then has all of its time.
    if fault is nothing:
        assert scene.phase == "streaming"
    scene.close()


@pytest.mark.parametrize("phase, url, proxy, fault, when", MOMENTS)
def test_close_in_each_phase_leaves_nothing(
    phase: str, url: str, proxy: bool, fault: Callable[[Single], None], when: float
) -> None:
    scene = Single(url=url, proxy=proxy)
    fault(scene)
    scene.at(when, scene.loop.close)
    if phase == "streaming":
        assert scene.loop.run(100)
    assert not scene.loop.run(100)
    assert scene.time == when
    assert scene.phase == "closed"
    assert scene.phases[-2][1] == phase
    scene.close()


def test_restart_of_a_stream_that_is_quiet_has_the_whole_connect_budget() -> None:
    """Its clock was last read when the last byte came; a budget that began there would be spent."""
    scene = Single(latency=2.0)
    scene.run(32)
    scene.only.restart()
    scene.run(48)
    assert scene.delays == [0]
    assert scene.phases[-1] == (40.0, "streaming")
    scene.close()


@pytest.mark.parametrize("sink", [WakeSink, lambda: EventSink("", 1 << 20)])
def test_restarts_in_a_row_are_all_heard(sink: Callable[[], WakeSink | EventSink]) -> None:
    """Also one that comes while whoever was told of the end has not come back yet."""
    scene = Single(sink=sink())
    scene.run(5)
    for _ in range(3):
        scene.only.restart()
        scene.loop.run(0)
        scene.only.restart()
        scene.loop.run(0)
    scene.run(20)
    assert scene.phase == "streaming"
    assert all(error is None and delay == 0 for _, error, delay in scene.only.ends)
    scene.close()


def test_restart_from_whoever_hears_of_an_end_reconnects_at_once() -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(short_lived(1.0, Visit.cut), sink=sink)
    closed: list[float] = []
    for _ in range(20):
        scene.loop.run(5)
        while sink.items:
            item = sink.items.popleft()
            if isinstance(item, Closed):
                closed.append(scene.time)
                scene.only.restart()
    assert scene.begun[1:] == closed[: len(scene.begun) - 1]
    assert len(closed) > 5
    scene.loop.close()


def test_restarts_do_not_hold_up_what_comes_after_them() -> None:
    scene = Single()
    scene.there.refuses = 1
    for _ in range(50):
        scene.loop.run(0.5)
        scene.only.restart()
    scene.run(scene.time + 300)
    assert max(delay for delay in scene.delays if delay is not None) <= 30
    scene.close()


def test_a_restart_is_not_forgotten_over_an_error_of_the_same_moment() -> None:
    scene = Single()
    scene.run(15)
    scene.at(20, scene.only.restart)
    scene.at(20, scene.visit.reset)
    scene.at(20 + LATENCY, scene.only.restart)
    scene.run(30)
    assert scene.delays == [0, 0]
    scene.close()


# What the host's own signal handlers raise.


class Struck(BaseException):
    """What a signal handler of the host's raises."""


def struck(*args: object) -> NoReturn:
    raise Struck


@pytest.mark.parametrize("phase, url, proxy, fault, when", MOMENTS)
def test_a_handler_that_raises_in_a_wait_costs_nothing(
    phase: str, url: str, proxy: bool, fault: Callable[[Single], None], when: float
) -> None:
    scene, undisturbed = Single(url=url, proxy=proxy), Single(url=url, proxy=proxy)
    for one in (scene, undisturbed):
        fault(one)
    scene.at(when, struck)
    with pytest.raises(Struck):
        while True:
            scene.loop.run(100)
    assert scene.time == when
    scene.run(60)
    undisturbed.run(60)
    assert scene.phases == undisturbed.phases
    scene.close()
    undisturbed.close()


def test_a_handler_that_raises_inside_the_coroutine_leaves_no_false_state() -> None:
    scene = Single()
    scene.run(15)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Struck):
        patch.setattr(scene.only.sink, "feed", struck)
        scene.run(60)
    assert scene.phase == "closed"
    scene.there.refuses = 1
    scene.run(61)
    assert ("idle" in [name for _, name in scene.phases]) and scene.phase == "backing off"
    scene.close()


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
    assert isinstance(closed, Closed) and isinstance(closed.error, Truncated) and closed.retry_in == 0.75
    assert isinstance(sink.items[3], Opened)
    scene.close()
