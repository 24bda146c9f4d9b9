"""More than a daemon can take: a hundred thousand events in one moment, to one that sleeps after each pull."""

from __future__ import annotations

import time
from typing import Any, Final

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.cell import Cell
from tests.faults.look import sockets
from tests.faults.tools import LabError

EVENTS: Final = 100_000
SLOW: Final = 0.05
"""Seconds that the daemon sleeps after each pull (an `EventSource` after each thousandth event)."""
PORTION: Final = 4000
"""Events at a time in the run without a storm: more than one pull fetches, and nothing that a buffer would mind."""
PATIENCE: Final = 40.0


class Storm(Fault):
    """What it costs is held against the same number of events in portions, of which each is there before the next."""

    name, words, group = "storm", "100,000 events at once at a slow daemon", "the daemon"
    lasts = 1.0
    patience = PATIENCE
    memory = 6 * 1024  # The daemon's own: each of its pulls brings a thousand events at once.

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.consumer == "source" and not setup.live:
            return "without ids nobody sends again what came while no stream was open, so there is no storm"
        return Expectation(Kind.SURVIVED, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        cell.environment["FAULTS_SLOW"] = str(SLOW)
        self.blinds = cell.setup.host == "inline"  # Who pulls for seconds in the stream's own thread is away.

    def move_the_same(self, cell: Cell) -> float:
        before = cell.daemon.held().cpu
        for number in range(EVENTS // PORTION):
            self._post(cell, PORTION, f"b{number:02}-")
            self._await(cell, f"b{number:02}-{PORTION}")
        return cell.daemon.held().cpu - before

    def inject(self, cell: Cell) -> None:
        self._post(cell, EVENTS, "s")

    def done(self, cell: Cell) -> bool:
        return cell.said(f"s{EVENTS}") and _drained(cell)

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
        while not (cell.said(event) and _drained(cell)):
            if time.monotonic() > until:
                raise LabError(f"the daemon did not fetch {event} in {PATIENCE:g} s")
            time.sleep(0.01)


def _drained(cell: Cell) -> bool:
    """Whether no byte is on its way between the hosts: what a pull has fetched also comes over the stream."""
    lines = [line.split() for host in (cell.world.client, cell.world.relay) for line in sockets(host)]
    return all(words[1:3] == ["0", "0"] for words in lines if words[0] == "ESTAB")


FAULTS: tuple[type[Fault], ...] = (Storm,)
