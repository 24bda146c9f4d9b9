"""`wire-rawsse status`: one line or JSON, and an exit status that a script can go by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import environment, run
from wire_rawsse.wire.state_file import SCHEMA, rfc3339


def document(**changes: Any) -> dict[str, Any]:
    """A healthy state, written by this very process just now.

    Call it in the test: what is made when the tests are collected is stale by the end of a long run.
    """
    whole = {
        "schema": SCHEMA,
        "ts": rfc3339(time.time()),
        "state": "connected",
        "last_event_at": None,
        "reconnect_count": 3,
        "pid": os.getpid(),
        "endpoints": [
            {"relay": "http://a", "state": "connected", "reconnect_count": 1},
            {"relay": "http://b", "state": "connected", "reconnect_count": 2},
        ],
    }
    return {**whole, **changes}


def down() -> list[dict[str, Any]]:
    first, second = document()["endpoints"]
    return [first, {**second, "state": "error", "last_error": "refused \x1b[31m…"}]


GONE = 2**22 + 1  # Beyond Linux's largest pid.


@pytest.mark.parametrize(
    ("made", "status", "verdict", "told"),
    [
        (document, 0, "connected", "stream: connected (last event never, reconnects 3)"),
        (lambda: document(endpoints=down()), 1, "degraded", "1 of 2 endpoints down"),
        (lambda: document(state="reconnecting", endpoints=[]), 1, "degraded", "stream: reconnecting"),
        (lambda: document(pid=GONE), 2, "stale", "is gone"),
        (lambda: document(ts=rfc3339(time.time() - 3600)), 2, "stale", "was written"),
        (lambda: document(schema="v2"), 2, "unknown", "expected the schema"),
        (dict, 2, "unknown", "expected the schema"),
        (lambda: None, 2, "unknown", "holds null"),
        (lambda: "{", 2, "unknown", "is not JSON"),
        (lambda: "", 2, "unknown", "is not JSON"),
    ],
    ids=["well", "one-down", "reconnecting", "gone", "old", "schema", "empty-object", "null", "half", "empty"],
)
def test_the_status_is_the_exit_status(
    made: Callable[[], Any], status: int, verdict: str, told: str, home: Path
) -> None:
    content = made()
    folder = home / "state" / "wire"
    folder.mkdir(parents=True)
    (folder / "stream_state.json").write_text(content if isinstance(content, str) else json.dumps(content))
    human = run("status", home=home)
    assert (human.returncode, human.stderr) == (status, "")
    assert human.stdout.count("\n") == 1 and told in human.stdout and "\x1b" not in human.stdout
    machine = run("status", "--json", home=home)
    assert (machine.returncode, machine.stderr) == (status, "")
    facts = json.loads(machine.stdout)
    assert facts["verdict"] == verdict
    if isinstance(content, dict) and content.get("schema") == SCHEMA:
        assert facts["document"] == content


def test_no_file_is_unknown(home: Path) -> None:
    done = run("status", home=home)
    assert done.returncode == 2 and done.stdout.startswith("stream: unknown (there is no ")


def test_a_file_of_your_own(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document()))
    assert run("status", "--file", str(path), home=home).returncode == 0


def test_in_an_ascii_locale(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(document(endpoints=down())))
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("status", "--file", str(path), home=home, environ=environ)
    assert done.returncode == 1 and done.stdout.isascii() and done.stderr == ""


def test_with_its_output_closed_the_exit_status_is_still_the_answer(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run("status", home=home, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (2, "")


def test_it_starts_without_what_it_does_not_need(home: Path) -> None:
    code = (
        "import sys; from wire_rawsse.cli import main; main(['status'])\n"
        "heavy = {'ssl', 'asyncio', 'certifi', 'logging', 'subprocess', 'threading', 'http', 'email', 'urllib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(home), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
