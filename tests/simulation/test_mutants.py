"""Every mutant that storms or an exact test must find is found; the hunts in storms are campaigns.

`python -m tests.simulation mutants` prints after how long, and by which promise.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.mutants import STORMS, Mutant, found_by
from tests.simulation.hunt import EXACT, Hunt, exactly, hunt, hunts
from tests.support.executors import PROCESSES, executor

MOST_DAYS: Final = 25.0
MOST_SECONDS: Final = 60.0
"""Of the processor, for one hunt; nearly all take a second or two."""


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_each_is_found_within_a_few_days_of_storms() -> None:
    """In two processes."""
    wanted = [Hunt(one.name, MOST_DAYS, MOST_SECONDS) for one in found_by(STORMS)]
    with executor(PROCESSES, 2) as made:
        lived = {
            found.mutant: f"lived {found.lives} lives, {found.days:.1f} days, {found.took:.0f} s"
            for found in hunts(wanted, made, 2)
            if found.how is None
        }
    assert not lived


@pytest.mark.parametrize(("mutant", "test"), EXACT, ids=[f"{mutant.name} {test}" for mutant, test in EXACT])
def test_each_is_found_by_its_exact_test(mutant: Mutant, test: str) -> None:
    found = exactly(test, mutant)
    assert found.how is not None, f"lived {found.days:.1f} days in {found.lives} scenes"


def test_the_exact_tests_find_nothing_without_a_mutant() -> None:
    tests = sorted({test for _, test in EXACT})
    assert [found.how for found in (exactly(test, None) for test in tests) if found.how] == []


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_the_same_storms_without_a_mutant_keep_every_promise() -> None:
    lived = hunt(Hunt(None, MOST_DAYS))
    assert lived.how is None and lived.days >= MOST_DAYS
