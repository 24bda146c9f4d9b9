"""A stream that never stops keeps neither the caller nor the other streams from their turn; an idle one is free."""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    BEAT,
    EVENT,
    NEVER,
    PATIENCE,
    Peer,
    add_streams,
    chunk,
    connected,
    embedded,
    phase_of,
    poll_until,
)
from wire_rawsse import Event, EventSource, StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber
from wire_rawsse.hosts.handle import Handle
from wire_rawsse.hosts.interfaces import Poller

SLACK = 15.0
"""Seconds by which a wait may be late on a busy machine. One that a flood holds up does not return at all."""


@contextmanager
def flooding(peer: Peer, data: bytes) -> Iterator[None]:
    """`data` again and again, as fast as the client takes it."""
    over = threading.Event()
    block = data * (1 + 65536 // len(data))

    def flood() -> None:
        try:
            while not over.is_set():
                peer.send(block)
        except OSError:
            pass  # The client has gone.

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        over.set()
        try:
            socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)  # It may be waiting for a client that does not read.
        except OSError:
            pass
        thread.join()


def test_a_hundred_thousand_events(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    count = 100_000
    with EventSource(server.url, tls=ca_file) as source:
        peer = connected(server, source)
        body = b"".join(b"data: %d\n\n" % number for number in range(count))
        thread = threading.Thread(target=lambda: peer.send(chunk(body)))
        thread.start()
        for number in range(count):
            assert source.next(PATIENCE) == Event("message", str(number), "")
        thread.join()
        assert source.next(0) is None


def test_waits_return_in_time_under_a_flood_of_events(serve: Serve, ca_file: str, tls: bool) -> None:
    """Each is a wake, and each comes back at once."""
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        with flooding(server.peer(), chunk(EVENT)):
            assert subscriber.wait(PATIENCE)
            longest = 0.0
            for _ in range(20):
                began = time.monotonic()
                assert subscriber.wait(PATIENCE)
                longest = max(longest, time.monotonic() - began)
            print(f"longest {longest * 1000:.1f} ms")
            assert longest < SLACK


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_waits_return_in_time_under_a_flood_of_comments(serve: Serve, ca_file: str, tls: bool, timeout: float) -> None:
    """They wake nobody, and there is always one more. Over TLS the first long record wakes once."""
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        with flooding(server.peer(), chunk(b": nothing\n" * 100)):
            assert subscriber.wait(PATIENCE if tls else 0) == tls
            for _ in range(5):
                began = time.monotonic()
                assert not subscriber.wait(timeout)
                assert timeout <= time.monotonic() - began < timeout + SLACK
            began = time.monotonic()
            subscriber.close()
            assert time.monotonic() - began < SLACK


def test_next_returns_in_time_under_a_flood_of_comments(serve: Serve) -> None:
    server = serve()
    with EventSource(server.url, backoff=NEVER) as source:
        peer = connected(server, source)
        with flooding(peer, chunk(b": nothing\n" * 100)):
            for timeout in (0, 0.1):
                began = time.monotonic()
                assert source.next(timeout) is None
                assert timeout <= time.monotonic() - began < timeout + SLACK


@pytest.mark.parametrize("flood", [chunk(BEAT), chunk(EVENT)], ids=["comments", "events"])
@pytest.mark.parametrize("floods_tls", [False, True], ids=["http flood", "https flood"])
def test_other_streams_have_their_turn(serve: Serve, ca_file: str, floods_tls: bool, flood: bytes) -> None:
    """One of several endpoints floods: another's event still wakes, and a third's silence is still found."""
    servers = [serve(tls=floods_tls), serve(tls=True), serve()]
    with StreamSubscriber(servers[0].url, tls=ca_file, backoff=NEVER) as subscriber:
        add_streams(subscriber, [servers[1].url], tls=ca_file, backoff=NEVER)
        add_streams(subscriber, [servers[2].url], timeouts=Timeouts(read=0.3), backoff=NEVER)
        poll_until(subscriber, lambda: [one.phase for one in subscriber.state.endpoints] == ["streaming"] * 3)
        peers = [server.peer() for server in servers]
        with flooding(peers[0], flood):
            began = time.monotonic()
            peers[1].say()
            poll_until(subscriber, lambda: subscriber.state.endpoints[1].last_event_at)
            assert time.monotonic() - began < SLACK
            poll_until(subscriber, lambda: subscriber.state.endpoints[2].phase == "backing off")
            assert time.monotonic() - began < 0.3 + SLACK
            assert "silent" in (subscriber.state.endpoints[2].last_error or "")
        assert peers[2].gone()


def test_a_thread_under_a_flood_stops_at_once(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url, tls=ca_file, backoff=NEVER))
    assert wake.wait(PATIENCE)
    with flooding(server.peer(), chunk(EVENT)):
        for _ in range(5):
            assert wake.wait(PATIENCE)
        began = time.monotonic()
        thread.stop()
        assert time.monotonic() - began < SLACK


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """The time-out of each poll of every loop."""
    made: list[float | None] = []
    open_ = Handle.open

    def open_counted(self: Handle) -> Poller:
        opened = self.watch.poller
        if opened is not None:
            return opened
        poller: Any = open_(self)
        poll = poller.poll

        def counted(timeout: float | None, room: int) -> Any:
            made.append(timeout)
            return poll(timeout, room)

        poller.poll = counted
        return cast("Poller", poller)

    monkeypatch.setattr(Handle, "open", open_counted)
    return made


def test_an_idle_stream_is_polled_once(serve: Serve, ca_file: str, tls: bool, polls: list[float | None]) -> None:
    """However long it is silent, the thread sleeps in one system call; and each heartbeat costs one more."""
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file) as subscriber:
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        peer = server.peer()
        del polls[:]
        assert not subscriber.wait(0.15)
        assert len(polls) <= 3, polls

        def beat() -> None:
            for _ in range(10):
                time.sleep(0.01)
                peer.say(BEAT)

        thread = threading.Thread(target=beat)
        thread.start()
        del polls[:]
        assert not subscriber.wait(0.3)
        thread.join()
        assert len(polls) <= 10 + 3, polls


def test_nothing_is_polled_in_vain_while_backing_off_or_hanging(serve: Serve, polls: list[float | None]) -> None:
    server = serve()
    with StreamSubscriber(server.url, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        server.peer().reset()
        poll_until(subscriber, lambda: phase_of(subscriber) == "backing off")
        del polls[:]
        assert not subscriber.wait(0.15)
        assert len(polls) <= 3, polls
    silent = serve(stage="asked")
    with StreamSubscriber(silent.url) as subscriber:
        poll_until(subscriber, lambda: phase_of(subscriber) == "head")
        silent.peer()
        del polls[:]
        assert not subscriber.wait(0.15)
        assert len(polls) <= 3, polls


@pytest.mark.skipif(sys.platform == "win32", reason="no descriptor to wait on")
def test_an_idle_descriptor_stays_quiet(serve: Serve, ca_file: str, tls: bool) -> None:
    """No host's loop turns without a reason, TLS 1.3 tickets included."""
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file) as subscriber:
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0.02)
        assert not select.select([subscriber], [], [], 0.2)[0]
        assert subscriber.deadline() > time.monotonic() + 10


@pytest.mark.parametrize("seconds", [1e6, 1e9, 1e18, float("inf")])
def test_waits_and_deadlines_may_be_endless(serve: Serve, seconds: float) -> None:
    """epoll_wait(2) takes 31 bits of milliseconds; a longer wait is made of several."""
    server = serve()
    endless = min(seconds, 1e18)
    timeouts = Timeouts(connect=endless, response=endless, read=endless)
    with StreamSubscriber(server.url, timeouts=timeouts) as subscriber:
        assert subscriber.wait(seconds)
        assert not subscriber.wait(0)
        peer = server.peer()
        thread = threading.Timer(0.02, peer.say)
        thread.start()
        assert subscriber.wait(seconds)
        thread.join()
        assert not subscriber.wait(-1)
        assert not subscriber.wait(-seconds)
