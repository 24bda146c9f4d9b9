"""More than a daemon can take: a hundred thousand events in one moment, to one that sleeps after each pull."""

from __future__ import annotations

import time
from typing import Any, Final

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.cell import Cell
from tests.faults.tools import LabError

EVENTS: Final = 100_000
SLOW: Final = 0.05
"""Seconds that the daemon sleeps after each pull (an `EventSource` after each thousandth event)."""
PORTION: Final = 4000
"""Events at a time in the run without a storm: more than one pull fetches, and nothing that a buffer would mind."""
PATIENCE: Final = 60.0


class Storm(Fault):
    """Its cost is compared with that of the same number of events in portions, each fetched before the next.

    A `StreamSubscriber`'s stream lags behind what its daemon has fetched: each TLS record is a wake, and each wake a
    pull, which fetches all that there is.
    """

    name, words, group = "storm", "100,000 events at once at a slow daemon", "the daemon"
    lasts = 1.0
    patience = PATIENCE

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.consumer == "source" and not setup.live:
            return "without ids nobody sends again what came while no stream was open, so there is no storm"
        # A relay that takes in a storm answers nobody meanwhile: an attempt under way may be given up by its own clock.
        return Expectation(Kind.SURVIVED, setup.strikes_in, () if setup.live else ("connect", "response"))

    def prepare(self, cell: Cell) -> None:
        cell.environment["FAULTS_SLOW"] = str(SLOW)
        self.blinds = cell.setup.host == "inline"  # The pull takes seconds in the stream's own thread.

    def move_the_same(self, cell: Cell) -> None:
        for number in range(EVENTS // PORTION):
            self._post(cell, PORTION, f"b{number:02}-")
            self._await(cell, f"b{number:02}-{PORTION}")

    def inject(self, cell: Cell) -> None:
        self._post(cell, EVENTS, "s")

    def done(self, cell: Cell) -> bool:
        return cell.said(f"s{EVENTS}")

    def proof(self, cell: Cell) -> dict[str, Any]:
        slots = cell.relay.report()["slots"]
        events = slots[cell.relay.slot.slot_id]["events"]
        if events < 2 * EVENTS:
            raise Unproven(f"the store has {events} events")
        return {"store": slots}

    def _post(self, cell: Cell, count: int, prefix: str) -> None:
        cell.relay.control("storm", slot_id=cell.relay.slot.slot_id, count=count, prefix=prefix)

    def _await(self, cell: Cell, event: str) -> None:
        until = time.monotonic() + PATIENCE
        while not cell.said(event):
            if time.monotonic() > until:
                raise LabError(f"the daemon did not fetch {event} in {PATIENCE:g} s")
            time.sleep(0.02)


FAULTS: tuple[type[Fault], ...] = (Storm,)
