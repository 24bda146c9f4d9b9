"""Promises of flow control and of asyncio in tests without fixtures, so that `tests.mutants` can call them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from tests.hosts.support import BEAT, NEVER, QUICK, InThread, Peer, Server
from tests.hosts.test_many_events import numbered, receive
from tests.support.aio import until
from tests.support.server import stage
from wire_rawsse import Closed, Event, EventStreams, Opened, SourceHandle, Timeouts
from wire_rawsse.aio import AsyncEventSource, AsyncStreamSubscriber
from wire_rawsse.many_events import MOST_UNREAD

SOON = 5.0
"""Seconds. Only a test that fails waits as long."""


@contextmanager
def serving() -> Iterator[Server]:
    server = Server(stage("streaming"))
    try:
        yield server
    finally:
        server.close()


def opened(streams: EventStreams, server: Server, **options: Any) -> tuple[SourceHandle, Peer]:
    source = streams.add(server.url, **options)
    found = streams.next_item(SOON)
    assert found is not None and found[0] is source and isinstance(found[1], Opened)
    return source, server.peer(SOON)


def full(streams: EventStreams, server: Server, **options: Any) -> tuple[SourceHandle, Peer]:
    """A source that has as many unread items as it may, and was not read from."""
    source, peer = opened(streams, server, **options)
    peer.say(numbered(MOST_UNREAD))
    receive(streams, source, MOST_UNREAD)
    streams._pause_the_full()
    return source, peer


def test_a_full_source_is_not_received_from() -> None:
    with serving() as server, EventStreams() as streams:
        source, peer = full(streams, server)
        peer.say()
        for _ in range(3):
            streams._loop.run(0.02)
        assert len(source._sink.items) == MOST_UNREAD


def test_it_is_received_from_again_once_it_is_read() -> None:
    with serving() as server, EventStreams() as streams:
        _, peer = full(streams, server)
        peer.say(numbered(1, MOST_UNREAD))
        for number in range(MOST_UNREAD + 1):
            found = streams.next(SOON)
            assert found is not None and found[1].data == str(number)


def test_its_silence_is_no_fault_before_it_is_read() -> None:
    with serving() as server, EventStreams() as streams:
        opened(streams, server)
        source, _ = full(streams, server, timeouts=Timeouts(read=1), backoff=NEVER)
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            streams._loop.run(0.05)
        assert source.state.phase == "streaming"
        while (found := streams.next_item(0.05)) is not None:
            assert not isinstance(found[1], Closed), "the time in which it was not received from does not count"


def test_sources_take_turns() -> None:
    with serving() as server, EventStreams() as streams:
        (one, its), (other, others) = opened(streams, server), opened(streams, server)
        its.say(numbered(3))
        others.say(numbered(3))
        receive(streams, one, 3)
        receive(streams, other, 3)
        got = [found[0] for _ in range(6) if (found := streams.next(SOON))]
        assert got in ([one, other] * 3, [other, one] * 3)


def run(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_a_wake_is_kept_while_no_task_waits() -> None:
    with serving() as server:

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, backoff=NEVER) as subscriber:
                assert await subscriber.wait(SOON)
                task = asyncio.create_task(subscriber.wait())
                await asyncio.sleep(0)
                task.cancel()
                server.peer(SOON).say()
                await until(lambda: subscriber.state.last_event_at is not None)
                assert task.cancelled() and await subscriber.wait(SOON)

        run(main())


def test_a_wedge_is_found_while_nobody_waits() -> None:
    with serving() as server:

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, timeouts=Timeouts(read=0.1), backoff=QUICK) as subscriber:
                assert await subscriber.wait(SOON)
                server.peer(SOON)
                await asyncio.to_thread(server.peer, SOON)

        run(main())


def test_a_source_that_is_not_read_is_not_received_from() -> None:
    with serving() as server:

        async def main() -> None:
            async with AsyncEventSource(server.url, backoff=NEVER) as source:
                assert isinstance(await source.next_item(SOON), Opened)
                peer = server.peer(SOON)
                for _ in range(20):
                    peer.say(BEAT * 10)
                    await asyncio.sleep(0.01)
                assert len(source._sink.items) < 100
                peer.say()
                # Before a timer that was set earlier looks again.
                assert await source.next(SOON / 2) == Event("message", "x", "")

        run(main())


def test_close_in_another_thread_does_not_wait_for_the_event_loop() -> None:
    with serving() as server:

        async def main() -> None:
            subscriber = AsyncStreamSubscriber(server.url)
            assert await subscriber.wait(SOON)
            InThread(subscriber.close).result()
            assert server.peer(SOON).gone(SOON)

        run(main())


def test_a_task_that_died_with_its_event_loop_is_not_waited_for() -> None:
    with serving() as server:
        subscriber = AsyncStreamSubscriber(server.url)

        async def main() -> None:
            assert await subscriber.wait(SOON)
            subscriber._driver.wait(time.monotonic() + SOON)  # As a task does, which is never resumed.

        async def again() -> None:
            server.peer(SOON).say()
            assert await subscriber.wait(SOON)

        try:
            run(main())
            run(again())
        finally:
            subscriber.close()
