"""The committed corpus alone finds every planted bug: neither an invariant nor the corpus has become blind."""

from __future__ import annotations

import pytest

from tests.fuzz import corpora, findings, planted, targets
from tests.simulation.planting import Plant
from tests.simulation.planting import planted as with_bug

CASES = [(name, one) for name, plants in planted.PLANTS.items() for one in plants]


def test_every_target_has_at_least_three() -> None:
    assert {name for name, plants in planted.PLANTS.items() if len(plants) >= 3} == set(targets.NAMES)
    assert len({one.name for _, one in CASES}) == len(CASES)


FOUND = [
    pytest.param(name, one, id=f"{name}: {one.name}", marks=pytest.mark.campaign if name == "growth" else ())
    for name, one in CASES
]
"""`growth` compares processor times."""


CAMPAIGNS = [
    *(one for name, one in CASES if name == "growth"),
    *(one for plants in planted.ENDLESS.values() for one in plants),
]


@pytest.mark.parametrize("bug", [pytest.param(one, id=one.name) for one in CAMPAIGNS])
def test_it_still_fits_the_shipped_code(bug: Plant) -> None:
    with with_bug(bug):
        pass


@pytest.mark.parametrize(("name", "bug"), FOUND)
def test_the_corpus_finds(name: str, bug: Plant) -> None:
    check = targets.load(name).check
    inputs = [path.read_bytes() for path in corpora.files(name)]
    with with_bug(bug):
        assert any(findings.failure(check, data) for data in inputs), "nothing in the corpus breaks on it"
