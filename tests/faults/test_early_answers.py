"""A server that answers a large POST at once, over a real link: the answer is read although its kernel sends RST.

A close with unread data is a RST (RFC 9293 §3.10.4, Linux does so too), and what is in flight arrives after it. On
loopback the answer is always there before the RST is; over a link with a delay the two come close together, and the
request is still being sent.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.faults import link
from tests.faults.inside import in_a_world
from tests.faults.link import Link
from tests.faults.weather import Weather
from tests.faults.world import RELAY, TO_CLIENT, TO_RELAY, World
from tests.support.trust import Authority
from wire_rawsse import EventSource, Timeouts, WireRawSSEError
from wire_rawsse.errors import StatusError

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Linux only"),
]
NAME: Final = "relay.lab"
PORT: Final = 9000
BODY: Final = b"x" * (8 << 20)
REFUSED: Final = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 10\r\n\r\ntoo large\n"


@pytest.fixture(autouse=True)
def tun() -> None:
    from tests.conftest import missing

    why = link.why_not()
    if why:
        missing(why)


class Refuser:
    """Answers 413 when the head of a request has come, and closes `waits` seconds later with the body unread."""

    def __init__(self, world: World, context: ssl.SSLContext | None, *, waits: float) -> None:
        with world.relay.entered():
            self._listener = socket.create_server((RELAY, PORT))
        self._context = context
        self._waits = waits
        self.requests = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            # As nginx does. Otherwise the answer waits for the acknowledgement of TLS's tickets, and a close drops it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self.requests += 1
            with sock:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += sock.recv(1024)
                sock.sendall(REFUSED)
                time.sleep(self._waits)


def refused(world: World, weather: Weather, *, tls: bool, waits: float) -> None:
    authority = Authority(world.folder)
    (world.folder / "hosts").write_text(f"{RELAY} {NAME}\n")
    server = Refuser(world, authority.server(NAME) if tls else None, waits=waits)
    bad = Link(world.middle, left=TO_CLIENT, right=TO_RELAY, seed=1)
    bad.weather(up=weather, down=weather)
    url = f"{'https' if tls else 'http'}://{NAME}:{PORT}/"
    timeouts = Timeouts(response=20)
    with world.client.entered():
        source = EventSource(url, method="POST", body=BODY, tls=authority.file, timeouts=timeouts)
        with source, pytest.raises(WireRawSSEError) as ended:
            source.next(timeout=60)
    bad.close()
    error = ended.value
    assert isinstance(error, StatusError) and error.status == 413, repr(error)
    assert "too large" in str(error)
    assert server.requests == 1


FAR: Final = Weather(delay=0.05)
LOSSY: Final = Weather(delay=0.02, loss=0.02)
NARROW: Final = Weather(delay=0.01, rate=4_000_000)


def far_and_closed_at_once(world: World) -> None:
    refused(world, FAR, tls=False, waits=0)


def far_and_closed_at_once_over_tls(world: World) -> None:
    refused(world, FAR, tls=True, waits=0)


def narrow_and_never_closed(world: World) -> None:
    """The body would take 17 s."""
    refused(world, NARROW, tls=False, waits=30)


def narrow_and_never_closed_over_tls(world: World) -> None:
    refused(world, NARROW, tls=True, waits=30)


def packets_are_lost(world: World) -> None:
    refused(world, LOSSY, tls=False, waits=0.5)


SCENES: Final[tuple[Callable[[World], None], ...]] = (
    far_and_closed_at_once,
    far_and_closed_at_once_over_tls,
    narrow_and_never_closed,
    narrow_and_never_closed_over_tls,
    packets_are_lost,
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_refusal_is_told_before_the_request_is_sent(scene: Callable[[World], None]) -> None:
    in_a_world(scene)
