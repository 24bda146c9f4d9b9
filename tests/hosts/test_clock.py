"""The clock of one stream, row by row of the table in `hosts.clock`: all numbers, compared with `==`."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest

from wire_rawsse.hosts.clock import ANSWER_WITHIN, MAX_GRACES, ON_TIME_WITHIN, StreamClock

DEADLINE = 110.0
"""Of a wait that began at 100, when the loop looked in vain for the last time."""


class Look(NamedTuple):
    """The loop looks at `real`; it has slept since `slept_from`."""

    real: float
    slept_from: float = 100.0


def judged(look: Look, data: bool, graces: int = 0) -> tuple[float, float, str]:
    """The clock's `now` and `lag`, and the verdict, in the order in which a loop asks."""
    clock = StreamClock(100.0)
    for _ in range(graces):
        clock._use_grace(DEADLINE)
    late = clock.lag + DEADLINE <= look.real
    if late and clock.out_of_grace(DEADLINE):
        verdict = "times out"
    elif data:
        verdict = "data"
    else:
        verdict = "times out" if late else "waits on"
    if verdict == "data":
        clock.on_data(look.real, DEADLINE, 100.0, look.slept_from)
    elif verdict == "times out":
        clock.on_timeout(look.real, DEADLINE)
    return clock.now, clock.lag, verdict


@pytest.mark.parametrize(
    ("look", "data", "graces", "expected"),
    [
        (Look(105.0), True, 0, (105.0, 0.0, "data")),
        (Look(105.0), False, 0, (100.0, 0.0, "waits on")),
        (Look(DEADLINE + ON_TIME_WITHIN / 2), True, 0, (DEADLINE, ON_TIME_WITHIN / 2, "data")),
        (Look(DEADLINE + ON_TIME_WITHIN / 2, slept_from=DEADLINE + 0.001), True, 0, (100.0, 10.01, "data")),
        (Look(DEADLINE + 1), True, 0, (100.0, 11.0, "data")),
        (Look(1000.0), True, MAX_GRACES - 1, (100.0, 900.0, "data")),
        (Look(1000.0), True, MAX_GRACES, (DEADLINE, 890.0, "times out")),
        (Look(1000.0), False, 0, (DEADLINE, 890.0, "times out")),
    ],
)
def test_a_row_of_the_table(look: Look, data: bool, graces: int, expected: tuple[float, float, str]) -> None:
    now, lag, verdict = judged(look, data, graces)
    assert (now, verdict) == (expected[0], expected[2])
    assert lag == pytest.approx(expected[1], abs=1e-9)
    assert now + lag == pytest.approx(look.real) or verdict == "waits on"


def test_what_was_left_out_stays_left_out() -> None:
    clock = StreamClock(100.0)
    clock.on_data(1000.0, DEADLINE, 104.0, 104.0)
    assert (clock.now, clock.lag) == (104.0, 896.0)
    clock.on_data(1003.0, 200.0, 1000.0, 1000.0)
    assert (clock.now, clock.lag) == (107.0, 896.0)


def test_a_clock_never_passes_the_deadline_that_it_was_late_for() -> None:
    clock = StreamClock(100.0)
    clock.on_data(1000.0, DEADLINE, 999.0, 999.0)
    assert (clock.now, clock.lag) == (DEADLINE, 890.0)


def test_graces_are_counted_for_one_deadline_and_begin_again_with_a_new_one() -> None:
    clock = StreamClock(0.0)
    for _ in range(MAX_GRACES):
        assert not clock.out_of_grace(10.0)
        clock.on_data(clock.lag + 100.0, 10.0, 0.0, 50.0)
    assert clock.out_of_grace(10.0) and not clock.out_of_grace(11.0)
    clock.graces = 0  # As a task does when its deadline has begun again.
    assert not clock.out_of_grace(10.0)


@pytest.mark.parametrize(
    ("real", "answered", "expected"),
    [
        (105.0, True, (100.0, 5.0)),  # The host was away after it had noticed: no time of this stream.
        (100.01, True, (100.01, 0.0)),  # It was not.
        (105.0, False, (100.0, 5.0)),  # A timeout that was noticed before.
    ],
)
def test_a_step_for_what_was_noticed_before(real: float, answered: bool, expected: tuple[float, float]) -> None:
    clock = StreamClock(100.0)
    clock.on_resume(real, DEADLINE, answered)
    assert (clock.now, clock.lag) == pytest.approx(expected, abs=1e-9)


def test_a_timeout_that_was_noticed_before_is_judged_once_more_if_the_host_was_away() -> None:
    clock = StreamClock(100.0)
    clock.on_timeout(DEADLINE + 1, DEADLINE)
    assert not clock.looks_again(DEADLINE + 1 + ON_TIME_WITHIN / 2, DEADLINE)
    assert [clock.looks_again(DEADLINE + 2, DEADLINE) for _ in range(MAX_GRACES + 1)] == [True] * MAX_GRACES + [False]
    assert (clock.now, clock.lag) == (DEADLINE, 1.0), "so the next look is due at once"


def test_a_stopped_look_up_has_a_moment_and_no_more() -> None:
    clock = StreamClock(100.0)
    clock.reprieve(500.0, DEADLINE, 101.0)
    assert DEADLINE + clock.lag == 500.0 + ANSWER_WITHIN
    clock.on_data(500.1, DEADLINE, 500.0, 500.0)
    assert (clock.now, clock.lag) == (101.0, 500.1 - 101.0), "as if it had been there when the last look began"
    clock = StreamClock(100.0)
    clock.reprieve(500.0, DEADLINE, 101.0)
    clock.on_timeout(500.2, DEADLINE)
    clock.on_data(500.3, 120.0, 500.0, 500.0)
    assert clock.now == pytest.approx(DEADLINE + 0.1), "the reprieve has ended with its deadline"


def test_a_pause_is_left_out() -> None:
    clock = StreamClock(100.0)
    clock.skip(50.0)
    clock.on_data(155.0, DEADLINE, 150.0, 150.0)
    assert (clock.now, clock.lag) == (105.0, 50.0)


def test_a_wait_without_a_deadline_is_never_late() -> None:
    clock = StreamClock(100.0)
    clock.on_data(1e9, math.inf, 100.0, 100.0)
    assert (clock.now, clock.lag) == (1e9, 0.0)


class TestHowLongNobodyWatched:
    """`unwatched`: a heartbeat that may have come much earlier than it was found teaches nothing."""

    def unwatched(self, real: float, polled_at: float, slept_from: float) -> float:
        clock = StreamClock(100.0)
        clock.on_data(real, DEADLINE, polled_at, slept_from)
        return clock.unwatched

    def test_data_that_the_poll_found_at_once_may_have_come_since_the_last_one(self) -> None:
        assert self.unwatched(105.0, polled_at=100.0, slept_from=105.0) == 5

    def test_data_that_a_sleeping_poll_brings_has_just_come(self) -> None:
        """The poll before it returned late and empty, so it counts as a look at its beginning only."""
        assert self.unwatched(107.0, polled_at=100.0, slept_from=105.0) == 0

    def test_a_host_that_watches_all_the_time_is_never_away(self) -> None:
        assert self.unwatched(105.0, polled_at=100.0, slept_from=-math.inf) <= 0
