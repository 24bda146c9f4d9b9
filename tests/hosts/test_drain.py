"""With TLS, readable does not mean data: a server with TLS 1.3 sends session tickets whenever it likes, which make the
socket readable and bring nothing. And everything that a reception completes is decrypted with it: what is left in the
TLS layer makes nothing readable ever again.
"""

from __future__ import annotations

import socket
import ssl
import time

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import EVENT, HEAD, InThread, chunk, connected, phase_of, poll_until
from wire_rawsse import Event, EventSource, StreamSubscriber, waits

SMALL = 1000
FILLER = b":" + b"x" * 98 + b"\n"  # 100 bytes.


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "RECEIVE_BYTES", SMALL)


def test_tickets_are_no_data(serve: Serve, ca_file: str, server_context: ssl.SSLContext) -> None:
    """They arrive after the handshake, while the head is waited for."""
    assert server_context.num_tickets > 0
    server = serve(tls=True, stage="asked")
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        began = time.monotonic()
        assert not subscriber.wait(0.2)
        assert time.monotonic() - began >= 0.2
        peer = server.peer()
        secured = peer.sock
        assert isinstance(secured, ssl.SSLSocket) and secured.version() == "TLSv1.3"
        assert phase_of(subscriber) == "head"
        assert subscriber.state.last_error is None
        peer.send(HEAD)
        assert subscriber.wait(20)
        assert subscriber.state.reconnect_count == 0


@pytest.mark.usefixtures("small_reads")
def test_the_last_line_of_a_record_wakes(serve: Serve, ca_file: str) -> None:
    """15 KiB in one record, the news at its end: fourteen reads after the socket was last readable."""
    server = serve(tls=True)
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        assert subscriber.wait(20)
        peer = server.peer()
        assert not subscriber.wait(0.05)
        peer.say(FILLER * 150 + EVENT)
        assert subscriber.wait(20), "the end of the record stayed in the TLS layer"
        assert not subscriber.wait(0.05), "one reception with news, two wakes"


@pytest.mark.usefixtures("small_reads")
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_each_reception_with_news_wakes(serve: Serve, ca_file: str, tls: bool) -> None:
    """Three events far apart are three receptions here. In one record of TLS they are one."""
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        assert subscriber.wait(20)
        peer = server.peer()
        assert not subscriber.wait(0.05)
        peer.say((EVENT + FILLER * 40) * 3)
        assert [subscriber.wait(20) for _ in range(1 if tls else 3)] == [True] * (1 if tls else 3)
        assert not subscriber.wait(0.05)


@pytest.mark.usefixtures("small_reads")
@pytest.mark.parametrize("with_head", [False, True], ids=["later", "with the head"])
def test_every_event_of_a_record_is_parsed(serve: Serve, ca_file: str, with_head: bool) -> None:
    server = serve(tls=True, stage="asked" if with_head else "streaming")
    body = b"".join(b"id: %d\ndata: %s\n\n" % (number, b"y" * 480) for number in range(30))
    with EventSource(server.url, tls=ca_file) as source:
        connected(server, source).send(HEAD + chunk(body) if with_head else chunk(body))
        for number in range(30):
            assert source.next(20) == Event("message", "y" * 480, str(number))
        assert source.next(0.05) is None


class RecordPeer:
    """A TLS server that hands its records out as bytes, so that one can be sent in two halves."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.sock.sendall(self._outgoing.read())
                self._incoming.write(self.sock.recv(65536))
            finally:
                self.sock.sendall(self._outgoing.read())

    def record(self, data: bytes) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()


def test_half_a_record_is_no_data(serve: Serve, ca_file: str, server_context: ssl.SSLContext) -> None:
    """It makes the socket readable and brings nothing: no wake, and no life for the clock of `read` either."""
    server = serve(tls=True, stage="accepted")
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        assert not subscriber.wait(0)
        peer = RecordPeer(server.peer().sock, server_context)
        handshake = InThread(peer.shake_hands)
        poll_until(subscriber, lambda: phase_of(subscriber) == "head")
        handshake.result()
        peer.sock.sendall(peer.record(HEAD))
        assert subscriber.wait(20)
        assert not subscriber.wait(0)
        before = subscriber.deadline()
        record = peer.record(chunk(EVENT))
        peer.sock.sendall(record[:20])
        assert not subscriber.wait(0.1)
        assert subscriber.deadline() == before
        peer.sock.sendall(record[20:])
        assert subscriber.wait(20)
        assert not subscriber.wait(0)
        assert subscriber.deadline() > before
