"""Where the campaigns of the simulation, the fuzzer and the lab run: on this machine, or on a cluster.

Their units of work (a life, a search, a cell) are independent, picklable, and the same wherever they run. So any
`concurrent.futures.Executor` will do, and `--executor` names one:

* `processes`: a pool of processes here. `threads`: of threads, for work that starts processes itself.
* `tcp://HOST:PORT` (any address of a `dask.distributed` scheduler): the workers of that cluster. They must be able to
  import `tests` and `wire_rawsse`: start them in a checkout of the same commit. Needs the extra `campaign`.
* `MODULE:NAME`: what that function returns, called with the number of workers.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

PROCESSES: Final = "processes"
THREADS: Final = "threads"

Input = TypeVar("Input")
Output = TypeVar("Output")


def add_option(parser: argparse.ArgumentParser, default: str = PROCESSES) -> None:
    parser.add_argument(
        "--executor",
        type=_named,
        default=default,
        metavar="WHERE",
        help=f"{PROCESSES} or {THREADS} here, tcp://HOST:PORT of a dask.distributed scheduler, or MODULE:FUNCTION, "
        f"which returns a concurrent.futures.Executor (default: {default})",
    )


def _named(where: str) -> str:
    if where not in (PROCESSES, THREADS) and ":" not in where:
        raise argparse.ArgumentTypeError(
            f"expected {PROCESSES}, {THREADS}, an address or MODULE:FUNCTION, got {where!r}"
        )
    return where


@contextmanager
def executor(where: str, workers: int) -> Iterator[Executor]:
    """The executor that `where` names, with so many workers if it is made here. Shut down at the end."""
    with ExitStack() as stack:
        if where == THREADS:
            made: Executor = ThreadPoolExecutor(workers)
        elif where == PROCESSES:
            # Spawned: a forked child would inherit locks and threads.
            made = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))
        elif "://" in where:
            import distributed

            client: Any = distributed.Client
            made = stack.enter_context(client(where, set_as_default=False)).get_executor()
        else:
            module, _, name = where.partition(":")
            made = getattr(importlib.import_module(module), name)(workers)
        try:
            yield made
        finally:
            made.shutdown()


def outcomes(
    made: Executor, function: Callable[[Input], Output], inputs: Iterable[Input], ahead: int
) -> Iterator[tuple[Input, Output]]:
    """`function` of each input, as they are done. At most `ahead` of them are submitted at a time, in their order.

    When the caller stops, nothing more is begun. Raises what `function` raises, and `RuntimeError` if a worker died.
    """
    rest = iter(inputs)
    running: dict[Future[Output], Input] = {}
    try:
        while True:
            for one in islice(rest, ahead - len(running)):
                running[made.submit(function, one)] = one
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                one = running.pop(done)
                try:
                    result = done.result()
                except BrokenExecutor as error:
                    raise RuntimeError(f"the worker that had {one!r} died") from error
                yield one, result
    finally:
        for future in running:
            future.cancel()
