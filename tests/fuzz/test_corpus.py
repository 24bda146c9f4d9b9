"""The committed inputs hold, on every Python and without a fuzzer; and what is built around them works."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import corpora, findings, targets

LARGEST_CORPUS = 1 << 20


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.campaign if name == "growth" else ()) for name in targets.NAMES],
)
def test_every_input_that_was_kept_holds(name: str) -> None:
    """`growth` compares processor times, so it is a campaign."""
    target = targets.load(name)
    inputs = [path.read_bytes() for path in corpora.files(name)]
    assert inputs, "no corpus"
    for data in [b"", *target.SEEDS, *inputs]:
        told = findings.failure(target.check, data)
        assert told is None, f"{told}\n{data!r}"


@pytest.mark.parametrize("name", targets.NAMES)
def test_a_target_says_what_it_promises_and_how_it_is_laid_out(name: str) -> None:
    target = targets.load(name)
    assert target.__doc__ is not None and target.__doc__.startswith("Invariant: ")
    assert "\nLayout: " in target.__doc__
    assert all(len(data) <= target.LONGEST for data in target.SEEDS)
    assert all((Path(corpora.PACKAGE) / path).is_file() for path in targets.ABOUT[name])


def test_the_corpus_is_small_and_named_by_content() -> None:
    paths = [path for path in corpora.HERE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < LARGEST_CORPUS
    for path in paths:
        assert path.name == corpora.file_name(path.read_bytes())
        assert path.parent.name in targets.NAMES


def test_an_input_is_kept_for_what_no_smaller_one_shows() -> None:
    check = targets.load("chunks").check
    plain, extended = b"\x00\x215\r\nabcde\r\n0\r\n\r\n", b"\x00\x215;a=b\r\nabcde\r\n0\r\n\r\n"
    assert corpora.distilled([plain, plain.replace(b"abcde", b"edcba")], check) == [plain]
    assert corpora.distilled([extended, plain], check) == sorted([plain, extended])


def breaks(data: bytes) -> None:
    assert b"seven" not in data
    if data.count(b"x") > 2:
        raise ValueError(data)


def test_a_finding_is_made_small_and_stays_the_same_finding() -> None:
    assert findings.minimised(breaks, b"aasevenbb" * 9) == b"seven"
    assert findings.minimised(breaks, b"1x2x3x4x5") == b"xxx"
    told = findings.failure(breaks, b"xxx")
    assert told is not None and told.startswith("ValueError at test_corpus.py:")
    assert findings.failure(breaks, b"x") is None


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tests.fuzz", *arguments], capture_output=True, text=True, check=False)


def test_an_input_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(targets.load("urls").SEEDS[0])
    done = command("urls", "--replay", str(path))
    assert (done.returncode, done.stdout) == (0, f"urls: {path}: holds\n")


def test_the_targets_are_listed() -> None:
    done = command("list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(targets.NAMES)


def test_what_the_corpus_reaches_is_told_of_each_target() -> None:
    done = command("coverage")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines if line.endswith(" inputs")] == list(targets.NAMES)
    for path in {path for about in targets.ABOUT.values() for path in about}:
        assert any(line.split()[0].endswith(path) for line in lines if line), path


@pytest.mark.campaign
def test_a_short_search(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the search needs atheris: pip install -e '.[fuzz]'")
    done = command("dates", "--inputs", "500", "--jobs", "2", "--work", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dates       ")
    assert int(done.stdout.split()[1].replace(",", "")) >= 500


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "mutant", "how"),
    [
        ("chunks", "first trailer ends", "AssertionError at "),
        ("chunks", "never advances", "TooSlow at "),
    ],
    ids=["wrong", "endless"],
)
def test_a_search_finds_a_mutant_and_says_how_to_see_it_again(name: str, mutant: str, how: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the search needs atheris: pip install -e '.[fuzz]'")
    words = (name, "--work", str(tmp_path), "--mutant", mutant)
    done = command(*words, "--inputs", "200000")
    assert done.returncode == 1, done.stderr
    assert f"{name}: an input breaks the invariant" in done.stdout
    assert f"  how      {how}" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "  replay " in line)
    replay = shlex.split(line.partition("tests.fuzz ")[2])
    assert command(*replay).returncode == 1
    del replay[1:3]  # Without the mutant.
    assert command(*replay).returncode == 0
