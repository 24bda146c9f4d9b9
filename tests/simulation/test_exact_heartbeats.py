"""The learned heartbeat and the age of a connection, to the moment, through the shipped loop."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.simulation.answers import well
from tests.simulation.relay import CHUNKED, CLOSE, LENGTH, Answer, Visit
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, stop
from wire_rawsse import Timeouts
from wire_rawsse.errors import HeartbeatTimeout, ReadTimeout

OPENED = 4 * LATENCY
"""When the first stream is open."""


def learned(period: float = 15.0, *, url: str = HTTP, framing: int = CHUNKED, **settings: object) -> Single:
    """A stream that has had three heartbeats."""
    scene = Single(well(framing), url=url, **settings)  # type: ignore[arg-type]
    scene.relay.heartbeat = period
    scene.run(3 * period + 3)
    return scene


def last_heartbeat(scene: Single) -> float:
    """When it came."""
    return scene.visit.last_sent - scene.kernel.start + LATENCY


@pytest.mark.parametrize("framing", [CHUNKED, CLOSE, LENGTH])
@pytest.mark.parametrize("url", [HTTP, HTTPS])
@pytest.mark.parametrize(("period", "limit"), [(15, 24.5), (30, 47), (1, 3.5)])
def test_silence_is_a_fault_after_one_and_a_half_periods(period: float, limit: float, url: str, framing: int) -> None:
    scene = learned(period, url=url, framing=framing)
    heard = last_heartbeat(scene)
    state = scene.only.record.snapshot(0)
    assert state.heartbeat == pytest.approx(period)
    assert state.read_limit == pytest.approx(limit)
    stop(scene.relay)
    scene.run(heard + limit + 0.5)
    doubted, error, pause = scene.doubt
    assert doubted == pytest.approx(heard + limit)
    assert isinstance(error, HeartbeatTimeout) and error is scene.only.record.last_error
    assert (error.clock, error.phase) == ("heartbeat", "streaming")
    assert error.seconds == pytest.approx(limit)
    assert (scene.phase, scene.ends) == ("streaming", [])
    scene.run(doubted + pause + 16)  # The response of another connection, or its TLS handshake, does not come.
    assert scene.begun[1:2] in ([], [scene.ends[0] + (scene.delays[0] or 0)])
    assert scene.network.dialled[1][0] - scene.kernel.start == doubted + pause
    ended, reason, _ = scene.end
    fails = 10 if url == HTTPS else 15 + 2 * LATENCY
    assert reason is error and ended == pytest.approx(doubted + pause + fails, abs=LATENCY)
    assert len(scene.only.doubts) == 1
    scene.close()


def test_it_holds_for_the_next_connection_too() -> None:
    scene = learned()
    scene.only.restart()
    scene.run(50)
    stop(scene.relay)
    scene.run(100)
    assert isinstance(scene.doubt[1], HeartbeatTimeout)
    scene.close()


def test_without_learning_nothing_changes() -> None:
    scene = learned(timeouts=Timeouts(learn=False))
    heard = last_heartbeat(scene)
    stop(scene.relay)
    scene.run(140)
    ended, error, _ = scene.end
    assert type(error) is ReadTimeout
    assert ended == heard + 75
    assert scene.only.record.snapshot(0).read_limit == 75
    scene.close()


def test_events_teach_nothing() -> None:
    """Not even events as regular as a heartbeat; and a server that sends them has no heartbeat to send."""
    scene = Single()
    for number in range(40):
        scene.at(10 * number, scene.relay.post)
    scene.run(400)
    assert scene.only.record.heartbeat.period is None
    stop(scene.relay)
    scene.run(500)
    assert type(scene.end[1]) is ReadTimeout
    scene.close()


def test_a_heartbeat_after_an_event_teaches_nothing() -> None:
    """A server whose heartbeat has a clock of its own: what comes 2 s after an event is no period of 2 s."""

    def beats(visit: Visit, asked: bytes) -> None:
        visit.relay.heartbeat = 1e9
        visit.relay.open(visit, asked)

        def beat() -> None:
            visit.write(b": hb\n\n")
            scene.kernel.after(15, beat)
            scene.kernel.after(13, scene.relay.post)

        scene.kernel.after(15, beat)

    scene = Single(beats)
    scene.run(300)
    assert scene.only.record.heartbeat.period is None
    scene.close()


@pytest.mark.parametrize(
    ("beat", "period"),
    [
        ((b":\n\n",), 15),
        ((b": hb\r\n\r\n",), 15),
        ((b":one\n:two\n\n",), 15),
        ((b": hb\n", b"\n"), 15),  # In two pieces.
        ((b"event: ping\ndata: {}\n\n",), None),  # An event like any other.
        ((b": hb\ndata: x\n\n",), None),
        ((b"\n",), None),
        ((b"retry: 1000\n\n",), None),
    ],
)
def test_what_is_a_heartbeat(beat: tuple[bytes, ...], period: float | None) -> None:
    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.heartbeat = 1e9
        visit.relay.open(visit, asked)

        def once() -> None:
            for number, piece in enumerate(beat):
                scene.kernel.after(number / 8, visit.write, piece)
            scene.kernel.after(15, once)

        scene.kernel.after(15, once)

    scene = Single(answer)
    scene.run(100)
    assert scene.only.record.heartbeat.period == (None if period is None else pytest.approx(period, abs=0.2))
    scene.close()


def test_inside_a_line_no_server_can_send_a_heartbeat() -> None:
    scene = learned(timeouts=Timeouts(min_rate=0))
    scene.relay.post()
    scene.run(70)  # A heartbeat has followed the event.
    scene.visit.write(b"data: the beginning of something")
    stop(scene.relay)
    began = scene.time
    scene.run(200)
    ended, error, _ = scene.end
    assert type(error) is ReadTimeout
    assert ended == began + LATENCY + 75
    scene.close()


def test_a_server_that_pauses_is_not_dropped_again_and_again() -> None:
    """Each tenth heartbeat is 40 s late, for three hours."""
    count = 0

    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.heartbeat = 1e9
        visit.relay.open(visit, asked)

        def once() -> None:
            nonlocal count
            if visit.over:
                return
            count += 1
            visit.write(b": hb\n\n")
            scene.kernel.after(40 if count % 10 == 0 else 15, once)

        scene.kernel.after(15, once)

    scene = Single(answer)
    scene.run(3 * 3600)
    assert scene.ends == [] and 1 <= len(scene.only.doubts) <= 4
    assert all(isinstance(error, HeartbeatTimeout) for _, error, _ in scene.only.doubts)
    scene.close()


def test_a_late_host_takes_its_own_absence_for_no_silence() -> None:
    scene = learned()
    for _ in range(20):
        scene.kernel.advance(60)
        scene.run(scene.time + 0.5)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_a_host_that_looks_now_and_then_learns_nothing_from_its_own_interval() -> None:
    scene = Single()
    scene.look(20.5, 4000)
    assert (scene.only.record.heartbeat.period, scene.ends, scene.only.doubts) == (None, [], [])
    scene.close()


def beating_until_it_answers(scene_of: list[Single], beats: int, pause: float) -> Answer:
    """A comment a second until it has an answer, whose events come `pause` seconds apart and without comments."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.heartbeat = 1e9
        visit.relay.open(visit, asked)
        kernel = scene_of[0].kernel
        for second in range(1, beats + 1):
            kernel.after(second, visit.write, b": in the queue\n\n")
        for number in range(20):
            kernel.after(beats + 1 + number * pause, scene_of[0].relay.post)

    return answer


def test_comments_that_stop_with_the_first_event_limit_nothing_after_it() -> None:
    """As of a gateway to a slow program: between its events there is no heartbeat."""
    scenes: list[Single] = []
    scene = Single(beating_until_it_answers(scenes, 5, 20))
    scenes.append(scene)
    scene.run(380)
    assert scene.only.record.heartbeat.period == pytest.approx(1)
    assert (scene.ends, scene.only.doubts) == ([], [])
    stop(scene.relay)
    scene.run(470)
    assert type(scene.end[1]) is ReadTimeout
    scene.close()


def test_pauses_between_events_are_remembered_when_comments_begin_again() -> None:
    """Six comments a second apart, then five events 12 s apart, and so on: nothing is dropped in vain."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.heartbeat = 1e9
        visit.relay.open(visit, asked)
        kernel = scene.kernel
        for part in range(20):
            for second in range(6):
                kernel.after(66 * part + second + 1, visit.write, b": in the queue\n\n")
            for number in range(5):
                kernel.after(66 * part + 7 + 12 * number, scene.relay.post)

    scene = Single(answer)
    scene.run(20 * 66 - 10)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_a_server_whose_heartbeat_follows_its_events_must_send_it_after_each() -> None:
    scene = learned()
    scene.relay.post()
    scene.run(80)
    assert scene.only.record.heartbeat.follows_events
    scene.relay.post()
    posted = scene.time + LATENCY
    scene.run(posted)
    stop(scene.relay)
    scene.run(posted + 25)
    doubted, error, _ = scene.doubt
    assert isinstance(error, HeartbeatTimeout) and doubted == pytest.approx(posted + 24.5)
    scene.close()


def test_a_heartbeat_that_becomes_much_longer_renews_the_connection_twice() -> None:
    scene = learned(1)
    scene.relay.heartbeat = 60
    scene.run(3600)
    assert (len(scene.only.doubts), scene.ends) == (2, [])
    scene.close()


def test_another_endpoint_has_a_heartbeat_of_its_own() -> None:
    scene = learned()
    record = scene.only.record
    record.goes_to(record.url)
    assert record.heartbeat.period == pytest.approx(15)
    record.goes_to("http://other.test/v1/events/slot/stream")
    assert record.heartbeat.period is None
    scene.close()


def life_with_late_waits(seed: int, period: float) -> Single:
    """A host whose waits take 5 s, on a busy machine: time-outs, other polls, and the host's own work end up to half a
    second late.
    """
    dice = random.Random(seed)

    def late() -> float:
        return dice.randrange(512) / 1024

    scene = Single()
    scene.relay.heartbeat = period
    scene.run(dice.randrange(1, 5))
    while scene.time < 12.5 * period:
        scene.at(scene.time + 5 - 1 / 1024, scene.kernel.stop, late())
        if dice.random() < 0.1:
            scene.at(scene.time + dice.randrange(5), scene.kernel.stop, late())
        scene.loop.run(5.0)
        scene.kernel.advance(dice.choice([0.0, 1 / 1024, late()]))
    return scene


def test_waits_that_end_late_hide_no_heartbeat() -> None:
    """The period is learned within 12 heartbeats in each of 500 lives."""
    for seed, period in itertools.product(range(250), (15.0, 30.0)):
        scene = life_with_late_waits(seed, period)
        assert scene.only.record.heartbeat.period == pytest.approx(period, abs=1), f"life {seed}"
        assert scene.ends == []
        scene.close()
