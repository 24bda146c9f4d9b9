"""`--print-completion`: what real shells complete with the scripts."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, assert_one_line, environment, run
from tests.conftest import missing

COMPLETIONS = [
    ("lis", "listen"),
    ("listen --js", "--json"),
    ("daemon --exec-t", "--exec-timeout"),
    ("status --openm", "--openmetrics"),
    ("--vers", "--version"),
    ("--print-completion fi", "fish"),
    ("listen --token-file uniq", "unique-name"),
]
"""The words after the command's name, and the completions of the last one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder of the shells; it holds one file to complete."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "unique-name").touch()
    return folder


def script(shell: str, home: Path, tmp_path: Path) -> Path:
    done = run("--print-completion", shell, home=home)
    assert (done.returncode, done.stderr) == (0, "")
    path = tmp_path / f"completion.{shell}"
    path.write_text(done.stdout)
    return path


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        missing(f"needs {program}: apt-get install {program}")
    return found


@pytest.mark.parametrize(("typed", "word"), COMPLETIONS)
def test_bash(typed: str, word: str, home: Path, tmp_path: Path, folder: Path) -> None:
    words = f"wire-rawsse {typed}".split()
    code = (
        f"source {script('bash', home, tmp_path)}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        'complete -p wire-rawsse; _wire_rawsse; echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(
        [needs("bash"), "--norc", "-eu", "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["complete -F _wire_rawsse wire-rawsse", word]


def test_shellcheck_finds_nothing(home: Path, tmp_path: Path) -> None:
    path = script("bash", home, tmp_path)
    done = subprocess.run([needs("shellcheck"), "-s", "bash", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("typed", "word"), COMPLETIONS)
def test_fish(typed: str, word: str, home: Path, tmp_path: Path, folder: Path) -> None:
    code = f"source {script('fish', home, tmp_path)}; complete -C 'wire-rawsse {typed}'"
    done = subprocess.run(
        [needs("fish"), "--no-config", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(home),
    )
    shutil.rmtree(home / ".config", ignore_errors=True)
    assert done.stderr == ""
    assert [line.partition("\t")[0] for line in done.stdout.splitlines()] == [word]


@contextmanager
def zsh_at_a_prompt(path: Path, folder: Path, home: Path) -> Iterator[int]:
    """The terminal of an interactive zsh that has loaded the script."""
    zsh = needs("zsh")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [zsh, "-f", "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env={**environment(home), "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        os.write(
            master,
            f"unset zle_bracketed_paste; PS1='READY> '; autoload -U compinit; compinit -u -D; source {path}\n".encode(),
        )
        until(master, r"\rREADY> ")
        yield master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def until(master: int, pattern: str) -> str:
    text, end = "", time.monotonic() + PATIENCE
    while not re.search(pattern, text):
        assert select.select([master], [], [], max(0.0, end - time.monotonic()))[0], f"{pattern} never came: {text!r}"
        text += os.read(master, 65536).decode(errors="replace").replace("\a", "")
    return text


def test_zsh(home: Path, tmp_path: Path, folder: Path) -> None:
    path = script("zsh", home, tmp_path)
    with zsh_at_a_prompt(path, folder, home) as master:
        for typed, word in COMPLETIONS:
            os.write(master, f"wire-rawsse {typed}\t".encode())
            until(master, rf"(?<![\w-]){re.escape(word)}(?= )")
            os.write(master, b"\x15")  # Ctrl-U: forget the line.


def test_zsh_can_parse_it_as_a_function_file(home: Path, tmp_path: Path) -> None:
    path = script("zsh", home, tmp_path)
    assert path.read_text().startswith("#compdef wire-rawsse\n")
    done = subprocess.run([needs("zsh"), "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--print-completion"], "expected one of bash, zsh, fish, got nothing"),
        (["--print-completion", "tcsh"], "expected one of bash, zsh, fish"),
        (["--print-completion", "bash", "now"], "1 argument too many"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, home: Path) -> None:
    done = run(*arguments, home=home)
    assert done.returncode == 64
    assert_one_line(done.stderr)
    assert told in done.stderr
