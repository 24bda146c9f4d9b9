"""The age of a connection, and how the next one takes its place, to the moment, through the shipped loop."""

from __future__ import annotations

import pytest

from tests.simulation import weather
from tests.simulation.answers import status, well
from tests.simulation.relay import Answer, Visit
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, stop
from wire_rawsse import Backoff, Closed, Event, Opened, Timeouts
from wire_rawsse.errors import ConnectTimeout, ReadTimeout, ResponseTimeout, StatusError
from wire_rawsse.event_source import EventSink

CONNECTS = 4 * LATENCY
"""How long a connection takes; the name is known at once."""
OPENED = CONNECTS
"""When the first stream is open."""


def first_well_then(answer: Answer, times: int = 1) -> Answer:
    """The first connection is a stream, so many after it are answered by `answer`, and the rest are streams."""
    asked_before = [0]

    def answer_all(visit: Visit, asked: bytes) -> None:
        asked_before[0] += 1
        (answer if 1 < asked_before[0] <= 1 + times else well())(visit, asked)

    return answer_all


def nothing(visit: Visit, asked: bytes) -> None:
    """No head, ever."""


@pytest.mark.parametrize("url", [HTTP, HTTPS])
@pytest.mark.parametrize(("dice", "age"), [(0.0, 600.0), (0.5, 570.0)])
def test_a_connection_is_renewed_at_its_age_and_the_stream_never_ends(dice: float, age: float, url: str) -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(timeouts=Timeouts(max_age=600), dice=dice, sink=sink, url=url)
    scene.run(1000)
    assert scene.ends == []
    assert [phase for _, phase in scene.phases][-1] == "streaming"
    opened = next(when for when, phase in scene.phases if phase == "streaming")
    assert scene.renewals == [opened + age + opened]  # The next one takes as long as the first.
    assert [item for item in sink.items if isinstance(item, (Closed, Opened))][1] == Closed(None, 0)
    state = scene.only.record.snapshot(0)
    assert (state.state, state.reconnect_count, state.ends) == ("connected", 1, (("renewal", 1),))
    assert len(scene.relay.visits) == len(scene.network.open_sockets) == 1
    scene.close()


def test_a_stream_never_ends_while_its_connections_are_renewed() -> None:
    scene = Single(timeouts=Timeouts(max_age=60))
    scene.run(600)
    assert scene.ends == [] and len(scene.renewals) == 10
    scene.close()


def test_a_stream_that_never_rests_is_renewed_too_and_brings_each_event_once() -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(timeouts=Timeouts(max_age=60), sink=sink)
    scene.relay.compose, scene.relay.replays = weather.with_id, True
    for number in range(20_000):
        scene.at(OPENED + 0.01 + number / 100, scene.relay.post)
    scene.run(190)
    assert len(scene.renewals) == 3 and scene.ends == []
    assert scene.renewals[0] == pytest.approx(OPENED + 57 + CONNECTS, abs=0.1)
    ids = [int(item.id) for item in sink.items if isinstance(item, Event)]
    assert ids == list(range(1, len(ids) + 1)) and len(ids) > 18_000
    scene.close()


def test_an_age_of_moments_costs_no_more_than_the_pace() -> None:
    scene = Single(timeouts=Timeouts(max_age=0.5))
    scene.run(3600)
    assert len(scene.network.dialled) <= 360
    scene.close()


def test_an_attempt_that_fails_leaves_the_old_connection_and_is_made_again_after_the_backoff() -> None:
    scene = Single(first_well_then(status("503 Busy"), 3), timeouts=Timeouts(max_age=600), dice=0.0)
    scene.run(700)
    first = OPENED + 600
    failed = [first + CONNECTS]
    for pause in (1, 2):
        failed.append(failed[-1] + pause + CONNECTS)
    assert scene.ends == [] and scene.renewals == [failed[-1] + 4 + CONNECTS]
    state = scene.only.record.snapshot(0)
    assert state.ends == (("StatusError", 3), ("renewal", 1))
    assert isinstance(scene.only.record.last_error, StatusError)
    assert state.reconnect_count == 4
    scene.close()


def test_an_error_that_is_for_good_ends_no_stream_that_lives() -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(first_well_then(status("404 Gone"), 2), timeouts=Timeouts(max_age=600), dice=0.0, sink=sink)
    scene.only.persistent = False
    scene.run(700)
    assert scene.ends == [] and len(scene.renewals) == 1
    assert not any(isinstance(item, Closed) and item.error is not None for item in sink.items)
    scene.close()


def test_a_black_hole_costs_the_stream_nothing() -> None:
    """The heads do not come; the old connection is read meanwhile, and wakes at once."""
    scene = Single(first_well_then(nothing, 2), timeouts=Timeouts(max_age=600), dice=0.0)
    for second in range(600, 690):
        scene.at(second + 0.5, scene.relay.post)
    woken = scene.run(690)
    due = [second + 0.5 + LATENCY for second in range(600, 689)]
    assert set(due) <= set(woken)
    assert scene.ends == [] and len(scene.renewals) == 1
    assert dict(scene.only.record.ends) == {"ResponseTimeout": 2, "renewal": 1}
    assert isinstance(scene.only.record.last_error, ResponseTimeout)
    scene.close()


def test_what_cannot_be_renewed_is_closed_at_twice_its_age() -> None:
    scene = Single(first_well_then(nothing, 1000), timeouts=Timeouts(max_age=60), dice=0.0)
    scene.run(OPENED + 119)
    assert scene.ends == []
    scene.run(200)
    ended, error, delay = scene.end
    assert (error, delay) == (None, 0) and OPENED + 120 <= ended == scene.begun[1]
    scene.close()


def test_the_old_connection_that_dies_meanwhile_ends_the_attempt_and_is_an_end_as_any_other() -> None:
    scene = Single(first_well_then(nothing), timeouts=Timeouts(max_age=600), dice=0.0)
    scene.run(100)
    scene.at(OPENED + 605, scene.visit.reset)
    scene.run(640)
    ended, error, _ = scene.end
    assert ended == OPENED + 605 + LATENCY and "reset" in str(error)
    assert len(scene.network.open_sockets) == 1 and scene.phase == "streaming"
    assert dict(scene.only.record.ends) == {"ConnectionBrokenError": 1}
    scene.close()


def test_the_silence_of_the_old_connection_is_judged_during_the_attempt() -> None:
    scene = Single(first_well_then(nothing, 9), timeouts=Timeouts(max_age=600, response=60, learn=False), dice=0.0)
    scene.at(OPENED + 590, stop, scene.relay)
    scene.run(700)
    assert isinstance(scene.only.ends[0][1], ReadTimeout)
    scene.close()


def test_the_clocks_of_the_attempt_run_while_the_old_connection_speaks() -> None:
    scene = Single(timeouts=Timeouts(max_age=600, connect=3), dice=0.0)
    scene.run(599)
    scene.found.delay = 100.0
    for number in range(1000):
        scene.at(599 + number / 10, scene.relay.post)
    scene.run(605)
    assert isinstance(scene.only.record.last_error, ConnectTimeout)
    assert scene.ends == []
    scene.close()


def test_a_restart_drops_both() -> None:
    scene = Single(first_well_then(nothing), timeouts=Timeouts(max_age=600), dice=0.0)
    scene.run(OPENED + 605)
    assert len(scene.network.open_sockets) == 2
    scene.only.restart()
    scene.run(610)
    assert scene.phase == "streaming" and len(scene.network.open_sockets) == 1
    assert dict(scene.only.record.ends) == {"restart": 1}
    scene.close()


@pytest.mark.parametrize("after", [0.0, LATENCY, 2 * LATENCY, 3 * LATENCY, 5.0])
@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_a_close_at_any_moment_leaves_nothing(after: float, url: str) -> None:
    scene = Single(first_well_then(nothing), timeouts=Timeouts(max_age=600), dice=0.0, url=url)
    opened = 0.0
    while scene.phase != "streaming":
        scene.run(opened := opened + LATENCY)
    scene.run(opened + 600 + after)
    scene.close()


def test_a_host_that_looks_now_and_then_keeps_what_was_received() -> None:
    sink = EventSink("", 1 << 20)
    scene = Single(timeouts=Timeouts(max_age=60), sink=sink, backoff=Backoff(maximum=1))
    scene.relay.compose, scene.relay.replays = weather.with_id, True
    for number in range(2_000):
        scene.at(1 + number / 5, scene.relay.post)
    scene.look(1.5, 420)
    ids = [int(item.id) for item in sink.items if isinstance(item, Event)]
    assert len(scene.renewals) >= 5 and scene.ends == []
    assert ids == list(range(1, 2_001))
    scene.close()


def test_what_lies_on_the_old_connection_when_the_new_one_is_accepted_is_handed_out() -> None:
    """More than one reception, from a server that sends nothing again. The program is elsewhere when it and the head
    come, and finds both at once.
    """
    for url in (HTTP, HTTPS):
        sink = EventSink("", 1 << 20)
        scene = Single(timeouts=Timeouts(max_age=600), dice=0.0, sink=sink, url=url)
        scene.relay.compose = weather.with_id
        scene.run(100)
        opened = next(when for when, phase in scene.phases if phase == "streaming")
        renewed = opened + 600 + opened
        scene.at(renewed - LATENCY, scene.relay.post, 1000)
        scene.run(renewed - LATENCY / 2)
        scene.kernel.advance(LATENCY)
        scene.run(renewed + 10)
        assert scene.renewals == [renewed + LATENCY / 2] and scene.ends == []
        assert [item.id for item in sink.items if isinstance(item, Event)] == [*map(str, range(1, 1001))]
        scene.close()
