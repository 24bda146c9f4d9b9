"""A stream of wakes over real TLS in the hands of the test as its host: records are split and joined anyhow."""

from __future__ import annotations

import socket
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import Sealer, handshake
from tests.support.server import CHUNKED, chunk
from tests.support.trust import Authority
from wire_rawsse import connection
from wire_rawsse.plan import Plan
from wire_rawsse.policy import Backoff
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.read_clocks import ReadClocks
from wire_rawsse.record import Record
from wire_rawsse.redact import Secrets
from wire_rawsse.transport.channel import Channel
from wire_rawsse.transport.tls import TlsChannel
from wire_rawsse.waits import READ, WAKE, Receive
from wire_rawsse.wake_streams import WakeSink

BODIES = [
    b": phyllis: still on the line\n\n",
    b"data: x\n\n",
    b"data: " + b"x" * 100 + b"\n\n",
    b"data: " + b"x" * 300 + b"\n\n",
    b": " + b"c" * 120 + b"\n\n",
    b"id: 7\ndata: " + b"x" * 80 + b"\n\n",
    b"da",
    b"ta: y\n\n",
    b"data: " + b"z" * 20_000,
    b"\n\n",
]


class Clock:
    def now(self) -> float:
        return 1.0

    def time(self) -> float:
        return 1.0


def secured(authority: Authority, version: ssl.TLSVersion) -> tuple[socket.socket, TlsChannel, Sealer, bytes]:
    """A channel after its handshake, its server, and what the server has sent since: session tickets."""
    server = authority.server()
    server.minimum_version = server.maximum_version = version
    ours, sealer, thread = handshake(server)
    channel = TlsChannel(ours, ssl.create_default_context(cafile=str(authority.file)), "localhost")
    while interest := channel.handshake():
        if interest == READ:
            channel.receive_handshake()
    thread.join()
    ours.setblocking(False)
    try:
        return ours, channel, sealer, ours.recv(65536)
    except BlockingIOError:
        return ours, channel, sealer, b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
@settings(max_examples=60, deadline=None)
@given(
    bodies=st.lists(st.sampled_from(BODIES), max_size=12),
    sizes=st.lists(st.one_of(st.integers(1, 40), st.integers(100, 20_000)), min_size=1, max_size=12),
)
def test_every_data_line_wakes_once_however_records_are_cut(
    version: ssl.TLSVersion, authority: Authority, bodies: list[bytes], sizes: list[int]
) -> None:
    sock, tls, sealer, tickets = secured(authority, version)
    with sock, sealer.sock:
        record, sink, channel = Record("x", Backoff()), WakeSink(), Channel(sock, tls)
        exchange = Exchange(Request(b"GET", b"/", [(b"Host", b"h")], b"", Secrets()))
        response = exchange.head(CHUNKED)
        assert response is not None
        sink.opened(response, False)
        body = connection._body_reader(record, sink, channel, exchange, "place")
        clocks = ReadClocks(1.0, Plan(parse_url("https://h/")).timeouts, "place")
        coroutine = connection.read(Clock(), record, connection.Live(channel, body, clocks))  # type: ignore[arg-type]
        assert next(coroutine) is WAKE
        receive = next(coroutine)
        assert isinstance(receive, Receive) and receive.is_wake is not None
        ciphertext = tickets + sealer.seal(*map(chunk, bodies))
        heard = data_lines = early = spurious = receptions = 0
        while ciphertext:
            size = sizes[receptions % len(sizes)]
            receptions += 1
            received, ciphertext = ciphertext[:size], ciphertext[size:]
            woke = receive.woke_early = receive.is_wake(received)
            early += body._early  # type: ignore[attr-defined]
            spurious_before = record.snapshot(0.0).spurious_wakes
            step = coroutine.send(received)
            late = step is WAKE
            while step is not receive:
                step = next(coroutine)
            heard += body.size
            data_lines += body.wake
            assert body.wake <= (woke or late) and not (woke and late), "a wake is missing, or given twice"
            spurious += record.snapshot(0.0).spurious_wakes - spurious_before
            assert body.failure is None and not body.ended
        state = record.snapshot(0.0)
        assert heard == sum(map(len, bodies))
        assert (state.early_wakes, state.spurious_wakes) == (early, spurious)
        assert state.event_count == data_lines
        coroutine.close()
