"""The proxy that can go wrong, between a plain client and a plain relay, all on loopback."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.player import PlayerError
from tests.faults.proxy import Proxy

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the lab is for Linux")

SOON: Final = 30.0
"""Seconds of patience, for a busy machine."""
CONNECT: Final = b"CONNECT relay.lab:8443 HTTP/1.1\r\nHost: relay.lab:8443\r\n\r\n"
GRANTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Relay:
    """The origin behind the proxy, driven by hand."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(SOON)
        self.place = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> socket.socket:
        sock, _ = self.listener.accept()
        sock.settimeout(SOON)
        return sock


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    with relay.listener:
        yield relay


@pytest.fixture
def proxy(relay: Relay) -> Iterator[Proxy]:
    with Proxy(bind="127.0.0.1:0", origin=relay.place) as proxy:
        yield proxy


def client(
    proxy: Proxy, request: bytes = b"CONNECT relay.lab:8443 HTTP/1.1\r\nHost: relay.lab:8443\r\n\r\n"
) -> socket.socket:
    host, port = proxy.ready["ready"]
    sock = socket.create_connection((host, port), SOON)
    sock.sendall(request)
    return sock


def silent(sock: socket.socket, seconds: float = 0.3) -> bool:
    sock.settimeout(seconds)
    try:
        sock.recv(65536)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(SOON)
    return False


def exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        piece = sock.recv(size - len(got))
        assert piece, "ended too soon"
        got += piece
    return got


def tunnel(proxy: Proxy, relay: Relay) -> tuple[socket.socket, socket.socket]:
    here = client(proxy)
    there = relay.accept()
    assert exactly(here, len(GRANTED)) == GRANTED
    return here, there


def test_a_tunnel_carries_bytes_and_ends_both_ways(proxy: Proxy, relay: Relay) -> None:
    here, there = tunnel(proxy, relay)
    with here, there:
        big = os.urandom(3_000_000)
        here.sendall(b"hello")
        assert exactly(there, 5) == b"hello"
        there.settimeout(0.2)
        sent = 0
        with pytest.raises(TimeoutError):  # Nobody reads: the proxy must not take all of it.
            while True:
                sent += there.send(big)
        assert sent < 20_000_000
        there.settimeout(SOON)
        assert len(exactly(here, sent)) == sent
        there.shutdown(socket.SHUT_WR)
        assert here.recv(1) == b""
        here.sendall(b"still")  # Half closed.
        assert exactly(there, 5) == b"still"
        here.shutdown(socket.SHUT_WR)
        assert there.recv(1) == b""
    report = proxy.report()
    assert (report["tunnels"], report["bytes up"], report["bytes down"], report["open"]) == (
        1,
        len(CONNECT) + 10,
        sent,
        0,
    )


def test_absolute_form_becomes_origin_form(proxy: Proxy, relay: Relay) -> None:
    request = b"GET http://relay.lab/a?b HTTP/1.1\r\nHost: relay.lab\r\nProxy-Authorization: x\r\nA: b\r\n\r\n"
    with client(proxy, request) as here, relay.accept() as there:
        expected = b"GET /a?b HTTP/1.1\r\nHost: relay.lab\r\nA: b\r\n\r\n"
        assert exactly(there, len(expected)) == expected
        there.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert here.recv(100) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_deaf_proxy_keeps_the_connection_and_passes_nothing_on(proxy: Proxy, relay: Relay) -> None:
    here, there = tunnel(proxy, relay)
    with here:
        proxy.behave("deaf")
        there.sendall(b"lost")
        there.close()
        assert silent(here)
        here.sendall(b"anybody?")
        with client(proxy) as another, relay.accept() as unheard:
            assert exactly(another, len(GRANTED)) == GRANTED
            unheard.sendall(b"lost")
            assert silent(another)
            relay.listener.close()
            with client(proxy) as third:
                assert exactly(third, len(GRANTED)) == GRANTED, "granted although nobody is there"
                assert silent(third)
            assert proxy.report()["not passed on"] == 4, "bytes, an end, bytes, a refusal"
            proxy.behave("work")
            for one in (here, another):
                with pytest.raises(ConnectionResetError):
                    one.recv(1)


def test_a_buffering_proxy_holds_back_until_it_has_enough(proxy: Proxy, relay: Relay) -> None:
    here, there = tunnel(proxy, relay)
    with here, there:
        proxy.behave("buffer", bytes=100)
        there.sendall(b"a" * 60)
        assert silent(here)
        assert proxy.report()["kept"] == 60
        there.sendall(b"b" * 60)
        assert exactly(here, 120) == b"a" * 60 + b"b" * 60
        there.sendall(b"c" * 60)
        assert silent(here)
        proxy.behave("work")
        assert exactly(here, 60) == b"c" * 60


def test_a_stalled_request_goes_on_later(proxy: Proxy, relay: Relay) -> None:
    proxy.behave("stall")
    with client(proxy) as here:
        assert silent(here)
        assert proxy.report()["requests stalled"] == 1
        proxy.behave("work")
        with relay.accept():
            assert exactly(here, len(GRANTED)) == GRANTED


def test_it_refuses(proxy: Proxy, relay: Relay) -> None:
    proxy.behave("refuse", status=403)
    with client(proxy) as here:
        assert here.recv(1000) == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        assert here.recv(1) == b""
    proxy.behave("work")
    relay.listener.close()
    with client(proxy) as here:
        assert here.recv(1000).startswith(b"HTTP/1.1 502 ")


def test_it_dies_and_comes_back_in_the_same_place(proxy: Proxy, relay: Relay) -> None:
    here, there = tunnel(proxy, relay)
    with here, there:
        proxy.behave("die")
        for one in (here, there):
            with pytest.raises(ConnectionResetError):
                one.recv(1)
    with pytest.raises(ConnectionRefusedError):
        client(proxy)
    proxy.behave("work")
    for one in tunnel(proxy, relay):
        one.close()


def test_a_reset_is_passed_on(proxy: Proxy, relay: Relay) -> None:
    here, there = tunnel(proxy, relay)
    with here:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()
        with pytest.raises(ConnectionResetError):
            here.recv(1)


def test_many_clients_leave_nothing_behind(proxy: Proxy, relay: Relay) -> None:
    before = len(os.listdir(f"/proc/{proxy.pid}/fd"))
    for _ in range(20):
        here, there = tunnel(proxy, relay)
        here.close()
        there.close()
    end = time.monotonic() + SOON
    while len(os.listdir(f"/proc/{proxy.pid}/fd")) > before:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_it_does_not_know_it_says(proxy: Proxy) -> None:
    with pytest.raises(PlayerError, match="deaf"):
        proxy.behave("sing")
    with pytest.raises(PlayerError, match=r"behave, report"):
        proxy.ask("sing")
    with pytest.raises(PlayerError, match="ended"), Proxy(bind="192.0.2.1:1", origin="127.0.0.1:1"):
        pass
