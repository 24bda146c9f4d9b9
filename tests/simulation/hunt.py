"""The hunt for planted bugs: each is simulated until an invariant finds it, and it is told after how much of a life.

Lives are short here, so that the table takes minutes: a bug that needs years to be found would be found by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final

from tests.simulation import run
from tests.simulation.planted import PLANTS
from tests.simulation.planting import Plant

SEED: Final = "storm"
MOST_DAYS: Final = 120.0
"""As long as a bug is looked for."""


@dataclass(frozen=True)
class Found:
    """`days` until it was found, over `lives`; `how` is the violation, None where nothing was found."""

    plant: Plant
    days: float
    lives: int
    took: float
    how: str | None
    life: int


def hunt(plant: Plant, seed: str = SEED, most_days: float = MOST_DAYS) -> Found:
    """In a process of its own, so that what is planted here is planted nowhere else."""
    worker = run.Worker(seed, plant.name)
    days = took = 0.0
    lives = 0
    try:
        while days < most_days:
            lived = worker.live(lives)
            lives += 1
            days += lived.days
            took += lived.took
            if lived.violation is not None:
                return Found(plant, days, lives, took, lived.violation, lived.number)
    finally:
        worker.end()
    return Found(plant, days, lives, took, None, -1)


def hunts(plants: list[Plant], processes: int) -> Iterator[Found]:
    """Each of them, as they are found."""

    with ThreadPoolExecutor(processes) as pool:
        for done in as_completed([pool.submit(hunt, plant) for plant in plants]):
            yield done.result()


def table(processes: int) -> int:
    """Print it, the quickest first; 1 where one was not found."""
    missed = 0
    print("| planted | by | found after | in lives (of the processor) | by which promise |")
    print("|---|---|---|---|---|")
    for found in hunts(PLANTS, processes):
        missed += found.how is None
        how = "NOT FOUND" if found.how is None else found.how.replace("|", "/")
        lives = f"{found.lives} ({found.took:.1f} s)"
        print(
            f"| {found.plant.name} | {found.plant.by} | {_time(found.days)} | {lives} | {how[:110]} |",
            flush=True,
        )
    print(
        f"\n{len(PLANTS) - missed} of {len(PLANTS)} found; see one: "
        f'python -m tests.simulation --replay {SEED}/LIFE --plant "WORDS OF ITS NAME"'
    )
    return 1 if missed else 0


def _time(days: float) -> str:
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} h" if days * 24 >= 1 else f"{days * 1440:.1f} min"
