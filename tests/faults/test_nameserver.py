"""The name server, asked by the C library that every daemon asks with."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Final

import pytest

from tests.faults.inside import in_a_world
from tests.faults.nameserver import NameServer, resolv_conf
from tests.faults.tools import LabError
from tests.faults.world import RELAY, RELAY6, World

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Linux only"),
]

NAME: Final = "relay.lab"


def look_up(name: str = NAME) -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)}


def server(world: World) -> NameServer:
    (world.folder / "resolv.conf").write_text(resolv_conf(RELAY))
    with world.relay.entered():
        return NameServer(NAME, address=RELAY, a=[RELAY], aaaa=[RELAY6])


def answers(world: World) -> None:
    with server(world) as names, world.client.entered():
        assert look_up() == {RELAY, RELAY6}
        names.behave("answer", a=["192.0.2.1", RELAY], aaaa=[])
        assert look_up() == {"192.0.2.1", RELAY}
        with pytest.raises(socket.gaierror) as unknown:
            look_up("other.lab")
        assert unknown.value.errno == socket.EAI_NONAME
        assert names.report()["queries"]["answer A"] == 3


def refusals(world: World) -> None:
    codes = {"nxdomain": socket.EAI_NONAME, "servfail": socket.EAI_AGAIN, "refused": socket.EAI_AGAIN}
    with server(world) as names, world.client.entered():
        for how, code in codes.items():
            names.behave(how)
            with pytest.raises(socket.gaierror) as refused:
                look_up()
            assert refused.value.errno == code, how
            assert names.report()["queries"][f"{how} A"] >= 1
        names.behave("answer")
        assert look_up() == {RELAY, RELAY6}


def silence(world: World) -> None:
    with server(world) as names, world.client.entered():
        names.behave("silent")
        began = time.monotonic()
        with pytest.raises(socket.gaierror) as late:
            look_up()
        ended = time.monotonic()
        assert late.value.errno == socket.EAI_AGAIN and ended - began > 1.9
        assert names.report()["queries"] == {"silent A": 2, "silent AAAA": 2}
        assert began <= names.report()["struck"] < ended - 1.5, "with the first query"


def slowness(world: World) -> None:
    with server(world) as names, world.client.entered():
        names.behave("slow", seconds=0.4)
        began = time.monotonic()
        assert look_up() == {RELAY, RELAY6}
        assert time.monotonic() - began >= 0.4


def held(world: World) -> None:
    found: list[set[str]] = []
    with server(world) as names, world.client.entered():
        names.behave("hold")

        def wait() -> None:  # A thread begins in the network namespace of the one that starts it.
            found.append(look_up())

        thread = threading.Thread(target=wait)
        thread.start()
        until = time.monotonic() + 20
        while "hold A" not in names.report()["queries"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert thread.is_alive()
        names.behave("answer", a=["192.0.2.1"])
        thread.join(20)
        assert found == [{"192.0.2.1", RELAY6}]


def nonsense(world: World) -> None:
    with server(world) as names:
        with pytest.raises(LabError, match="silent"):
            names.behave("sulk")
        with world.client.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"what", (RELAY, 53))
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                sock.recv(512)
        assert names.report()["queries"] == {"no query": 1}


@pytest.mark.parametrize(
    "scene", [answers, refusals, silence, slowness, held, nonsense], ids=lambda scene: scene.__name__
)
def test_the_c_library_meets(scene: object) -> None:
    in_a_world(scene)  # type: ignore[arg-type]
