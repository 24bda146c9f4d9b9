"""Bad input: one line, no traceback, and an exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bench(*words: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["wake", "--rounds", "0"],
        ["wake", "--passes", "-1"],
        ["wake", "--bursts", "many"],
        ["wake", "--clients", "nobody"],
        ["wake", "--handover", "nothing"],
        ["relay", "ftp://127.0.0.1"],
        ["nothing"],
        [],
    ],
    ids=" ".join,
)
def test_arguments(words: list[str]) -> None:
    status, told = bench(*words)
    assert status == 64 and told[-1].startswith("python -m bench") and "Traceback" not in "".join(told)


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "{}", json.dumps({"bench": "wake"}), json.dumps({"bench": "nothing"})],
    ids=["missing", "empty", "half", "list", "object", "bare", "unknown"],
)
def test_files(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "wake.json"
    if content is not None:
        file.write_text(content)
    shown: list[tuple[str, ...]] = [("show", str(file))]
    if content in ("", "{", "[]", "{}"):
        shown.append(("--out", str(tmp_path), "goals"))
    for words in shown:
        status, (line,) = bench(*words)
        assert status == 65 and line.startswith("python -m bench: a result cannot be read: ")
