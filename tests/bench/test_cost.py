"""`cost`: streams held together, and tables of what was seen of them."""

from __future__ import annotations

import io
import os
import ssl
from pathlib import Path

import pytest
from rich.console import Console

from bench import cost, cost_streams, cost_table, cost_watch, held, imports, instruments, proc, report, roster
from bench.cost_plan import Settings


def test_a_wake_at_one_a_second_is_what_a_busy_process_has_above_an_idle_one() -> None:
    assert cost_table.colder([{"cpu_us_per_s": 130.0, "events_per_s": 0.5}], 30.0) == [200.0]
    assert cost_table.colder([{"cpu_us_per_s": 130.0}], 30.0) == [100.0]


def test_default_trust_is_the_systems_own_bundle_and_the_benchs_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = held.BEGIN.decode()
    (tmp_path / "bundle").write_text(f"{begin}\nsystem 1\n{begin}\nsystem 2\n")
    (tmp_path / "ca.pem").write_text(f"{begin}\nthe bench's\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle"))
    assert ssl.get_default_verify_paths().cafile == str(tmp_path / "bundle")
    path, words = held.with_system_roots(tmp_path / "ca.pem")
    text = Path(path).read_text()
    assert [name in text for name in ("system 1", "system 2", "the bench's")] == [True] * 3
    assert words == f"{tmp_path / 'bundle'}: 2 certificates"


@pytest.mark.skipif(bool(proc.unavailable()), reason="needs Linux's /proc")
def test_one_stream_and_several_are_seen_in_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost_streams, "MANY", (roster.BY_NAME["ours_thread"],))
    settings = Settings(copies=1, idle=1.0, events=4, streams=(1, 3), clients=("base_socket", "ours_thread"))
    alone, many = cost_streams.measure(False, settings, lambda: None)
    assert (alone["unavailable"], many["unavailable"]) == ({}, {})
    [busy] = alone["clients"]["ours_thread"]["busy"]
    assert busy["events_per_s"] >= 1
    several = many["clients"]["ours_thread"]
    assert [(several[count]["threads"], several[count]["descriptors"] > 3 * int(count)) for count in ("1", "3")] == [
        (2, True),
        (4, True),
    ]
    assert all(len(several["3"][f"{what}_us"]) == cost_streams.BATCHES for what in ("event", "heartbeat"))
    if not alone["no_strace"]:
        assert several["3"]["heartbeat_calls"]["recvfrom"] >= 1


@pytest.mark.skipif(bool(proc.unavailable()), reason="needs Linux's /proc")
def test_the_watch_of_the_machine_adds_modules_and_no_wake_up() -> None:
    found = cost_watch.measure(Settings(copies=1, idle=1.0, quick=True))
    (on,), (off,) = found["on"], found["off"]
    assert on["wakeups_per_hour"] == off["wakeups_per_hour"] == 0
    assert found["modules"]["on"] - found["modules"]["off"] == 2
    assert on["descriptors"] > off["descriptors"]
    on_screen = Console(file=io.StringIO(), width=200)
    on_screen.print(cost_table.watch_table(found))
    assert isinstance(on_screen.file, io.StringIO)
    assert "watch=False" in on_screen.file.getvalue() and "the bound is 60" in on_screen.file.getvalue()


def test_an_event_for_a_stream_that_is_not_there_is_lost_and_told() -> None:
    with held.Stage(tls=False) as stage:
        stage.start("one", roster.BY_NAME["ours_inline"])
        stage.settle()
        stage.send(["one", "another", "one"], (0.1, 0.2))
        assert stage.lost == {"another"}
        stage.send(["yet another"], (0.1, 0.2), "heartbeat")
        assert stage.lost == {"another"}


def test_a_part_that_fails_is_told_and_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise OSError("the sender is gone")

    monkeypatch.setattr(cost_streams, "measure", fails)
    monkeypatch.setattr(cost_watch, "measure", fails)
    monkeypatch.setattr(imports, "PROGRAMS", {"floor": ("nothing", "pass")})
    monkeypatch.setattr(instruments, "callgrind_missing", lambda: "not today")
    monkeypatch.setattr(proc, "unavailable", lambda: "")
    monkeypatch.setattr(report, "LISTEN_SECONDS", 0.0)
    on = Console(file=io.StringIO(), width=200)
    settings = Settings(imports=1, schemes=("http",), quick=True)
    assert cost.run(settings, tmp_path, on) == 1
    assert isinstance(on.file, io.StringIO)
    assert "failed: streams, http: OSError: the sender is gone" in on.file.getvalue()
    assert "nothing" in on.file.getvalue(), "the imports were measured"
    assert os.path.exists(tmp_path / "cost.json")
