"""A name with two addresses, of which the first accepts TCP and is no use after that (see `tests.faults.sick`).

RFC 8305 races connections and cannot see this. The first attempt fails at the first address, and the next must go to
the other one: the first stays as it is, so the stream is back in time only if its address is remembered.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Unproven
from tests.faults.catalogue.resolvers import Resolver
from tests.faults.cell import Cell
from tests.faults.check import Check
from tests.faults.sick import ADDRESS, SickAddress
from tests.faults.world import RELAY


class SickFirst(Resolver):
    """`way` the first address is sick, and the phase `at` which an attempt meets that."""

    group = "addresses"
    how = "answer"
    way: ClassVar[str]
    at: ClassVar[str | None] = None
    """None: in the handshake, without TLS in the head."""
    transports: ClassVar[tuple[str, ...] | None] = ("https", "http")
    kind = Kind.SILENCE

    def expect(self, setup: Setup) -> Expectation | str:
        found = super().expect(setup)
        if isinstance(found, str) or found.stranger:
            return found
        return Expectation(self.kind, self.at or ("handshake" if setup.tls else "head"))

    def inject(self, cell: Cell) -> None:
        self.sick = SickAddress(cell.world, cell.relay, self.way)
        self._server(cell).behave("answer", a=[ADDRESS, RELAY])

    def struck(self, cell: Cell) -> float:
        return self.sick.met[0]

    def proof(self, cell: Cell) -> dict[str, Any]:
        if cell.expectation.stranger and not self.sick.met:
            cell.note(stranger=self.meet(cell))  # Again: in the connecting phase the lab itself held its SYN back.
        told: dict[str, Any] = {"connections to the sick address": len(self.sick.met)}
        if not self.sick.met:
            raise Unproven("no connection came to the sick address")
        if self.sick.drop is not None:
            if not self.sick.drop.count:
                raise Unproven("no large packet was lost")
            told["drops"] = [self.sick.drop.told()]
        return told

    def lift(self, cell: Cell) -> None:
        """Nothing: the name keeps both addresses, and the first stays sick."""

    def checks(self, cell: Cell) -> list[Check]:
        if cell.expectation.stranger:
            return []
        met = len(self.sick.met)
        return [Check("other address", met == 1, f"{met} connections to the sick one", "1")]

    def close(self, cell: Cell) -> None:
        if hasattr(self, "sick"):
            self.sick.close()


class Silent(SickFirst):
    name, words = "first-address-silent", "the first of two addresses accepts TCP and is silent"
    way = "silent"


class Resets(SickFirst):
    name, words = "first-address-resets", "the first of two addresses answers the first bytes with RST"
    way, kind = "reset", Kind.ENDED


class Ends(SickFirst):
    name, words = "first-address-ends", "the first of two addresses answers the first bytes with FIN"
    way, kind = "fin", Kind.ENDED


class Refuses(SickFirst):
    name, words = "first-address-503", "the first of two addresses answers 503, for ever"
    way, kind, at = "503", Kind.ENDED, "head"


class LosesPackets(SickFirst):
    name, words = "first-address-mtu", "large packets of the first of two addresses vanish: no certificate arrives"
    way, needs, transports = "mtu", ("nft",), ("https",)


class KeyUpdates(SickFirst):
    """After the head nothing comes but KeyUpdates: no data, so the clock of silence must end it in the flood."""

    name, words = "key-update-flood", "the first of two addresses sends a head and then TLS KeyUpdates without end"
    way, at, transports = "key updates", "streaming", ("https",)
    burns = True


class Tickets(KeyUpdates):
    name, words = "ticket-flood", "the first of two addresses sends a head and then TLS session tickets without end"
    way = "tickets"


FAULTS: tuple[type[SickFirst], ...] = (Silent, Resets, Ends, Refuses, LosesPackets, KeyUpdates, Tickets)
