"""A host with a select loop of its own: one descriptor, one deadline, and `wait(0)` whenever either of them calls.

`SelectLoop` is that host, and nothing more: it never calls `wait(0)` out of turn. So whatever these tests see happen
was announced by the descriptor or by the deadline.
"""

from __future__ import annotations

import json
import math
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    BEAT,
    EVENT,
    HEAD,
    NEVER,
    PATIENCE,
    QUICK,
    HungResolver,
    blackhole,
    chunk,
    embedded,
    error_of,
    giving_back,
    phase_of,
    until,
    watched,
)
from tests.support.ports import CLOSED
from wire_rawsse import StreamSubscriber, Timeouts, waits

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll") and not hasattr(select, "kqueue"), reason="no descriptor")


class SelectLoop:
    """The loop of a host that embeds one subscriber or several, beside its own descriptors."""

    def __init__(self, *subscribers: StreamSubscriber) -> None:
        self.subscribers = subscribers
        self.wakes = [0] * len(subscribers)
        self.turns = 0
        """How often `wait(0)` was called."""

    def run(self, done: Callable[[], object], timeout: float = PATIENCE) -> None:
        """Go on until `done`, which is asked between two turns and at least each 10 ms."""
        end = time.monotonic() + timeout
        descriptors = [subscriber.fileno() for subscriber in self.subscribers]
        while not done():
            assert time.monotonic() < end, [subscriber.state for subscriber in self.subscribers]
            now = time.monotonic()
            deadlines = [subscriber.deadline() for subscriber in self.subscribers]
            readable, _, _ = select.select(descriptors, [], [], min(max(0.0, min(deadlines) - now), 0.01))
            now = time.monotonic()
            for number, subscriber in enumerate(self.subscribers):
                if subscriber.fileno() in readable or subscriber.deadline() <= now:
                    self.turns += 1
                    self.wakes[number] += subscriber.wait(0)

    def run_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.run(lambda: time.monotonic() >= end)


def test_wakes_arrive(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: loop.wakes[0])
        peer = server.peer()
        for count in range(1, 6):
            loop.run(lambda count=count: loop.wakes[0] == count)  # type: ignore[misc]  # mypy infers no default
            loop.run_for(0.02)
            assert loop.wakes[0] == count, "a wake that nobody caused"
            peer.say()


def test_one_record_of_many_reads(serve: Serve, ca_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """15 KiB in one TLS record, received in pieces of 1000 bytes: a wake at its end, however many events it has."""
    monkeypatch.setattr(waits, "RECEIVE_BYTES", 1000)
    server = serve(tls=True)
    with embedded(server.url, tls=ca_file) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: loop.wakes[0])
        peer = server.peer()
        loop.run_for(0.02)
        peer.say((EVENT + (b":" + b"x" * 98 + b"\n") * 30) * 5)
        loop.run(lambda: loop.wakes[0] == 1 + 1)
        loop.run_for(0.02)
        assert loop.wakes[0] == 1 + 1
        assert subscriber.deadline() > time.monotonic()


def test_several_subscribers(serve: Serve, ca_file: str) -> None:
    servers = [serve(tls=tls) for tls in (False, True, True)]
    subscribers = [StreamSubscriber(server.url, tls=ca_file) for server in servers]
    with ExitStack() as stack:
        for subscriber in subscribers:
            stack.enter_context(giving_back(subscriber))
        loop = SelectLoop(*subscribers)
        loop.run(lambda: loop.wakes == [1, 1, 1])
        peers = [server.peer() for server in servers]
        peers[1].say()
        loop.run(lambda: loop.wakes == [1, 2, 1])
        peers[2].say()
        peers[0].say()
        loop.run(lambda: loop.wakes == [2, 2, 2])


def test_several_endpoints_in_one_descriptor(
    serve: Serve, ca_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every endpoint of wire's relay.json behind one `fileno()`: any of them wakes, and any of them reconnects."""
    servers = [serve(tls=tls) for tls in (False, True, False)]
    folder = tmp_path / "config" / "wire"
    folder.mkdir(parents=True)
    endpoints = [
        {
            "relay_url": server.url.rstrip("/"),
            "slot_id": f"slot{number}",
            "slot_token": f"token{number}",
            "scope": "local",
        }
        for number, server in enumerate(servers)
    ]
    (folder / "relay.json").write_text(json.dumps({"self": {"endpoints": endpoints}, "peers": {}}))
    monkeypatch.setenv("WIRE_HOME", str(tmp_path))
    with giving_back(StreamSubscriber.from_wire(tls=ca_file, backoff=QUICK)) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: [one.phase for one in subscriber.state.endpoints] == ["streaming"] * 3)
        peers = [server.peer() for server in servers]
        loop.run_for(0.02)
        for peer in peers:
            before = loop.wakes[0]
            peer.say()
            loop.run(lambda before=before: loop.wakes[0] == before + 1)  # type: ignore[misc]  # mypy infers no default
        before = loop.wakes[0]
        peers[1].reset()
        loop.run(lambda: loop.wakes[0] > before and subscriber.state.reconnect_count == 1)
        before = loop.wakes[0]
        servers[1].peer().say()
        loop.run(lambda: loop.wakes[0] > before)


def test_the_descriptor_stays_over_reconnects(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file, backoff=QUICK) as subscriber:
        loop = SelectLoop(subscriber)
        descriptor = subscriber.fileno()
        for count in range(1, 5):
            loop.run(lambda count=count: loop.wakes[0] == count)  # type: ignore[misc]  # mypy infers no default
            loop.run_for(0.02)
            peer = server.peer()
            if count == 1:
                peer.end()
            elif count == 2:
                peer.reset()
            elif count == 3:
                peer.sock.close()
        assert subscriber.state.reconnect_count == 3
        assert subscriber.fileno() == descriptor


def test_it_survives_a_wedge(serve: Serve, ca_file: str, tls: bool) -> None:
    """The server is silent while its kernel still answers: found by `read`, reconnected, and heard of again."""
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file, timeouts=Timeouts(read=0.3), backoff=QUICK) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: loop.wakes[0] == 1)
        wedged = server.peer()
        loop.run(lambda: loop.wakes[0] == 2)
        assert "silent for read=0.3 s" in error_of(subscriber)
        assert wedged.gone()
        server.peer().say()
        loop.run(lambda: loop.wakes[0] == 3)


def test_a_name_is_looked_up_without_a_busy_loop(serve: Serve, hung_resolver: HungResolver) -> None:
    """The answer comes from another thread, and makes the descriptor readable."""
    server = serve()
    with embedded(server.url.replace("127.0.0.1", "relay.test")) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: phase_of(subscriber) == "resolving")
        before = loop.turns
        loop.run_for(0.1)
        assert loop.turns - before <= 1
        hung_resolver.release(server.port)
        loop.run(lambda: loop.wakes[0])


SHORT = Timeouts(connect=1, response=1, read=1)


def wait_for_the_end(subscriber: StreamSubscriber, phase: str, told: str) -> None:
    """Each clock must end its phase by way of `deadline()`, in hardly more turns than there were bytes."""
    loop = SelectLoop(subscriber)
    loop.run(lambda: phase_of(subscriber) == phase and subscriber.deadline() > time.monotonic())
    began = time.monotonic()
    assert began - 1 < subscriber.deadline() < began + 1.01
    loop.run(lambda: phase_of(subscriber) == "backing off")
    assert told in error_of(subscriber)


def test_a_look_up_that_hangs(hung_resolver: HungResolver) -> None:
    with embedded("http://relay.test/", timeouts=SHORT, backoff=NEVER) as subscriber:
        wait_for_the_end(subscriber, "resolving", "connect=1 s")


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="only POSIX drops a SYN when the queue is full")
def test_an_address_that_is_silent() -> None:
    with (
        blackhole() as port,
        embedded(f"http://127.0.0.1:{port}/", timeouts=SHORT, backoff=NEVER) as subscriber,
    ):
        wait_for_the_end(subscriber, "connecting", "connect=1 s")


def test_a_proxy_that_stalls(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", serve(stage="asked").url)
    with embedded("https://relay.test/", timeouts=SHORT, backoff=NEVER) as subscriber:
        wait_for_the_end(subscriber, "tunnel", "connect=1 s")


def test_a_handshake_that_stalls(serve: Serve, ca_file: str) -> None:
    server = serve(tls=True, stage="accepted")
    with embedded(server.url, tls=ca_file, timeouts=SHORT, backoff=NEVER) as subscriber:
        wait_for_the_end(subscriber, "handshake", "connect=1 s")


def test_a_head_that_never_comes(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls, stage="asked")
    with embedded(server.url, tls=ca_file, timeouts=SHORT, backoff=NEVER) as subscriber:
        wait_for_the_end(subscriber, "head", "response=1 s")


@pytest.mark.parametrize("every", [0.0, 0.004, 0.05])
def test_a_head_that_drips(serve: Serve, ca_file: str, tls: bool, every: float) -> None:
    """Each byte makes the descriptor readable; none of them moves the deadline of the whole head.

    Not even if there is always one more byte to be found (`every` is 0). Such a flood once stopped the clock, and the
    size of the head ended it instead, so it ends below that size here.
    """
    server = serve(tls=tls, stage="asked")
    over = threading.Event()

    def drip() -> None:
        peer = server.peer()
        try:
            peer.send(HEAD[:-2])
            for _ in range(60_000):
                if over.wait(every):
                    break
                peer.send(b"x")
        except OSError:
            pass

    with embedded(server.url, tls=ca_file, timeouts=SHORT, backoff=NEVER) as subscriber:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            loop = SelectLoop(subscriber)
            loop.run(lambda: phase_of(subscriber) == "backing off")
            assert "response=1 s" in error_of(subscriber)
        finally:
            over.set()
            thread.join()


def test_a_stream_that_falls_silent(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file, timeouts=SHORT, backoff=NEVER) as subscriber:
        wait_for_the_end(subscriber, "streaming", "read=1 s")


def test_backing_off() -> None:
    with embedded(f"http://127.0.0.1:{CLOSED}/", backoff=NEVER) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: phase_of(subscriber) == "backing off")
        turns = loop.turns
        loop.run_for(0.1)
        assert loop.turns == turns, "there is nothing to do until the next attempt"
        assert time.monotonic() + 20 < subscriber.deadline() < time.monotonic() + 61


class TestDeadline:
    """`deadline()`: when `wait(0)` is due at the latest, on the system's monotonic clock."""

    def test_is_past_before_anything_was_started(self) -> None:
        with embedded("http://127.0.0.1:1/") as subscriber:
            assert subscriber.deadline() <= time.monotonic()
            assert subscriber.fileno() >= 0
            assert subscriber.deadline() <= time.monotonic()

    def test_is_the_end_of_the_present_wait(self, serve: Serve) -> None:
        server = serve()
        with embedded(server.url, timeouts=Timeouts(read=75)) as subscriber:
            assert subscriber.wait(PATIENCE)
            assert not subscriber.wait(0)
            assert time.monotonic() + 70 < subscriber.deadline() < time.monotonic() + 76

    def test_is_past_after_a_wake_until_what_came_is_parsed(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        with embedded(server.url, tls=ca_file) as subscriber:
            assert subscriber.wait(PATIENCE)
            assert subscriber.deadline() <= time.monotonic()
            assert not subscriber.wait(0)
            assert subscriber.deadline() > time.monotonic() + 1
            server.peer().say()
            assert subscriber.wait(PATIENCE)
            assert subscriber.deadline() <= time.monotonic()
            assert not subscriber.wait(0)
            assert subscriber.deadline() > time.monotonic() + 1

    def test_is_past_until_the_record_is_decrypted(
        self, serve: Serve, ca_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waits, "RECEIVE_BYTES", 1000)
        server = serve(tls=True)
        with embedded(server.url, tls=ca_file) as subscriber:
            assert subscriber.wait(PATIENCE)
            assert not subscriber.wait(0)
            server.peer().say((b":" + b"x" * 98 + b"\n") * 140)
            assert select.select([subscriber], [], [], PATIENCE)[0]
            wakes = 0
            while subscriber.deadline() <= time.monotonic() or select.select([subscriber], [], [], 0.02)[0]:
                wakes += subscriber.wait(0)
            assert wakes == 1, "the length of the record is a wake, and nothing in it is one"
            received = subscriber.state.last_byte_at
            assert received is not None
            assert not subscriber.wait(0.02)
            assert subscriber.state.last_byte_at == received, "something was left in the TLS layer"

    def test_is_past_after_a_restart_and_after_close(self, serve: Serve) -> None:
        server = serve()
        with embedded(server.url) as subscriber:
            assert subscriber.wait(PATIENCE)
            assert not subscriber.wait(0)
            subscriber.restart()
            assert subscriber.deadline() <= time.monotonic()
            assert subscriber.wait(PATIENCE)
            assert not subscriber.wait(0)
            subscriber.close()
            assert subscriber.deadline() <= time.monotonic()

    def test_is_finite_without_an_endpoint(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """No endpoint yet: only wire's file is looked at now and then."""
        monkeypatch.setenv("WIRE_HOME", str(tmp_path))
        with giving_back(StreamSubscriber.from_wire()) as subscriber:
            assert subscriber.deadline() <= time.monotonic()
            assert not subscriber.wait(0)
            assert time.monotonic() < subscriber.deadline() < math.inf


def test_no_socket_is_closed_while_the_epoll_holds_it(serve: Serve, ca_file: str, tls: bool) -> None:
    """A copy of the socket that lives on elsewhere (in a forked child) would make the epoll readable for ever.

    The copy is made here, and bytes arrive on it when we have long closed ours.
    """
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        bell = min(watched(subscriber))
        others = {bell, *subscriber._loop._handle.watch.callbacks}
        (descriptor,) = watched(subscriber) - others
        copy = socket.socket(fileno=socket.dup(descriptor))
        peer = server.peer()
        with copy:
            peer.send(b"garbage instead of a chunk\r\n")
            until(lambda: subscriber.wait(0.01) or phase_of(subscriber) == "backing off")
            assert watched(subscriber) == others
            socket.socket.sendall(peer.sock, b"for a connection that we have given up")
            assert select.select([copy], [], [], PATIENCE)[0]
            assert not select.select([subscriber], [], [], 0.05)[0], "the epoll still holds what we have closed"


def test_bytes_and_silence_side_by_side(serve: Serve, ca_file: str) -> None:
    """Heartbeats are no wakes, and each moves the deadline."""
    server = serve(tls=True)
    with embedded(server.url, tls=ca_file, timeouts=Timeouts(read=0.25), backoff=NEVER) as subscriber:
        loop = SelectLoop(subscriber)
        loop.run(lambda: loop.wakes[0])
        peer = server.peer()
        for _ in range(4):
            before = subscriber.deadline()
            peer.send(chunk(BEAT))
            loop.run(lambda before=before: subscriber.deadline() > before)  # type: ignore[misc]  # mypy infers no default
            loop.run_for(0.1)
        assert phase_of(subscriber) == "streaming"
        assert loop.wakes == [1]
