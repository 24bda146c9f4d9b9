"""`.ci/language` refuses the listed patterns, leaves code and quotations alone. The lint step of .ci/run runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKER = Path(__file__).parents[1] / ".ci" / "language"


def problems(path: Path, text: str) -> int:
    path.write_text(text)
    ran = subprocess.run([sys.executable, str(CHECKER), str(path)], capture_output=True, text=True)
    found = len(ran.stdout.split("\n")) - 1 if ran.stdout.strip() else 0
    assert ran.returncode == (found > 0), ran.stderr
    return found


@pytest.mark.parametrize(
    "text",
    [
        '"""It belongs to whoever asks."""',
        "# It begins anew.",
        'raise ValueError("the file must be mended first")',
        'print(f"{1} failure is to be noticed")',
        "def test_it_shall_connect(): ...",
        "# It must wait, else it spins.",
        "# What is received is parsed.",
        "# It is parsed. Where nothing came, it waits.",
        "# It comes behind the last event.",
        "# It is nobody's.",
    ],
)
def test_a_listed_pattern_is_refused(text: str, tmp_path: Path) -> None:  # language: ok
    assert problems(tmp_path / "one.py", text + "\n") == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one.py", "whoever = 1 if anew else 2"),
        ("one.py", '# An `anew` of code, and "whoever" as a quotation.'),
        ("one.py", "# Is it something else, or someone else? What is it?"),
        ("one.py", "# It is behind a proxy, or left behind."),
        ("one.py", 'CODE = "if asked: pass\\nelse: raise SystemExit"'),
        ("one.py", 'KEY = "mended"'),
        ("one.md", "# Logging\n\n```sh\nif true; then echo; else echo; fi\n```\n\n    anew\n"),  # language: ok
    ],
)
def test_code_questions_and_quotations_are_left_alone(name: str, text: str, tmp_path: Path) -> None:
    assert problems(tmp_path / name, text + "\n") == 0
