"""The hunt for mutants: each is simulated until an invariant finds it, and the table says after how much of a life.

The lives are short and stormy, so that all hunts together take a few minutes. The same storms are lived without a
mutant as well, and must keep every promise.

Some mutants take a coincidence that storms do not bring about in days (two threads within a microsecond), or something
that a life does not have (redirects between origins). Those are found by a test without arguments, mostly one of the
`test_exact_*` modules of this folder: a promise that is tested to the second, and that the mutant breaks.
"""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple
from unittest import mock

from tests import mutants
from tests.mutants import MUTANTS, STORMS, Mutant, installed
from tests.simulation import run, scene
from tests.simulation.kernel import Kernel, Violation
from tests.simulation.life import DAY
from tests.support.executors import outcomes

SEED: Final = "storm"
MOST_DAYS: Final = 60.0
"""As long as a mutant is looked for."""
MOST_SECONDS: Final = 300.0
"""Of the processor: the same."""

EXACT: Final = [(one, test) for one in MUTANTS for test in one.tests]


class Hunt(NamedTuple):
    """Look for the mutant of this name (None: for none) for so long."""

    mutant: str | None
    most_days: float = MOST_DAYS
    most_seconds: float = MOST_SECONDS


@dataclass(frozen=True)
class Found:
    """`days` until it was found, over `lives` (or scenes of an exact test); `how`: by what, None if it was not."""

    mutant: str | None
    days: float
    lives: int
    took: float
    how: str | None


def hunt(wanted: Hunt) -> Found:
    """In storms."""
    days = took = 0.0
    lives = 0
    how = None
    while how is None and days < wanted.most_days and took < wanted.most_seconds:
        lived = run.live_with(run.Task(SEED, lives, wanted.mutant))
        lives += 1
        days += lived.days
        took += lived.took
        how = lived.violation
    return Found(wanted.mutant, days, lives, took, how)


def hunts(wanted: Sequence[Hunt], executor: Executor, workers: int) -> Iterator[Found]:
    """Each of them, as they are found."""
    return (found for _, found in outcomes(executor, hunt, wanted, 2 * workers))


def exactly(test: str, mutant: Mutant | None) -> Found:
    """By the test of this name ("path/below/tests.py::function"), here and now."""
    file, _, name = test.partition("::")
    function = getattr(importlib.import_module("tests." + file.removesuffix(".py").replace("/", ".")), name)
    kernels: list[Kernel] = []

    def observed(*args: Any, **settings: Any) -> Kernel:
        kernels.append(Kernel(*args, **settings))
        return kernels[-1]

    how, began = None, time.process_time()
    with mock.patch.object(scene, "Kernel", observed), nullcontext() if mutant is None else installed(mutant):
        try:
            function()
        except (Exception, Violation) as failed:
            here = traceback.extract_tb(failed.__traceback__)
            line = next((one.line for one in reversed(here) if one.name == name), "")
            how = f"{name}: {line}"
    days = sum(one.now - one.start for one in kernels) / DAY
    return Found(None if mutant is None else mutant.name, days, len(kernels), time.process_time() - began, how)


def table(executor: Executor, workers: int) -> int:
    """Print it, each as it is found; 1 if one was not found, or if something is found without a mutant."""
    wanted = [Hunt(one.name) for one in mutants.found_by(STORMS)]
    found = []
    print("| mutant | found after | in lives (of the processor) | by which promise |")
    print("|---|---|---|---|")
    for one in chain((exactly(test, one) for one, test in EXACT), hunts(wanted, executor, workers)):
        found.append(one)
        how = "NOT FOUND" if one.how is None else one.how.replace("|", "/")
        print(f"| {one.mutant} | {_time(one.days)} | {one.lives} ({one.took:.1f} s) | {how[:110]} |", flush=True)
    missed = sum(one.how is None for one in found)
    longest = max(one.days for one in found)
    calm = hunt(Hunt(None, longest))
    false = [one.how for one in (exactly(test, None) for _, test in EXACT) if one.how]
    print(
        f"\n{len(found) - missed} of {len(found)} found, the last after {_time(longest)}; "
        f"as long without any: {calm.how or false or 'all promises kept'}. See one: "
        f'python -m tests.simulation --replay {SEED}/LIFE --mutant "WORDS OF ITS NAME"'
    )
    return 1 if missed or calm.how or false else 0


def _time(days: float) -> str:
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} h" if days * 24 >= 1 else f"{days * 1440:.1f} min"
