"""Hosts that are late or stopped: whose clock runs when, to the last bit, and what is kept."""

from __future__ import annotations

import pytest

from tests.simulation.answers import drip, dripping_head, garbage_behind
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, elsewhere, stop
from tests.simulation.tls import TICKET, UPDATE, record
from wire_rawsse import Timeouts
from wire_rawsse.errors import (
    RateTimeout,
    ReadTimeout,
    ResponseTimeout,
)
from wire_rawsse.hosts.clock import ANSWER_WITHIN, MAX_GRACES

ROUND_TRIP = 2 * LATENCY
HOUR = 3600.0


def stop_asleep(scene: Single, when: float, seconds: float) -> None:
    """SIGSTOP to a host that sleeps: its poll, which was over meanwhile, gives nothing."""
    scene.kernel.random.random = lambda: 0.0  # type: ignore[method-assign]  # Else every second one looks once more.
    scene.at(when, scene.kernel.stop, seconds)


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
    scene = Single(timeouts=Timeouts(learn=False))
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


def test_silence_counts_again_from_what_a_late_host_found() -> None:
    """Nobody can know when it came, so the benefit of the doubt is the stream's."""
    scene = Single()
    scene.relay.heartbeat = 1e9
    scene.run(10)
    scene.at(20, lambda: scene.visit.write(b":\n"))
    scene.kernel.advance(HOUR)
    back = scene.time
    scene.run(back + 200)
    # The clock resumed at the host's last poll; the rest of `read` counts from there.
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
    stop_asleep(scene, last + 74, 100)
    scene.at(last + 76, scene.relay.go_on)
    scene.run(last + 300)
    assert scene.only.ends == []
    scene.close()


@pytest.mark.parametrize("url, proxy", [(HTTP, False), (HTTPS, False), (HTTPS, True)])
@pytest.mark.parametrize("step", range(1, 8))
def test_who_is_stopped_past_its_budget_has_left_what_it_had_at_its_last_look(url: str, proxy: bool, step: int) -> None:
    """The awaited data arrives meanwhile, and many more steps follow. A poll that was stopped has not checked again."""
    scene = Single(url=url, proxy=proxy)
    scene.found.delay = LATENCY
    stop_asleep(scene, (step - 0.5) * LATENCY, 100)
    scene.run(130)
    assert scene.phase == "streaming"
    assert scene.only.ends == []
    scene.close()


def test_a_look_up_that_was_stopped_with_its_host_has_a_moment_to_answer() -> None:
    scene = Single()
    scene.found.delay = 30.0625  # A sixteenth of a second after the host has gone on.
    stop_asleep(scene, 5, 25)
    scene.run(40)
    assert scene.phase == "streaming"
    assert scene.only.ends == []
    scene.close()


def test_and_no_more_than_a_moment() -> None:
    scene = Single()
    scene.found.delay = 500
    stop_asleep(scene, 5, 25)
    scene.run(40)
    assert scene.ends == [30 + ANSWER_WITHIN]
    scene.close()


def test_what_a_look_up_was_spared_is_not_charged_to_the_attempt_after_it() -> None:
    """Which joins the same look-up, and has its answer well within its own budget."""
    scene = Single()
    scene.found.delay = 35
    stop_asleep(scene, 5, 25)
    scene.run(45)
    assert scene.ends == [30 + ANSWER_WITHIN]
    assert scene.phase == "streaming"
    scene.close()


def test_what_one_streams_wake_costs_a_host_is_no_time_of_another_that_connects() -> None:
    scene = Single()
    elsewhere(scene, "other.test", "192.0.2.3", delay=1.0)
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


# A dripping stream has data at every poll, and must not stop the clock for ever.


def test_what_drips_does_not_outlive_its_clock_behind_another_streams_wakes() -> None:
    """Each byte of the head is found together with an event of the other's, whose wake is 3 s of work."""
    scene = Single()
    elsewhere(scene, "other.test", "192.0.2.3", dripping_head(1.0))
    scene.run(20)
    second = scene.stream("http://other.test/")
    second.keep_journal()
    scene.run(25)
    assert second.phase == "head"
    while scene.time < 600 and not second.ends:
        scene.relay.post()
        scene.kernel.advance(3.0)
        scene.loop.run(0)
    assert isinstance(second.ends[0][1], ResponseTimeout)
    assert scene.time <= 20 + Timeouts().response + (MAX_GRACES + 3) * 3.0
    scene.close()


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


def test_a_drip_in_large_records_has_as_many_doubts_as_any_other() -> None:
    """Looks that find a part of a record and no data count as well as those that find data."""
    every, looks = 100.0, MAX_GRACES - 4
    scene = Single(url=HTTPS, timeouts=Timeouts(min_rate=1000))
    scene.look(every, 600)
    scene.visit.write(b"data: ")
    scene.look(every, 700)
    opened = scene.time
    scene.network.gives = 500  # Twice in each look.
    scene.visit.write(b"x" * 1000 * looks)

    def more() -> None:
        for visit in scene.relay.visits.values():
            visit.write(b"x")
        scene.kernel.after(every / 2, more)

    scene.at(opened + looks * every, more)
    scene.look(every, opened + 3 * MAX_GRACES * every)
    ended, error, _ = scene.end
    assert isinstance(error, (RateTimeout, ReadTimeout))
    assert opened + MAX_GRACES * every <= ended <= opened + (MAX_GRACES + 3) * every
    scene.close()


def test_a_long_line_that_ends_with_its_last_doubt_has_a_new_deadline() -> None:
    """The clock stands still, so that it is the same moment as the old one. It has not been doubted yet."""
    every = 100.0
    scene = Single()
    scene.relay.heartbeat = 1e9
    scene.look(every, 300)
    for data in [b":", *[b"x"] * (MAX_GRACES - 1), *[b"\n:"] * MAX_GRACES]:
        scene.visit.write(data)
        scene.look(every, scene.time + every)
    assert scene.only.ends == [] and scene.phase == "streaming"
    scene.close()


def test_a_sleep_that_a_handler_ended_is_a_part_of_the_absence() -> None:
    """The loop last looked when that sleep began. A drip found after it sets the clock to then, once."""
    scene = Single()
    scene.relay.heartbeat = 1e9

    def more() -> None:
        for visit in scene.relay.visits.values():
            visit.write(b"x")
        scene.kernel.after(20, more)

    def struck() -> None:
        raise KeyboardInterrupt

    scene.at(20, more)
    scene.at(56, struck)
    with pytest.raises(KeyboardInterrupt):
        scene.run(100)
    scene.kernel.advance(100)
    scene.run(500)
    ended, error, _ = scene.end
    assert isinstance(error, RateTimeout)
    assert ended == 20 + LATENCY + 75 + (156 - (40 + LATENCY))
    scene.close()


def test_a_chunk_extension_that_drips_ends_for_a_host_that_only_looks_in() -> None:
    scene = Single(garbage_behind(b"5;x="))
    scene.at(5, lambda: drip(scene.visit, b"x", 1.0))
    scene.look(1.5, 150)
    ended, error, _ = scene.end
    assert isinstance(error, ReadTimeout)
    assert ended <= 5 + 75 + 20 * 1.5
    scene.close()


def test_a_chunk_extension_that_drips_after_a_heartbeat_ends_as_well() -> None:
    """The heartbeat has renewed the deadline; the bytes of the extension do not, and use up its graces."""
    every = 100.0
    scene = Single()
    scene.relay.heartbeat = 1e9
    scene.look(every, 300)
    scene.visit.write(b":\n")
    scene.look(every, 400)
    began = scene.time
    scene.visit.raw(b"5;x=")
    drip(scene.visit, b"x", 1.0)
    scene.look(every, began + (MAX_GRACES + 5) * every)
    ended, error, _ = scene.end
    assert isinstance(error, ReadTimeout)
    assert ended <= began + (MAX_GRACES + 3) * every
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


# A flood: at each poll something is found, and it is none of what the clock counts.


@pytest.mark.parametrize("handed_out", [False, True])
@pytest.mark.parametrize("url", [HTTP, HTTPS])
def test_a_head_that_floods_ends_when_its_clock_says(url: str, handed_out: bool) -> None:
    scene = Single(dripping_head(1 / 256), url=url)
    if handed_out:
        scene.loop.fileno()
    scene.look(1 / 64, 20)
    ended, error, _ = scene.end
    assert isinstance(error, ResponseTimeout)
    assert 15 <= ended <= 16
    scene.close()


@pytest.mark.parametrize("kind", [TICKET, UPDATE])
@pytest.mark.parametrize("handed_out", [False, True])
def test_records_without_data_are_no_life(kind: int, handed_out: bool) -> None:
    scene = Single(url=HTTPS)
    if handed_out:
        scene.loop.fileno()

    def more() -> None:
        if scene.relay.visits:
            scene.visit.connection.send(record(kind) * 10)
            scene.kernel.after(1 / 64, more)

    scene.at(5, stop, scene.relay)
    scene.at(70, more)
    scene.look(1 / 16, 82)
    ended, error, _ = scene.end
    assert isinstance(error, ReadTimeout)
    assert 75 <= ended <= 77
    scene.close()


def test_control_records_do_not_stop_the_clock_of_a_host_that_only_looks_in() -> None:
    """Each look finds some of them, and no data."""
    for kind in (TICKET, UPDATE):
        for every in (1.5, 100.0):
            scene = Single(url=HTTPS)
            began = 6 * every  # It takes a few looks to connect.
            scene.at(began, stop, scene.relay)

            def more(scene: Single = scene, kind: int = kind) -> None:
                for visit in scene.relay.visits.values():
                    visit.connection.send(record(kind) * 10)
                scene.kernel.after(1, more)

            scene.at(began, more)
            scene.look(every, began + 75 + 25 * every)
            ended, error, _ = scene.end
            assert isinstance(error, ReadTimeout)
            assert ended <= began + 75 + 20 * every
            scene.close()


def test_a_late_host_takes_a_large_record_in_pieces() -> None:
    """Its deadline has passed, and none of the first receptions holds a byte of the body."""
    scene = Single(url=HTTPS)
    scene.run(20)
    scene.visit.write(b"data: " + b"x" * 16_000 + b"\n\n")
    scene.kernel.advance(HOUR)
    scene.run(scene.time + 10)
    assert scene.only.ends == [] and scene.phase == "streaming"
    assert scene.only.record.last_event_at is not None
    scene.close()


def test_an_answer_that_the_socket_does_not_take_is_sent_later_and_reading_goes_on() -> None:
    scene = Single(url=HTTPS)
    scene.run(20)
    sock = scene.visit.connection.client
    sock.write_blocked = True
    scene.visit.connection.send(record(UPDATE))
    scene.relay.post()
    assert scene.run(25) == [20 + LATENCY], "it does not read while it cannot write"
    session = sock.session
    assert session is not None and session.unsent()
    scene.at(30, sock.unblock_writing)
    scene.run(30.5)
    assert not session.unsent()
    scene.close()
