"""Signal first, parse later: the host has its wake before h11 or the event parser has seen the bytes.

The search that gives it may say too much, never too little: what it misses, because a field name was cut in two, the
parser finds, and gives the one wake that is owed.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import BEAT, EVENT, HEAD, NEVER, PATIENCE, InThread, chunk, phase_of, until
from wire_rawsse import StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.hosts import thread as thread_host
from wire_rawsse.protocol.chunked import ChunkedBody
from wire_rawsse.protocol.sse import WakeParser

SPLIT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events, in their order: "http", "parsed" and, by the test, "woken"."""
    happened: list[str] = []
    whole, feed = ChunkedBody.whole, WakeParser.feed

    def noted_whole(self: ChunkedBody, data: bytes) -> bytes | None:
        happened.append("http")
        return whole(self, data)

    def noted_feed(self: WakeParser, data: Any) -> bool:
        happened.append("parsed")
        return feed(self, data)

    monkeypatch.setattr(ChunkedBody, "whole", noted_whole)
    monkeypatch.setattr(WakeParser, "feed", noted_feed)
    return happened


def opened(subscriber: StreamSubscriber) -> None:
    assert subscriber.wait(PATIENCE)
    assert not subscriber.wait(0)


def test_the_wake_comes_before_the_parser_runs(serve: Serve, ca_file: str, tls: bool, log: list[str]) -> None:
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        opened(subscriber)
        peer = server.peer()
        for _ in range(3):
            del log[:]
            peer.say()
            assert subscriber.wait(PATIENCE)
            log.append("woken")
            assert not subscriber.wait(0)
            assert log == ["woken", "http", "parsed"]


def test_a_heartbeat_is_parsed_and_wakes_nobody(serve: Serve, log: list[str]) -> None:
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        opened(subscriber)
        del log[:]
        server.peer().say(BEAT)
        assert not subscriber.wait(0.05)
        assert log == ["http", "parsed"]


def test_the_channel_is_set_before_the_parser_runs(
    serve: Serve, ca_file: str, tls: bool, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread host sets it and stands aside, so that the woken thread gets the interpreter's lock first.

    Here it stands aside until the woken thread has run, however late the system lets that one run.
    """
    server = serve(tls=tls)
    stood: list[float] = []

    class Overheard(WakeChannel):
        def set(self) -> None:
            log.append("set")
            super().set()

    def stand_aside(seconds: float) -> None:
        log.append("aside")
        until(lambda: "woken" in log)
        stood.append(seconds)

    monkeypatch.setattr(thread_host, "time", SimpleNamespace(sleep=stand_aside))
    wake = Overheard()
    thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url, tls=ca_file))
    try:
        assert wake.wait(PATIENCE)
        log.append("woken")
        until(lambda: stood)
        peer = server.peer()
        for _ in range(5):
            del log[:]
            peer.say()
            assert wake.wait(PATIENCE)
            log.append("woken")
            until(lambda: "parsed" in log)
            assert sorted(log[:3]) == ["aside", "set", "woken"] and log[0] == "set"
            assert log[3:] == ["http", "parsed"]
        assert set(stood) == {thread_host.LET_GO} and thread_host.LET_GO > 0
    finally:
        log.append("woken")
        thread.stop()


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("how", ["two reads", "two chunks", "no chunks"])
def test_a_field_name_cut_in_two_wakes(serve: Serve, ca_file: str, tls: bool, how: str, cut: int) -> None:
    server = serve(tls=tls, stage="asked")
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        assert not subscriber.wait(0) or tls
        pump = InThread(server.peer)
        while pump.is_alive():
            assert not subscriber.wait(0.01)
        peer = pump.result()
        peer.send(SPLIT_HEAD if how == "no chunks" else HEAD)
        opened(subscriber)
        one, other = EVENT[:cut], EVENT[cut:]
        if how == "two chunks":
            peer.send(chunk(one) + chunk(other))
        else:
            peer.send(one if how == "no chunks" else chunk(one))
            # Of the whole name the search may speak already: a wake too many.
            assert not subscriber.wait(0.02) or cut == 4
            while subscriber.wait(0):
                pass
            peer.send(other if how == "no chunks" else chunk(other))
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0.02), "one reception, two wakes"


def test_every_split_of_a_chunk_wakes(serve: Serve, ca_file: str, tls: bool) -> None:
    """Whatever the reads are, once the `data` line is there a wake has been given."""
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        opened(subscriber)
        peer = server.peer()
        for framed in (
            chunk(EVENT),
            chunk(b"id: 7\r\ndata:\r\n\r\n"),
            chunk(b"\rdata\r\r"),
            chunk(b": x\n") + chunk(EVENT),
        ):
            for cut in range(1, len(framed)):
                peer.send(framed[:cut])
                wakes = int(subscriber.wait(0.003))
                peer.send(framed[cut:])
                while wakes == 0 or subscriber.wait(0.003):
                    assert wakes or subscriber.wait(PATIENCE), f"no wake for {framed!r} cut at {cut}"
                    wakes += 1
                assert wakes <= 2


def test_what_only_the_parser_finds(serve: Serve, log: list[str]) -> None:
    """A byte order mark stands before the name: the parser has run, and the wake is one."""
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        opened(subscriber)
        del log[:]
        server.peer().say(b"\xef\xbb\xbf" + EVENT)
        assert subscriber.wait(PATIENCE)
        log.append("woken")
        assert not subscriber.wait(0.05)
        assert log == ["http", "parsed", "woken"]


@pytest.mark.parametrize(
    "body", [EVENT, EVENT * 50, b"data\n\n", b"data:\rdata:\r\r", b"event: e\ndata: " + b"x" * 9000 + b"\n\n"]
)
def test_one_reception_is_one_wake(serve: Serve, body: bytes) -> None:
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        opened(subscriber)
        server.peer().say(body)
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0.05)


def test_events_that_come_with_the_head_are_one_wake_with_it(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls, stage="asked")
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        helper = InThread(lambda: server.peer().send(HEAD + chunk(EVENT) * 3))
        assert subscriber.wait(PATIENCE)
        helper.result()
        assert not subscriber.wait(0.05)
        assert subscriber.state.last_event_at is not None


def test_the_search_may_say_too_much(serve: Serve) -> None:
    """A field called `database` costs one pull, and is no event."""
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        opened(subscriber)
        server.peer().say(b"database: x\n\n")
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0.02)
        assert subscriber.state.last_event_at is None


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Type: text/event-stream\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/event-stream\r\n",
        b"HTTP/1.1 204 No Content\r\n",
    ],
)
def test_no_other_body_wakes(serve: Serve, head: bytes) -> None:
    server = serve(stage="asked")
    with StreamSubscriber(server.url, backoff=NEVER) as subscriber:
        assert not subscriber.wait(0.02)
        server.peer().send(head + b"Content-Length: 9\r\n\r\n" + EVENT)
        end = time.monotonic() + PATIENCE
        while phase_of(subscriber) != "backing off":
            assert not subscriber.wait(0.01)
            assert time.monotonic() < end
        assert subscriber.state.last_wake_at is None


def test_the_last_event_before_a_fault_wakes(serve: Serve, log: list[str]) -> None:
    """An event, and garbage behind it in the same reception: the wake is owed, and comes before the reconnect."""
    server = serve()
    with StreamSubscriber(server.url, backoff=NEVER) as subscriber:
        opened(subscriber)
        peer = server.peer()
        peer.send(chunk(b"da") + chunk(b"ta: x\n\n") + b"garbage\r\n")
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0.02)
        assert phase_of(subscriber) == "backing off"
        assert log.count("parsed") >= 1


def test_wakes_coalesce(serve: Serve) -> None:
    """However much came while the host was away, each wait takes what one reception holds."""
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        opened(subscriber)
        peer = server.peer()
        for _ in range(100):
            peer.say()
        wakes = 0
        while subscriber.wait(0.02):
            wakes += 1
        assert 1 <= wakes <= 5


def test_a_set_channel_is_not_set_again(serve: Serve, log: list[str]) -> None:
    """Fifty events while nobody looks: one wake."""
    server = serve()
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url))
    try:
        peer = server.peer()
        for number in range(50):
            peer.say()
            until(lambda number=number: log.count("parsed") > number)  # type: ignore[misc]  # mypy infers no default
        assert wake.wait(PATIENCE)
        assert not wake.wait(0.02)
    finally:
        thread.stop()
