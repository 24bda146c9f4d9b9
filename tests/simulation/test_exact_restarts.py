"""`restart()` and `close()` in each phase, and what a host's own signal handlers raise: what begins again, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.simulation.answers import short_lived, silence
from tests.simulation.relay import Visit
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single
from wire_rawsse.event_source import Closed, EventSink
from wire_rawsse.protocol.sse import WakeParser
from wire_rawsse.wake_streams import WakeSink

ROUND_TRIP = 2 * LATENCY
HOUR = 3600.0


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
def test_restart_begins_again_at_once_with_clocks_of_its_own(
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
        assert [ended for ended in scene.ends if ended >= when] == [when]  # The new attempt has its full time.
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
    """Also one that comes while anyone who was told of the end has not come back yet."""
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


def test_restart_from_anyone_who_hears_of_an_end_reconnects_at_once() -> None:
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


# Exceptions raised by the host's own signal handlers.


class Struck(BaseException):
    """Raised by a signal handler of the host."""


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
        patch.setattr(WakeParser, "_read", struck)
        scene.run(60)
    assert scene.phase == "closed"
    scene.there.refuses = 1
    scene.run(61)
    assert ("idle" in [name for _, name in scene.phases]) and scene.phase == "backing off"
    scene.close()
