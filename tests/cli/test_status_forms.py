"""`status`: several files, metrics, and the screen that is kept up to date."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser

from tests.cli.command import PATIENCE, run
from wire_rawsse.wire.state_file import SCHEMA, rfc3339

if sys.platform != "win32":
    from tests.cli.terminal import Terminal


def write(path: Path, state: str = "connected", **changes: object) -> Path:
    endpoint = {"relay": f"http://{path.name}/", "state": state, "reconnect_count": 2, "last_event_at": None}
    document = {
        "schema": SCHEMA,
        "ts": rfc3339(time.time()),
        "state": state,
        "last_event_at": None,
        "reconnect_count": 2,
        "pid": os.getpid(),
        "endpoints": [endpoint],
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({**document, **changes}))
    fresh.replace(path)
    return path


def test_several_files_and_the_worst_of_them(home: Path, tmp_path: Path) -> None:
    well, ill, none = write(tmp_path / "well"), write(tmp_path / "ill", "error"), tmp_path / "none"
    done = run("status", "--file", str(well), "--file", str(ill), home=home)
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{well}: stream: connected") and second.startswith(f"{ill}: stream: error")
    done = run("status", "--json", "--file", str(none), "--file", str(well), home=home)
    assert done.returncode == 2
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["file"], one["verdict"]) for one in found] == [(str(none), "unknown"), (str(well), "connected")]


def test_metrics(home: Path, tmp_path: Path) -> None:
    well, ill = write(tmp_path / "well", runs=3), write(tmp_path / "ill", "error")
    done = run("status", "--openmetrics", "--file", str(well), "--file", str(ill), home=home)
    assert (done.returncode, done.stderr) == (1, "")
    families: Any = parser
    samples = [one for family in families.text_string_to_metric_families(done.stdout) for one in family.samples]
    assert {one.labels["file"]: one.value for one in samples if one.name == "wire_rawsse_status"} == {
        str(well): 0,
        str(ill): 1,
    }
    assert [one.value for one in samples if one.name == "wire_rawsse_runs_total"] == [3]


def test_a_file_that_is_named_twice_has_its_metrics_once(home: Path, tmp_path: Path) -> None:
    well = str(write(tmp_path / "well"))
    done = run("status", "--openmetrics", "--file", well, "--file", well, home=home)
    assert done.returncode == 0 and done.stdout.count("wire_rawsse_status{") == 1


def test_metrics_of_nothing(home: Path) -> None:
    done = run("status", "--openmetrics", home=home)
    assert done.returncode == 2 and done.stdout.endswith(" 2\n# EOF\n")


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix matter")
def test_a_screen_that_is_refreshed(home: Path, tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), tmp_path / "other"
    with Terminal("status", "--watch", "--file", str(one), "--file", str(other), home=home, columns=300) as terminal:
        terminal.until(r"unknown  " + re.escape(str(other)))
        assert f"connected  {one}" in terminal.written
        write(one, "error")
        write(other, last_error="evil \x1b[31m", failures_in_row=1, runs=4, last_run_error="ended with exit status 3")
        terminal.until(r"degraded  " + re.escape(str(one)))
        terminal.until(r"the last run failed: ended with exit status 3")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    assert terminal.written.startswith("\x1b[?1049h\x1b[?25l")
    assert terminal.written.endswith("\x1b[?25h\x1b[?1049l")  # The screen of before, with its cursor.
    assert "evil" not in terminal.written or "\x1b[31m" not in terminal.written


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix matter")
def test_a_small_screen_is_not_overrun(home: Path, tmp_path: Path) -> None:
    files = [write(tmp_path / f"file-{number}") for number in range(20)]
    arguments = [word for file in files for word in ("--file", str(file))]
    with Terminal("status", "--watch", *arguments, home=home, columns=40) as terminal:
        terminal.until(r"more lines\x1b\[K\x1b\[J")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143
    screen = terminal.written.partition("\x1b[H")[2].partition("\x1b[J")[0]
    lines = screen.replace("\x1b[K", "").split("\r\n")
    assert len(lines) == 24 and max(map(len, lines)) < 40


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix matter")
@pytest.mark.parametrize(("columns", "lines"), [(20, 3), (10, 5), (0, 0), (1, 1)])
def test_the_verdict_is_on_every_screen(columns: int, lines: int, home: Path, tmp_path: Path) -> None:
    """The worst comes first. A serial line knows no size and says 0."""
    files = ["--file", str(write(tmp_path / "well")), "--file", str(tmp_path / "missing")]
    with Terminal("status", "--watch", *files, home=home, columns=columns, lines=lines) as terminal:
        terminal.until(r"\x1b\[J")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    screen = terminal.written.partition("\x1b[H")[2].partition("\x1b[J")[0]
    shown = screen.replace("\x1b[K", "").split("\r\n")
    assert next(line for line in shown if "wire-rawsse" not in line and line).startswith("unknown")
    assert lines < 2 or len(shown) <= lines


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a Unix matter")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_terminal_that_takes_nothing_does_not_keep_a_signal_from_ending_it(
    number: int, home: Path, tmp_path: Path
) -> None:
    """Ctrl-S stops a terminal. The command sleeps in its write then, or will soon."""
    with Terminal("status", "--watch", "--file", str(tmp_path / "none"), home=home) as terminal:
        terminal.until(r"\x1b\[J")
        terminal.press("\x13")
        time.sleep(1.5)  # More than a refresh, so that a write begins; if it has not, the test finds less.
        terminal.process.send_signal(number)
        assert terminal.process.wait(PATIENCE) == 128 + number


def test_an_error_from_before_the_connection_is_told_as_such(home: Path, tmp_path: Path) -> None:
    endpoint = {"relay": "http://h/", "state": "connected", "reconnect_count": 1, "last_event_at": None}
    file = write(tmp_path / "one", endpoints=[{**endpoint, "last_error": "it was silent"}])
    with Terminal("status", "--watch", "--file", str(file), home=home) as terminal:
        terminal.until(r"last error \(before this connection\): it was silent")
