"""The committed corpus alone finds every mutant: neither an invariant nor the corpus has become blind."""

from __future__ import annotations

import pytest

from tests.fuzz import corpora, findings, mutants, targets
from tests.mutants import Mutant, installed

CASES = [
    pytest.param(name, one, id=f"{name}: {one.name}", marks=pytest.mark.campaign if name == "growth" else ())
    for name in targets.NAMES
    for one in mutants.of(name)
]
"""`growth` compares processor times."""


@pytest.mark.parametrize("name", targets.NAMES)
def test_every_target_has_at_least_three(name: str) -> None:
    assert len(mutants.of(name)) >= 3


@pytest.mark.parametrize(("name", "mutant"), CASES)
def test_the_corpus_finds(name: str, mutant: Mutant) -> None:
    check = targets.load(name).check
    inputs = [path.read_bytes() for path in corpora.files(name)]
    with installed(mutant):
        assert any(findings.failure(check, data) for data in inputs), "nothing in the corpus breaks on it"
