"""A year of bad weather: it is the same for the same seed, keeps the invariants, and costs a relay little.

How long it takes to find mutants is in `test_mutants`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import changes, habits, hours, run, weather
from tests.simulation.kernel import Kernel, MemoryPoller, Violation
from tests.simulation.life import Life
from tests.simulation.setting import draw
from tests.support.executors import PROCESSES, executor

ROOT = Path(__file__).parents[2]
CI_YEARS = 1.0
CI_PROCESSES = 2
SEED = "ci"
SHORT = "storm"
"""A seed whose lives last hours."""


def command(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        timeout=200,
    )


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_year_keeps_every_promise_and_has_every_fault() -> None:
    """About two minutes on two cores."""
    kinds: dict[str, int] = {}

    def note(total: run.Years, lived: run.Lived) -> None:
        for name, count in lived.kinds.items():
            kinds[name] = kinds.get(name, 0) + count

    with executor(PROCESSES, CI_PROCESSES) as made:
        total, wrong = run.run(SEED, CI_YEARS, made, CI_PROCESSES, tell=note)
    assert wrong is None, "\n".join([*wrong.trace, f"life {SEED}/{wrong.number}: {wrong.violation}"])
    assert total.days >= CI_YEARS * run.YEAR
    assert total.connections > 1000
    assert {fault.name for fault in weather.EVERY} == set(kinds)
    assert set(total.habits) == set(habits.ALL) and all(days >= 5 for days in total.habits.values()), total.details
    assert set(total.causes) == set(changes.CAUSES), total.details


@pytest.mark.campaign
def test_the_same_seed_gives_the_same_trace_in_any_process_and_another_seed_another() -> None:
    """In any order of hashes. The life has files of wire's."""
    assert draw(f"{SHORT}/0").sink == "wire"
    ran = [command("--replay", f"{SHORT}/0", "--all", hash_seed=seed) for seed in ("1", "2")]
    assert ran[0].returncode == 0, ran[0].stdout[-2000:]
    assert len(ran[0].stdout) > 1000 and ran[0].stdout == ran[1].stdout
    other = command("--replay", f"{SHORT}/1", "--all")
    assert other.stdout != ran[0].stdout


def test_a_life_is_the_same_twice_in_one_process() -> None:
    assert run.digest(SHORT, 3) == run.digest(SHORT, 3) != run.digest(SHORT, 4)


def test_the_lives_of_a_year_are_those_of_its_seed() -> None:
    assert list(run.numbers("a", 0.2)) == list(run.numbers("a", 0.2))
    assert len(list(run.numbers("a", 0.2))) < len(list(run.numbers("a", 0.5)))


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_an_hour_of_each_fault_costs_no_more_connections_than_promised() -> None:
    for found in hours.costs():
        assert found.attempts <= found.most, f"{found.fault.name}: {found.attempts} connections, {found.where}"


def test_what_is_raised_in_a_life_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(life: Life) -> None:
        raise ZeroDivisionError("perhaps")

    monkeypatch.setattr(Life, "run", fail)
    lived = run.live(SEED, 0)
    assert lived.violation is not None and "ZeroDivisionError" in lived.violation
    assert lived.trace[-1].endswith(lived.violation)


def test_a_turn_without_an_end_is_a_violation_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def spin(life: Life) -> None:
        while True:
            life.kernel.monotonic()

    monkeypatch.setattr(run, "LONGEST_TURN", 0.1)
    monkeypatch.setattr(Life, "run", spin)
    lived = run.live(SEED, 0)
    assert lived.violation is not None and lived.violation.startswith("busy loop")


def test_a_loop_that_only_reads_the_clock_is_a_busy_one() -> None:
    kernel = Kernel("0", tick=1e-4)
    poller = MemoryPoller(kernel)
    with pytest.raises(Violation, match="busy loop"):
        for _ in range(100):
            kernel.monotonic()
            poller.poll(0)


def test_a_broken_promise_outlives_anyone_who_swallows_it() -> None:
    life = Life(SEED, 0)
    with pytest.raises(Violation, match="the first"):
        life.kernel.fail("the first")
    with pytest.raises(Violation, match="the first"):
        life.kernel.fail("the second")
    life.loop.close()


# The command.


def test_a_violation_is_shown_with_a_trace_and_seen_again() -> None:
    bug = "A silent stream stays"
    ran = command("--years", "0.5", "--seed", "storm", "--mutant", bug, "--processes", "1")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    *_, again, _ = ran.stdout.strip().splitlines()
    assert again.startswith("see it again: python -m tests.simulation --replay storm/")
    assert "VIOLATION" in ran.stdout and "Traceback" not in ran.stderr
    replayed = command("--replay", again.split()[7], "--mutant", bug, "--last", "5")
    assert replayed.returncode == 1
    lines = replayed.stdout.splitlines()
    assert "VIOLATION" in lines[4] and len(lines) == 8
    assert lines[4].split("VIOLATION")[1] in ran.stdout


@pytest.mark.campaign
def test_years_without_a_violation_are_told_in_a_line() -> None:
    ran = command("--years", "0.0003", "--seed", SHORT, "--processes", "1")
    assert ran.returncode == 0 and ran.stdout.startswith("all promises kept over 0.0"), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--years", "x"], "expected a number of years"),
        (["--years", "0"], "expected a number of years"),
        (["--years", "nan"], "expected a number of years"),
        (["--processes", "0"], "expected a number above 0"),
        (["--last", "many"], "expected a number above 0"),
        (["--replay", "28"], "the seed of a life"),
        (["--mutant", "no such words"], "0 mutants have"),
        (["centuries"], "invalid choice"),
    ],
)
def test_bad_arguments_are_told_without_a_traceback(arguments: list[str], told: str) -> None:
    ran = command(*arguments)
    assert ran.returncode == 64
    assert told in ran.stderr and "Traceback" not in ran.stderr and not ran.stdout
