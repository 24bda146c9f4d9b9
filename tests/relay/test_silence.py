"""Silence at each place: what a client sees of a relay that hangs while its kernel goes on answering."""

from __future__ import annotations

import time

import pytest

from tests.relay.conftest import Connect, Subscriber
from tests.relay.raw import BYTES, EVENT, Raw, log_of, records, unchunked
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

EVERY = pytest.mark.parametrize("scheme", ["http", "https", "uds"])
BOTH = pytest.mark.parametrize("scheme", ["http", "https"])


def kernel_answers(raw: Raw) -> bool:
    """Whether everything that we sent is acknowledged: the kernel behind the silence is alive."""
    import fcntl
    import struct
    import termios

    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        unsent: int = struct.unpack("i", fcntl.ioctl(raw.socket, termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        if unsent == 0:
            return True
    return False


@EVERY
def test_silent_live_stream(scheme: str, subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe(scheme)
    client.misbehave(Fault("silent", scope="live"))
    client.post(slot, {"event_id": "unheard"})
    raw.quiet()
    assert client.pull(slot) == [{"event_id": "unheard"}]
    client.normal()
    raw.until(b'data: {"event_id":"unheard"}\n\n')
    if scheme == "http":
        assert log_of(client, raw)[-3:] == ["fault silent at request", "released", "event unheard"]


def test_silent_relay(relay: RelayProcess, subscribe: Subscriber, connect: Connect, client: RelayClient) -> None:
    old = subscribe()
    kept = connect()
    kept.ask("GET", "/healthz")
    kept.head()
    kept.until(b"ok\n")
    kept.take()
    client.misbehave(Fault("silent"))
    fresh, encrypted = connect(), connect("https")
    for raw in (kept, fresh, encrypted):
        raw.ask("GET", "/healthz")
    for raw in (old, kept, fresh, encrypted):
        raw.quiet(0.1)
        assert kernel_answers(raw)
    client.wait_until("injected", 4)
    client.normal()
    for raw in (kept, fresh, encrypted):
        assert raw.head()[0] == 200
        raw.until(b"ok\n")


def test_silent_for_streams_alone(connect: Connect, subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    old = subscribe()
    client.misbehave(Fault("silent", only="stream"))
    assert client.post(slot, {"event_id": "a"}).status == "stored"
    fresh = connect()
    fresh.subscribe(slot)
    for raw in (old, fresh):
        raw.quiet(0.1)
    client.normal()
    old.until(b'"a"}\n\n')
    assert fresh.head()[0] == 200  # It subscribes only now, so it gets nothing of what was posted before.
    client.wait_until("streams", 2, slot=slot)
    client.post(slot, {"event_id": "b"})
    fresh.until(b'"b"}\n\n')
    assert b'"a"' not in fresh.plain


def test_a_silent_relay_sees_its_clients_go(connect: Connect, client: RelayClient, slot: Slot) -> None:
    client.misbehave(Fault("silent", at="accept"))
    before = int(client.report()["open"])
    raw = connect()
    raw.subscribe(slot)
    client.wait_until("open", before + 1)
    raw.socket.close()
    client.wait_until("open", at_most=before)


@BOTH
def test_accept_and_never_answer(scheme: str, connect: Connect, client: RelayClient) -> None:
    client.misbehave(Fault("silent", at="accept", count=1))
    raw = connect(scheme, shake=False)
    if scheme == "http":
        raw.ask("GET", "/healthz")
    raw.quiet()
    assert raw.wire == b"" and kernel_answers(raw)
    assert log_of(client, raw) == ["fault silent at accept"]
    client.normal()
    if scheme == "https":
        raw.until(lambda: raw.shaken)
        raw.ask("GET", "/healthz")
    assert raw.head()[0] == 200


def test_the_handshake_stalls_after_each_flight(connect: Connect, client: RelayClient) -> None:
    client.misbehave(Fault("silent", at="handshake"))
    first = connect("https", shake=False)
    first.quiet()
    assert first.wire == b""
    client.misbehave(Fault("silent", at="handshake", flights=1))
    second = connect("https")  # ServerHello to Finished came: for the client the handshake is over.
    came = len(second.wire)
    assert records(second.wire)
    second.ask("GET", "/healthz")
    second.quiet()
    assert len(second.wire) == came, "the session tickets are the second flight"
    plain = connect()
    plain.ask("GET", "/healthz")
    assert plain.head()[0] == 200, "without TLS there is no handshake to stall"
    client.normal()
    first.until(lambda: first.shaken)
    assert second.head()[0] == 200


@BOTH
def test_silent_within(scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> None:
    """Half a head, event, chunk or record, then silence; the other half once it is over."""
    for place in ("head", "event", "chunk", "record", "stream"):
        client.misbehave(Fault("silent", at=place, count=1, scope="new"))
        raw = connect(scheme)
        raw.subscribe(slot)
        if place == "head":
            raw.until(b"HTTP/1.1 200 OK\r\n")
            raw.quiet()
            assert b"\r\n\r\n" not in raw.plain
        else:
            raw.head()
            client.wait_until("streams", 1, slot=slot)
            client.post(slot, EVENT | {"event_id": place})
            if place == "event":
                raw.until(b"data: ")
            elif place == "chunk" or (place, scheme) == ("record", "http"):
                raw.until(b"\r\ndata: ")
            elif place == "record":
                raw.until(lambda raw=raw: records(raw.wire)[-1][1] > records(raw.wire)[-1][2])
            raw.quiet()
            if place in ("event", "stream"):
                assert len(unchunked(raw.plain)) < len(BYTES)
        client.normal()
        if place == "head":
            assert raw.head()[0] == 200
            client.post(slot, EVENT | {"event_id": place})
        raw.until(b'x"}\n\n\r\n')
        assert unchunked(raw.plain) == BYTES.replace(b"whole", place.encode())
        raw.socket.close()
        client.wait_until("streams", at_most=0, slot=slot)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (Fault("garbage", scope="live"), b"this is no HTTP"),
        (Fault("drip", at="extension", scope="live", seconds=0.01), b"1;drip=..."),
        (Fault("cut", at="end", scope="live"), b"\r\n0\r\n\r\n"),
    ],
    ids=["garbage", "extension", "end"],
)
def test_between_the_halves_of_an_event(
    subscribe: Subscriber, client: RelayClient, slot: Slot, fault: Fault, seen: bytes
) -> None:
    """A silence inside an event, at the end of a chunk, can be made to end there, or to go on with nonsense."""
    raw = subscribe()
    client.misbehave(Fault("silent", at="event", scope="live"))
    client.post(slot, EVENT)
    half = raw.until(b"data: ")
    client.misbehave(fault)
    raw.until(seen)
    assert raw.plain.startswith(half) and BYTES[-20:] not in raw.plain, "the other half has not come"


def test_a_silent_relay_takes_in_only_so_much(connect: Connect, client: RelayClient) -> None:
    client.misbehave(Fault("silent", at="accept"))
    raw = connect()
    raw.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            raw.socket.sendall(b"x" * 100_000)
    record = [found for found in client.report()["connections"] if found["peer"] == raw.local][-1]
    assert record["received"] < 4 << 20
