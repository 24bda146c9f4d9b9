"""Faults of the relay's host and process: it stops, dies, restarts, refuses, or does not answer."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven, past
from tests.faults.cell import Cell
from tests.faults.drops import Drop
from tests.faults.look import stopped
from tests.faults.phases import SYN
from wire_rawsse.testing.faults import Fault as RelayFault


def beyond_connecting(setup: Setup) -> str:
    """The phase that waits for a relay which accepts but does not answer: the handshake, or the head without TLS."""
    if setup.strikes_in in ("resolving", "connecting"):
        return "handshake" if setup.tls else "head"
    return setup.strikes_in


class RelayStopped(Fault):
    name, words, group = "relay-stopped", "the relay's process stopped (SIGSTOP); its kernel goes on answering", "relay"

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.SILENCE, beyond_connecting(setup))

    def inject(self, cell: Cell) -> None:
        cell.relay.suspend()

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not stopped(cell.relay.pid):
            raise Unproven("the relay runs")
        return {"process": cell.relay.pid, "state": "T (stopped)"}

    def lift(self, cell: Cell) -> None:
        cell.relay.resume()

    def close(self, cell: Cell) -> None:
        cell.relay.resume()


class RelayKilled(Fault):
    """As when the power fails: no FIN, no RST, and nobody answers until it is started again in the same place."""

    name, words, group = "relay-killed", "the relay's host dies without FIN, and is started again", "relay"
    needs = ("nft",)

    def __init__(self) -> None:
        self.drops: list[Drop] = []
        self.pid = 0

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.UNREACHABLE, setup.strikes_in)

    def inject(self, cell: Cell) -> None:
        self.pid = cell.relay.pid
        self.drops = [Drop(cell.world.client), Drop(cell.world.relay)]
        cell.relay.kill()

    def proof(self, cell: Cell) -> dict[str, Any]:
        told = [drop.told() for drop in self.drops]
        if os.path.exists(f"/proc/{self.pid}") or not any(drop.count for drop in self.drops):
            raise Unproven("the relay lives, or nobody asked for it")
        return {"killed": self.pid, "drops": told}

    def lift(self, cell: Cell) -> None:
        cell.relay.start()
        for drop in self.drops:
            drop.lift()


class RelayRestarted(Fault):
    name, words, group = "relay-restarted", "the relay ended and started again on the same port", "relay"

    def __init__(self) -> None:
        self.pids: list[int] = []
        self.ended = 0.0

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase == "backing-off":  # Nobody is connected, and the next attempt may come while the relay starts.
            return Expectation(Kind.SURVIVED, setup.strikes_in, ("connect", "peer"))
        if setup.phase in ("resolving", "connecting"):
            return Expectation(Kind.SURVIVED, setup.phase, ("connect",))
        return Expectation(Kind.ENDED, setup.strikes_in)

    def inject(self, cell: Cell) -> None:
        self.pids = [cell.relay.pid]
        self.ended = time.monotonic()
        cell.relay.end()
        cell.relay.start()
        self.pids.append(cell.relay.pid)

    def proof(self, cell: Cell) -> dict[str, Any]:
        if os.path.exists(f"/proc/{self.pids[0]}"):
            raise Unproven("the old relay lives")
        return {"ended": self.pids[0], "started": self.pids[1]}

    def struck(self, cell: Cell) -> float:
        return self.ended


class SynBlackhole(Fault):
    name, words, group = "syn-blackhole", "SYNs are swallowed", "connecting"
    needs = ("nft",)
    early = ("connecting", "reconnecting")

    def expect(self, setup: Setup) -> Expectation | str:
        return past("connecting", setup) or Expectation(Kind.SILENCE, "connecting")

    def inject(self, cell: Cell) -> None:
        self.drop = Drop(cell.world.relay, f'iifname != "lo" {SYN}')

    def proof(self, cell: Cell) -> dict[str, Any]:
        if not self.drop.count:
            raise Unproven("no SYN came")
        return {"drops": [self.drop.told()]}

    def lift(self, cell: Cell) -> None:
        self.drop.lift()


class SynRefused(Fault):
    name, words, group = "syn-refused", "the kernel refuses: nobody listens on the port", "connecting"
    early = ("connecting", "reconnecting")
    armed = (RelayFault("refuse"),)

    def expect(self, setup: Setup) -> Expectation | str:
        return past("connecting", setup) or Expectation(Kind.REFUSED, "connecting")

    def inject(self, cell: Cell) -> None:
        cell.relay.misbehave(*self.armed)

    def proof(self, cell: Cell) -> dict[str, Any]:
        listening = cell.world.relay.run("ss", "-tlnH").count("8443")
        if cell.expectation.stranger:
            if cell.facts["stranger"] != "refused":
                raise Unproven(f"nobody was refused: {cell.facts['stranger']}")
            return {"listening": listening, "told": "refused"}
        noticed = cell.measured.noticed
        text = noticed.words if noticed is not None else ""
        if cell.daemon.ours and "refused" not in text and "502" not in text:
            raise Unproven(f"nobody was refused: {text}")
        return {"listening": listening, "told": text[-160:]}

    def lift(self, cell: Cell) -> None:
        cell.relay.normal()


class AcceptSilent(Fault):
    name, words, group = "accept-silent", "connections are accepted and never answered", "connecting"
    early = ("handshake", "head", "reconnecting")
    armed = (RelayFault("silent", at="accept"),)

    def expect(self, setup: Setup) -> Expectation | str:
        at = "handshake" if setup.tls else "head"
        return past(at, setup) or Expectation(Kind.SILENCE, at)

    def inject(self, cell: Cell) -> None:
        cell.relay.misbehave(*self.armed)

    def proof(self, cell: Cell) -> dict[str, Any]:
        struck = cell.relay.struck_since(cell.injected)
        if not struck:
            raise Unproven("nobody was accepted")
        return {"relay": struck[:3]}

    def lift(self, cell: Cell) -> None:
        cell.relay.normal()


FAULTS: tuple[type[Fault], ...] = (
    RelayStopped,
    RelayKilled,
    RelayRestarted,
    SynBlackhole,
    SynRefused,
    AcceptSilent,
)
