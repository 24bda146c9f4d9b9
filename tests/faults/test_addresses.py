"""A name whose first address accepts TCP and is dead after that: real kernels, and packets that are really lost."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from typing import Final

import pytest

from tests.faults.drops import Drop
from tests.faults.inside import in_a_world
from tests.faults.world import CLIENT, CLIENT6, RELAY, RELAY6, World
from tests.support.trust import Authority
from wire_rawsse import Backoff, StreamSubscriber, Timeouts

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Linux only"),
]

NAME: Final = "relay.lab"
PORT: Final = 9000
STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n"
CLOCKS: Final = Timeouts(connect=2, response=2, read=30)
SOON: Final = Backoff(initial=0.1, maximum=0.5)


class Listener:
    """One address of the relay: a healthy event stream for everybody."""

    def __init__(self, world: World, address: str, context: ssl.SSLContext | None) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with world.relay.entered():
            self._listener = socket.create_server((address, PORT), family=family)
        self._context = context
        self.accepted = 0
        self.answered = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.accepted += 1
            threading.Thread(target=self._answer, args=(sock,), daemon=True).start()

    def _answer(self, sock: socket.socket) -> None:
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += sock.recv(65536)
            sock.sendall(STREAM)
            self.answered += 1
            sock.recv(1)
        except OSError:
            pass


def first_address(world: World) -> str:
    """That which getaddrinfo(3) gives first: mostly the IPv6 one."""
    (world.folder / "hosts").write_text(f"{RELAY6} {NAME}\n{RELAY} {NAME}\n")
    with world.client.entered():
        return str(socket.getaddrinfo(NAME, PORT, type=socket.SOCK_STREAM)[0][4][0])


def from_to(family_of: str, source: str, target: str) -> str:
    word = "ip6" if ":" in family_of else "ip"
    return f"{word} saddr {source} {word} daddr {target} meta l4proto tcp"


def reaches_the_other(world: World, drop: Drop, first: str, subscriber: StreamSubscriber, *both: Listener) -> None:
    dead, healthy = both if first == RELAY6 else both[::-1]
    until = time.monotonic() + 30
    with world.client.entered(), subscriber:
        while not healthy.answered and time.monotonic() < until:
            subscriber.wait(0.5)
        subscriber.wait(1)
        [state] = subscriber.state.endpoints
    assert drop.count > 0, "no packet was lost"
    assert (dead.accepted, dead.answered, healthy.accepted, healthy.answered) == (1, 0, 1, 1)
    assert state.state == "connected" and state.address is not None and first not in state.address
    assert first in (state.last_error or ""), state.last_error


def path_mtu_black_hole(world: World) -> None:
    """A router that loses large packets and says nothing: TCP connects, and the certificate never comes."""
    first = first_address(world)
    authority = Authority(world.folder)
    both = [Listener(world, address, authority.server(NAME)) for address in (RELAY6, RELAY)]
    client = CLIENT6 if first == RELAY6 else CLIENT
    drop = Drop(world.middle, f"{from_to(first, first, client)} meta length > 400", hook="forward")
    subscriber = StreamSubscriber(f"https://{NAME}:{PORT}/", tls=authority.file, timeouts=CLOCKS, backoff=SOON)
    reaches_the_other(world, drop, first, subscriber, *both)


def large_requests_are_lost(world: World) -> None:
    """The other way round: a request with a long token does not arrive, and no head comes."""
    first = first_address(world)
    both = [Listener(world, address, None) for address in (RELAY6, RELAY)]
    client = CLIENT6 if first == RELAY6 else CLIENT
    drop = Drop(world.middle, f"{from_to(first, client, first)} meta length > 700", hook="forward")
    subscriber = StreamSubscriber(f"http://{NAME}:{PORT}/", bearer_token="t" * 1000, timeouts=CLOCKS, backoff=SOON)
    reaches_the_other(world, drop, first, subscriber, *both)


@pytest.mark.parametrize("scene", [path_mtu_black_hole, large_requests_are_lost], ids=lambda scene: scene.__name__)
def test_an_address_that_loses_packets_after_tcp_is_tried_last(scene: object) -> None:
    in_a_world(scene)  # type: ignore[arg-type]
