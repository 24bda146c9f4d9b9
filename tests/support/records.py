"""A TLS server in memory: the test has its ciphertext in hand, and decides how it is split and what is added to it."""

from __future__ import annotations

import socket
import ssl
import threading

from tests.support.server import Peer, Step

FORGED = b"\x17\x03\x03\x01\x00" + b"\xa5" * 256
"""A record of application data that no key ever made."""


class Sealer:
    """The server's side of TLS on a blocking socket. `seal` makes records; anyone who calls it sends them."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        """Session tickets included, which TLS 1.3 sends right after it."""
        while True:
            try:
                self._session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._exchange()
        self._send()

    def receive(self, size: int) -> bytes:
        while True:
            try:
                return self._session.read(size)
            except ssl.SSLWantReadError:
                self._exchange()

    def seal(self, *records: bytes) -> bytes:
        """The ciphertext of so many records, each with this content."""
        for content in records:
            self._session.write(content)
        return self._outgoing.read()

    def _exchange(self) -> None:
        self._send()
        received = self.sock.recv(65536)
        if not received:
            raise ConnectionError("the client closed")
        self._incoming.write(received)

    def _send(self) -> None:
        self.sock.sendall(self._outgoing.read())


def sealed(context: ssl.SSLContext, head: bytes, made: list[Sealer]) -> Step:
    """Shake hands, receive a request, and answer with `head`. The test has the rest in its hands, by `made`."""

    def step(peer: Peer) -> None:
        sealer = Sealer(peer.sock, context)
        sealer.shake_hands()
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += sealer.receive(65536)
        peer.sock.sendall(sealer.seal(head))
        peer.server.keep(made, sealer)

    return step


def handshake(context: ssl.SSLContext) -> tuple[socket.socket, Sealer, threading.Thread]:
    """The client's end of a socket pair, and a server that shakes hands in a thread."""
    ours, theirs = socket.socketpair()
    sealer = Sealer(theirs, context)
    thread = threading.Thread(target=sealer.shake_hands, name="test-sealer", daemon=True)
    thread.start()
    return ours, sealer, thread
