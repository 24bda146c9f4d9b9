"""A standard library that is not what it was: no epoll or kqueue, green threads, a clock that stands still.

gevent and eventlet remove epoll and kqueue from `select` and replace its other calls, freezegun replaces the functions
of `time`. Each of the three is run for real, in an interpreter of its own.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import resource
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from queue import Empty
from threading import Event

import pytest

from tests.conftest import missing
from tests.hosts.conftest import Serve
from tests.hosts.support import PATIENCE, QUICK, InThread, Server, child_environ, run_script, until
from wire_rawsse import EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.hosts.poller import new_poller
from wire_rawsse.hosts.portable import SelectPoller
from wire_rawsse.waits import READ

HIDDEN = {
    "poll": ("epoll", "kqueue"),
    "select": ("epoll", "kqueue", "poll"),
}


@pytest.fixture(params=HIDDEN)
def only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The best of what `select` still has."""
    for name in HIDDEN[request.param]:
        monkeypatch.delattr(select, name, raising=False)
    return str(request.param)


class TestWithoutEpollAndKqueue:
    def test_a_subscriber_waits(self, only: str, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        url = server.url.replace("127.0.0.1", "localhost")
        with StreamSubscriber(url, tls=ca_file) as subscriber:
            assert subscriber.wait(PATIENCE)
            peer = server.peer()
            for _ in range(3):
                peer.say()
                assert subscriber.wait(PATIENCE)
                assert not subscriber.wait(0.02)
            assert subscriber.state.reconnect_count == 0

    def test_a_source_reads(self, only: str, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        with EventSource(server.url, tls=ca_file) as source:
            assert source.next(0.2) is None
            server.peer().say(b"data: one\n\n")
            event = source.next(PATIENCE)
            assert event is not None and event.data == "one"

    def test_a_thread_wakes(self, only: str, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        wake = WakeChannel()
        thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url, tls=ca_file, backoff=QUICK))
        try:
            assert wake.wait(PATIENCE)
            server.peer().reset()
            assert wake.wait(PATIENCE)
            server.peer().say()
            assert wake.wait(PATIENCE)
        finally:
            thread.stop()
        assert not thread.is_alive()

    def test_there_is_no_descriptor(self, only: str, serve: Serve) -> None:
        """`fileno` says so, and the subscriber is as good as before for `wait`, and gives everything back."""
        with StreamSubscriber(serve().url) as subscriber:
            with pytest.raises(OSError, match="neither epoll nor kqueue"):
                subscriber.fileno()
            assert subscriber.wait(PATIENCE)

    def test_a_descriptor_that_someone_else_closed_is_reported(self, only: str) -> None:
        poller = new_poller()
        reader, writer = os.pipe()
        other, end = os.pipe()
        try:
            poller.register(reader, READ)
            poller.register(other, READ)
            os.close(other)
            assert [fd for fd, _ in poller.poll(5, 16)] == [other]
            poller.unregister(other)
            assert poller.poll(0, 16) == []
            os.write(writer, b"x")
            assert [fd for fd, _ in poller.poll(5, 16)] == [reader]
        finally:
            for fd in (reader, writer, end):
                os.close(fd)
            poller.close()


def test_select_refuses_a_descriptor_that_it_cannot_hold() -> None:
    """As an `OSError`, which a loop takes for a system without room: the stream is tried again."""
    beyond = 1100  # FD_SETSIZE is 1024.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= beyond:
        pytest.skip("the limit of descriptors is too low to have one that select(2) cannot hold")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, beyond + 1), hard))
    reader, writer = os.pipe()
    try:
        os.dup2(reader, beyond)
        with pytest.raises(OSError, match="Too many open files"):
            SelectPoller().register(beyond, READ)
    finally:
        for fd in (reader, writer, beyond):
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Broken:
    """Replaces `select.epoll`: the first of them raises what nothing expects."""

    def __init__(self, real: Callable[[], object]) -> None:
        self.made = 0
        self._real = real

    def __call__(self) -> object:
        self.made += 1
        if self.made == 1:
            raise AttributeError("module 'select' has no attribute 'poll'")
        return self._real()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is what is broken here")
def test_no_error_ends_the_thread(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so in state and log, and goes on."""
    server = serve()
    monkeypatch.setattr(select, "epoll", Broken(select.epoll))
    wake = WakeChannel()
    with caplog.at_level(logging.WARNING, "wire_rawsse"):
        subscriber = StreamSubscriber(server.url)
        thread = spawn_stream_subscriber(wake, subscriber)
        try:
            until(lambda: caplog.records)
            assert thread.is_alive()
            state = subscriber.state
            assert state.state == "error" and "AttributeError" in (state.last_error or "")
            assert "AttributeError" in caplog.text and "trying again in 1.0 s" in caplog.text
            assert wake.wait(PATIENCE), "it does not go on"
            assert subscriber.state.state == "connected"
        finally:
            thread.stop()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll is what is broken here")
def test_an_error_in_the_sleep_begins_the_streams_again(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    subscriber = StreamSubscriber(server.url)
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, subscriber)
    try:
        assert wake.wait(PATIENCE)
        peer = server.peer()
        poller = subscriber._loop._handle.watch.poller
        assert poller is not None
        real = poller.poll

        def fail(*_: object) -> list[tuple[int, int]]:
            monkeypatch.setattr(poller, "poll", real)
            raise RuntimeError("the hub is gone")

        monkeypatch.setattr(poller, "poll", fail)
        peer.say()
        assert peer.gone()
        peer = server.peer()
        until(lambda: subscriber.state.state == "connected")
        while wake.wait(0.1):
            pass
        peer.say()
        assert wake.wait(PATIENCE)
        assert thread.is_alive()
    finally:
        thread.stop()


def test_stop_does_not_wait_for_a_pause_after_an_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire_rawsse.hosts.thread._PAUSES", (3600.0, 3600.0))
    failing = StreamSubscriber(serve().url)
    monkeypatch.setattr(failing._loop, "run", lambda *_: 1 / 0)
    thread = spawn_stream_subscriber(WakeChannel(), failing)
    until(lambda: failing.state.last_error)
    thread.stop()
    assert not thread.is_alive()


def test_someone_else_in_wait_does_not_end_the_thread(serve: Serve) -> None:
    """Another thread waits on the same subscriber, which is a mistake: the thread host takes over when it has left."""
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        intruder = InThread(lambda: subscriber.wait(PATIENCE) and not subscriber.wait(0.5))
        peer = server.peer()
        until(lambda: subscriber.state.state == "connected")
        wake = WakeChannel()
        thread = spawn_stream_subscriber(wake, subscriber)
        assert intruder.result()
        peer.say()
        assert wake.wait(PATIENCE)
        assert subscriber.state.reconnect_count == 0
        thread.stop()


@pytest.fixture
def talkative(serve: Serve, ca_file: str) -> Iterator[Callable[[bool], Server]]:
    """A server that says an event on each connection as soon as it is there."""
    over = Event()
    helpers: list[InThread[None]] = []

    def start(tls: bool) -> Server:
        server = serve(tls=tls)

        def talk() -> None:
            while not over.is_set():
                try:
                    peer = server.peer(0.05)
                except Empty:
                    continue
                peer.say(b"data: hello\n\n")

        helpers.append(InThread(talk))
        return server

    yield start
    over.set()
    for helper in helpers:
        helper.result()


def run_patched(script: str, *arguments: str) -> None:
    """Like `run_script`, without warnings as errors: those of other libraries are not ours to judge."""
    command = [sys.executable, "-c", script, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=3 * PATIENCE, env=child_environ())
    assert ran.returncode == 0 and "Traceback" not in ran.stderr, f"{ran.stdout}\n{ran.stderr}"


def needs(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        missing(f"{library} (pip install -e '.[test]')")


PATCH = """
import sys
library, order, url, ca_file = sys.argv[1:]
def patch():
    if library == "gevent":
        from gevent import monkey
        monkey.patch_all()
    else:
        import eventlet
        eventlet.monkey_patch()
if order != "imported first":
    patch()
import threading, time
from wire_rawsse import EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber
subscriber = StreamSubscriber(url, tls=ca_file)
source = EventSource(url, tls=ca_file)
if order == "imported first":
    patch()
"""

GREEN = f"""{PATCH}
ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        time.sleep(0.01)
threading.Thread(target=tick, daemon=True).start()

with subscriber:
    assert subscriber.wait(10), subscriber.state
    while subscriber.wait(0.1):
        pass
    before = ticks
    assert not subscriber.wait(0.5)
    assert ticks - before > 5, f"the others had {{ticks - before}} turns while it waited"
    assert subscriber.state.state == "connected", subscriber.state
with source:
    event = source.next(10)
    assert event and event.data == "hello", event
    assert source.next(0.1) is None

wake = WakeChannel()
thread = spawn_stream_subscriber(wake, StreamSubscriber(url, tls=ca_file))
assert wake.wait(10), thread.subscriber.state
assert thread.is_alive() and thread.subscriber.state.state == "connected"
while wake.wait(0.1):
    pass
wake.set()
wake.set()
assert wake.wait(0) and not wake.wait(0)
before = ticks
assert not wake.wait(0.5)
assert ticks - before > 5, f"the others had {{ticks - before}} turns while it waited"
began = time.monotonic()
thread.stop()
assert not thread.is_alive()
"""


@pytest.mark.parametrize("order", ["patched first", "imported first"])
@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_green_threads(library: str, order: str, talkative: Callable[[bool], Server], ca_file: str, tls: bool) -> None:
    """Inline, a source and the thread host; the other greenlets run meanwhile."""
    needs(library)
    url = talkative(tls).url.replace("127.0.0.1", "localhost")
    run_patched(GREEN, library, order, url, ca_file)


FROZEN = """
import sys
order, url, ca_file = sys.argv[1:]
import freezegun
if order == "imported first":
    import wire_rawsse
freezer = freezegun.freeze_time("2020-02-02")
freezer.start()
import time
assert time.monotonic() == time.monotonic()
from wire_rawsse import EventSource, StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber

with EventSource(url, tls=ca_file, timeouts=Timeouts(read=0.5)) as source:
    event = source.next(timeout=10)
    assert event and event.data == "hello", event
    assert source.next(timeout=0.1) is None
    while source.next_item(timeout=0.1) is not None:
        pass
    for item in source.items():
        if type(item).__name__ == "Closed":
            assert "ReadTimeout" in type(item.error).__name__, item
            break
with StreamSubscriber(url, tls=ca_file) as subscriber:
    assert subscriber.wait(10)
    while subscriber.wait(0.1):
        pass
    assert subscriber.state.state == "connected"
wake = WakeChannel()
thread = spawn_stream_subscriber(wake, StreamSubscriber(url, tls=ca_file))
assert wake.wait(10)
while wake.wait(0.1):
    pass
thread.stop(10)
assert not thread.is_alive()
"""


@pytest.mark.parametrize("order", ["frozen first", "imported first"])
def test_a_clock_that_stands_still(order: str, talkative: Callable[[bool], Server], ca_file: str, tls: bool) -> None:
    """Every time-out comes all the same."""
    needs("freezegun")
    run_patched(FROZEN, order, talkative(tls).url, ca_file)


WITHOUT_GLOBALS = """
import os
from wire_rawsse import wakeup
kept = wakeup.WakeupFd()
fd = kept.fileno()
vars(wakeup).clear()
del kept
try:
    os.fstat(fd)
except OSError:
    pass
else:
    raise SystemExit("it is still open")
"""


def test_a_bell_that_outlives_its_module() -> None:
    """At the interpreter's exit a module may be taken apart before the last objects of its classes are."""
    assert run_script(WITHOUT_GLOBALS).stderr == ""
