"""More than a daemon can take: a hundred thousand events in one moment, to one that sleeps after each pull."""

from __future__ import annotations

from typing import Any

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.cell import Cell

EVENTS = 100_000
SLOW = 0.05
"""Seconds that the daemon sleeps after each pull (an `EventSource` after each thousandth event)."""


class Storm(Fault):
    name, words, group = "storm", "100,000 events at once at a slow daemon", "the daemon"
    lasts = 1.0
    patience = 40.0
    blinds = True
    memory = 6 * 1024  # The daemon's own: each of its pulls brings a thousand events at once.
    excuses = {"cpu": "to fetch 100,000 events costs what it costs; the bench measures it"}  # noqa: RUF012

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase in ("resolving", "connecting", "handshake", "head"):
            return "before the first stream a storm is only a store that is full: see reconnecting"
        return Expectation(Kind.SURVIVED, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        cell.environment["FAULTS_SLOW"] = str(SLOW)

    def inject(self, cell: Cell) -> None:
        cell.relay.control("storm", slot_id=cell.relay.slot.slot_id, count=EVENTS, prefix="s")

    def done(self, cell: Cell) -> bool:
        return cell.said(f"s{EVENTS}")

    def proof(self, cell: Cell) -> dict[str, Any]:
        slots = cell.relay.report()["slots"]
        events = slots[cell.relay.slot.slot_id]["events"]
        if events < EVENTS:
            raise Unproven(f"the store has {events} events")
        return {"store": slots}


FAULTS: tuple[type[Fault], ...] = (Storm,)
