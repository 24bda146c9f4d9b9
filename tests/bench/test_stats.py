"""The bench's figures: percentiles, pairing of wakes with events, ratios round by round, growth."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict

import pytest

from bench.scenario import Outcome, Plan
from bench.stats import (
    Latencies,
    bin_start,
    exponent,
    histogram,
    latencies,
    percentile,
    ratio,
    ratio_of_percentiles,
    revive,
    summarise,
)


def test_percentiles_lie_between_neighbours() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    assert percentile(values, 0) == 1 and percentile(values, 100) == 4
    assert percentile(values, 50) == 2.5
    assert percentile([7.0], 99.9) == 7


def test_wakes_with_a_number_are_paired_by_it_after_the_warm_up() -> None:
    # The greeting is 0, one event of warm-up is 1; the first that counts is 2.
    outcome = Outcome(kind="event", wakes=[(0, 5), (1, 15), (2, 130), (3, 260)], singles=[100, 200], bursts=[])
    found = latencies(outcome, warmup=1)
    assert found.single == [30, 60] and found.lost == 0


def test_wakes_that_coalesce_are_paired_in_order_or_else_by_time() -> None:
    same = Outcome(kind="wake", wakes=[(0, 5), (1, 130), (2, 260)], singles=[100, 200])
    assert latencies(same, 0).matched == "order" and latencies(same, 0).single == [30, 60]
    fewer = Outcome(kind="wake", wakes=[(0, 5), (1, 260)], singles=[100, 200])
    found = latencies(fewer, 0)
    assert found.matched == "time" and found.single == [160, 60], "one wake covers both"


def test_an_event_without_a_wake_is_lost_and_told() -> None:
    outcome = Outcome(kind="event", wakes=[(0, 5), (1, 130)], singles=[100, 200])
    found = latencies(outcome, 0)
    assert found.single == [30] and found.lost == 1


def test_of_a_burst_the_first_and_the_last_are_kept() -> None:
    outcome = Outcome(kind="wake", wakes=[(0, 5), (1, 130), (2, 1100), (3, 1900)], singles=[100], bursts=[[1000, 1500]])
    found = latencies(outcome, 0)
    assert found.single == [30] and found.burst_first == [100] and found.burst_last == [400]


def test_a_ratio_compares_within_a_round_and_keeps_its_spread() -> None:
    slow = summarise([Latencies([2000]), Latencies([30_000]), Latencies([4000])])
    fast = summarise([Latencies([1000]), Latencies([10_000]), Latencies([4000])])
    assert ratio(slow, fast) == (2, 1, 3)
    assert ratio(slow, None) is None
    assert ratio_of_percentiles(slow, fast, 100) == 3


def test_a_round_without_figures_stays_in_its_place() -> None:
    gap = summarise([Latencies(), Latencies([3000])])
    whole = summarise([Latencies([1000]), Latencies([1000])])
    assert gap is not None and gap.medians == [None, 3]
    assert ratio(gap, whole) == (3, 3, 3)
    assert summarise([Latencies(), Latencies()]) is None


def test_a_summary_survives_json() -> None:
    summary = summarise([Latencies([1000, 2000, 3000])])
    assert summary is not None
    again = revive(json.loads(json.dumps(asdict(summary))))
    assert again is not None and again.percentiles == summary.percentiles and 99.9 in again.percentiles


def test_a_histogram_counts_every_value_in_its_bin() -> None:
    values = [1.0, 10.0, 10.1, 99.0, 5000.0]
    bins = dict(histogram(values))
    assert sum(bins.values()) == len(values)
    for value in values:
        assert any(bin_start(number) <= value * 1.000001 and value < bin_start(number + 1) for number in bins)


@pytest.mark.parametrize("power", [1, 2])
def test_the_exponent_tells_linear_from_quadratic(power: int) -> None:
    assert exponent([(n, 3 * n**power) for n in (1e4, 1e5, 1e6)]) == pytest.approx(power)
    assert math.isnan(exponent([(1, 1)]))


def plan(passes: int, bursts: int) -> Plan:
    return Plan("loopback", False, ["a", "b", "c"], passes, bursts, 2, (1, 2), (1, 2), seed=3)


def test_every_pass_visits_everybody_once_and_nobody_twice_in_a_row() -> None:
    singles, bursts = plan(50, 7).order()
    assert len(singles) == 52 * 3 and len(bursts) == 7 * 3
    names = [name for name, _ in singles]
    for at in range(0, len(names), 3):
        assert sorted(names[at : at + 3]) == ["a", "b", "c"]
    assert all(one != other for one, other in itertools.pairwise(names))
    assert {events for _, events in bursts} == {10}
    assert plan(50, 7).order() == (singles, bursts), "the same seed gives the same order"
