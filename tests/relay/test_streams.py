"""The event stream: what both relays send, and what ours does besides."""

from __future__ import annotations

import itertools
import json
import socket
import time
from typing import Any

import pytest

from tests.relay.conftest import Connect, Subscriber, Target
from tests.relay.raw import PATIENCE, Raw, unchunked
from wire_rawsse.testing import RelayClient, RelayProcess, Slot

HEARTBEAT = b": phyllis: still on the line\n\n"


def streams_carry_what_is_posted_while_they_are_open(target: Target) -> None:
    slot = target.client.allocate()
    target.client.post(slot, {"event_id": "before"})
    with Raw(target.url) as raw, Raw(target.url) as old:
        raw.subscribe(slot, "Last-Event-ID: before")
        status, fields = raw.head()
        assert (status, fields["content-type"], fields["cache-control"]) == (200, "text/event-stream", "no-cache")
        assert fields["transfer-encoding"] == "chunked"
        old.subscribe(slot, version="1.0")
        assert old.head()[0] == 200
        events: list[Any] = [{"event_id": "a", "z": 1, "b": "line\nend \u2028 é"}, "text", 7, None, [], {"x": 1.5}]
        for event in events:
            target.client.post(slot, event)
        assert target.client.post(slot, {"event_id": "a"}).status == "duplicate"
        target.client.post(slot, {"event_id": "last"})
        raw.until(b'"last"}\n\n\r\n')
        content = unchunked(raw.plain)
        lines = [line.removeprefix(b"data: ") for line in content.split(b"\n\n")[:-1]]
        assert [json.loads(line) for line in lines] == [*events, {"event_id": "last"}]
        assert lines[0] == '{"b":"line\\nend \u2028 é","event_id":"a","z":1}'.encode()
        # To HTTP/1.0 the same goes out without chunks.
        assert old.until(b'"last"}\n\n') == content


def test_ours_carries_what_is_posted(ours: Target) -> None:
    streams_carry_what_is_posted_while_they_are_open(ours)


@pytest.mark.interop
def test_wires_carries_what_is_posted(wires: Target) -> None:
    streams_carry_what_is_posted_while_they_are_open(wires)


def a_slot_takes_256_streams(target: Target) -> None:
    slot = target.client.allocate()
    streams: list[Raw] = []
    try:
        for _ in range(256):
            streams.append(Raw(target.url))
            streams[-1].subscribe(slot)
            assert streams[-1].head()[0] == 200
        with Raw(target.url) as late:
            late.subscribe(slot)
            status, fields = late.head()
            assert (status, fields["content-type"]) == (503, "application/json")
            late.until(lambda: len(late.plain) >= int(fields["content-length"]))
            assert set(json.loads(late.plain)) == {"error"}
        target.client.post(slot, {"event_id": "for all"})
        for stream in streams:
            stream.until(b'data: {"event_id":"for all"}\n\n')
        streams.pop().socket.close()
        deadline = time.monotonic() + PATIENCE
        for _ in itertools.count():  # The relay has to hear of the end first.
            streams.append(Raw(target.url))
            streams[-1].subscribe(slot)
            if streams[-1].head()[0] == 200:
                break
            assert time.monotonic() < deadline
    finally:
        for stream in streams:
            stream.socket.close()


def test_ours_takes_256_streams(ours: Target) -> None:
    a_slot_takes_256_streams(ours)


@pytest.mark.interop
def test_wires_takes_256_streams(wires: Target) -> None:
    a_slot_takes_256_streams(wires)


def a_slot_holds_64_mib(target: Target) -> None:
    slot = target.client.allocate()
    with Raw(target.url) as stream:
        stream.subscribe(slot)
        stream.head()
        for number in range(256):
            event = {"event_id": f"{number:03}", "p": ""}
            event["p"] = "x" * (256 * 1024 - len(json.dumps(event, separators=(",", ":"))))
            assert target.client.post(slot, event).status == "stored"
        for event in ({"event_id": "one more"}, {"event_id": "000"}):
            full = target.client.request("POST", slot.path, slot=slot, body=json.dumps({"event": event}).encode())
            assert full.status == 413
            assert {"error", "slot_bytes_max", "slot_bytes_used"} <= set(full.json())
            assert full.json()["slot_bytes_used"] == full.json()["slot_bytes_max"] == 64 << 20
        # A reader that slept through it all still gets every byte.
        received, tail = 0, b""
        stream.socket.settimeout(PATIENCE)
        while b'"event_id":"255"' not in tail or not tail.endswith(b'"}\n\n\r\n'):
            data = stream.socket.recv(1 << 20)
            assert data
            received += len(data)
            tail = (tail + data)[-300_000:]
        assert received > 64 << 20
        assert len(target.client.pull(slot, "253")) == 2


def test_ours_holds_64_mib(ours: Target) -> None:
    a_slot_holds_64_mib(ours)


@pytest.mark.interop
def test_wires_holds_64_mib(wires: Target) -> None:
    a_slot_holds_64_mib(wires)


@pytest.mark.campaign
@pytest.mark.interop
def test_wires_heartbeat(wires: Target) -> None:
    slot = wires.client.allocate()
    with Raw(wires.url) as raw:
        raw.subscribe(slot)
        raw.head()
        began = time.monotonic()
        raw.until(b"\n\n\r\n", 40)
        assert time.monotonic() - began > 29
        assert unchunked(raw.plain) == HEARTBEAT


def test_our_heartbeat_is_as_often_by_default() -> None:
    with RelayProcess(control=False) as relay, relay.client() as client:
        slot = client.allocate()
        with Raw(relay.url) as raw:
            raw.subscribe(slot)
            raw.head()
            raw.quiet(1.0)
    from wire_rawsse.relay.server import RelayOptions

    assert RelayOptions().heartbeat == 30


def test_our_heartbeat_comes_after_so_long_without_an_event() -> None:
    with RelayProcess(heartbeat=1.0) as relay, relay.client() as client:
        slot = client.allocate()
        with Raw(relay.url) as raw:
            raw.subscribe(slot)
            raw.head()
            for number in range(5):  # Events keep it away, however long the stream lasts.
                client.post(slot, {"event_id": str(number)})
                raw.until(f'"{number}"}}\n\n\r\n'.encode())
                raw.quiet(0.25)
            raw.until((b"1e\r\n" + HEARTBEAT + b"\r\n") * 2)
        log = [line for record in client.report()["connections"] for line in record["log"]]
    told = [(when, what) for when, what, _ in log if what in ("event", "heartbeat")]
    assert [what for _, what in told] == ["event"] * 5 + ["heartbeat"] * 2
    (last, _), (first_beat, _), (second_beat, _) = told[-3:]
    assert first_beat - last >= 0.99 and second_beat - first_beat >= 0.99


def test_each_event_is_written_on_its_own_at_once_and_stamped_just_before(
    subscribe: Subscriber, client: RelayClient, slot: Slot
) -> None:
    raw = subscribe()
    raw.take()
    received = []
    for number in range(10):
        client.post(slot, {"event_id": str(number)})
        raw.until(f'"{number}"}}\n\n\r\n'.encode())
        received.append(time.monotonic())
        assert raw.take() == f'18\r\ndata: {{"event_id":"{number}"}}\n\n\r\n'.encode()
    published = client.published(slot)
    assert [name for name, _ in published] == [str(number) for number in range(10)]
    stamps = [stamp for _, stamp in published]
    assert stamps == sorted(stamps)
    # At once: each was received before the next one was posted and stamped.
    assert sorted([*stamps, *received]) == [moment for pair in zip(stamps, received, strict=True) for moment in pair]
    assert client.published(slot, 8) == published[8:]


def test_ids_and_replay_where_asked_for() -> None:
    with RelayProcess(replay_ids=True) as relay, relay.client() as client:
        slot = client.allocate()
        for number in range(1, 5):
            client.post(slot, {"n": number})

        def ids(*fields: str, last: int) -> list[int]:
            with Raw(relay.url) as raw:
                raw.subscribe(slot, *fields)
                raw.head()
                if not fields:
                    client.wait_until("streams", 1, slot=slot)
                    client.post(slot, {"n": last})
                raw.until(f'"n":{last}}}\n\n\r\n'.encode())
                content = unchunked(raw.plain).decode()
            client.wait_until("streams", at_most=0, slot=slot)
            found = []
            for event in content.split("\n\n")[:-1]:
                first, second = event.split("\n")
                assert json.loads(second.removeprefix("data: "))["n"] == int(first.removeprefix("id: "))
                found.append(int(first.removeprefix("id: ")))
            return found

        assert ids(last=5) == [5]
        assert ids("Last-Event-ID: 3", last=5) == [4, 5]
        assert ids("Last-Event-ID: 0", last=5) == [1, 2, 3, 4, 5]
        assert ids("Last-Event-ID: 6", last=5) == [1, 2, 3, 4, 5]
        assert ids("Last-Event-ID: nonsense", last=5) == [1, 2, 3, 4, 5]


def test_a_client_that_goes_away_is_noticed(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    for scheme in ("http", "https", "uds"):
        raw = subscribe(scheme)
        assert client.report()["streams"] == {slot.slot_id: 1}
        raw.socket.close()
        client.wait_until("streams", at_most=0, slot=slot)
        subscribe._streams = 0
    raw = subscribe()
    raw.socket.shutdown(socket.SHUT_WR)
    assert raw.ended() == "FIN"


@pytest.mark.parametrize("scheme", ["http", "https", "uds"])
def test_streams_over_each_listener(scheme: str, subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe(scheme)
    big = "x" * 200_000
    client.post(slot, {"event_id": "big", "p": big})
    raw.until(b'"}\n\n\r\n')
    assert unchunked(raw.plain) == b'data: {"event_id":"big","p":"' + big.encode() + b'"}\n\n'


def test_who_asks_again_on_a_stream_gets_no_answer(connect: Connect, subscribe: Subscriber, slot: Slot) -> None:
    raw = subscribe()
    raw.ask("GET", "/healthz")
    raw.quiet()
