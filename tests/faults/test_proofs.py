"""A proof must be able to fail: each against a fault that did not take place."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.catalogue.machine import NoDescriptors
from tests.faults.catalogue.paths import NatReset
from tests.faults.catalogue.proxies import Dies
from tests.faults.catalogue.silence import DropBoth
from tests.faults.drops import Drop
from tests.faults.inside import in_a_world
from tests.faults.lines import Line, LineLog
from tests.faults.tools import LabError
from tests.faults.world import CLIENT, RELAY, World


class Stand:
    """A cell's place: a host whose programs say `told`, a daemon that answers `opens`, a proxy that reports nothing."""

    def __init__(self, phase: str, told: str = "", opens: str = "EMFILE", failed: str = "", pid: int = 0) -> None:
        self.setup = Setup(phase)
        self.expectation = Expectation(Kind.SURVIVED, phase)
        self.mark = 0
        self.measured = SimpleNamespace(noticed=Line(1.0, "failed", failed))
        self.proxy = SimpleNamespace(report=lambda: {"connections": 1})
        host = SimpleNamespace(run=lambda *words: told)
        self.world = SimpleNamespace(middle=host, client=host, relay=host)
        log = LineLog()
        self.daemon = SimpleNamespace(
            ours=True, log=log, pid=pid, order=lambda text: log.add(Line(1.0, "opens", opens))
        )


def proven(fault: Fault, **stand: Any) -> bool:
    try:
        fault.proof(Stand(**stand))  # type: ignore[arg-type]  # a stand-in for the cell
    except Unproven:
        return False
    return True


@pytest.mark.parametrize("phase", ["streaming", "connecting"])
def test_no_descriptor_is_what_the_daemon_itself_is_told(phase: str) -> None:
    with subprocess.Popen(["sleep", "20"]) as process:
        try:
            fault = NoDescriptors()
            assert not proven(fault, phase=phase, pid=process.pid), "it may open what it likes"
            fault.inject(SimpleNamespace(daemon=SimpleNamespace(pid=process.pid)))  # type: ignore[arg-type]
            assert proven(fault, phase=phase, pid=process.pid)
            assert not proven(fault, phase=phase, pid=process.pid, opens="well")
        finally:
            process.kill()


def test_translations_that_are_still_known_are_not_forgotten() -> None:
    fault = NatReset()
    counters = "counter from_client {\n\t\tpackets 0 bytes 0\n\t}\n"
    for known, forgotten in (((3, 0), True), ((3, 3), False), ((0, 0), False)):
        fault._known = known
        assert proven(fault, phase="connecting", told=counters) is forgotten
    fault._known = 3, 0
    assert not proven(fault, phase="streaming", told=counters), "and no packet missed its own"


def test_a_proxy_that_is_gone_refuses() -> None:
    assert proven(Dies(), phase="resolving", failed="peer ConnectFailed: Connection refused")
    assert not proven(Dies(), phase="resolving", failed="peer ConnectionBrokenError: Connection reset by peer")
    assert not proven(Dies(), phase="streaming", failed="peer ConnectionBrokenError: Connection reset by peer")


def test_packets_of_ours_alone_are_no_fault() -> None:
    fault = DropBoth()
    fault.own = [0, 0]
    assert not proven(fault, phase="streaming")
    fault.own = [0, 1]
    assert proven(fault, phase="streaming")


def both_ways(world: World) -> None:
    idle = Drop(world.client)
    idle.show(world.relay, CLIENT)
    assert idle.count == 1
    idle.show(world.relay, CLIENT)
    assert idle.count == 1, "what has dropped already needs nothing more"
    broken = Drop(world.relay, 'iifname "nowhere"')
    with pytest.raises(LabError):
        broken.show(world.client, RELAY)


@pytest.mark.campaign
@pytest.mark.network
def test_a_way_that_nobody_uses_is_shown_to_be_closed() -> None:
    in_a_world(both_ways)
