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


def test_a_cluster_of_two_workers_lives_the_same_lives() -> None:
    """A scheduler with two workers, in processes of their own, and the command that a user gives."""
    pytest.importorskip("distributed")
    program = """
        import subprocess, sys
        from distributed import LocalCluster
        if __name__ == "__main__":
            with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
                for where in ("processes", cluster.scheduler_address):
                    command = [sys.executable, "-m", "tests.simulation", "--years", "0.0006", "--seed", "storm"]
                    command += ["--processes", "2", "--executor", where]
                    ran = subprocess.run(command, capture_output=True, text=True)
                    print(ran.returncode, ran.stdout.partition(";")[0], ran.stderr, sep="|")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=100,
    )
    here, there = ran.stdout.splitlines()
    assert here == there and here.startswith("0|all promises kept over 0.00 years in"), ran.stdout + ran.stderr
