"""How a stream is brought into a phase of its life, and held there until the fault is in place.

Each phase is left by an event on the wire; the hold keeps that event back (an answer of the name server's, a SYN, a
flight of the handshake, the answer to the request) and lets it go once the fault is in place, so that it is the fault
that the stream meets and not the hold.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.faults.drops import Drop
from tests.faults.lines import Line, state
from tests.faults.stage import HTTP, HTTPS
from tests.faults.tools import LabError
from wire_rawsse.testing.faults import Fault as RelayFault

if TYPE_CHECKING:
    from tests.faults.cell import Cell

PROXY_PORT = 3128
REACH_SECONDS = 6.0
CALM_SECONDS = 0.6
"""Seconds of a stream that works before it is troubled: longer than `healthy_after`."""
SYN = f"tcp dport {{ {HTTP}, {HTTPS}, {PROXY_PORT} }} tcp flags & (syn | ack) == syn"


class Hold:
    """One phase: `arrange` before the attempt begins, `reach` once it has, `release` when the fault is in place.

    `early`: the fault itself holds the stream, so nothing else is to.
    """

    def __init__(self, cell: Cell, early: bool) -> None:
        self.cell = cell
        self.early = early

    def arrange(self) -> None: ...
    def reach(self) -> None: ...
    def release(self) -> None: ...

    def wait(self, *phases: str, position: int | None = None) -> Line:
        """Until the daemon says that the stream is in one of these phases. Raises `LabError`."""
        cell = self.cell
        found = cell.daemon.log.wait(state(*phases), REACH_SECONDS, cell.begun if position is None else position)
        if found is None:
            raise LabError(f"the stream did not reach {' or '.join(phases)}: {cell.daemon.last_words()}")
        return found

    def live(self) -> None:
        """Until the stream works: it is open, an event has come through, and it has done so for a moment."""
        cell = self.cell
        self.wait("streaming")
        cell.opening_has_woken()
        time.sleep(CALM_SECONDS / 2)
        cell.calm_events(2)
        time.sleep(CALM_SECONDS / 2)


class Resolving(Hold):
    def arrange(self) -> None:
        server = self.cell.names.use_server()
        if not self.early:
            server.behave("hold")

    def reach(self) -> None:
        self.wait("resolving")
        time.sleep(0.1)  # The query is on its way, and is kept.

    def release(self) -> None:
        server = self.cell.names.server
        if server is not None and not self.early:
            server.behave("answer")


class Connecting(Hold):
    def arrange(self) -> None:
        if not self.early:
            self._drop = Drop(self.cell.world.relay, f'iifname != "lo" {SYN}')

    def reach(self) -> None:
        self.wait("connecting")
        until = time.monotonic() + 1.0
        while not self.early and not self._drop.count:
            if time.monotonic() > until:
                raise LabError("no SYN came")
            time.sleep(0.02)

    def release(self) -> None:
        if not self.early:
            self._drop.lift()


class Handshake(Hold):
    def arrange(self) -> None:
        if not self.early:
            self._struck = self.cell.strike(RelayFault("silent", at="handshake", flights=0, count=1))

    def reach(self) -> None:
        self.wait("handshake", "backing-off" if self.early else "handshake")
        if not self.early:
            self._struck()

    def release(self) -> None:
        if not self.early:
            self.cell.relay.let_go()


class Head(Hold):
    def arrange(self) -> None:
        if not self.early:
            self._struck = self.cell.strike(RelayFault("silent", at="request", only="stream", scope="new", count=1))

    def reach(self) -> None:
        self.wait("head")
        if not self.early:
            self._struck()

    def release(self) -> None:
        if not self.early:
            self.cell.relay.let_go()


class Streaming(Hold):
    def reach(self) -> None:
        self.live()


class MidLine(Hold):
    def reach(self) -> None:
        self.live()
        if self.early:
            return
        cell = self.cell
        struck = cell.strike(RelayFault("silent", at="event", scope="live"))
        cell.poster.one()
        struck()
        time.sleep(0.05)  # The half line is there.

    def release(self) -> None:
        if not self.early and not self.cell.fault.goes_on:
            self.cell.relay.let_go()


class BackingOff(Hold):
    def reach(self) -> None:
        cell = self.cell
        self.live()
        position = len(cell.daemon.log)
        cell.relay.misbehave(RelayFault("reset", at="stream", scope="live"))
        self.wait("backing-off", position=position)


class Reconnecting(Hold):
    """A second attempt, held in its handshake (in its head where there is no TLS)."""

    def reach(self) -> None:
        cell = self.cell
        self.live()
        position = len(cell.daemon.log)
        reset = RelayFault("reset", at="stream", scope="live")
        if self.early:
            cell.inject()
            cell.relay.misbehave(*cell.fault.armed, reset)
            self.wait("backing-off", position=position)
            cell.mark = len(cell.daemon.log)
            return
        hold = RelayFault("silent", at="request", only="stream", scope="new", count=1)
        if cell.setup.tls:
            hold = RelayFault("silent", at="handshake", flights=0, count=1)
        struck = cell.strike(hold, reset)
        self.wait("handshake" if cell.setup.tls else "head", position=position)
        struck()

    def release(self) -> None:
        if not self.early:
            self.cell.relay.let_go()


HOLDS: dict[str, type[Hold]] = {
    "resolving": Resolving,
    "connecting": Connecting,
    "handshake": Handshake,
    "head": Head,
    "streaming": Streaming,
    "mid-line": MidLine,
    "backing-off": BackingOff,
    "reconnecting": Reconnecting,
}
