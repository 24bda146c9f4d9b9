"""Drips, wrong answers and garbage, as a client sees them on the wire."""

from __future__ import annotations

import time

import pytest

from tests.relay.conftest import Connect, Subscriber
from tests.relay.raw import BYTES, CHUNK, EVENT, log_of, unchunked
from wire_rawsse.errors import StatusError
from wire_rawsse.testing import Fault, RelayClient, Slot

BOTH = pytest.mark.parametrize("scheme", ["http", "https"])


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
