"""How results are held against what is promised."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.goals import Row, rows
from bench.roster import ALL, PURE, THREAD_FLOORS
from bench.stats import Latencies, summarise


def test_a_bound_is_kept_missed_or_kept_with_a_tail() -> None:
    def row(value: float, **more: Any) -> str:
        return Row("x", (value, value, value), 1.0, **more).verdict

    assert (row(0.9), row(1.1)) == ("met", "missed")
    assert (row(3.2, at_least=True), row(0.9, at_least=True)) == ("met", "missed")
    assert (row(0.9, tail=1.2, tail_counts=True), row(0.9, tail=1.2)) == ("missed: p99 is worse", "met")
    assert [Row("x", None, 1.0).verdict, Row("x", (1, 1, 1), None).verdict] == ["not measured", "-"]


def test_without_results_nothing_is_measured_and_nothing_breaks() -> None:
    assert {row.verdict for row in rows({})} == {"not measured"}


def test_a_wake_is_held_against_the_fastest_of_its_kind() -> None:
    medians = {client.name: 1000 for client in ALL}
    medians |= {"ours_inline": 60, "floor_poll": 50, THREAD_FLOORS[1]: 80, PURE[2]: 120}
    clients = {
        name: asdict(summary) for name, ns in medians.items() if (summary := summarise([Latencies([ns * 1000])]))
    }
    found = {row.what: row for row in rows({"wake": {"scenarios": {"http over loopback": {"clients": clients}}}})}
    assert found["inline ÷ CPython poll + recv, http"].value == (1.2, 1.2, 1.2)
    assert found["inline ÷ CPython poll + recv, http"].verdict == "missed"
    [thread] = [row for what, row in found.items() if what.startswith("inline ÷ CPython threaded recv, http (")]
    assert (thread.value, thread.verdict) == ((0.75, 0.75, 0.75), "met")
    [peer] = [row for what, row in found.items() if what.startswith("inline ÷ fastest pure-Python peer, http (")]
    assert (peer.value, peer.verdict) == ((0.5, 0.5, 0.5), "met")


def test_the_goals_of_many_streams_are_among_them() -> None:
    one, several = {"wake_cpu_us": [10.0]}, {"wake_cpu_us": [12.0], "one_more_kib": 8.0}
    found = {
        "programs": {"http": {"ours": {"1": one, "10000": several}, "bare": {"1": one, "10000": several}}},
        "opening": {},
        "instructions": {},
        "late_ms": [51.0],
    }
    of = {row.what: row for row in rows({"many": found})}
    assert of["CPU of a wake, 10,000 streams ÷ 1 (bare loop: 1.20)"].verdict == "met"
    assert of["ms by which 1 deadlines were missed at most"].verdict == "missed"


def test_the_parser_is_held_against_the_fastest_peer_of_the_same_round() -> None:
    def one(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "bytes": 1000}

    cells = {"ours": [one(1), one(1)], "a": [one(4), one(8)], "b": [one(5), one(3)], "c": [{"wrong": 1.0}, one(9)]}
    found = rows({"parse": {"cells": {"relay, 64 KiB": cells}}})[-1]
    assert (found.value, found.verdict) == ((3.5, 3, 4), "met")
