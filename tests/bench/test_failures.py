"""A failure takes nothing else with it, and is reported."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import __main__, goals, report, wake
from bench.scenario import Outcome, Plan


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


def test_all_goes_on_after_a_part_that_raises_and_leaves_its_old_results_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    held: list[list[str]] = []

    def good(arguments: argparse.Namespace, on: Console) -> int:
        ran.append("good")
        return 0

    def bad(arguments: argparse.Namespace, on: Console) -> int:
        ran.append("bad")
        raise OSError("the cable is out")

    def note(results: dict[str, Any]) -> list[goals.Row]:
        held.append(sorted(results))
        return []

    parts = {"wake": ("", good), "cost": ("", bad), "parse": ("", good)}
    monkeypatch.setattr(__main__, "COMMANDS", parts)
    monkeypatch.setattr(goals, "rows", note)
    for name in parts:
        report.save(name, {"bench": name}, tmp_path)
    on = console()
    assert __main__._all(argparse.Namespace(out=tmp_path, quick=True), on) == 1
    assert ran == ["good", "bad", "good"]
    assert held == [["parse", "wake"]]
    assert "failed: cost: OSError: the cable is out" in said(on)
    monkeypatch.setitem(parts, "cost", ("", good))
    assert __main__._all(argparse.Namespace(out=tmp_path, quick=True), console()) == 0


def test_a_round_that_fails_costs_neither_the_others_nor_the_next_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_scenario(plan: Plan, *others: object) -> dict[str, Outcome]:
        if plan.tls and plan.seed != 2:
            raise RuntimeError("it broke")
        return {name: Outcome("event", "", [(0, 1), (1, 1500)], [500], []) for name in plan.clients}

    monkeypatch.setattr(wake, "run_scenario", run_scenario)
    monkeypatch.setattr(report, "LISTEN_SECONDS", 0.0)
    settings = wake.Settings(
        rounds=2, warmup=0, links=("loopback",), schemes=("https", "http"), clients=("ours_inline",), end_to_end=False
    )
    found: dict[str, Any] = wake.measure(settings, console())["scenarios"]
    assert found["https over loopback"]["failed"] == ["round 1: it broke"]
    assert found["https over loopback"]["clients"]["ours_inline"]["percentiles"][50] == 1.0
    assert found["http over loopback"]["failed"] == []
    assert found["http over loopback"]["clients"]["ours_inline"]["count"] == 2
