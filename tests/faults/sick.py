"""A second address of the relay's host that accepts TCP and is no use after that, in one of several ways.

It is the first of the two addresses of a name, and stays as it is, so a stream comes back only through the other one.

    silent      nothing is read or sent: the TLS handshake, or without TLS the head, never comes
    reset       RST once the client has sent something
    fin         FIN once the client has sent something
    503         TLS if there is TLS, and then `503 Service Unavailable` to every request
    mtu         a healthy server, but `middle` loses its large packets and tells nobody: its certificate never arrives
    key updates TLS 1.3, a head of an event stream, and then KeyUpdates without end (RFC 8446 §4.6.3), which are no data
    tickets     the same with session tickets (RFC 8446 §4.6.1)
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Final

from tests.faults.drops import Drop
from tests.faults.stage import HTTP, HTTPS, Relay
from tests.faults.tools import Missing
from tests.faults.world import World
from tests.support.openssl import BATCH, HEAD, Flood

ADDRESS: Final = "10.77.2.3"
FLOODS: Final = ("key updates", "tickets")
LARGE: Final = 400
"""Bytes of an IP packet: a ServerHello with its certificate is larger, a SYN is not."""
_UNAVAILABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsick\n"


class SickAddress:
    """Serves at `ADDRESS` until it is closed. Raises `LabError`, `Missing`."""

    def __init__(self, world: World, relay: Relay, how: str) -> None:
        self._relay = relay
        self._answer: Callable[[socket.socket, bool], None] = {
            "silent": self._be_silent,
            "reset": self._reset,
            "fin": self._end,
            "503": self._refuse,
            "mtu": self._refuse,
        }.get(how, self._be_silent)
        self.struck: list[float] = []
        """When each connection met it, on CLOCK_MONOTONIC."""
        self.drop: Drop | None = None
        self._flood: Flood | None = None
        self._kept: list[socket.socket] = []
        world.relay.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "net")
        if how == "mtu":
            self.drop = Drop(world.middle, f"ip saddr {ADDRESS} meta length > {LARGE}", hook="forward")
        with world.relay.entered():
            self._listeners = [socket.create_server((ADDRESS, HTTP))]
            if how in FLOODS:
                chain = world.folder / "sick.pem"
                chain.write_bytes(b"".join((relay.certificates / name).read_bytes() for name in _CHAIN))
                try:
                    self._flood = Flood(chain, how, BATCH, endless=True, address=(ADDRESS, HTTPS), head=HEAD)
                except LookupError as error:
                    raise Missing(f"OpenSSL for the flood is not here: {error}") from None
            else:
                self._listeners.append(socket.create_server((ADDRESS, HTTPS)))
        for listener, tls in zip(self._listeners, (False, True), strict=False):
            threading.Thread(target=self._accept, args=(listener, tls), name="sick", daemon=True).start()

    @property
    def met(self) -> list[float]:
        """When each connection met it, on CLOCK_MONOTONIC."""
        return self._flood.accepted if self._flood is not None else self.struck

    def close(self) -> None:
        for sock in (*self._listeners, *self._kept):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        if self._flood is not None:
            self._flood.close()
        if self.drop is not None:
            self.drop.lift()

    def _accept(self, listener: socket.socket, tls: bool) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self._kept.append(sock)
                threading.Thread(target=self._serve, args=(sock, tls), name="sick", daemon=True).start()

    def _serve(self, sock: socket.socket, tls: bool) -> None:
        with contextlib.suppress(OSError):
            self._answer(sock, tls)

    def _be_silent(self, _: socket.socket, __: bool) -> None:
        self.struck.append(time.monotonic())

    def _reset(self, sock: socket.socket, _: bool) -> None:
        sock.recv(1, socket.MSG_PEEK)
        self.struck.append(time.monotonic())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def _end(self, sock: socket.socket, _: bool) -> None:
        sock.recv(65536)  # All of it: a close with unread data would be a RST.
        self.struck.append(time.monotonic())
        sock.shutdown(socket.SHUT_WR)

    def _refuse(self, sock: socket.socket, tls: bool) -> None:
        if self.drop is not None:
            self.struck.append(time.monotonic())
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            chain, key = (self._relay.certificates / name for name in _CHAIN)
            context.load_cert_chain(chain, key)
            sock = context.wrap_socket(sock, server_side=True)
            self._kept.append(sock)
        asked = b""
        while b"\r\n\r\n" not in asked:
            more = sock.recv(65536)
            if not more:
                return
            asked += more
        if self.drop is None:
            self.struck.append(time.monotonic())
        sock.sendall(_UNAVAILABLE)
        sock.close()


_CHAIN: Final = ("relay.pem", "relay.key")
