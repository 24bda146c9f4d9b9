"""Which cells there are: fault × phase in full for one setup, and everything else in pairs.

The full part is what most people run: inline, https, `StreamSubscriber`. Host, transport and consumer multiply it by
twenty-seven, and most of that says the same again. So the rest is a pairwise cover: for each two of fault, phase, host,
transport and consumer, every pair of values that makes sense together comes up in some cell. Streams that a fault
spares have no part in that: they are in the full part once.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Final

from tests.faults.bounds import CONSUMERS, HOSTS, PHASES, TRANSPORTS, Expectation, Setup
from tests.faults.catalogue import FAULTS
from tests.faults.outcome import why_not


@dataclasses.dataclass(frozen=True)
class Place:
    """One cell of the matrix."""

    fault: str
    phase: str
    host: str = HOSTS[0]
    transport: str = TRANSPORTS[0]
    consumer: str = CONSUMERS[0]

    @property
    def setup(self) -> Setup:
        return Setup(self.phase, self.host, self.transport, self.consumer)

    def why_not(self) -> str | None:
        return why_not(self.fault, self.setup)

    def strikes(self) -> bool:
        """Whether it makes sense, and it is this stream that the fault strikes and not somebody else's connection."""
        expected = FAULTS[self.fault]().expect(self.setup)
        return self.why_not() is None and not (isinstance(expected, Expectation) and expected.stranger)


Pair = tuple[str, str, str, str]
_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Place))


def _pairs(place: Place) -> Iterator[Pair]:
    for one, two in itertools.combinations(_FIELDS, 2):
        yield one, getattr(place, one), two, getattr(place, two)


def usual(fault: str, phase: str) -> Place:
    """A cell of the full part: through a proxy where the fault is a proxy's."""
    transports = FAULTS[fault].transports
    return Place(fault, phase, transport=TRANSPORTS[0] if transports is None else transports[0])


def full() -> list[Place]:
    """Every fault in every phase, those that make no sense included."""
    return [usual(fault, phase) for fault in FAULTS for phase in PHASES]


def cover(phases: tuple[str, ...] = PHASES) -> list[Place]:
    """Cells beyond the full part, fewest first come: each takes as many pairs as possible that none had before."""
    everything = [
        place
        for values in itertools.product(FAULTS, phases, HOSTS, TRANSPORTS, CONSUMERS)
        if (place := Place(*values)).strikes()
    ]
    had = {pair for place in full() if place.why_not() is None for pair in _pairs(place)}
    wanted = {pair for place in everything for pair in _pairs(place)} - had
    chosen: list[Place] = []
    for fault in FAULTS:
        own = [place for place in everything if place.fault == fault]
        # First the pairs of this fault; the remaining pairs of the other fields are covered along with them.
        while any(pair in wanted and fault in pair for place in own for pair in _pairs(place)):
            # Of equals the phase that had least so far.
            best = max(
                own,
                key=lambda place: (
                    sum(_weight(pair, fault) for pair in _pairs(place) if pair in wanted),
                    -sum(other.phase == place.phase for other in chosen),
                ),
            )
            chosen.append(best)
            wanted.difference_update(_pairs(best))
    while wanted:
        best = max(everything, key=lambda place: len(wanted.intersection(_pairs(place))))
        chosen.append(best)
        wanted.difference_update(_pairs(best))
    return chosen


def _weight(pair: Pair, fault: str) -> int:
    return 10 if fault in pair else 1


def short() -> list[Place]:
    """Every fault once, in a setup that changes from one to the next: what a change is checked with."""
    turn = itertools.cycle(itertools.product(PHASES[4:] + PHASES[:4], (("inline", "https", "subscriber"),)))
    others = itertools.cycle(
        [
            ("thread", "http", "subscriber"),
            ("inline", "https", "source"),
            ("asyncio", "https", "subscriber"),
            ("inline", "proxy", "source-ids"),
            ("asyncio", "http", "source-ids"),
        ]
    )
    chosen = []
    for position, fault in enumerate(FAULTS):
        for _ in range(3 * len(PHASES)):
            phase, usual = next(turn)
            host, transport, consumer = usual if position % 2 else next(others)
            place = Place(fault, phase, host, transport, consumer)
            if place.strikes():
                chosen.append(place)
                break
        else:
            chosen.append(next(place for place in full() if place.fault == fault and place.strikes()))
    return chosen
