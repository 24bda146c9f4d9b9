"""`close` and `stop`, from any thread and from a signal handler, in every phase of a connection's life.

The promise is that it takes effect within 100 ms, and that nothing is left: see `scenes`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.scenes import Scene, all_closed, descriptors, poller_closed, report, wait_out
from tests.hosts.support import (
    PATIENCE,
    InThread,
    Server,
    on_signal,
    phase_of,
    strike_main_thread,
    until,
)
from wire_rawsse import EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.errors import BusyError, ClosedError


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


def test_two_threads_get_a_clear_error(serve: Serve) -> None:
    """The second gets it; the first goes on as if nothing had been."""
    server = serve()
    with StreamSubscriber(server.url) as subscriber:
        assert subscriber.wait(PATIENCE)
        peer = server.peer()
        first = InThread(lambda: subscriber.wait(PATIENCE))
        until(lambda: subscriber._loop._handle.busy.locked())
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
        until(lambda: source._loop._handle.busy.locked() and not source._task.runnable)
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
        assert call.result() is False
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


@needs_descriptor
def test_what_nobody_looks_at_again_needs_no_collector(serve: Serve, ca_file: str, tls: bool) -> None:
    """Closed and let go of without the last look: its descriptors end with the last reference to it, not whenever the
    collector comes by. It has looked a name up, and anyone who does that for it has to know it.
    """
    subscriber = StreamSubscriber(serve(tls=tls).url, tls=ca_file)
    descriptor = subscriber.fileno()
    assert subscriber.wait(PATIENCE)
    assert subscriber._loop._handle._resolver is not None
    subscriber.close()
    assert not poller_closed(subscriber._loop)
    loop = weakref.ref(subscriber._loop)
    enabled = gc.isenabled()
    gc.disable()
    try:
        del subscriber
        assert loop() is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    finally:
        if enabled:
            gc.enable()


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
