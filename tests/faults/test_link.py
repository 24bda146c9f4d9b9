"""The emulated link between real hosts: what it says it did is what the hosts' kernels saw."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from typing import Final

import pytest

from tests.faults import link
from tests.faults.counters import counter
from tests.faults.inside import in_a_world
from tests.faults.link import Link
from tests.faults.tools import LabError
from tests.faults.weather import Weather
from tests.faults.world import RELAY, RELAY6, TO_CLIENT, TO_RELAY, World

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Linux only"),
]

PORT: Final = 9000


@pytest.fixture(autouse=True)
def tun() -> None:
    from tests.conftest import missing

    why = link.why_not()
    if why:
        missing(why)


def bad_link(world: World) -> Link:
    return Link(world.middle, left=TO_CLIENT, right=TO_RELAY, seed=1)


def carry(world: World, size: int, address: str = RELAY) -> float:
    """Send so many random bytes from the client's host to the relay's, and be sure that they come; seconds."""
    data = os.urandom(size)
    got: list[str] = []
    with world.relay.entered():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        server = socket.create_server((address, PORT), family=family)

    def receive() -> None:
        peer, _ = server.accept()
        with peer:
            digest = hashlib.sha256()
            while piece := peer.recv(65536):
                digest.update(piece)
            got.append(digest.hexdigest())

    thread = threading.Thread(target=receive)
    thread.start()
    began = time.monotonic()
    with world.client.entered():
        sender = socket.create_connection((address, PORT), 20)
    with sender, server:
        sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)
        thread.join(40)
    assert got == [hashlib.sha256(data).hexdigest()]
    return time.monotonic() - began


def ping(world: World, address: str) -> float:
    """Milliseconds."""
    said = world.client.run("ping", "-c", "1", "-W", "2", address)
    return float(said.partition("time=")[2].split()[0])


# Each of these runs in a world.


def damage(world: World) -> None:
    with bad_link(world) as bad:
        bad.weather(up=Weather(corrupt=0.2))
        carry(world, 200_000)
        carry(world, 200_000, RELAY6)
        bad.weather(up=Weather())  # The last acknowledgements may still come, and are not to be damaged uncounted.
        up = bad.report()["up"]
    assert up["corrupted"] > 20
    assert counter(world.relay, "Tcp", "InCsumErrors") == up["corrupted"], "TCP's own count of wrong checksums"
    assert counter(world.client, "Tcp", "RetransSegs") >= up["corrupted"] / 2


def losses(world: World) -> None:
    with bad_link(world) as bad:
        bad.weather(up=Weather(loss=0.1), down=Weather(burst=(0.1, 0.5)))
        carry(world, 200_000)
        report = bad.report()
    assert report["up"]["lost"] > 5 and report["down"]["bursts"] > 3
    assert counter(world.client, "Tcp", "RetransSegs") >= report["up"]["lost"] / 2
    [up, *_] = report["flows"]
    assert up["bytes"] == 200_000


def mess(world: World) -> None:
    with bad_link(world) as bad:
        bad.weather(up=Weather(reorder=0.1, duplicate=0.2))
        carry(world, 200_000)
        up = bad.report()["up"]
    assert up["overtaken"] > 5 and up["duplicated"] > 10
    assert counter(world.relay, "TcpExt", "TCPOFOQueue") > 0
    assert counter(world.client, "Tcp", "RetransSegs") < up["packets"] / 2


def distance(world: World) -> None:
    with bad_link(world) as bad:
        for address in (RELAY, RELAY6):
            assert ping(world, address) < 50
        bad.weather(up=Weather(delay=0.15, jitter=0.05), down=Weather(delay=0.1))
        for address in (RELAY, RELAY6):
            assert 200 <= ping(world, address) < 400
        bad.weather(up=Weather())
        assert 100 <= ping(world, RELAY) < 250, "only that direction has changed"
        assert bad.report()["up"]["delayed"] == 2
    assert ping(world, RELAY) < 50, "taken out again"


def narrow(world: World) -> None:
    with bad_link(world) as bad:
        bad.weather(up=Weather(rate=256_000, queue=8192))
        took = carry(world, 64_000)
        up = bad.report()["up"]
    assert took > 1.5 and up["queue_full"] > 0
    assert up["not_taken"] == 0


def change_while_it_lives(world: World) -> None:
    """Put into a living connection, changed, and taken out, it is still the same connection."""
    with world.relay.entered():
        server = socket.create_server((RELAY, PORT))
    with world.client.entered():
        here = socket.create_connection((RELAY, PORT), 5)
    there, _ = server.accept()

    def through() -> float:
        began = time.monotonic()
        here.sendall(b"x")
        assert there.recv(1) == b"x"
        return time.monotonic() - began

    with server, here, there:
        assert through() < 0.1
        with bad_link(world) as bad:
            assert through() < 0.1
            bad.weather(up=Weather(delay=0.3))
            assert through() >= 0.3
            bad.weather(up=Weather(loss=1.0))
            here.sendall(b"x")
            time.sleep(0.3)
            assert bad.report()["up"]["lost"] >= 1
            bad.weather(up=Weather())
            assert there.recv(1) == b"x"
            [flow] = [flow for flow in bad.report()["flows"] if flow["to"] == f"{RELAY}:{PORT}"]
            assert flow["bytes"] == 3 and flow["longest_silence"] >= 0.3
        assert through() < 0.1


def nonsense(world: World) -> None:
    with bad_link(world) as bad:
        for call in ({"up": {"loss": 2}}, {"up": {"wind": 1}}):
            with pytest.raises(LabError, match=r"loss|wind"):
                bad.ask("weather", **call)
        with pytest.raises(LabError, match="weather, report"):
            bad.ask("dance")
        print(json.dumps(bad.report()))


@pytest.mark.parametrize(
    "scene", [damage, losses, mess, distance, narrow, change_while_it_lives, nonsense], ids=lambda scene: scene.__name__
)
def test_the_hosts_see_what_the_link_says(scene: object) -> None:
    in_a_world(scene)  # type: ignore[arg-type]
