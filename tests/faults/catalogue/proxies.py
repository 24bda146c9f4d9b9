"""A proxy in the way, and what it does to a stream behind TCP's back (see `tests.faults.proxy`).

Only cells that go through a proxy can meet these; the others say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.stranger import knock

if TYPE_CHECKING:
    from tests.faults.cell import Cell


class ProxyFault(Fault):
    """`how` the proxy behaves, and by which counter of its own that is proven."""

    group = "proxy"
    transports = ("proxy",)
    how: ClassVar[str]
    shows: ClassVar[str]

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.transport != "proxy":
            return "there is no proxy on its way"
        return self.meets(setup)

    def meets(self, setup: Setup) -> Expectation | str:
        raise NotImplementedError

    def inject(self, cell: Cell) -> None:
        cell.proxy.behave(self.how)

    def meet(self, cell: Cell) -> str:
        return knock(cell, proxy=True)

    def proof(self, cell: Cell) -> dict[str, Any]:
        report = cell.proxy.report()
        if not report.get(self.shows):
            raise Unproven(f"the proxy counted nothing under {self.shows}")
        return {"proxy": report}

    def struck(self, cell: Cell) -> float:
        return float(cell.proxy.report()["struck"] or cell.injected)

    def lift(self, cell: Cell) -> None:
        cell.proxy.behave("work")


def _next_in(setup: Setup, new: str) -> str:
    """The phase in which the stream is struck: its present one, or `new`, which its next attempt reaches."""
    return new if setup.phase in ("resolving", "connecting", "backing-off") else setup.strikes_in


class Deaf(ProxyFault):
    name, words = "proxy-deaf", "the relay is dead behind a proxy, which goes on answering keepalive probes"
    how, shows = "deaf", "not passed on"

    def meets(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.SILENCE, _next_in(setup, "handshake"))


class Buffers(ProxyFault):
    name, words = "proxy-buffers", "a proxy that keeps what the relay sends until it has 64 KiB"
    how, shows = "buffer", "kept back"

    def meets(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.SILENCE, _next_in(setup, "handshake"))


class Stalls(ProxyFault):
    name, words = "proxy-stalls", "a proxy that takes the request for a tunnel and does not answer"
    how, shows = "stall", "requests stalled"
    early = ("reconnecting",)

    def meets(self, setup: Setup) -> Expectation | str:
        if setup.phase in ("resolving", "connecting", "backing-off", "reconnecting"):
            return Expectation(Kind.SILENCE, "tunnel")
        return Expectation(Kind.SURVIVED, setup.strikes_in, stranger=True)  # Its tunnel is there already.


class Refuses(Stalls):
    name, words = "proxy-refuses", "a proxy that answers 502"
    how, shows = "refuse", "requests refused"

    def meets(self, setup: Setup) -> Expectation | str:
        found = super().meets(setup)
        return found if isinstance(found, str) or found.stranger else Expectation(Kind.REFUSED, "tunnel")


class Dies(ProxyFault):
    name, words = "proxy-dies", "a proxy that resets its connections and is gone"
    how, shows = "die", "reset"
    early = ("connecting",)

    def meets(self, setup: Setup) -> Expectation | str:
        if setup.phase in ("resolving", "connecting", "backing-off"):
            return Expectation(Kind.REFUSED, "connecting")
        return Expectation(Kind.ENDED, setup.strikes_in)

    def proof(self, cell: Cell) -> dict[str, Any]:
        report = cell.proxy.report()
        if cell.setup.phase not in ("resolving", "connecting", "backing-off"):
            if not report.get("reset"):
                raise Unproven("the proxy had no connection to reset")
            return {"proxy": report}
        noticed = cell.measured.noticed
        text = "" if noticed is None else noticed.words
        if cell.daemon.ours and "refused" not in text:
            raise Unproven(f"nobody was refused: {text}")
        return {"proxy": report, "told": text[-160:]}


FAULTS: tuple[type[Fault], ...] = (Deaf, Buffers, Stalls, Refuses, Dies)
