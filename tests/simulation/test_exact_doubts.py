"""A connection that may be dead: another one is made beside it, to the moment, through the shipped loop."""

from __future__ import annotations

import itertools

import pytest

from tests.simulation.answers import status, well
from tests.simulation.machine import FIRST, V4
from tests.simulation.relay import Answer, Visit
from tests.simulation.single import HTTP, HTTPS, LATENCY, Single, stop
from tests.simulation.test_exact_heartbeats import last_heartbeat, learned
from tests.simulation.test_exact_surroundings import OTHER, UP, Machine
from wire_rawsse import Backoff, Closed, Event, Opened, Timeouts
from wire_rawsse.errors import ConnectionBrokenError, HeartbeatTimeout, ReadTimeout, StatusError, WireRawSSEError
from wire_rawsse.event_source import EventSink
from wire_rawsse.hosts.consequences import DOUBT


def mute_first(scene: Single) -> None:
    """The connection that is open now brings nothing any more; those that follow are well."""
    scene.visit.over = True


class Muted(Single):
    """Its first connection has had three heartbeats, the last at `heard`, and brings nothing any more. `then` answers
    the others, unless `answers_well`.
    """

    def __init__(self, then: Answer | None, *, answer: Answer | None = None, **settings: object) -> None:
        self.answers_well = False

        def answer_all(visit: Visit, asked: bytes) -> None:
            first = len(self.network.dialled) == 1 or self.answers_well
            (well() if first or then is None else then)(visit, asked)

        super().__init__(answer or answer_all, **settings)  # type: ignore[arg-type]
        self.relay.heartbeat = 15.0
        self.run(48)
        self.heard = last_heartbeat(self)
        self.first = self.visit
        mute_first(self)


def nothing(visit: Visit, asked: bytes) -> None:
    """No head, ever."""


def say(scene: Single, text: bytes) -> None:
    """On the first connection."""
    visit = next(iter(scene.relay.visits.values()))
    visit.over = False
    visit.write(text)
    visit.over = True


def speak(scene: Single) -> None:
    say(scene, b": hb\n\n")


def renewed(url: str) -> None:
    sink = EventSink("", 1 << 20)
    scene = learned(url=url, sink=sink)
    heard, opened = last_heartbeat(scene), next(when for when, phase in scene.phases if phase == "streaming")
    mute_first(scene)
    scene.run(heard + 30)
    doubted, error, pause = scene.doubt
    assert (doubted, pause) == (heard + 24.5, 0.75)
    assert scene.renewals == [doubted + pause + opened] and scene.ends == []
    assert [item for item in sink.items if isinstance(item, (Closed, Opened))][1] == Closed(error, 0)
    state = scene.only.record.snapshot(0)
    assert (state.state, state.reconnect_count, state.ends) == ("connected", 1, (("HeartbeatTimeout", 1),))
    assert len(scene.network.open_sockets) == 1
    scene.close()


def test_a_silent_connection_is_renewed_before_it_is_closed() -> None:
    renewed(HTTP)


def test_so_is_one_over_tls() -> None:
    renewed(HTTPS)


def refused(events: EventSink | None = None) -> WireRawSSEError:
    """The old connection ends at once, with the doubt's error, and all goes on as after an attempt that failed."""
    scene = learned(sink=events)
    heard = last_heartbeat(scene)
    mute_first(scene)
    scene.there.refuses = 1
    scene.run(heard + 25.25)
    doubted, error, pause = scene.doubt
    assert (scene.phase, scene.ends) == ("streaming", [])
    scene.run(heard + 27.125)
    failed = doubted + pause + 2 * LATENCY
    assert scene.end == (failed, error, 1.5)  # As after a second failure: 2 s, shortened by a quarter.
    assert scene.begun[1:] == [failed + 1.5]
    assert dict(scene.only.record.ends) == {"HeartbeatTimeout": 1, "DialError": 1}
    scene.close()
    return error


def test_a_failed_attempt_is_a_second_witness() -> None:
    refused()


def test_and_is_told_to_the_consumer_of_events() -> None:
    events = EventSink("", 1 << 20)
    error = refused(events)
    assert [item for item in events.items if isinstance(item, Closed)] == [Closed(error, 1.5)]


def test_the_pause_is_the_one_that_the_refusal_asks_for() -> None:
    scene = Muted(status("503 Busy", "Retry-After: 20"))
    scene.run(scene.heard + 27)
    ended, error, delay = scene.end
    assert isinstance(error, HeartbeatTimeout) and delay == 25  # A minimum, lengthened by up to half.
    scene.machine.tell(up=[V4])  # Which would end any other pause.
    scene.run(ended + 24.5)
    assert scene.phase == "backing off"
    scene.close()


@pytest.mark.parametrize("persistent", [True, False])
def test_a_refusal_for_good_is_as_after_any_end(persistent: bool) -> None:
    scene = Muted(status("401 No"), persistent=persistent)
    scene.run(scene.heard + 27)
    _, error, delay = scene.end
    assert isinstance(error, StatusError) and error.address == "192.0.2.1:80"
    assert (delay is None) is not persistent
    assert dict(scene.only.record.ends) == {"HeartbeatTimeout": 1, "StatusError": 1}
    scene.close()


def test_a_late_host_finds_the_connection_in_order_that_has_spoken_meanwhile() -> None:
    scene = learned()
    heard = last_heartbeat(scene)
    mute_first(scene)
    scene.at(heard + 24, speak, scene)
    scene.run(heard + 20)
    scene.kernel.advance(20)
    scene.run(heard + 60)
    assert (scene.only.doubts, scene.ends, scene.renewals) == ([], [], [])
    scene.close()


def test_without_a_reconnect_a_silent_connection_is_the_end() -> None:
    scene = learned(reconnect=False)
    heard = last_heartbeat(scene)
    stop(scene.relay)
    scene.run(heard + 30)
    ended, error, delay = scene.end
    assert (ended, type(error), delay) == (heard + 24.5, HeartbeatTimeout, None)
    scene.close()


def test_a_connection_that_speaks_before_the_attempt_goes_on() -> None:
    scene = learned()
    heard = last_heartbeat(scene)
    mute_first(scene)
    scene.at(heard + 24.75 - LATENCY, speak, scene)
    scene.run(heard + 40)
    assert (len(scene.only.doubts), scene.ends, scene.renewals, len(scene.begun)) == (1, [], [], 1)
    # It is expected to send its heartbeat again: this time within twice the factor.
    limit = 2 * 1.5 * 15 + 2
    scene.run(heard + 24.75 + limit + 1)
    assert scene.only.doubts[1][0] - scene.kernel.start == heard + 24.75 + limit
    scene.close()


def test_a_connection_that_speaks_during_the_attempt_goes_on_and_the_attempt_is_given_up() -> None:
    scene = Muted(nothing)
    heard = scene.heard
    scene.at(heard + 30 - LATENCY, speak, scene)
    scene.run(heard + 29)
    assert len(scene.network.open_sockets) == 2
    scene.run(heard + 31)
    assert len(scene.network.open_sockets) == 1
    assert (len(scene.only.doubts), scene.ends, scene.renewals) == (1, [], [])
    assert scene.only.record.ends == {} and scene.only.record.attempt == 0
    # The gap was a pause of the server: twice the factor holds from now on.
    assert scene.only.record.snapshot(0).read_limit == 2 * 1.5 * 15 + 2
    scene.close()


def test_an_event_that_ends_the_doubt_is_handed_out_and_so_are_those_after_it() -> None:
    sink = EventSink("", 1 << 20)
    scene = Muted(nothing, sink=sink)
    scene.at(scene.heard + 30, say, scene, b"data: 1\n\n")
    scene.at(scene.heard + 31, say, scene, b"data: 2\n\n")
    scene.run(scene.heard + 32)
    assert [item.data for item in sink.items if isinstance(item, Event)] == ["1", "2"]
    assert sink.repeats is None and not any(isinstance(item, Closed) for item in sink.items)
    scene.close()


def test_bytes_that_come_with_the_failure_of_the_attempt_end_the_doubt() -> None:
    """A program that is elsewhere finds both at once."""
    scene = Muted(nothing)
    scene.at(scene.heard + 40, speak, scene)
    scene.run(scene.heard + 39)
    scene.kernel.advance(10)
    scene.run(scene.heard + 60)
    assert (scene.ends, scene.renewals) == ([], [])
    scene.close()


def test_bytes_that_wait_for_a_paused_consumer_end_the_doubt() -> None:
    scene = Muted(nothing)
    scene.run(scene.heard + 30)
    scene.loop.pause(scene.only.task)
    scene.at(scene.heard + 31, speak, scene)
    scene.run(scene.heard + 150)  # The attempt has failed, and `read` has passed since the last byte that was received.
    assert (scene.phase, scene.ends) == ("streaming", [])
    scene.loop.resume(scene.only.task)
    scene.run(scene.heard + 151)
    assert (scene.ends, scene.renewals, len(scene.network.dialled)) == ([], [], 2)
    scene.close()


def test_a_black_hole_is_over_read_after_the_last_byte_at_the_latest() -> None:
    timeouts = Timeouts(connect=10, response=70)
    scene = Muted(nothing, timeouts=timeouts)
    scene.run(scene.heard + 74.75)
    assert (scene.phase, scene.ends) == ("streaming", [])
    scene.run(scene.heard + 75.25)
    ended, error, _ = scene.end
    assert type(error) is ReadTimeout and ended == scene.heard + 75
    assert len(scene.network.open_sockets) <= 1
    scene.close()


def test_without_a_token_the_attempt_waits_for_one_and_the_old_connection_is_read() -> None:
    scene = Muted(nothing)
    pace = scene.only.record.pace
    pace._add(-11)
    scene.run(scene.heard + 25)
    doubted, _, pause = scene.doubt
    assert 2 < pause < 22.5 and len(scene.network.open_sockets) == 1
    scene.at(doubted + 1, speak, scene)
    scene.run(doubted + pause + 1)
    assert (scene.ends, scene.renewals, len(scene.network.dialled)) == ([], [], 1)
    assert not pace._reserved  # The token was given back.
    scene.close()


def test_without_a_token_until_read_the_connection_ends_at_read() -> None:
    scene = Muted(nothing, backoff=Backoff(maximum=300))
    scene.only.record.pace._add(-9)
    scene.run(scene.heard + 76)
    ended, error, _ = scene.end
    assert type(error) is ReadTimeout and ended == scene.heard + 75
    scene.close()


@pytest.mark.parametrize("code", ["301 Moved", "307 Go"])
def test_the_other_connection_may_be_redirected(code: str) -> None:
    requests = itertools.count(1)

    def answer(visit: Visit, asked: bytes) -> None:
        if next(requests) == 2:
            status(code, "Location: /elsewhere")(visit, asked)
        else:
            well()(visit, asked)

    scene = Muted(None, answer=answer)
    scene.run(scene.heard + 30)
    assert len(scene.renewals) == 1 and scene.ends == [] and len(scene.network.dialled) == 3
    scene.close()


def test_an_age_that_comes_in_the_doubt_waits_for_its_end() -> None:
    scene = Muted(nothing, timeouts=Timeouts(max_age=75), dice=0.0)
    scene.at(scene.heard + 31, speak, scene)  # The age came at 75.5, during the attempt.
    scene.run(scene.heard + 30)
    assert scene.time > 74 and len(scene.only.doubts) == 1
    scene.answers_well = True
    scene.run(scene.heard + 33)
    assert scene.ends == [] and len(scene.renewals) == 1
    assert dict(scene.only.record.ends) == {"renewal": 1}
    scene.close()


def test_a_doubt_that_begins_while_the_age_is_renewed_needs_no_other_attempt() -> None:
    scene = Muted(nothing, timeouts=Timeouts(max_age=60), dice=0.0)
    scene.run(scene.heard + 30.5)  # The attempt for the age began at 60.5, and fails at 75.75.
    assert 60.5 < scene.doubt[0] == scene.heard + 24.5 and len(scene.network.dialled) == 2
    ended, error, _ = scene.end
    assert error is scene.doubt[1] and ended == 60.5 + 15 + 2 * LATENCY
    scene.close()


def test_after_a_failed_renewal_a_silence_is_the_end_at_once() -> None:
    scene = Muted(status("503 Busy"), timeouts=Timeouts(max_age=60), backoff=Backoff(60, 60), dice=0.0)
    scene.run(scene.heard + 30)
    ended, error, _ = scene.end
    assert isinstance(error, HeartbeatTimeout) and ended == scene.heard + 24.5 and scene.only.doubts == []
    scene.close()


@pytest.mark.parametrize("after", [0.0, 0.5, 0.75, 0.75 + LATENCY, 0.75 + 2 * LATENCY, 5.0])
@pytest.mark.parametrize("end", ["close", "restart", "remote"])
def test_an_end_at_any_moment_of_a_doubt_leaves_nothing(after: float, end: str) -> None:
    scene = Muted(nothing)
    scene.run(scene.heard + 24.5 + after)
    if end == "restart":
        scene.only.restart()
    elif end == "remote":
        scene.first.reset()
    if end != "close":
        scene.run(scene.heard + 34)
        assert [type(error) for _, error, _ in scene.only.ends] == [
            ConnectionBrokenError if end == "remote" else type(None)
        ]
        assert len(scene.network.open_sockets) <= 1
    scene.close()


def test_a_host_that_was_busy_for_an_hour_renews_a_silent_stream_at_once() -> None:
    scene = Single()
    scene.run(100)
    mute_first(scene)
    scene.kernel.advance(3600)
    back = scene.time
    scene.run(back + 2)
    doubted, error, pause = scene.doubt
    assert isinstance(error, HeartbeatTimeout) and doubted == back
    assert scene.renewals == [back + pause + 4 * LATENCY]
    scene.close()


def test_a_route_to_nowhere_ends_the_connection_after_the_attempt() -> None:
    scene = Machine()
    scene.run(12)
    scene.visit.over, scene.there.refuses = True, 1
    scene.machine.route_over(V4, OTHER)
    scene.run(12 + DOUBT + 1)
    doubted, error, _ = scene.doubt
    assert scene.end == (doubted + UP, error, 0.75)
    scene.close()


def test_an_address_that_is_lost_in_the_doubt_ends_the_connection_at_once() -> None:
    scene = Machine()
    scene.run(12)
    scene.mute()
    scene.machine.add(V4, OTHER)
    scene.machine.route_over(V4, OTHER)
    scene.at(25, scene.machine.remove, FIRST[V4])
    scene.run(26)
    assert len(scene.only.doubts) == 1
    assert scene.stale() == [(25, f"its local address {FIRST[V4]} is gone")]
    scene.close()
