"""`close`, `restart` and `stop`, from any thread and from a signal handler, in every phase of a connection's life.

The promise is 100 ms; what is asserted is `AT_ONCE`, for a machine that is busy, and the real figure is printed
(`pytest -rP`). Nothing may be left: the descriptors are compared one by one here, the threads by the guard.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    AT_ONCE,
    NEVER,
    PATIENCE,
    QUICK,
    HungResolver,
    InThread,
    Server,
    blackhole,
    closed_port,
    last_byte_of,
    on_signal,
    phase_of,
    strike_main_thread,
    until,
    watched_by,
)
from wire_rawsse import EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.errors import BusyError, ClosedError
from wire_rawsse.hosts.inline import Loop


class Scene(NamedTuple):
    """What brings a stream to a phase and keeps it there."""

    phase: str
    url: str
    options: dict[str, Any]
    server: Server | None
    resolver: HungResolver
    half: bytes

    def reach(self, stream: StreamSubscriber | EventSource) -> None:
        """Until somebody who waits on `stream` is asleep in the phase."""
        until(lambda: phase_of(stream) == self.phase)
        if self.phase == "resolving":
            assert self.resolver.asked.wait(PATIENCE)
        if self.phase == "streaming":
            assert self.server is not None
            peer = self.server.peer()
            if self.half:
                peer.say(self.half)
                until(lambda: last_byte_of(stream))
        loop = stream._loop
        until(lambda: not any(task.due or task.throw for task in loop._tasks))

    def subscriber(self) -> StreamSubscriber:
        return StreamSubscriber(self.url, **self.options)

    def source(self) -> EventSource:
        return EventSource(self.url, **self.options)


SCENES = (
    "resolving",
    "connecting",
    "tunnel",
    "handshake",
    "head http",
    "head https",
    "idle http",
    "idle https",
    "mid-event http",
    "mid-event https",
    "backing off",
)


@pytest.fixture(params=SCENES)
def scene(
    request: pytest.FixtureRequest,
    serve: Serve,
    ca_file: str,
    hung_resolver: HungResolver,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    name, _, scheme = request.param.partition(" ")
    options: dict[str, Any] = {"tls": ca_file, "backoff": NEVER}
    server: Server | None = None
    phase, url, half = name, "", b""
    with ExitStack() as stack:
        if name == "resolving":
            url = "http://relay.test/"
        elif name == "connecting":
            url = f"http://127.0.0.1:{stack.enter_context(blackhole())}/"
        elif name == "tunnel":
            server = serve(stage="asked")
            monkeypatch.setenv("HTTPS_PROXY", server.url)
            url = "https://relay.test/"
        elif name == "handshake":
            server = serve(tls=True, stage="accepted")
        elif name == "head":
            server = serve(tls=scheme == "https", stage="asked")
        elif name == "backing":
            phase, url = "backing off", f"http://127.0.0.1:{closed_port()}/"
        else:
            phase = "streaming"
            server = serve(tls=scheme == "https")
            half = b"data: half an eve" if name == "mid-event" else b""
        yield Scene(phase, url or (server.url if server else ""), options, server, hung_resolver, half)


def wait_out(subscriber: StreamSubscriber) -> bool:
    """Wait through all wakes, until a wait returns False."""
    while subscriber.wait(PATIENCE):
        pass
    return False


def descriptors(loop: Loop) -> dict[int, str]:
    """What the stream holds, with what it stands for: its epoll, its bell and its sockets."""
    if sys.platform != "linux" or loop._poller is None:
        return {}
    epoll = loop._poller.fileno()
    return {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in {epoll, *watched_by(epoll)}}


def still_open(held: dict[int, str]) -> list[str]:
    found = []
    for fd, what in held.items():
        try:
            if what.startswith("socket") and os.readlink(f"/proc/self/fd/{fd}") == what:
                found.append(what)
        except OSError:
            pass
    return found


def all_closed(held: dict[int, str]) -> bool:
    """Whether none of the sockets is open; the number of an eventfd or epoll may be another's by now."""
    return not still_open(held)


def poller_closed(loop: Loop) -> bool:
    if loop._poller is None:
        return True
    try:
        return loop._poller.fileno() < 0
    except ValueError:  # So an epoll and a kqueue say it.
        return True


def report(what: str, seconds: float) -> None:
    print(f"{what}: {seconds * 1000:.1f} ms")
    assert seconds < AT_ONCE


def test_close_ends_a_wait(scene: Scene) -> None:
    subscriber = scene.subscriber()
    call = InThread(lambda: wait_out(subscriber))
    scene.reach(subscriber)
    held = descriptors(subscriber._loop)
    began = time.monotonic()
    subscriber.close()
    assert call.result() is False
    report("close", call.ended_at - began)
    assert all_closed(held)
    assert poller_closed(subscriber._loop)
    subscriber.close()
    with pytest.raises(ClosedError):
        subscriber.wait(0)
    with pytest.raises(ClosedError):
        subscriber.fileno()


def test_close_ends_a_next_and_a_loop(scene: Scene) -> None:
    uses: list[tuple[Callable[[EventSource], Any], bool]] = [
        (lambda source: source.next(PATIENCE), True),
        (list, False),
        (lambda source: list(source.items()), False),
    ]
    for use, raises in uses:
        source = scene.source()
        call: InThread[Any] = InThread(lambda use=use, source=source: use(source))  # type: ignore[misc]  # no default is inferred
        scene.reach(source)
        held = descriptors(source._loop)
        began = time.monotonic()
        source.close()
        call.join(PATIENCE)
        report("close", call.ended_at - began)
        # next() raises; an iteration under way ends quietly, with what came before the close.
        assert isinstance(call.error, ClosedError) if raises else call.error is None
        assert all_closed(held)
        source.close()
        with pytest.raises(ClosedError):
            source.next(0)
        with pytest.raises(ClosedError):
            next(iter(source))


def test_close_while_nobody_waits(scene: Scene) -> None:
    subscriber = scene.subscriber()
    while phase_of(subscriber) != scene.phase:
        subscriber.wait(0.005)
    held = descriptors(subscriber._loop)
    began = time.monotonic()
    subscriber.close()
    report("close", time.monotonic() - began)
    assert all_closed(held)
    with pytest.raises(ClosedError):
        subscriber.wait(0)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no signal to spare")
def test_close_from_a_signal_handler(scene: Scene) -> None:
    """The handler interrupts the very wait that it closes."""
    subscriber = scene.subscriber()
    struck: list[float] = []

    def strike() -> None:
        scene.reach(subscriber)
        strike_main_thread(struck)

    def handler() -> None:
        struck.append(time.monotonic())
        subscriber.close()
        subscriber.close()

    with on_signal(handler):
        helper = InThread(strike)
        assert wait_out(subscriber) is False
        report("close", time.monotonic() - struck[0])
        helper.result()
    with pytest.raises(ClosedError):
        subscriber.wait(0)


def test_stop_joins_the_thread(scene: Scene) -> None:
    subscriber = scene.subscriber()
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake, subscriber)
    scene.reach(subscriber)
    held = descriptors(subscriber._loop)
    began = time.monotonic()
    thread.stop()
    report("stop", time.monotonic() - began)
    assert not thread.is_alive()
    assert all_closed(held)
    thread.stop()
    assert wake.wait(0) == (scene.phase == "streaming")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a descriptor stands for")
def test_restart_interrupts_no_wait_and_connects_at_once(scene: Scene) -> None:
    """Whoever waits goes on waiting, until the new stream, if there is one, is a wake."""
    with scene.subscriber() as subscriber:
        wakes: list[bool] = []

        def wait() -> bool:
            while woken := subscriber.wait(PATIENCE):
                wakes.append(woken)
            return woken

        call = InThread(wait)
        scene.reach(subscriber)
        before, woken = subscriber.state.reconnect_count, len(wakes)
        held = descriptors(subscriber._loop)
        began = time.monotonic()
        subscriber.restart()
        subscriber.restart()
        if scene.server is not None:
            scene.server.peer()
        until(lambda: subscriber.state.reconnect_count > before)
        if scene.phase == "streaming":
            until(lambda: len(wakes) > woken)
        elif scene.phase != "backing off":
            until(lambda: phase_of(subscriber) == scene.phase)
        report("restart", time.monotonic() - began)
        if scene.phase != "backing off":
            until(lambda: all_closed({fd: what for fd, what in held.items() if "socket" in what}))
        assert call.is_alive()
        assert len(wakes) == woken + (scene.phase == "streaming")
        assert scene.phase != "resolving" or scene.resolver.calls == 1, "the look-up under way is joined"
        subscriber.close()
        assert call.result() is False


def test_restart_by_whoever_reads_the_items(serve: Serve) -> None:
    """At the moment at which it is told that the connection is over, or when it is told of a restart."""
    server = serve()
    with EventSource(server.url, backoff=NEVER) as source:
        items = source.items()
        kinds = []
        for _ in range(3):
            kinds.append(type(next(items)).__name__)
            server.peer().reset()
            kinds.append(type(next(items)).__name__)
            began = time.monotonic()
            source.restart()
            source.restart()
        kinds.append(type(next(items)).__name__)
        assert time.monotonic() - began < AT_ONCE
        source.restart()
        kinds.append(type(next(items)).__name__)
        source.restart()
        kinds.append(type(next(items)).__name__)
        assert kinds == ["Opened", "Closed"] * 4 + ["Opened"]


def test_restart_before_the_first_wait_changes_nothing(serve: Serve) -> None:
    server = serve()
    with StreamSubscriber(server.url, backoff=NEVER) as subscriber:
        subscriber.restart()
        assert subscriber.wait(PATIENCE)
        assert subscriber.state.reconnect_count == 0


def test_restart_between_two_waits(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    with StreamSubscriber(server.url, tls=ca_file, backoff=NEVER) as subscriber:
        for _ in range(3):
            assert subscriber.wait(PATIENCE)
            subscriber.restart()
        assert subscriber.wait(PATIENCE)
        assert subscriber.state.reconnect_count == 3
        for _ in range(3):
            assert server.peer().gone()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no signal to spare")
def test_restart_from_a_signal_handler(serve: Serve) -> None:
    server = serve()
    struck: list[float] = []

    def handler() -> None:
        struck.append(time.monotonic())
        subscriber.restart()

    with StreamSubscriber(server.url, backoff=NEVER) as subscriber, on_signal(handler):
        assert subscriber.wait(PATIENCE)

        def strike() -> None:
            server.peer()
            strike_main_thread(struck)

        helper = InThread(strike)
        assert subscriber.wait(PATIENCE), "the wake of the new connection"
        assert subscriber.state.reconnect_count >= 1
        helper.result()


def test_restarts_from_many_threads_are_never_overlooked(serve: Serve) -> None:
    """Whatever they fall between: after the last of them there is a connection younger than it."""
    server = serve()
    with StreamSubscriber(server.url, backoff=QUICK) as subscriber:
        call = InThread(lambda: wait_out(subscriber))
        for _ in range(5):
            server.peer()
            threads = [InThread(subscriber.restart) for _ in range(8)]
            for thread in threads:
                thread.result()
            while not server.nobody(0.05):
                pass
            subscriber.restart()
        server.peer()
        subscriber.close()
        assert call.result() is False


def test_two_threads_get_a_clear_error(serve: Serve) -> None:
    """The second gets it; the first goes on as if nothing had been."""
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        assert subscriber.wait(PATIENCE)
        peer = server.peer()
        first = InThread(lambda: subscriber.wait(PATIENCE))
        until(lambda: subscriber._loop._busy.locked())
        with pytest.raises(BusyError, match="another thread"):
            subscriber.wait(0)
        assert first.is_alive()
        peer.say()
        assert first.result() is True
        assert not subscriber.wait(0)


def test_two_threads_of_a_source_get_a_clear_error(serve: Serve) -> None:
    server = serve()
    with EventSource(server.url) as source:
        first = InThread(lambda: source.next(PATIENCE))
        peer = server.peer()
        until(lambda: source._loop._busy.locked() and not source._task.due)
        with pytest.raises(BusyError):
            source.next(0)
        peer.say()
        event = first.result()
        assert event is not None and event.data == "x"


def test_many_threads_wait_and_one_has_it(serve: Serve) -> None:
    server = serve(stage="asked")
    with StreamSubscriber(server.url) as subscriber:
        start = threading.Barrier(8)

        def wait() -> bool:
            start.wait()
            return subscriber.wait(PATIENCE)

        threads = [InThread(wait) for _ in range(8)]
        until(lambda: sum(thread.is_alive() for thread in threads) == 1)
        subscriber.close()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(type(thread.error).__name__ for thread in threads) == ["BusyError"] * 7 + ["NoneType"]


def test_close_from_many_threads_at_once(serve: Serve, ca_file: str, tls: bool) -> None:
    for _ in range(10):
        subscriber = StreamSubscriber(serve(tls=tls).url, tls=ca_file)
        call = InThread(lambda subscriber=subscriber: wait_out(subscriber))  # type: ignore[misc]  # mypy infers no default
        until(lambda subscriber=subscriber: phase_of(subscriber) == "streaming")  # type: ignore[misc]  # as above
        threads = [InThread(subscriber.close) for _ in range(4)]
        for thread in threads:
            thread.result()
        call.join(PATIENCE)
        assert call.error is None or isinstance(call.error, ClosedError)  # Closed between two waits.
        with pytest.raises(ClosedError):
            subscriber.wait(0)


def test_close_by_the_callable_that_is_asked_for_a_token(serve: Serve) -> None:
    def token() -> str:
        subscriber.close()
        return "token"

    subscriber = StreamSubscriber(serve().url, bearer_token=token)
    assert subscriber.wait(PATIENCE) is False
    with pytest.raises(ClosedError):
        subscriber.wait(0)


def test_close_before_anything_was_started() -> None:
    for use in (lambda _: None, lambda one: one.restart()):
        subscriber = StreamSubscriber("http://127.0.0.1:1/")
        use(subscriber)
        subscriber.close()
        subscriber.close()
        with pytest.raises(ClosedError):
            subscriber.wait(0)
        source = EventSource("http://127.0.0.1:1/")
        use(source)
        source.close()
        with pytest.raises(ClosedError):
            source.next(0)


needs_descriptor = pytest.mark.skipif(
    not hasattr(select, "epoll") and not hasattr(select, "kqueue"), reason="there is no descriptor"
)


@needs_descriptor
class TestHandedOut:
    """A descriptor that a host polls may not be closed under it: its number could be somebody else's at once."""

    def check(self, subscriber: StreamSubscriber, descriptor: int) -> None:
        for _ in range(3):
            assert not poller_closed(subscriber._loop), "closed while the host may poll it"
            assert select.select([descriptor], [], [], 0)[0] == [descriptor], "the host would sleep"
            assert subscriber.deadline() <= time.monotonic()
            subscriber.close()
        assert subscriber.fileno() == descriptor
        with pytest.raises(ClosedError):
            subscriber.wait(0)
        assert poller_closed(subscriber._loop)
        with pytest.raises(ClosedError):
            subscriber.fileno()
        with pytest.raises(ClosedError):
            subscriber.wait(0)

    def test_before_anything_was_started(self) -> None:
        subscriber = StreamSubscriber("http://127.0.0.1:1/")
        descriptor = subscriber.fileno()
        subscriber.close()
        self.check(subscriber, descriptor)

    def test_while_nobody_waits(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        subscriber = StreamSubscriber(server.url, tls=ca_file)
        descriptor = subscriber.fileno()
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        subscriber.close()
        assert server.peer().gone(), "the sockets are not handed out"
        self.check(subscriber, descriptor)

    def test_by_another_thread_during_a_wait(self, serve: Serve) -> None:
        """The wait that returns False on account of the close is not yet the host's next look."""
        subscriber = StreamSubscriber(serve(stage="asked").url)
        descriptor = subscriber.fileno()
        call = InThread(lambda: subscriber.wait(PATIENCE))
        until(lambda: phase_of(subscriber) == "head")
        subscriber.close()
        assert call.result() is False
        self.check(subscriber, descriptor)

    def test_it_ends_the_select_of_another_thread(self, serve: Serve) -> None:
        subscriber = StreamSubscriber(serve(stage="asked").url)
        descriptor = subscriber.fileno()
        while phase_of(subscriber) != "head":
            assert not subscriber.wait(0.01)
        call = InThread(lambda: select.select([descriptor], [], [], PATIENCE)[0])
        subscriber.close()
        assert call.result() == [descriptor]
        self.check(subscriber, descriptor)


def test_a_source_can_be_left_in_the_middle(serve: Serve, ca_file: str, tls: bool) -> None:
    """`break`, and the end of the `with`: the peer is told, and nothing stays."""
    server = serve(tls=tls)
    with EventSource(server.url, tls=ca_file) as source:
        helper: InThread[Any] = InThread(lambda: _say_twice(server))
        for _ in source:
            break
    peer = helper.result()
    assert peer.gone()


def _say_twice(server: Server) -> Any:
    peer = server.peer()
    peer.say()
    peer.say()
    return peer
