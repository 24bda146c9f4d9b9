"""The matrix is whole: every fault in every phase, every pair of the rest, and a reason for what is missing."""

from __future__ import annotations

import itertools

from tests.faults.bounds import CONSUMERS, HOSTS, PHASES, TRANSPORTS
from tests.faults.catalogue import FAULTS
from tests.faults.pairs import Place, _pairs, cover, full, short


def test_every_fault_in_every_phase_or_a_reason() -> None:
    places = full()
    assert {(place.fault, place.phase) for place in places} == set(itertools.product(FAULTS, PHASES))
    for place in places:
        why = place.why_not()
        assert why is None or len(why) > 20, "a reason is a sentence"


def test_each_fault_makes_sense_somewhere() -> None:
    assert {place.fault for place in full() if place.why_not() is None} == set(FAULTS)


def test_every_pair_that_makes_sense_comes_up() -> None:
    every = (Place(*values) for values in itertools.product(FAULTS, PHASES, HOSTS, TRANSPORTS, CONSUMERS))
    wanted = {pair for place in every if place.strikes() for pair in _pairs(place)}
    chosen = [*(place for place in full() if place.why_not() is None), *cover()]
    assert wanted <= {pair for place in chosen for pair in _pairs(place)}
    assert all(place.strikes() for place in cover())


def test_the_short_part_touches_every_fault_phase_and_consumer() -> None:
    places = short()
    assert [place.fault for place in places] == list(FAULTS)
    assert all(place.strikes() for place in places)
    assert {place.consumer for place in places} == set(CONSUMERS)
    assert {place.host for place in places} == set(HOSTS)
    assert {place.transport for place in places} == set(TRANSPORTS)
    assert {place.phase for place in places} == set(PHASES)
