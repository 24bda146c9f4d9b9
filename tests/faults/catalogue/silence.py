"""Packets that do not arrive: for ever, or for a moment."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.cell import Cell
from tests.faults.drops import Drop
from tests.faults.world import CLIENT, RELAY

BRIEF = 0.5
"""Seconds for a live stream: with the retransmissions that follow, silence stays under 0.8 × `read`."""
BRIEFER = 0.3
"""Seconds for an attempt: with the retransmissions that follow, it stays within its clock."""


class Dropped(Fault):
    group = "packets"
    needs = ("nft",)
    ways: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        self.drops: list[Drop] = []
        self.own: list[int] = []
        """The number of packets that each had dropped before we sent anything."""

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.UNREACHABLE, setup.strikes_in)

    def inject(self, cell: Cell) -> None:
        hosts = {"client": cell.world.client, "peer": cell.world.relay}
        interface = 'iifname != "lo"'
        self.drops = [Drop(hosts[way], interface) for way in self.ways]

    def done(self, cell: Cell) -> bool:
        return all(drop.count for drop in self.drops)

    def shown(self, cell: Cell) -> None:
        """Each direction drops. If neither side sent anything in one (the relay, before it has the SYN), we send."""
        self.own = [drop.count for drop in self.drops]
        client, relay = cell.world.client, cell.world.relay
        for drop in self.drops:
            drop.show(*((relay, CLIENT) if drop.host is client else (client, RELAY)))

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not self.own:
            self.shown(cell)
        if not any(self.own):
            raise Unproven("no packet was dropped but our own")
        return {"drops": [drop.told() for drop in self.drops], "of the stream": self.own}

    def lift(self, cell: Cell) -> None:
        for drop in self.drops:
            drop.lift()


class DropBoth(Dropped):
    name, words, ways = "drop-both", "packets dropped both ways, for ever", ("client", "peer")


class DropToClient(Dropped):
    name, words, ways = "drop-to-client", "packets to the client dropped, for ever", ("client",)


class DropToRelay(Dropped):
    """The relay still sends its part: the flight that ends the handshake (TLS 1.3), the head, some events."""

    name, words, ways = "drop-to-relay", "packets to the relay dropped, for ever", ("peer",)

    def expect(self, setup: Setup) -> Expectation | str:
        at = {"handshake": "head", "head": "streaming"}.get(setup.strikes_in, setup.strikes_in)
        return Expectation(Kind.UNHEARD, at)


class Brief(Dropped):
    early = ("connecting",)  # The first SYN is lost and the second, a second later, is not.

    def expect(self, setup: Setup) -> Expectation | str:
        # An attempt that is slowed down may still meet its own clock; a live stream must not.
        return Expectation(Kind.SURVIVED, setup.strikes_in, () if setup.live else ("connect", "response"))

    def prepare(self, cell: Cell) -> None:
        self.lasts = BRIEF if cell.setup.live else BRIEFER

    def inject(self, cell: Cell) -> None:
        if cell.setup.live:
            cell.poster.one()  # Silence is counted from here.
        super().inject(cell)

    def shown(self, cell: Cell) -> None:
        """The packets dropped. We send none of our own: that would take too long for a brief fault."""
        self.own = [drop.count for drop in self.drops]

    def done(self, cell: Cell) -> bool:
        if not any(drop.count for drop in self.drops):
            return False
        self.lift(cell)  # At once: it must be brief.
        return True


class BriefBoth(Brief):
    name, words, ways = "brief-both", "packets dropped both ways, for a moment", ("client", "peer")


class BriefToClient(Brief):
    name, words, ways = "brief-to-client", "packets to the client dropped, for a moment", ("client",)


class BriefToRelay(Brief):
    name, words, ways = "brief-to-relay", "packets to the relay dropped, for a moment", ("peer",)


FAULTS: tuple[type[Fault], ...] = (DropBoth, DropToClient, DropToRelay, BriefBoth, BriefToClient, BriefToRelay)
