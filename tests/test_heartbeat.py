"""The learned heartbeat: gaps in, limits out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_rawsse.heartbeat import PROBATION, TO_LEARN_SHORTER, Heartbeat

READ = 75.0


def heard(*gaps: float) -> Heartbeat:
    heartbeat = Heartbeat()
    for gap in gaps:
        heartbeat.heard(gap)
    return heartbeat


@pytest.mark.parametrize(
    ("gaps", "period", "limit"),
    [
        ([], None, 75),
        ([15, 15], None, 75),
        ([15, 15, 15], 15, 24.5),
        ([30, 30, 30], 30, 47),
        ([1, 1, 1], 1, 3.5),
        ([60, 60, 60], 60, 75),  # Never later than `read`.
        ([10, 12, 11], 12, 20),  # The longest of the run.
        ([10, 12.1, 12, 12.05], 12.1, 20.15),  # 12.1 is no longer within 20 %: a new run begins.
        ([15, 20, 15, 20, 15, 20], None, 75),  # Not steady.
        ([3, 15, 15, 15], 15, 24.5),  # The clock of the server did not start with the head.
        ([0.01, 0.02, 0.01, 0.4], None, 75),  # Comments in a row are no heartbeat.
        ([15, 0.01, 15, 0.01, 15], 15, 24.5),  # A heartbeat in two pieces.
        ([15, 15, 15, 22, 15, 15], 15, 24.5),  # A pause within the limit changes nothing.
        ([15, 15, 15, 30, 30], 15, 24.5),
        ([15, 15, 15, 30, 30, 30], 30, 47),  # A longer period is learned like the first.
        ([30, 30, 30, *[15] * (TO_LEARN_SHORTER - 1)], 30, 47),
        ([30, 30, 30, *[15] * TO_LEARN_SHORTER], 15, 24.5),  # A shorter one takes longer.
    ],
)
def test_what_gaps_teach(gaps: list[float], period: float | None, limit: float) -> None:
    heartbeat = heard(*gaps)
    assert (heartbeat.period, round(heartbeat.limit(READ), 9)) == (period, limit)


def test_an_alarm_doubles_the_factor_until_steady_gaps_prove_it_right() -> None:
    heartbeat = heard(15, 15, 15)
    heartbeat.alarm()
    assert heartbeat.limit(READ) == 47
    for _ in range(PROBATION - 1):
        heartbeat.heard(15)
    assert heartbeat.limit(READ) == 47
    heartbeat.heard(15)
    assert heartbeat.limit(READ) == 24.5


def test_a_longer_gap_after_an_alarm_proves_it_false_for_good() -> None:
    heartbeat = heard(15, 15, 15)
    heartbeat.alarm()
    heartbeat.heard(40)
    for _ in range(10 * PROBATION):
        heartbeat.heard(15)
    assert heartbeat.limit(READ) == 47


def test_a_gap_that_the_limit_allows_proves_nothing() -> None:
    heartbeat = heard(15, 15, 15)
    heartbeat.alarm()
    heartbeat.heard(24)
    for _ in range(PROBATION):
        heartbeat.heard(15)
    assert heartbeat.limit(READ) == 24.5


def test_a_second_alarm_in_a_row_goes_to_read() -> None:
    """A server that sends three quick comments at first, or whose heartbeat has become longer, is dropped twice."""
    heartbeat, alarms = heard(1, 1, 1), 0
    while heartbeat.limit(READ) < 30:
        heartbeat.alarm()
        alarms += 1
        for _ in range(3):
            heartbeat.heard(1)
    heartbeat.heard(30)
    assert alarms == 2
    for _ in range(10 * PROBATION):
        heartbeat.heard(1)
    assert heartbeat.limit(READ) > 30


@pytest.mark.parametrize("gap", [5, 60])
def test_an_event_after_a_longer_gap_proves_an_alarm_false(gap: float) -> None:
    heartbeat = heard(15, 15, 15)
    heartbeat.alarm()
    if heartbeat.exceeds(gap):
        heartbeat.pauses(gap)
    for _ in range(PROBATION):
        heartbeat.heard(15)
    assert (heartbeat.limit(READ) > 60) is (gap == 60)


def test_after_an_event_the_limit_is_read_until_a_heartbeat_has_followed_one() -> None:
    heartbeat = heard(15, 15, 15)
    for gap, limit in [(0.1, 75), (24, 24.5)]:
        heartbeat.heard_after_event(gap)
        assert heartbeat.limit_after_event(READ) == limit


def test_a_long_gap_after_an_event_lengthens_the_limit() -> None:
    heartbeat = heard(15, 15, 15)
    heartbeat.heard_after_event(40)
    assert (heartbeat.follows_events, heartbeat.limit(READ)) == (False, 47)


def test_alarms_one_after_the_other_reach_read_and_go_back_together() -> None:
    heartbeat = heard(15, 15, 15)
    limits = []
    for _ in range(3):
        heartbeat.alarm()
        limits.append(heartbeat.limit(READ))
    assert limits == [47, 75, 75]
    for _ in range(PROBATION * 4 * 4):
        assert heartbeat.limit(READ) == 75
        heartbeat.heard(15)
    assert heartbeat.limit(READ) == 24.5


def test_a_server_that_pauses_is_dropped_a_few_times_and_not_for_ever() -> None:
    """One heartbeat of `every` so many comes after 40 s instead of 15."""
    for every in (5, 50, 500, 5000):
        heartbeat = heard(15, 15, 15)
        alarms = 0
        for number in range(1, 20 * every):
            if number % every:
                heartbeat.heard(15)
            elif heartbeat.limit(READ) < 40:
                heartbeat.alarm()
                alarms += 1
            else:
                heartbeat.heard(40)
        assert 1 <= alarms <= 6
        assert heartbeat.limit(READ) >= 40


def test_gaps_that_are_not_steady_are_no_heartbeat() -> None:
    assert heard(*[15, 20] * 20, 30, 60, 10).period is None


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6)), max_size=200), st.floats(0.001, 1e5))
def test_whatever_comes_the_limit_is_never_beyond_read(steps: list[float | None], read: float) -> None:
    heartbeat = Heartbeat()
    for step in steps:
        if step is not None:
            heartbeat.heard(step)
        elif heartbeat.period is not None:
            heartbeat.alarm()
        limit = heartbeat.limit(read)
        assert 0 < limit <= read
        assert heartbeat.period is None or limit >= min(read, 1.5 * heartbeat.period + 2)


def test_one_more_of_a_known_heartbeat_changes_no_limit() -> None:
    heartbeat = Heartbeat()
    assert [heartbeat.heard(gap) for gap in (15.0, 14.8, 15.0, 14.9, 15.0)] == [True, True, True, False, False]
    assert heartbeat.heard(16.0), "a longer one changes it"
    assert not heartbeat.heard(0.1), "it belongs to the message before it"
