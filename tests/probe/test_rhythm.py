"""Conclusions from arrivals: heartbeats, and the difference between a server that writes in bunches and a buffer."""

from __future__ import annotations

import pytest

from wire_rawsse.probe.measurements import Arrival, Life
from wire_rawsse.probe.rhythm import bursts, heartbeat, held_back, learned_limit, longest_gap, silence_before_end

WALL = 1.8e9


def arrival(
    at: float, *, events: int = 0, comments: int = 0, open_: bool = False, size: int = 10, made: tuple[float, ...] = ()
) -> Arrival:
    return Arrival(at, WALL + at, size, events, comments, open_, tuple(WALL + one for one in made))


def body(*arrivals: Arrival, until: float = 20.0) -> Life:
    return Life(began=0.0, opened=0.1, arrivals=list(arrivals), stopped=until)


def test_the_heartbeat_is_the_period_of_comments() -> None:
    found = heartbeat([body(*(arrival(float(at), comments=1) for at in range(1, 20)))])
    assert found is not None
    assert (found.period, found.jitter, found.count, found.of_events) == (1.0, 0.0, 18, False)


def test_events_may_be_the_heartbeat_if_they_are_steady() -> None:
    found = heartbeat([body(*(arrival(2.0 * at, events=1) for at in range(1, 6)))])
    assert found is not None and found.period == pytest.approx(2.0)


def test_the_first_comment_counts_from_the_head_if_there_is_no_other() -> None:
    found = heartbeat([body(arrival(10.1, comments=1))])
    assert found is not None and found.count == 1 and found.period == pytest.approx(10.0)


def test_the_limit_is_what_ours_would_have_learned() -> None:
    assert learned_limit([body(*(arrival(0.1 + 5.0 * at, comments=1) for at in (1, 2, 3)))], 75.0) == pytest.approx(9.5)
    assert learned_limit([body(*(arrival(0.1 + 5.0 * at, comments=1) for at in (1, 2)))], 75.0) is None


def test_unsteady_events_are_none() -> None:
    assert heartbeat([body(*(arrival(at, events=1) for at in (1.0, 1.5, 6.0, 7.0)))]) is None
    assert heartbeat([body()]) is None


def test_arrivals_close_together_are_one_burst() -> None:
    found = bursts(body(arrival(1.0), arrival(1.05), arrival(1.1), arrival(2.0)))
    assert [len(one.arrivals) for one in found] == [3, 1]


def test_silences() -> None:
    one = body(arrival(5.0, comments=1), until=20.0)
    assert longest_gap(one) == 15.0 and silence_before_end(one) == 15.0
    assert silence_before_end(body(until=20.0)) == pytest.approx(19.9)


def test_events_made_at_different_moments_that_arrive_together_were_held_back() -> None:
    found = held_back(body(arrival(9.0, events=3, made=(1.0, 4.0, 8.9))), wall_of_request=WALL)
    assert found is not None and found.certain and found.seconds == pytest.approx(7.9)


def test_history_that_is_sent_at_the_beginning_was_not() -> None:
    assert held_back(body(arrival(0.2, events=3, made=(-9.0, -5.0, -1.0))), wall_of_request=WALL) is None


def test_a_server_whose_clock_is_ahead_does_not_make_history_look_new() -> None:
    history = body(arrival(0.2, events=2, made=(20.0, 28.0)))
    assert held_back(history, skew=30.0, wall_of_request=WALL) is None


def test_events_that_arrive_when_they_are_made_were_not_held() -> None:
    prompt = [arrival(float(at), events=1, made=(at - 0.01,)) for at in range(1, 9)]
    assert held_back(body(*prompt), wall_of_request=WALL) is None


def test_several_heartbeats_at_once_were_held_back() -> None:
    found = held_back(
        body(arrival(0.2), *(arrival(at, comments=number) for at, number in ((5.0, 5), (10.0, 4), (15.0, 5))))
    )
    assert found is not None and found.certain and found.seconds == pytest.approx(5.0)


def test_what_came_while_the_probe_was_held_up_proves_nothing() -> None:
    late = [one._replace(late=True) for one in (arrival(5.0, comments=5), arrival(10.0, comments=4))]
    assert held_back(body(arrival(0.2), *late)) is None
    late = [arrival(9.0, events=3, made=(1.0, 4.0, 8.9))._replace(late=True)]
    assert held_back(body(*late), wall_of_request=WALL) is None


def test_a_server_that_writes_two_lines_of_comment_each_time_is_not_suspected() -> None:
    assert held_back(body(*(arrival(float(at), comments=2) for at in range(1, 9)))) is None


def test_pieces_that_end_inside_events_come_from_a_buffer() -> None:
    pieces = [arrival(float(at), events=9, open_=True, size=4096) for at in range(1, 5)]
    found = held_back(body(*pieces))
    assert found is not None and found.certain and "after 4096 bytes" in found.proof


def test_bunches_alone_are_only_a_suspicion() -> None:
    found = held_back(body(*(arrival(float(at), events=5) for at in (1, 4, 9, 13))))
    assert found is not None and not found.certain


def test_single_events_between_the_bunches_clear_it() -> None:
    assert held_back(body(arrival(1.0, events=5), arrival(4.0, events=1), arrival(9.0, events=5))) is None
