"""Each planted bug is still one, and those that a few hours of storms show are found here.

`python -m tests.simulation plants` looks for all of them, for four months each.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.simulation.hunt import hunt
from tests.simulation.planted import PLANTS
from tests.simulation.planting import Plant, planted

DAYS: Final = 2.0
QUICK: Final = (
    "the silence clock is not restarted by bytes",
    "a line that drips is never judged",
    "the backoff is reset by a connection",
    "every clean close is followed at once",
    "the wake that is owed for a reconnect is lost",
    "a hint is taken for a wake that was given",
    "what TLS still holds is not read before a wait",
    "a silent stream stays 'connected'",
    "a late host judges before it looks",
    "the losers of an address race stay open",
    "a reconnect of a wake stream gives no wake",
    "once one line of a stream has ended",
)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_it_still_fits_the_shipped_code(plant: Plant) -> None:
    with planted(plant):
        pass


@pytest.mark.parametrize("name", QUICK)
def test_it_is_found_within_two_days_of_storms(name: str) -> None:
    (plant,) = [plant for plant in PLANTS if plant.name.startswith(name)]
    found = hunt(plant, most_days=DAYS)
    assert found.how is not None, f"lived {found.lives} lives, {found.days:.1f} days, and no promise was broken"
