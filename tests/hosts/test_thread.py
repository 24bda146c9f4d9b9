"""The thread host: one daemon thread that turns a subscriber's wakes into a channel's, and that nothing can kill.

An exception that leaves a thread is a warning of pytest's, and warnings are errors here.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    AT_ONCE,
    NEVER,
    PATIENCE,
    QUICK,
    InThread,
    phase_of,
    run_script,
    until,
)
from wire_rawsse import StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.thread import SubscriberThread


def test_it_is_one_daemon_thread(serve: Serve) -> None:
    before = set(threading.enumerate())
    server = serve()
    thread = spawn_stream_subscriber(WakeChannel(), StreamSubscriber(server.url))
    try:
        server.peer()
        own = {other for other in set(threading.enumerate()) - before if not other.name.startswith("test-server")}
        assert own == {thread}
        assert thread.name == "wire-stream-sub"
        assert thread.daemon
        assert isinstance(thread, SubscriberThread)
    finally:
        thread.stop()


def test_every_wake_reaches_the_channel(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url, tls=ca_file, backoff=QUICK))
    try:
        assert wake.wait(PATIENCE), "the connection"
        peer = server.peer()
        for _ in range(50):
            assert not wake.wait(0)
            peer.say()
            assert wake.wait(PATIENCE), "an event"
            time.sleep(0.001)
        peer.reset()
        assert wake.wait(PATIENCE), "the reconnect"
        server.peer().say()
        assert wake.wait(PATIENCE)
    finally:
        thread.stop()
    wake.wait(0)
    assert not wake.wait(0.02)


def test_the_loop_tells_once_for_each_wake(serve: Serve, ca_file: str, tls: bool) -> None:
    """From the coroutine or from a hint, and there while it still holds its lock: at the moment of the wake."""
    server = serve(tls=tls)
    told: list[bool] = []
    with StreamSubscriber(server.url, tls=ca_file, backoff=QUICK) as subscriber:
        loop = subscriber._loop

        def tell() -> None:
            told.append(loop._handle.busy.locked())

        assert loop.run(PATIENCE, tell), "the connection"
        assert told == [False]
        peer = server.peer()
        for count in range(1, 20):
            peer.say()
            assert loop.run(PATIENCE, tell), "an event"
            assert len(told) == 1 + count
        assert not loop.run(0.02, tell)
        assert len(told) == 20
        assert tls or all(told[1:]), "behind TLS it may be received before the sleep"


def test_it_survives_whatever_the_network_does(serve: Serve) -> None:
    """Refusals, garbage, silence, and a token that cannot be had: each is retried by the same thread."""
    server = serve(stage="asked")
    asked: list[int] = []

    def token() -> str:
        asked.append(len(asked))
        if len(asked) == 3:
            raise LookupError("no token today")
        return "token" if len(asked) != 5 else "a token\r\nwith: a line end"

    wake = WakeChannel()
    timeouts = Timeouts(response=1)
    thread = spawn_stream_subscriber(
        wake, StreamSubscriber(server.url, bearer_token=token, backoff=QUICK, timeouts=timeouts)
    )
    try:
        for data in (
            b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n",
            b"\x16\x03\x01garbage",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
            b"HTTP/1.1 301 Moved\r\nLocation: /again\r\n\r\n",
        ):
            server.peer().send(data)
        server.peer().reset()
        server.peer()  # It is never answered.
        while not wake.wait(0.1):
            with suppress(queue.Empty):  # A busy machine answers later than the thread waits, and then the next time.
                server.peer(0).send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        assert thread.is_alive()
    finally:
        thread.stop()


def test_stop_is_for_any_moment(serve: Serve) -> None:
    """Before it waits, while it waits, while it stands aside after a wake, and after it has ended."""
    for delay in (0, 0, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005) * 3:
        server = serve()
        thread = spawn_stream_subscriber(WakeChannel(), StreamSubscriber(server.url))
        if delay:
            time.sleep(delay)
        thread.stop()
        assert not thread.is_alive()
        thread.stop()
        with pytest.raises(ClosedError):
            thread.subscriber.wait(0)


def test_stop_from_its_own_thread(serve: Serve) -> None:
    """A callable that it asks, say: it cannot join itself, and ends."""
    threads: list[SubscriberThread] = []
    made = threading.Event()

    def token() -> str:
        assert made.wait(PATIENCE)
        threads[0].stop()
        return "token"

    thread = spawn_stream_subscriber(WakeChannel(), StreamSubscriber(serve().url, bearer_token=token))
    threads.append(thread)
    made.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_stop_may_be_given_a_time(serve: Serve) -> None:
    """A callable of the user's may hang, and then the thread does."""
    over = threading.Event()
    asked = threading.Event()

    def token() -> str:
        asked.set()
        over.wait(PATIENCE)
        return "token"

    thread = spawn_stream_subscriber(WakeChannel(), StreamSubscriber(serve().url, bearer_token=token))
    assert asked.wait(PATIENCE)
    began = time.monotonic()
    thread.stop(0.05)
    assert time.monotonic() - began < AT_ONCE
    assert thread.is_alive()
    over.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_channel_outlives_it(serve: Serve) -> None:
    """Only a wake ends a wait early, not that nobody is left who could give one."""
    wake = WakeChannel()
    server = serve(stage="asked")
    thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url))
    server.peer()
    waiter = InThread(lambda: wake.wait(0.3))
    began = time.monotonic()
    thread.stop()
    assert waiter.result() is False
    assert time.monotonic() - began >= 0.25
    other = spawn_stream_subscriber(wake, StreamSubscriber(serve().url))
    assert wake.wait(PATIENCE)
    other.stop()


def test_several_share_a_channel(serve: Serve) -> None:
    wake = WakeChannel()
    servers = [serve() for _ in range(3)]
    threads = [spawn_stream_subscriber(wake, StreamSubscriber(server.url, backoff=NEVER)) for server in servers]
    try:
        peers = [server.peer() for server in servers]
        for thread in threads:
            subscriber = thread.subscriber
            assert isinstance(subscriber, StreamSubscriber)
            until(lambda subscriber=subscriber: phase_of(subscriber) == "streaming")  # type: ignore[misc]  # mypy infers no default
        while wake.wait(0.02):
            pass
        for peer in peers:
            peer.say()
            assert wake.wait(PATIENCE)
    finally:
        for thread in threads:
            thread.stop()


def test_without_a_subscriber_it_follows_wires_file(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    folder = tmp_path / "config" / "wire"
    folder.mkdir(parents=True)
    own = {"relay_url": f"http://{server.place}", "slot_id": "slot1", "slot_token": "token1"}
    (folder / "relay.json").write_text(json.dumps({"self": own, "peers": {}}))
    monkeypatch.setenv("WIRE_HOME", str(tmp_path))
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake)
    try:
        assert wake.wait(PATIENCE)
        request = server.peer().request
        assert request.startswith(b"GET /v1/events/slot1/stream HTTP/1.1\r\n")
        assert b"\r\nAuthorization: Bearer token1\r\n" in request
    finally:
        thread.stop()


RUNNING = """
import sys
from wire_rawsse import StreamSubscriber, WakeChannel, spawn_stream_subscriber
wake = WakeChannel()
thread = spawn_stream_subscriber(wake, StreamSubscriber(sys.argv[1], tls=sys.argv[2]))
assert wake.wait(20)
print("running", flush=True)
"""

HUNG = """
import _thread, threading, time
from wire_rawsse import StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.transport import resolve
asked = threading.Event()
def hang(host, port):
    asked.set()
    time.sleep(3600)
resolve.Resolver.__init__.__defaults__ = (hang,)
thread = spawn_stream_subscriber(WakeChannel(), StreamSubscriber("http://relay.test/"))
assert asked.wait(20)
assert _thread._count() == 2  # The subscriber's, and the look-up's.
"""

INLINE = """
import sys
from wire_rawsse import EventSource, StreamSubscriber
subscriber = StreamSubscriber(sys.argv[1], tls=sys.argv[2])
assert subscriber.wait(20)
source = EventSource(sys.argv[1], tls=sys.argv[2])
assert source.next(0.05) is None
"""


@pytest.mark.parametrize("script", [RUNNING, HUNG, INLINE], ids=["running", "looking up", "never closed"])
def test_the_interpreter_exits_at_once(serve: Serve, ca_file: str, tls: bool, script: str) -> None:
    """With the thread in its sleep, and with a look-up that the C library will not give up."""
    server = serve(tls=tls)
    ran = run_script(script, server.url, ca_file)  # It raises when the script does not end.
    assert ran.stderr == "", "it exits without a word"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no RLIMIT_NPROC")
def test_where_no_thread_is_left(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """`spawn_stream_subscriber` says so, and the subscriber can still be used or closed."""
    server = serve()
    subscriber = StreamSubscriber(server.url)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(SubscriberThread, "start", start)
        with pytest.raises(RuntimeError):
            spawn_stream_subscriber(WakeChannel(), subscriber)
    assert subscriber.wait(PATIENCE)
    subscriber.close()
