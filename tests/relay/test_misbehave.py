"""Each fault, proven by what a client sees on the wire, and by the relay's own report of it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any

import pytest

from tests.relay.conftest import Connect, Subscriber
from tests.relay.raw import Raw, records, unchunked
from wire_rawsse.errors import StatusError
from wire_rawsse.relay.client import RelayClient, Slot
from wire_rawsse.relay.faults import PLACES, Fault, read_fault
from wire_rawsse.relay.process import RelayProcess

EVENT = {"event_id": "whole", "p": "x" * 100}
BYTES = f"data: {json.dumps(EVENT, separators=(',', ':'))}\n\n".encode()
CHUNK = f"{len(BYTES):x}\r\n".encode() + BYTES + b"\r\n"

EVERY = pytest.mark.parametrize("scheme", ["http", "https", "uds"])
BOTH = pytest.mark.parametrize("scheme", ["http", "https"])


def log_of(client: RelayClient, raw: Raw) -> list[str]:
    """What the relay says it did on this connection, oldest first."""
    record = [found for found in client.report()["connections"] if found["peer"] == raw.local][-1]
    return [f"{what} {detail}".strip() for _, what, detail in record["log"]]


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


# Silence.


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
    client.wait_until("strikes", 4)
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


# Drips.


def test_a_dripping_line(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("drip", seconds=0.02, scope="live"))
    client.post(slot, EVENT)
    raw.until(b"1\r\n:\r\n" + b"1\r\n.\r\n" * 10)
    assert b"\n" not in unchunked(raw.plain)
    client.normal()
    raw.until(CHUNK)
    comment, rest = unchunked(raw.plain).split(b"\n\n", 1)
    assert comment.strip(b".") == b":" and rest == BYTES
    assert "fault drip at line" in log_of(client, raw)


def test_a_drip_is_no_faster_than_asked_for(subscribe: Subscriber, client: RelayClient) -> None:
    raw = subscribe("https")
    began = time.monotonic()
    client.misbehave(Fault("drip", seconds=0.1, size=3, text="data: now"))
    raw.until(b"3\r\ndat\r\n3\r\na: \r\n3\r\nnow\r\n3\r\n...\r\n")
    assert time.monotonic() - began > 0.29


@BOTH
def test_a_dripping_head(scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> None:
    client.misbehave(Fault("drip", at="head", seconds=0.02, count=2))
    raw, other = connect(scheme), connect(scheme)
    raw.subscribe(slot)
    other.ask("GET", "/healthz")
    for dripping in (raw, other):
        dripping.until(b"HTTP/1.1 200 OK\r\nx-drip: ..........")
        assert b"\r\n\r\n" not in dripping.plain
    client.post(slot, EVENT)
    client.normal()
    assert raw.head()[0] == other.head()[0] == 200
    raw.until(CHUNK)
    other.until(b"ok\n")
    other.take()
    other.ask("GET", "/nope")
    assert other.head()[0] == 404


def test_a_dripping_chunk_extension(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("drip", at="extension", seconds=0.02))
    raw.until(b"1;drip=..........")
    assert b"\r\n" not in raw.plain
    client.normal()
    client.post(slot, EVENT)
    raw.until(CHUNK)
    assert unchunked(raw.plain) == b"\n" + BYTES


def test_a_dripping_trailer(subscribe: Subscriber, client: RelayClient) -> None:
    raw = subscribe()
    client.misbehave(Fault("drip", at="trailer", seconds=0.02))
    raw.until(b"0\r\nx-drip: ..........")
    client.normal()
    assert raw.ended() == "FIN"
    assert raw.plain.endswith(b".\r\n\r\n")


def test_an_event_that_drips_arrives(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("drip", at="event", seconds=0.005, size=7, scope="live"))
    client.post(slot, EVENT)
    client.post(slot, {"event_id": "next"})
    raw.until(b'data: {"event_id":"next"}\n\n\r\n')
    sizes = [line for line in raw.plain.split(b"\r\n") if line == b"7"]
    assert len(sizes) == len(BYTES) // 7
    assert unchunked(raw.plain) == BYTES + b'data: {"event_id":"next"}\n\n'


def test_an_event_that_drips_is_finished_at_normal(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("drip", at="event", seconds=30))
    client.post(slot, EVENT)
    raw.until(b"1\r\nd\r\n")
    raw.quiet()
    client.normal()
    raw.until(b"\n\n\r\n")
    assert unchunked(raw.plain) == BYTES


# Wrong answers.


@pytest.mark.parametrize(
    ("fault", "status", "fields", "body"),
    [
        (Fault("answer"), 503, {}, b""),
        (Fault("answer", status=503, retry_after="7", text="busy"), 503, {"retry-after": "7"}, b"busy"),
        (Fault("answer", status=429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), 429, {}, b""),
        (Fault("answer", status=500), 500, {}, b""),
        (Fault("answer", status=204), 204, {}, b""),
        (Fault("answer", status=307, location="http://[::1]:1/x?y"), 307, {"location": "http://[::1]:1/x?y"}, b""),
        (
            Fault("answer", status=200, content_type="text/html", text="<h1>log in"),
            200,
            {"content-type": "text/html"},
            b"<h1>log in",
        ),
    ],
)
def test_answers(
    fault: Fault, status: int, fields: dict[str, str], body: bytes, connect: Connect, client: RelayClient, slot: Slot
) -> None:
    client.misbehave(fault)
    raw = connect()
    for _ in range(2):  # On one connection: it stays usable.
        raw.subscribe(slot)
        got, answered = raw.head()
        assert got == status
        assert fields.items() <= answered.items()
        assert answered.get("content-length") == (None if status == 204 else str(len(body)))
        raw.until(lambda: raw.plain == body)
        raw.take()
    client.normal()
    raw.subscribe(slot)
    assert raw.head()[1]["content-type"] == "text/event-stream"


def test_answers_for_everybody_or_for_streams(client: RelayClient, slot: Slot) -> None:
    client.misbehave(Fault("answer", retry_after="3"))
    with pytest.raises(StatusError, match="503") as caught:
        client.post(slot, EVENT)
    assert caught.value.retry_after == "3"
    client.misbehave(Fault("answer", only="stream"))
    client.post(slot, EVENT)
    assert client.request("GET", f"{slot.path}/stream", slot=slot).status == 503


@BOTH
def test_garbage(scheme: str, connect: Connect, client: RelayClient, slot: Slot) -> None:
    text = "SSH-2.0-nothing\xff\r\n"
    client.misbehave(*(Fault("garbage", at=place, text=text, count=1) for place in ("accept", "request")))
    first, second, third = connect(scheme, shake=False), connect(scheme), connect(scheme)
    first.until(lambda: first.wire == text.encode("latin-1")) if scheme == "http" else first.socket.recv(100)
    second.subscribe(slot)
    second.until(text.encode("latin-1"))
    client.misbehave(Fault("garbage", count=1))
    third.subscribe(slot)
    assert third.head()[0] == 200
    third.until(b"\xff")
    third.quiet(0.05)
    client.normal()
    assert second.ended() == third.ended() == "FIN"


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


# Whom it strikes, and how often.


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
    assert client.report()["strikes"] >= 4
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


# The values.


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (5, "a JSON object"),
        ({}, "needs an action"),
        ({"action": "explode"}, "one of silent"),
        ({"action": "cut", "at": "line"}, "one of stream"),
        ({"action": "cut", "at": ["stream"]}, "at must be of type"),
        ({"action": "cut", "scope": "all"}, "scope"),
        ({"action": "answer", "scope": "live"}, "scope must be new"),
        ({"action": "silent", "at": "accept", "only": "stream"}, "only must be all"),
        ({"action": "silent", "only": "pulls"}, "all or stream"),
        ({"action": "cut", "count": 0}, "count"),
        ({"action": "cut", "count": True}, "count must be of type"),
        ({"action": "refuse", "count": 1}, "refuse has none"),
        ({"action": "drip", "seconds": 0}, "above 0"),
        ({"action": "drip", "seconds": "1"}, "seconds must be of type"),
        ({"action": "answer", "status": 100}, "200 to 599"),
        ({"action": "answer", "location": "x\r\ny"}, "printable"),
        ({"action": "garbage", "text": "\u20ac"}, "Latin-1"),
        ({"action": "cut", "explode": 1}, "no others"),
    ],
)
def test_what_is_no_fault_is_explained(value: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        read_fault(value)


def test_every_fault_survives_json() -> None:
    for action, places in PLACES.items():
        for place in places:
            fault = Fault(action, at=place)  # type: ignore[arg-type]  # from PLACES
            assert read_fault(json.loads(json.dumps(fault.as_json()))) == fault


def test_a_unix_socket_is_closed_where_tcp_would_be_reset(
    subscribe: Subscriber, client: RelayClient, slot: Slot
) -> None:
    raw = subscribe("uds")
    assert raw.socket.family == socket.AF_UNIX
    client.misbehave(Fault("reset"))
    assert raw.ended() == "FIN"
