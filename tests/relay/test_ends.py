"""FIN, RST and refusal at each place, and whom a fault strikes how often, as a client sees it on the wire."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.relay.conftest import Connect, Subscriber
from tests.relay.raw import BYTES, CHUNK, EVENT, Raw, log_of, records, unchunked
from wire_rawsse.testing import RelayClient, RelayProcess, Slot
from wire_rawsse.testing.faults import PLACES, Fault

BOTH = pytest.mark.parametrize("scheme", ["http", "https"])


# The ends.


def strike(place: str, action: str, scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> Raw:
    """A new connection that is struck at `place`, read up to its end."""
    client.misbehave(Fault(action, at=place, scope="new", count=1))  # type: ignore[arg-type]  # one of PLACES
    while True:
        try:
            raw = connect(scheme, shake=False)
            break
        except ConnectionResetError:  # So early that connect(2) itself reports it: a fault well done, but try again.
            assert (action, place) == ("reset", "accept")
            client.misbehave(Fault(action, at=place, scope="new", count=1))  # type: ignore[arg-type]  # one of PLACES
    with contextlib.suppress(ConnectionError):  # It may be over before we have sent a thing.
        if scheme == "https":
            with contextlib.suppress(AssertionError):
                raw.until(lambda: raw.shaken)
        if scheme != "https" or raw.shaken:
            raw.subscribe(slot)
    if place in ("event", "chunk", "record"):
        client.wait_until("streams", 1, slot=slot)
        client.post(slot, EVENT)
    raw.ended()
    client.wait_until("streams", at_most=0, slot=slot)
    assert f"fault {action} at {place}" in log_of(client, raw)
    return raw


@BOTH
@pytest.mark.parametrize("place", PLACES["cut"])
def test_cut(place: str, scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> None:
    if (place, scheme) == ("handshake", "http"):
        return
    raw = strike(place, "cut", scheme, connect, client, slot)
    assert raw.end == "FIN"
    head, _, body = raw.plain.partition(b"\r\n\r\n")
    if place in ("accept", "handshake"):
        assert raw.wire == b""
    elif place == "request":
        assert raw.plain == b""
    elif place == "head":
        assert head.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" not in raw.plain
    elif place == "stream":
        assert body == b""
    elif place == "end":
        assert body == b"0\r\n\r\n"
    elif place == "event":
        assert unchunked(body) == BYTES[: len(BYTES) // 2]
    elif place == "chunk" or scheme == "http":
        assert body == CHUNK[: len(CHUNK) // 2]
    else:
        assert body == b""
        kind, announced, there = records(raw.wire)[-1]
        assert kind == 23 and 0 < there < announced
    if scheme == "https" and raw.shaken:
        # The last record that is there in full: a close_notify comes only at a proper end. (In TLS 1.3 its type is
        # hidden, so it is known by its length: 2 bytes, 1 for the type, 16 for the tag.)
        assert ([length for _, length, there in records(raw.wire) if there == length][-1] == 19) is (place == "end")


@BOTH
@pytest.mark.parametrize("place", PLACES["reset"])
def test_reset(place: str, scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> None:
    if (place, scheme) == ("handshake", "http"):
        return
    assert strike(place, "reset", scheme, connect, client, slot).end == "RST"


@pytest.mark.parametrize(("action", "end"), [("cut", "FIN"), ("reset", "RST")])
def test_live_streams_end_at_once(
    action: str, end: str, subscribe: Subscriber, connect: Connect, client: RelayClient, slot: Slot
) -> None:
    streams = [subscribe(), subscribe("https"), subscribe("http", version="1.0")]
    client.misbehave(Fault(action, scope="live"))  # type: ignore[arg-type]  # cut or reset
    assert [raw.ended() for raw in streams] == [end] * 3
    fresh = connect()
    fresh.subscribe(slot)
    assert fresh.head()[0] == 200
    fresh.quiet(0.05)


@pytest.mark.parametrize(("action", "end"), [("cut", "FIN"), ("reset", "RST")])
def test_what_hangs_can_still_be_killed(
    action: str, end: str, subscribe: Subscriber, client: RelayClient, slot: Slot
) -> None:
    raw = subscribe()
    client.misbehave(Fault("silent", at="chunk"))
    client.post(slot, EVENT)
    raw.until(CHUNK[: len(CHUNK) // 2])
    client.misbehave(Fault("garbage"), Fault(action, scope="live"))  # type: ignore[arg-type]  # cut or reset
    assert raw.ended() == end
    assert raw.plain == CHUNK[: len(CHUNK) // 2]


def test_live_streams_end_within_the_next_event(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("cut", at="event"))
    raw.quiet()
    client.post(slot, EVENT)
    assert raw.ended() == "FIN"
    assert unchunked(raw.plain) == BYTES[: len(BYTES) // 2]
    assert client.pull(slot) == [EVENT]


def test_streams_that_live_a_while(connect: Connect, client: RelayClient, slot: Slot) -> None:
    client.misbehave(Fault("cut", at="end", after=0.4))
    raw = connect()
    raw.subscribe(slot)
    raw.head()
    client.post(slot, EVENT)
    began = time.monotonic()
    raw.until(BYTES)
    raw.quiet(0.1)
    assert raw.ended() == "FIN"
    assert time.monotonic() - began > 0.3
    assert raw.plain == CHUNK + b"0\r\n\r\n"


def test_a_unix_socket_is_closed_where_tcp_would_be_reset(
    subscribe: Subscriber, client: RelayClient, slot: Slot
) -> None:
    raw = subscribe("uds")
    assert raw.socket.family == socket.AF_UNIX
    client.misbehave(Fault("reset"))
    assert raw.ended() == "FIN"


# Refusal.


@pytest.mark.parametrize("scheme", ["http", "https", "uds"])
def test_refuse_and_come_back(
    scheme: str, relay: RelayProcess, subscribe: Subscriber, client: RelayClient, slot: Slot
) -> None:
    raw = subscribe(scheme)
    url = relay.urls[("http", "https", "uds").index(scheme)]
    for _ in range(2):
        client.misbehave(Fault("refuse"))
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                Raw(url)
        client.post(slot, EVENT | {"event_id": str(time.monotonic())})
        raw.until(b"\n\n\r\n")  # Those that were connected notice nothing.
        raw.take()
        client.normal()
        Raw(url).socket.close()
    client.misbehave(Fault("refuse"))
    client.misbehave(Fault("answer"))  # Another fault takes the place of this one.
    Raw(url).socket.close()


def test_a_refused_port_is_given_to_nobody_else() -> None:
    with RelayProcess() as relay, relay.client() as client:
        port = int(relay.url.rpartition(":")[2])
        client.misbehave(Fault("refuse"))
        with socket.socket() as thief, pytest.raises(OSError, match="already in use"):
            thief.bind(("127.0.0.1", port))
        client.normal()
        client.allocate()


# The connections that it strikes, and how often.


def test_the_next_n_and_one_after_the_other(connect: Connect, client: RelayClient, slot: Slot) -> None:
    client.misbehave(
        Fault("answer", status=500, count=2),
        Fault("answer", status=204, count=1, only="stream"),
        Fault("reset", at="request", count=1, scope="new"),
    )
    assert [fault["action"] for fault in client.report()["faults"]] == ["answer", "answer", "reset"]
    statuses = []
    for _ in range(3):
        raw = connect()
        raw.subscribe(slot)
        statuses.append(raw.head()[0])
    assert statuses == [500, 500, 204]
    raw = connect()
    raw.subscribe(slot)
    assert raw.ended() == "RST"
    assert client.report()["faults"] == []
    assert client.report()["injected"] >= 4
    raw = connect()
    raw.subscribe(slot)
    assert raw.head()[0] == 200


def test_a_kept_connection_does_not_use_up_what_new_ones_are_to_get(
    connect: Connect, client: RelayClient, slot: Slot
) -> None:
    client.post(slot, {"event_id": "so that there is a kept connection"})
    client.misbehave(Fault("cut", at="accept", count=1))
    client.post(slot, EVENT)
    assert connect().ended() == "FIN"
    raw = connect()
    raw.ask("GET", "/healthz")
    assert raw.head()[0] == 200


def test_new_alone_and_live_alone(subscribe: Subscriber, connect: Connect, client: RelayClient, slot: Slot) -> None:
    old = subscribe()
    client.misbehave(Fault("reset", scope="new"))
    fresh = connect()
    fresh.subscribe(slot)
    assert fresh.ended() == "RST"
    old.quiet(0.05)
    client.misbehave(Fault("reset", scope="live"))
    assert old.ended() == "RST"
    fresh = connect()
    fresh.subscribe(slot)
    assert fresh.head()[0] == 200


def test_a_fault_with_nothing_to_strike_is_called_off(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("cut", at="event"), Fault("reset", after=0.3))
    client.normal()
    client.post(slot, EVENT)
    raw.until(CHUNK)
    raw.quiet(0.4)
    assert not [line for line in log_of(client, raw) if line.startswith("fault")]
