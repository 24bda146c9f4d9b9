"""`restart`: the connection is dropped and a new one made at once, in every phase, and no wait is interrupted."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.scenes import Scene, all_closed, descriptors, report, wait_out
from tests.hosts.support import (
    AT_ONCE,
    NEVER,
    PATIENCE,
    QUICK,
    InThread,
    on_signal,
    phase_of,
    strike_main_thread,
    until,
)
from wire_rawsse import EventSource, StreamSubscriber


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a descriptor stands for")
def test_restart_interrupts_no_wait_and_connects_at_once(scene: Scene) -> None:
    """Anyone who waits goes on waiting, until the new stream, if there is one, is a wake."""
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
        for fd in subscriber._loop._handle.watch.callbacks:
            held.pop(fd, None)
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


def test_restart_by_anyone_who_reads_the_items(serve: Serve) -> None:
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
