"""A fork while connected: the child closes its copies and touches nothing else, and the parent's stream lives on.

The epoll and the eventfd are shared with the child, not copied, so an `unregister` there would deafen the parent, and a
byte that the child writes on the TLS connection would end it. A child's verdict is what it writes into a pipe.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    NEVER,
    PATIENCE,
    HungResolver,
    InThread,
    Stage,
    embedded,
    on_signal,
    phase_of,
    strike_main_thread,
    until,
    until_asleep,
    watched_by,
)
from wire_rawsse import EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.transport.contexts import _contexts, context_for

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


class Child:
    """A forked copy of this process, which runs `what` and ends; without, it goes on from here, and has to `tell`."""

    def __init__(self, what: Callable[[], object] | None) -> None:
        self._verdict, self._tell = os.pipe()
        with warnings.catch_warnings():
            # From 3.12 on, on account of the servers' threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            if what is None:
                return
            try:
                what()
            except BaseException:
                self.tell(traceback.format_exc())
            self.tell("fine")
        os.close(self._tell)

    def tell(self, verdict: str) -> NoReturn:
        """In the child: the last thing that it does."""
        os.write(self._tell, verdict.encode())
        os._exit(0)

    def check(self) -> None:
        """Wait for its end and raise what it raised."""
        told = b""
        with os.fdopen(self._verdict, "rb") as pipe:
            told = pipe.read()
        os.waitpid(self.pid, 0)
        assert told.decode() == "fine", told.decode()


def links(loop: Loop) -> set[str]:
    """The kernel's names of the stream's sockets."""
    assert loop._handle.watch.poller is not None
    names = {os.readlink(f"/proc/self/fd/{fd}") for fd in watched_by(loop._handle.watch.poller.fileno())}
    return {name for name in names if name.startswith("socket:")}


def own_links() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


def raises_closed(call: Callable[[], object]) -> None:
    try:
        call()
    except ClosedError as error:
        assert "fork" in str(error) or "closed" in str(error)
    else:
        raise AssertionError("the child may use the parent's stream")


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a descriptor stands for")


@linux
@pytest.mark.parametrize("handed_out", [False, True], ids=["", "handed out"])
def test_the_child_only_closes_its_copies(serve: Serve, ca_file: str, tls: bool, handed_out: bool) -> None:
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        descriptor = subscriber.fileno() if handed_out else -1
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        peer = server.peer()
        sockets = links(subscriber._loop)
        others = subscriber._loop._handle.watch.callbacks  # A timer, too, on CPython 3.13.
        assert len(sockets) == 1 + sum(own_links()[fd].startswith("socket:") for fd in others)
        epoll = own_links()[subscriber._loop._handle.watch.poller.fileno()]  # type: ignore[union-attr]  # it waits, so it has one
        assert epoll == "anon_inode:[eventpoll]"

        def in_child() -> None:
            left = own_links()
            assert not sockets & set(left.values())
            assert epoll not in left.values()
            raises_closed(lambda: subscriber.wait(0))
            raises_closed(subscriber.fileno)
            subscriber.restart()
            subscriber.close()
            subscriber.close()
            raises_closed(lambda: subscriber.wait(0))
            after = own_links()
            assert after == left, "the child has closed numbers that are not its own"

        Child(in_child).check()
        peer.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.sock.recv(1)  # Not even a close_notify.
        peer.sock.settimeout(None)
        for _ in range(2):
            peer.say()
            assert subscriber.wait(PATIENCE), "the fork has deafened the parent"
            assert not subscriber.wait(0)
        assert subscriber.state.reconnect_count == 0
        assert descriptor in (-1, subscriber.fileno())


@pytest.mark.parametrize("phase", ["resolving", "handshake", "head", "backing off"])
def test_in_every_phase(serve: Serve, ca_file: str, phase: str, hung_resolver: HungResolver) -> None:
    stages: dict[str, Stage] = {"handshake": "accepted", "head": "asked"}
    server = serve(tls=phase == "handshake", stage=stages.get(phase, "streaming"))
    url = server.url.replace("127.0.0.1", "relay.test") if phase == "resolving" else server.url
    with StreamSubscriber(url, tls=ca_file, backoff=NEVER) as subscriber:
        if phase == "backing off":
            assert subscriber.wait(PATIENCE)
            server.peer().reset()
        until(lambda: subscriber.wait(0.001) or phase_of(subscriber) == phase)

        def in_child() -> None:
            raises_closed(lambda: subscriber.wait(0))
            subscriber.close()

        Child(in_child).check()
        assert not subscriber.wait(0.01)
        assert phase_of(subscriber) == phase
        if phase == "resolving":
            hung_resolver.release(server.port)
            assert subscriber.wait(PATIENCE)
        if phase == "backing off":
            subscriber.restart()
            assert subscriber.wait(PATIENCE)


@pytest.mark.parametrize("handed_out", [False, True], ids=["", "handed out"])
def test_before_the_first_wait_both_may_use_it(serve: Serve, ca_file: str, tls: bool, handed_out: bool) -> None:
    """Nothing has been opened yet but what the child opens again."""
    server = serve(tls=tls)
    with embedded(server.url, tls=ca_file) as subscriber:
        descriptor = subscriber.fileno() if handed_out else -1

        def in_child() -> None:
            assert subscriber.wait(PATIENCE)
            subscriber.close()
            raises_closed(lambda: subscriber.wait(0))

        Child(in_child).check()
        server.peer()
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        server.peer().say()
        assert subscriber.wait(PATIENCE)
        assert descriptor in (-1, subscriber.fileno())


@linux
def test_several_streams_at_once(serve: Serve, ca_file: str) -> None:
    """Those that run are abandoned, those that do not are the child's too, and what is closed stays closed."""
    one, other, third = serve(tls=True), serve(), serve()
    closed = StreamSubscriber(third.url)
    assert closed.wait(PATIENCE)
    closed.close()
    with (
        StreamSubscriber(one.url, tls=ca_file) as running,
        EventSource(other.url) as source,
        StreamSubscriber(third.url) as fresh,
    ):
        assert running.wait(PATIENCE)
        assert source.next(0.05) is None

        def in_child() -> None:
            raises_closed(lambda: running.wait(0))
            raises_closed(lambda: source.next(0))
            raises_closed(lambda: next(iter(source)))
            raises_closed(lambda: closed.wait(0))
            assert fresh.wait(PATIENCE)
            fresh.close()

        Child(in_child).check()
        other.peer().say()
        assert source.next(PATIENCE) is not None
        one.peer().say()
        assert running.wait(PATIENCE)


def test_while_the_thread_host_runs(serve: Serve, ca_file: str, tls: bool) -> None:
    """A fork from another thread, at any moment of the subscriber's."""
    server = serve(tls=tls)
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, StreamSubscriber(server.url, tls=ca_file, backoff=NEVER))
    try:
        assert wake.wait(PATIENCE)
        peer = server.peer()
        talking = threading.Event()

        def talk() -> None:
            while not talking.wait(0.001):
                peer.say()

        talker = threading.Thread(target=talk)
        talker.start()

        def in_child() -> None:
            assert not thread.is_alive()
            raises_closed(lambda: thread.subscriber.wait(0))
            thread.stop()
            fresh = WakeChannel()
            another = spawn_stream_subscriber(fresh, StreamSubscriber(server.url, tls=ca_file))
            assert fresh.wait(PATIENCE)
            another.stop()
            assert not another.is_alive()

        for _ in range(5):
            Child(in_child).check()
        talking.set()
        talker.join()
        wake.wait(0.1)
        wake.wait(0.1)
        peer.say()
        assert wake.wait(PATIENCE)
        subscriber = thread.subscriber
        assert isinstance(subscriber, StreamSubscriber)
        assert subscriber.state.reconnect_count == 0
    finally:
        thread.stop()


def test_while_another_thread_builds_its_trust(serve: Serve, ca_file: str) -> None:
    """Forked while another thread is building a context, the child can build its own."""
    server = serve(tls=True)
    over, building = threading.Event(), threading.Event()

    def build() -> None:
        while not over.is_set():
            context_for(None)
            building.set()
            _contexts.clear()

    builder = InThread(build)
    assert building.wait(PATIENCE)

    def in_child() -> None:
        with StreamSubscriber(server.url, tls=ca_file) as subscriber:
            assert subscriber.wait(5)

    try:
        for _ in range(5):
            Child(lambda: _within(10, in_child)).check()
    finally:
        over.set()
        builder.result()


def _within(seconds: int, call: Callable[[], object]) -> None:
    """In a child: end it where the call hangs."""
    signal.alarm(seconds)
    call()
    signal.alarm(0)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals between threads")
def test_by_a_signal_handler_in_the_sleep(serve: Serve, ca_file: str, tls: bool) -> None:
    """The child comes back from a wait that it never made, and is told so; the parent's goes on."""
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        children: list[Child] = []
        forking: list[bool] = []

        def handler() -> None:
            if not forking:  # The next signal can arrive before a slow fork is over.
                forking.append(True)
                # In the child this returns into the wait, and on from there to one of the verdicts below.
                children.append(Child(None))

        def strike() -> None:
            until_asleep(subscriber._loop)
            strike_main_thread(children)
            server.peer().say()

        parent = os.getpid()
        with on_signal(handler):
            helper = InThread(strike)
            try:
                woken = subscriber.wait(PATIENCE)
            except BaseException as error:
                if os.getpid() != parent:
                    children[0].tell("fine" if isinstance(error, ClosedError) else repr(error))
                raise
            if os.getpid() != parent:
                children[0].tell(f"the wait returned {woken}")
        assert woken
        helper.result()
        children[0].check()


def test_a_channel_is_each_process_own() -> None:
    """A wake that the child sets is no wake of the parent's."""
    wake = WakeChannel()

    def in_child() -> None:
        wake.set()
        assert wake.wait(0)

    Child(in_child).check()
    assert not wake.wait(0.02)


def test_a_fork_between_the_wake_and_the_decryption(serve: Serve, ca_file: str) -> None:
    """Received bytes are the parent's: the child's copy of it is dropped without a word."""
    server = serve(tls=True)
    with StreamSubscriber(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        server.peer().say(b"data: x\n\n" + b":" + b"x" * 4000 + b"\n\ndata: y\n\n")
        assert subscriber.wait(PATIENCE)
        Child(lambda: raises_closed(lambda: subscriber.wait(0))).check()
        assert not subscriber.wait(0)
        assert subscriber.state.last_event_at is not None
        assert subscriber.state.reconnect_count == 0


def test_a_fork_right_behind_the_poll(serve: Serve, ca_file: str, tls: bool) -> None:
    """In a signal handler that runs when the poll has returned: nothing of what it has told is the child's."""
    children: list[Child] = []

    class Forks:
        def __init__(self, poller: Any) -> None:
            self.poller = poller

        def poll(self, limit: float, few: int) -> Any:
            events = self.poller.poll(limit, few)
            if not children:
                children.append(Child(None))
            return events

        def __getattr__(self, name: str) -> Any:
            return getattr(self.poller, name)

    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file if tls else None, backoff=NEVER) as subscriber:
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        loop = subscriber._loop
        loop._handle.watch.poller = Forks(loop._handle.watch.poller)  # type: ignore[assignment]  # all of it that is used
        server.peer().say(b"data: x\n\n")
        verdict = "it was woken"
        try:
            subscriber.wait(PATIENCE)
        except ClosedError:
            verdict = "fine"
        except BaseException:
            verdict = traceback.format_exc()
        if children[0].pid == 0:
            children[0].tell(verdict)
        assert verdict == "it was woken"
        children[0].check()


def test_sockets_are_not_inherited_by_a_program(serve: Serve, ca_file: str) -> None:
    """Close-on-exec (PEP 446), the epoll and the bell included."""
    server = serve(tls=True)
    with embedded(server.url, tls=ca_file) as subscriber:
        assert subscriber.wait(PATIENCE)
        epoll = subscriber.fileno()
        descriptors = {epoll, *watched_by(epoll)} if sys.platform == "linux" else {epoll}
        others = len(subscriber._loop._handle.watch.callbacks)
        assert len(descriptors) == 3 + others or sys.platform != "linux"
        assert not any(os.get_inheritable(fd) for fd in descriptors)
        assert isinstance(server.peer().sock, socket.socket)
