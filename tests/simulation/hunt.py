"""The hunt for planted bugs: each is simulated until an invariant finds it, and it is told after how much of a life.

The lives are short and stormy, so that all hunts together take a minute or two: a bug that needs years to be found
would be found by nobody. The same storms are lived without a bug as well: what is found there is the doing of none.

Some bugs take a coincidence that storms do not bring about in days (two threads within a microsecond), or something
that a life does not have (redirects between origins). Those are put before an exact test of this folder: a promise that
is tested to the second, in the same memory, and that a plant has to break.
"""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from tests.simulation import run, scene
from tests.simulation.kernel import Kernel, Violation
from tests.simulation.life import DAY
from tests.simulation.planted import PLANTS
from tests.simulation.planted_before_exact_tests import EXACT
from tests.simulation.planting import Plant, planted

SEED: Final = "storm"
MOST_DAYS: Final = 60.0
"""As long as a bug is looked for."""
MOST_SECONDS: Final = 300.0
"""Of the processor: the same."""


@dataclass(frozen=True)
class Found:
    """`days` until it was found, over `lives` (or scenes of an exact test); `how`: by what, None where it was not."""

    plant: Plant | None
    days: float
    lives: int
    took: float
    how: str | None


def hunt(
    plant: Plant | None, seed: str = SEED, most_days: float = MOST_DAYS, most_seconds: float = MOST_SECONDS
) -> Found:
    """In a process of its own, so that what is planted here is planted nowhere else."""
    worker = run.Worker(seed, None if plant is None else plant.name)
    days = took = 0.0
    lives = 0
    how = None
    try:
        while how is None and days < most_days and took < most_seconds:
            lived = worker.live(lives)
            lives += 1
            days += lived.days
            took += lived.took
            how = lived.violation
    finally:
        worker.end()
    return Found(plant, days, lives, took, how)


def hunts(
    plants: Sequence[Plant | None],
    processes: int,
    most_days: float = MOST_DAYS,
    most_seconds: float = MOST_SECONDS,
) -> Iterator[Found]:
    """Each of them, as they are found."""
    with ThreadPoolExecutor(processes) as pool:
        for done in as_completed([pool.submit(hunt, one, SEED, most_days, most_seconds) for one in plants]):
            yield done.result()


def exactly(name: str, plant: Plant | None) -> Found:
    """By the exact test of this name (see `Plant.exact`), here and now."""
    module, _, function = name.partition(":")
    test = getattr(importlib.import_module(f"tests.simulation.test_exact_{module}"), function)
    kernels: list[Kernel] = []

    def overheard(*args: Any, **settings: Any) -> Kernel:
        kernels.append(Kernel(*args, **settings))
        return kernels[-1]

    how, began = None, time.process_time()
    with mock.patch.object(scene, "Kernel", overheard), nullcontext() if plant is None else planted(plant):
        try:
            test()
        except (Exception, Violation) as failed:
            here = traceback.extract_tb(failed.__traceback__)
            line = next((one.line for one in reversed(here) if one.name == function), "")
            how = f"{function}: {line}"
    days = sum(one.now - one.start for one in kernels) / DAY
    return Found(plant, days, len(kernels), time.process_time() - began, how)


def table(processes: int) -> int:
    """Print it, the quickest first; 1 where one was not found, or where something is found without a bug."""
    exact = [exactly(plant.exact, plant) for plant in EXACT]
    found = sorted([*hunts(PLANTS, processes), *exact], key=lambda one: (one.how is None, one.days))
    print("| planted | by | found after | in lives (of the processor) | by which promise |")
    print("|---|---|---|---|---|")
    for one in found:
        assert one.plant is not None
        how = "NOT FOUND" if one.how is None else one.how.replace("|", "/")
        lives = f"{one.lives} ({one.took:.1f} s)"
        print(f"| {one.plant.name} | {one.plant.by} | {_time(one.days)} | {lives} | {how[:110]} |")
    missed = sum(one.how is None for one in found)
    longest = max(one.days for one in found)
    calm = hunt(None, most_days=longest)
    false = [one.how for one in (exactly(plant.exact, None) for plant in EXACT) if one.how]
    print(
        f"\n{len(found) - missed} of {len(found)} found, the last after {_time(longest)}; "
        f"as long without any: {calm.how or false or 'all promises kept'}. See one: "
        f'python -m tests.simulation --replay {SEED}/LIFE --plant "WORDS OF ITS NAME"'
    )
    return 1 if missed or calm.how or false else 0


def _time(days: float) -> str:
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} h" if days * 24 >= 1 else f"{days * 1440:.1f} min"
