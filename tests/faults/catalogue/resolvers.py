"""Names: a resolver that is silent, slow or wrong, and addresses of which some are unreachable.

These concern new connections; a stream that has resolved its name survives. In *reconnecting* the fault
begins before the stream ends, and strikes the next attempt. Dropped IPv6 packets are different: an open stream over
IPv6 dies. With a proxy, the proxy's name is looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import dnslib

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven, past
from tests.faults.drops import Drop
from tests.faults.nameserver import NameServer
from tests.faults.stage import NAME
from tests.faults.stranger import PATIENCE, knock
from tests.faults.world import RELAY, RELAY6

if TYPE_CHECKING:
    from tests.faults.cell import Cell

NOBODY: Final = "10.77.3.1"
"""An address that the router sends nowhere: what goes there is dropped, and counted."""
PATIENT: Final = 4
"""Attempts of the C library's resolver, a second each: more than our clock has."""


class Resolver(Fault):
    """`how` the name server behaves while the fault lasts."""

    group = "names"
    how: ClassVar[str]
    seconds: ClassVar[float] = 0.0
    kind: ClassVar[Kind]
    early = ("resolving", "reconnecting")

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase not in ("reconnecting", "backing-off") and (why := past("resolving", setup)):
            return why
        return Expectation(self.kind, "resolving")

    def prepare(self, cell: Cell) -> None:
        cell.names.use_server(attempts=PATIENT)

    def inject(self, cell: Cell) -> None:
        self._server(cell).behave(self.how, seconds=self.seconds)

    def meet(self, cell: Cell) -> str:
        """Ask for the relay's address, and knock there."""
        try:
            with cell.world.client.entered():
                answer = dnslib.DNSRecord.parse(dnslib.DNSRecord.question(NAME).send(RELAY, timeout=PATIENCE))
        except TimeoutError:
            return "silence"
        addresses = [str(record.rdata) for record in answer.rr]
        return knock(cell, address=addresses[0]) if addresses else str(dnslib.RCODE[answer.header.rcode])

    def done(self, cell: Cell) -> bool:
        return self._met(cell) > 0

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not self._met(cell):
            raise Unproven("the name server was not asked")
        return {"names": self._server(cell).report()}

    def struck(self, cell: Cell) -> float:
        return float(self._server(cell).report()["struck"] or cell.injected)

    def lift(self, cell: Cell) -> None:
        self._server(cell).behave("answer", a=[RELAY])

    def _met(self, cell: Cell) -> int:
        queries = self._server(cell).report()["queries"]
        return sum(count for how, count in queries.items() if how.startswith(f"{self.how} "))

    def _server(self, cell: Cell) -> NameServer:
        assert cell.names.server is not None
        return cell.names.server


class Silent(Resolver):
    name, words = "names-silent", "the resolver does not answer"
    how, kind = "silent", Kind.SILENCE


class Slow(Resolver):
    name, words = "names-slow", "the resolver answers after 0.8 s"
    how, seconds, kind, lasts = "slow", 0.8, Kind.SURVIVED, 1.5


class NoSuchName(Resolver):
    name, words = "names-nxdomain", "the resolver says that there is no such name"
    how, kind = "nxdomain", Kind.REFUSED


class Wrong(Resolver):
    """Packets to the wrong address are dropped."""

    name, words = "names-wrong", "the resolver gives a wrong address, and later the right one"
    needs = ("nft",)
    how = "answer"

    def expect(self, setup: Setup) -> Expectation | str:
        found = super().expect(setup)
        return found if isinstance(found, str) or found.stranger else Expectation(Kind.SILENCE, "connecting")

    kind = Kind.SILENCE

    def inject(self, cell: Cell) -> None:
        self._drop = Drop(cell.world.middle, f"ip daddr {NOBODY}", hook="prerouting")
        self._server(cell).behave("answer", a=[NOBODY])

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not self._drop.count:
            raise Unproven("nothing was sent to the wrong address")
        return {**super().proof(cell), "drops": [self._drop.told()]}


class FirstDead(Resolver):
    """RFC 8305: the second address is tried a quarter of a second later."""

    name, words = "first-address-dead", "the first of two addresses is dead, the second alive"
    needs = ("nft",)
    how, kind, lasts = "answer", Kind.SURVIVED, 1.5

    def inject(self, cell: Cell) -> None:
        self._drop = Drop(cell.world.middle, f"ip daddr {NOBODY}", hook="prerouting")
        self._server(cell).behave("answer", a=[NOBODY, RELAY])

    def done(self, cell: Cell) -> bool:
        return self._drop.count > 0

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not self._drop.count:
            raise Unproven("the dead address was not tried")
        return {**super().proof(cell), "drops": [self._drop.told()]}


class NoIPv6(Fault):
    """The name has an address of each family, and packets of the one that is preferred vanish on the way."""

    name, words, group, needs = "ipv6-blackholed", "IPv6 packets vanish, IPv4 goes on", "names", ("nft",)
    early = ("connecting",)  # Else IPv4 has won before it begins.

    def expect(self, setup: Setup) -> Expectation | str:
        # An attempt that has not begun to connect succeeds over IPv4.
        if setup.phase in ("resolving", "connecting", "backing-off"):
            return Expectation(Kind.SURVIVED, setup.strikes_in)
        return Expectation(Kind.UNREACHABLE, setup.strikes_in)

    def prepare(self, cell: Cell) -> None:
        self.lasts = 1.5 if cell.expectation.kind is Kind.SURVIVED else None
        cell.names.aaaa = (RELAY6,)
        cell.names.use_file()

    def inject(self, cell: Cell) -> None:
        self._drop = Drop(cell.world.middle, "meta nfproto ipv6 meta l4proto tcp", hook="forward")

    def done(self, cell: Cell) -> bool:
        return self._drop.count > 0

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not self._drop.count:
            raise Unproven("no IPv6 packet was dropped")
        return {"drops": [self._drop.told()]}

    def lift(self, cell: Cell) -> None:
        self._drop.lift()


FAULTS: tuple[type[Fault], ...] = (Silent, Slow, NoSuchName, Wrong, FirstDead, NoIPv6)
