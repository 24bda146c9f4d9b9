"""The fleet's simulation: everybody comes back, nobody is counted twice, and the policies are those that are meant."""

from __future__ import annotations

import random

import pytest

from bench.fleet_simulation import POLICIES, Original, Ours, World, peak, simulate, until_back
from wire_rawsse import Backoff


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("clean", [False, True])
def test_every_daemon_is_back_in_the_end_and_never_before_the_relay(policy: str, clean: bool) -> None:
    world = World(500, down=3.0, rate=200.0, backlog=64, clean=clean)
    course = simulate(world, POLICIES[policy])
    assert len(course.back) == 500
    assert course.back[0] > 3.0
    assert course.back == sorted(course.back) and course.arrivals == sorted(course.arrivals)
    assert simulate(world, POLICIES[policy]) == course, "the same seed gives the same course"


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_relay_never_takes_more_than_it_can(policy: str) -> None:
    course = simulate(World(2000, down=1.0, rate=100.0, backlog=50), POLICIES[policy])
    assert peak(course.back, window=1.0) <= 100 + 10, "the network moves answers by up to half a trip"
    assert course.dropped > 0, "a queue of 50 is too short for 2,000"


def test_the_original_doubles_without_dice_and_starts_again_after_a_clean_close() -> None:
    original = Original(random.Random(1))
    assert [original.failed(0.0) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert original.ended(0.0, clean=True) == 0 and original.failed(0.0) == 1


def test_ours_is_what_is_shipped() -> None:
    ours = Ours(random.Random(1))
    first = ours.ended(0.0, clean=False)
    assert 0.5 <= first <= 1
    delays = [ours.failed(10.0 * n) for n in range(1, 5)]
    for delay, whole in zip(delays, (2, 4, 8, 16), strict=True):
        assert whole / 2 <= delay <= whole
    assert all(ours.failed(1e3 * n) <= Backoff().maximum for n in range(1, 20))


def test_without_dice_all_come_at_once_and_with_them_they_do_not() -> None:
    world = World(1000, down=5.0)
    original, ours = (simulate(world, POLICIES[name]) for name in ("original", "ours"))
    assert peak(original.arrivals, world.down, 0.5) == 1000
    assert peak(ours.arrivals, world.down, 0.5) < 400


def test_peaks_and_shares_by_hand() -> None:
    times = [0.0, 0.1, 0.2, 5.0, 5.5, 5.9, 6.2]
    assert peak(times) == 3 and peak(times, after=1.0) == 3 and peak(times, after=1.0, window=0.45) == 2
    assert peak([], after=1.0) == 0
    assert until_back([6.0, 7.0, 8.0, 9.0], 4, since=5.0, share=0.5) == 2.0
    assert until_back([6.0], 4, since=5.0) is None
