"""Faults of the relay on one connection: it ends in the wrong place, sends wrong bytes, or sends them one by one."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven, past
from tests.faults.cell import Cell
from wire_rawsse.testing.faults import Fault as RelayFault

_DROP_SECONDS = 0.35
"""Seconds between two drops: no clock runs out in the moment in which one falls."""


class Misdeed(Fault):
    """The relay does it: to the live stream, if there is one, otherwise to the next connection to the place."""

    group = "the peer's doing"
    deed: ClassVar[RelayFault]
    kind: ClassVar[Kind] = Kind.ENDED
    at: ClassVar[str] = "streaming"
    """The phase in which it strikes."""
    not_mid_line: ClassVar[str] = ""
    """Why it makes no sense inside a line, if it does not."""

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase == "mid-line" and self.not_mid_line:
            return self.not_mid_line
        if self.at == "streaming":
            return Expectation(self.kind, "mid-line" if setup.phase == "mid-line" else "streaming")
        return past(self.at, setup) or Expectation(self.kind, self.at)

    def prepare(self, cell: Cell) -> None:
        self.armed = (self.arm(cell.setup),)

    def arm(self, setup: Setup) -> RelayFault:
        if self.at == "streaming" and setup.live:
            return dataclasses.replace(self.deed, scope="live")
        new = dataclasses.replace(self.deed, scope="new", count=1)
        return new if new.place in ("accept", "handshake") else dataclasses.replace(new, only="stream")

    def inject(self, cell: Cell) -> None:
        cell.relay.misbehave(*self.armed)

    def strikes(self, cell: Cell) -> list[tuple[float, str]]:
        wanted = f"{self.armed[0].action} at {self.armed[0].place}"
        return [(at, what) for at, what in cell.relay.struck_since(cell.injected) if what == wanted]

    def struck(self, cell: Cell) -> float:
        return self.strikes(cell)[0][0]

    def proof(self, cell: Cell) -> dict[str, Any]:
        found = self.strikes(cell)
        if not found:
            raise Unproven("the relay did not do it")
        return {"relay": found[:3]}

    def lift(self, cell: Cell) -> None:
        cell.relay.normal()


class HeadMisdeed(Misdeed):
    """It strikes in the response's head."""

    at = "head"
    early = ("head", "reconnecting")


class HandshakeMisdeed(Misdeed):
    """It strikes in the TLS handshake."""

    at = "handshake"
    early = ("handshake", "reconnecting")


class Reset(Misdeed):
    name, words = "rst", "RST"
    deed = RelayFault("reset", at="stream")
    early = ("handshake", "head", "reconnecting")

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.ENDED, setup.phase if setup.live else "head" if setup.phase == "head" else "handshake")

    def arm(self, setup: Setup) -> RelayFault:
        if setup.live:
            return RelayFault("reset", at="stream", scope="live")
        if setup.phase == "head" or (setup.phase == "reconnecting" and not setup.tls):
            return RelayFault("reset", at="request", scope="new", only="stream", count=1)
        if setup.tls and setup.phase in ("handshake", "reconnecting"):
            return RelayFault("reset", at="handshake", count=1)
        return RelayFault("reset", at="accept", count=1)


class FinClean(Misdeed):
    name, words = "fin-clean", "FIN after a proper end"
    deed = RelayFault("cut", at="end")


class FinMidEvent(Misdeed):
    name, words = "fin-mid-event", "FIN in the middle of an event"
    deed = RelayFault("cut", at="event")

    def arm(self, setup: Setup) -> RelayFault:
        # Half an event lies there already.
        at_once = RelayFault("cut", at="stream", scope="live")
        return at_once if setup.phase == "mid-line" else super().arm(setup)


_AT_A_CHUNKS_END = "the chunk that is cut holds an event, so the cut is inside a line in every other phase already"


class FinMidChunk(Misdeed):
    name, words = "fin-mid-chunk", "FIN in the middle of a chunk"
    deed = RelayFault("cut", at="chunk")
    not_mid_line = _AT_A_CHUNKS_END


class FinMidRecord(Misdeed):
    name, words = "fin-mid-record", "FIN in the middle of a TLS record"
    deed = RelayFault("cut", at="record")
    not_mid_line = _AT_A_CHUNKS_END

    def expect(self, setup: Setup) -> Expectation | str:
        return super().expect(setup) if setup.tls else "without TLS there are no records"


class FinMidHead(HeadMisdeed):
    name, words = "fin-mid-head", "FIN in the middle of the response's head"
    deed = RelayFault("cut", at="head")


class Garbage(Misdeed):
    name, words = "garbage", "garbage after a 200"
    deed = RelayFault("garbage", at="stream")


class DripLine(Misdeed):
    name, words = "drip-line", "a line that drips and never ends"
    deed = RelayFault("drip", at="line", seconds=_DROP_SECONDS)
    kind = Kind.DRIP
    early = ("mid-line",)

    def arm(self, setup: Setup) -> RelayFault:
        if setup.phase == "mid-line":
            return RelayFault("drip", at="event", scope="live", seconds=_DROP_SECONDS)
        return super().arm(setup)


class DripExtension(Misdeed):
    name, words = "drip-extension", "a chunk extension that drips, and no body"
    deed = RelayFault("drip", at="extension", seconds=_DROP_SECONDS)
    kind = Kind.SILENCE
    goes_on = True


class DripHead(HeadMisdeed):
    name, words = "drip-head", "a head that drips"
    deed = RelayFault("drip", at="head", seconds=_DROP_SECONDS)
    kind = Kind.SILENCE


class TlsStall(HandshakeMisdeed):
    name, words = "tls-stall-0", "the TLS handshake stalls before the server's first flight"
    deed = RelayFault("silent", at="handshake", flights=0)
    kind = Kind.SILENCE


class TlsStallSecond(TlsStall):
    """TLS 1.2 (RFC 5246 §7.3): the client has sent its Finished and waits for the server's."""

    name, words = "tls-stall-1", "the TLS 1.2 handshake stalls before the server's second flight"
    deed = RelayFault("silent", at="handshake", flights=1)
    tls12 = True


class TlsStallThird(TlsStall):
    """TLS 1.3 (RFC 8446 §2): the client is done after one flight, and asks; the server holds all else back."""

    name, words = "tls-stall-1.3", "TLS 1.3 stalls after the server's first flight: the client is through, and asks"
    deed = RelayFault("silent", at="handshake", flights=1)

    def expect(self, setup: Setup) -> Expectation | str:
        return past("handshake", setup) or Expectation(Kind.SILENCE, "head")


class TlsReset(HandshakeMisdeed):
    name, words = "tls-reset", "RST in the TLS handshake"
    deed = RelayFault("reset", at="handshake")


class TlsCut(HandshakeMisdeed):
    name, words = "tls-cut", "FIN in the TLS handshake"
    deed = RelayFault("cut", at="handshake")


FAULTS: tuple[type[Fault], ...] = (
    Reset,
    FinClean,
    FinMidEvent,
    FinMidChunk,
    FinMidRecord,
    FinMidHead,
    Garbage,
    DripLine,
    DripExtension,
    DripHead,
    TlsStall,
    TlsStallSecond,
    TlsStallThird,
    TlsReset,
    TlsCut,
)
