"""`many`: one program with several streams is measured, and tables and pictures hold what was seen."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import instruments, many, many_table, proc, report
from bench.pictures import many as picture

pytestmark = pytest.mark.skipif(bool(proc.unavailable()), reason="needs Linux's /proc")
SMALL = dataclasses.replace(many.QUICK, http=(1, 5), https=(1, 3), batch=4, opening=20, silent=5)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_each_wake_of_our_own_is_seen(scheme: str) -> None:
    found = many.hold("ours", scheme, SMALL)
    for figures in found.values():
        assert figures["lost"] == 0 and len(figures["wake_us"]) == SMALL.rounds * SMALL.batch
        assert figures["threads"] == 1
    assert len(found[max(found)]["fan_out_first_us"]) == SMALL.fan_outs


def test_a_program_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "OPEN_SECONDS", 20.0)
    found = many.hold("nobody", "http", SMALL)
    assert "KeyError" in found["1"]["failed"]


def test_a_first_wake_is_found_by_its_stream_and_time() -> None:
    seen = many._latencies([(1, 1000), (2, 5000), (1, 9000)], [1000], [[1, 4000], [2, 4000], [2, 7000]])
    assert seen == {"wake_us": [3.0, 2.0], "lost": 1, "fan_out_first_us": [3.0]}


@pytest.mark.campaign
def test_the_whole_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "KINDS", ("ours", "floor"))
    monkeypatch.setattr(instruments, "callgrind_missing", lambda: "not today")
    monkeypatch.setattr(report, "LISTEN_SECONDS", 0.0)
    monkeypatch.setattr(picture, "draw", lambda found, out: [])
    on = Console(file=io.StringIO(), width=200)
    assert many.run(SMALL, tmp_path, on) == 0
    assert isinstance(on.file, io.StringIO)
    text = on.file.getvalue()
    assert "wire_rawsse: Streams" in text and "epoll + h11" in text and "ms by which 5 deadlines" in text
    found = report.load(tmp_path / "many.json")
    assert len(many_table.tables(found)) == 3
    # In a process of its own: matplotlib leaves its fonts open.
    draw = (
        "import pathlib, sys\nfrom bench import report\nfrom bench.pictures import many\n"
        "out = pathlib.Path(sys.argv[1])\nmany.draw(report.load(out / 'many.json'), out)"
    )
    subprocess.run([sys.executable, "-c", draw, str(tmp_path)], check=True, cwd=Path(many.__file__).parent.parent)
    if importlib.util.find_spec("matplotlib") is not None:
        assert {path.name for path in tmp_path.iterdir()} >= {"many.json", "many-http.png", "many-https.png"}


def test_what_it_is_held_to_are_ratios_of_one_run() -> None:
    one: dict[str, Any] = {"one_more_kib": None, "wake_cpu_us": [100.0], "wake_us": [50.0], "fan_out_first_us": []}
    several = {"one_more_kib": 8.0, "wake_cpu_us": [120.0, 130.0], "wake_us": [60.0], "fan_out_first_us": [400.0]}
    bare = {"1": {"wake_cpu_us": [10.0], "wake_us": [10.0]}, "1000": {"wake_cpu_us": [12.0], "wake_us": [11.0]}}
    found = {
        "programs": {"http": {"ours": {"1": one, "1000": several}, "bare": bare}},
        "opening": {
            "http": {"streams": 5000, "cpu_s": 1.5, "own_kib": 1},
            "https, one": {"streams": 1, "own_kib": 1000},
            "https, 300 at once": {"streams": 301, "own_kib": 10000},
            "https, 300 at once, no gate": {"streams": 301, "own_kib": 11200},
        },
        "instructions": {"ours-1": 100.0, "ours-400": 105.0},
        "late_ms": [1.0, 2.0],
    }
    goals = {goal.what: goal for goal in many_table.goals(found)}
    told = {what: goal.value for what, goal in goals.items()}
    assert told["KiB of one more stream, http, 1,000 streams"] == 8.0
    assert told["KiB of one more stream, https, 301 added at once"] == 30.0
    assert goals["KiB of one more stream, https, 301 added at once, max_connecting=300"].verdict == "-"
    cpu, p50 = goals["CPU of a wake, 1,000 streams ÷ 1"], goals["p50 of a wake, 1,000 streams ÷ 1"]
    assert (cpu.value, cpu.bare, cpu.verdict) == (1.25, 1.2, "met")
    assert (p50.value, p50.bare, p50.verdict) == (1.2, 1.1, "missed")
    assert told["instructions of a wake, 400 streams ÷ 1"] == 1.05
    assert told["CPU seconds to open 5,000 streams"] == 1.5
    assert goals["KiB of one more stream, https, 0 streams"].verdict == "not measured"
