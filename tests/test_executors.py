"""Campaigns run on any executor, with the same outcomes: processes, threads, a cluster."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.support import executors

HERE = "tests.test_executors:made_by_name"


@pytest.fixture(scope="module", autouse=True)
def tracker() -> Iterator[None]:
    """multiprocessing starts one process that lives as long as this one."""
    resource_tracker.ensure_running()
    yield


def double(number: int) -> tuple[int, int]:
    return 2 * number, os.getpid()


def fail(number: int) -> None:
    raise ValueError(number)


def die(number: int) -> None:
    os._exit(1)


def made_by_name(workers: int) -> Executor:
    return ThreadPoolExecutor(workers)


@pytest.mark.parametrize("where", ["processes", "threads", HERE])
def test_each_input_has_its_outcome(where: str) -> None:
    with executors.executor(where, 2) as made:
        found = dict(executors.outcomes(made, double, range(20), 4))
    assert {number: value for number, (value, _) in found.items()} == {number: 2 * number for number in range(20)}
    assert {process == os.getpid() for _, process in found.values()} == {where != "processes"}


@pytest.mark.parametrize("where", ["processes", "threads", HERE])
def test_an_exception_of_a_worker_is_raised_to_the_caller(where: str) -> None:
    with executors.executor(where, 2) as made, pytest.raises(ValueError, match="3"):
        list(executors.outcomes(made, fail, [3], 1))


def test_a_worker_that_dies_is_an_error() -> None:
    with executors.executor("processes", 1) as made, pytest.raises(RuntimeError, match="worker that had 7 died"):
        list(executors.outcomes(made, die, [7], 1))


def test_no_more_is_begun_once_the_caller_stops() -> None:
    begun: list[int] = []
    with executors.executor("threads", 1) as made:
        for _ in executors.outcomes(made, begun.append, range(100), 2):
            break
    assert begun in ([0], [0, 1])


@pytest.mark.parametrize("given", ["processes", "threads", "tcp://127.0.0.1:8786", "module:name", "elsewhere"])
def test_the_option_names_an_executor(given: str) -> None:
    parser = argparse.ArgumentParser()
    executors.add_option(parser)
    with pytest.raises(SystemExit) if given == "elsewhere" else nullcontext():
        assert parser.parse_args(["--executor", given]).executor == given


CLUSTER = """
    import subprocess, sys
    from distributed import LocalCluster
    if __name__ == "__main__":
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
            words = [word.replace("CLUSTER", cluster.scheduler_address) for word in sys.argv[1:]]
            sys.exit(subprocess.run([sys.executable, "-m", *words]).returncode)
"""
"""A scheduler with two workers, each a process, and the command that a user gives."""


def on_cluster(*words: str, seconds: float = 100) -> str:
    """The output of the command; `CLUSTER` in it is the address."""
    pytest.importorskip("distributed", reason="needs the extra campaign")
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CLUSTER), *words],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=seconds,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_cluster_lives_the_same_lives() -> None:
    years = ("tests.simulation", "--years", "0.0006", "--seed", "storm", "--processes", "2")
    here = subprocess.run([sys.executable, "-m", *years], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    there = on_cluster(*years, "--executor", "CLUSTER")
    assert here.stdout.startswith("all promises kept over 0.00 years in")
    assert there.partition(";")[0] == here.stdout.partition(";")[0]


@pytest.mark.campaign
def test_a_cluster_fuzzes(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="needs the extra fuzz")
    words = ("tests.fuzz", "all", "--inputs", "200", "--work", str(tmp_path), "--executor", "CLUSTER")
    lines = on_cluster(*words, seconds=600).splitlines()
    assert {line.split()[0] for line in lines} == set(targets.NAMES)


@pytest.mark.campaign
@pytest.mark.network
def test_a_cluster_runs_cells_of_the_lab() -> None:
    words = (
        "tests.faults",
        "matrix",
        "--faults",
        "rst,fin-mid-chunk",
        "--phases",
        "streaming",
        "--full",
        "--executor",
        "CLUSTER",
    )
    assert on_cluster(*words, seconds=600).startswith("2 kept, 0 broken")
