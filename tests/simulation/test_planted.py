"""Each planted bug still fits the source, and is found by its exact test; the hunts in storms are campaigns.

`python -m tests.simulation plants` prints after how long, and by which promise.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.simulation.hunt import exactly, hunt, hunts
from tests.simulation.planted import PLANTS
from tests.simulation.planted_before_exact_tests import EXACT
from tests.simulation.planting import Plant, planted

MOST_DAYS: Final = 25.0
MOST_SECONDS: Final = 60.0
"""Of the processor, for one hunt; nearly all take a second or two."""


@pytest.mark.parametrize("plant", [*PLANTS, *EXACT], ids=lambda plant: plant.name)
def test_it_still_fits_the_shipped_code(plant: Plant) -> None:
    with planted(plant):
        pass


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_every_one_is_found_within_a_few_days_of_storms() -> None:
    """In two processes."""
    lived = {}
    for found in hunts(PLANTS, 2, MOST_DAYS, MOST_SECONDS):
        assert found.plant is not None
        if found.how is None:
            lived[found.plant.name] = f"lived {found.lives} lives, {found.days:.1f} days, {found.took:.0f} s"
    assert not lived


@pytest.mark.parametrize("plant", EXACT, ids=lambda plant: plant.name)
def test_the_others_are_found_by_their_exact_test(plant: Plant) -> None:
    found = exactly(plant.exact, plant)
    assert found.how is not None, f"lived {found.days:.1f} days in {found.lives} scenes"


def test_the_exact_tests_find_nothing_where_there_is_none() -> None:
    assert [
        found.how for found in (exactly(name, None) for name in {plant.exact for plant in EXACT}) if found.how
    ] == []


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_the_same_storms_without_any_keep_every_promise() -> None:
    lived = hunt(None, most_days=MOST_DAYS)
    assert lived.how is None and lived.days >= MOST_DAYS
