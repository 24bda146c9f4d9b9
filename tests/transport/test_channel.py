"""One established connection: all is sent, however little the kernel takes at a time, or the deadline says no."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest

from tests.support.drive import drive
from tests.support.fixtures import Serve
from tests.support.server import PATIENCE, Peer, reset, send, stall, tls
from tests.support.trust import Authority
from wire_rawsse.policy import Keepalive
from wire_rawsse.services import HostServices
from wire_rawsse.transport.channel import Channel
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial
from wire_rawsse.transport.tls import secure
from wire_rawsse.waits import Address, Coroutine

MUCH = bytes(range(256)) * (1 << 16)  # 16 MiB: more than the kernel's buffers on both sides take.


def connected(services: HostServices, port: int, context: ssl.SSLContext | None) -> Coroutine[Channel]:
    address = Address(socket.AF_INET, socket.SOCK_STREAM, 6, ("127.0.0.1", port))
    budget = Deadline(services.now(), PATIENCE, "the server")
    sock = yield from dial(services, [address], budget, Keepalive())
    if context is None:
        return Channel(sock)
    return Channel(sock, (yield from secure(services, sock, context, "localhost", budget)))


@pytest.mark.parametrize("secured", [False, True])
def test_all_of_it_arrives(secured: bool, serve: Serve, authority: Authority) -> None:
    got: list[bytes] = []

    def slowly(peer: Peer) -> None:
        time.sleep(0.05)  # Let the kernel's buffers fill first.
        peer.server.keep(got, peer.receive_exactly(len(MUCH)))

    server = serve([*([tls(authority.server())] if secured else []), slowly])
    context = context_for(authority.file) if secured else None

    def start(services: HostServices) -> Coroutine[bool]:
        connection = yield from connected(services, server.port, context)
        sent = yield from connection.send(MUCH, services.now() + PATIENCE)
        connection.end(services)
        return sent

    assert drive(start) is True
    server.until(lambda: bool(got))
    assert got == [MUCH]


@pytest.mark.parametrize("secured", [False, True])
def test_a_peer_that_takes_nothing_ends_it_at_the_deadline(secured: bool, serve: Serve, authority: Authority) -> None:
    over = threading.Event()

    def idle(peer: Peer) -> None:
        over.wait(PATIENCE)

    server = serve([*([tls(authority.server())] if secured else []), idle])
    context = context_for(authority.file) if secured else None

    def start(services: HostServices) -> Coroutine[tuple[bool, float]]:
        connection = yield from connected(services, server.port, context)
        began = services.now()
        sent = yield from connection.send(MUCH, began + 0.2)
        passed = services.now() - began
        connection.end(services)
        return sent, passed

    sent, passed = drive(start)
    over.set()
    assert not sent
    assert passed == pytest.approx(0.2)  # The stream's clock never runs past its deadline.


def test_a_peer_that_is_gone_is_an_error(serve: Serve) -> None:
    server = serve([lambda peer: peer.close()])

    def start(services: HostServices) -> Coroutine[None]:
        connection = yield from connected(services, server.port, None)
        try:
            yield from connection.send(MUCH, services.now() + PATIENCE)
        finally:
            connection.end(services)

    with pytest.raises(ConnectionError):
        drive(start)


@pytest.mark.parametrize("secured", [False, True])
def test_what_came_before_a_send_failed_is_heard(secured: bool, serve: Serve, authority: Authority) -> None:
    """The peer has answered and reset the connection before the first byte is sent: the answer is still there."""
    server = serve([*([tls(authority.server())] if secured else []), settle, send(b"answer"), reset])
    heard: list[bytes] = []

    def take(data: bytes) -> bool:
        heard.append(data)
        return b"".join(heard) == b"answer"

    def start(services: HostServices) -> Coroutine[bool]:
        connection = yield from connected(services, server.port, context_for(authority.file) if secured else None)
        server.until(lambda: bool(server.over))
        try:
            return (yield from connection.send(MUCH, services.now() + PATIENCE, take))
        finally:
            connection.end(services)

    assert drive(start) is True
    assert b"".join(heard) == b"answer"


def settle(peer: Peer) -> None:
    """Let the client end its handshake, before the reset ends everything."""
    time.sleep(0.2)


@pytest.mark.parametrize("secured", [False, True])
def test_receiving(secured: bool, serve: Serve, authority: Authority) -> None:
    def speak(peer: Peer) -> None:
        peer.sock.sendall(MUCH)

    server = serve([*([tls(authority.server())] if secured else []), speak])
    context = context_for(authority.file) if secured else None

    def start(services: HostServices) -> Coroutine[bytes]:
        connection = yield from connected(services, server.port, context)
        receive = connection.receive(services.now() + PATIENCE)
        whole = bytearray()
        received: bytes | None = None
        ended = False
        while not ended:
            for data in connection.plaintext(received):
                whole += data
                ended = not data
            if not ended:
                received = yield from connection.received(receive)
        connection.end(services)
        return bytes(whole)

    assert drive(start) == MUCH


def test_it_says_goodbye_where_tls_can(serve: Serve, authority: Authority) -> None:
    """close_notify (RFC 8446 §6.1): the peer sees an end, and no truncation."""
    ends: list[bytes] = []

    def listen(peer: Peer) -> None:
        peer.server.keep(ends, peer.sock.recv(1))  # It raises where close_notify is missing.

    server = serve([tls(authority.server()), listen])

    def start(services: HostServices) -> Coroutine[None]:
        connection = yield from connected(services, server.port, context_for(authority.file))
        connection.end(services)

    drive(start)
    server.until(lambda: bool(ends) or bool(server.errors))
    assert ends == [b""]


def test_the_end_waits_for_nobody(serve: Serve, authority: Authority) -> None:
    """Not even for a peer that takes nothing more: what cannot be said at once is not said."""
    server = serve([tls(authority.server()), stall])

    def start(services: HostServices) -> Coroutine[float]:
        connection = yield from connected(services, server.port, context_for(authority.file))
        began = time.monotonic()
        connection.end(services)
        connection.end(services)  # Twice is fine.
        return time.monotonic() - began

    assert drive(start) < PATIENCE / 2
