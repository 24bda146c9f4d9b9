"""Make before break in sets of streams and in event loops."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from typing import Any

from tests.hosts.conftest import Serve
from tests.hosts.feed import AGE, LONG_AGE, QUICKLY, Feed, context, renewals, serve_feed
from tests.hosts.support import (
    PATIENCE,
    InThread,
    Peer,
)
from tests.support.aio import MakeLoop, libuv, make, run
from tests.support.server import CHUNKED, hold, request, stall
from wire_rawsse import (
    Backoff,
    EventStreams,
    Opened,
    Streams,
    Timeouts,
)
from wire_rawsse.aio import AsyncEventSource, AsyncStreamSubscriber
from wire_rawsse.many_events import MOST_UNREAD

__all__ = ["context", "libuv", "make"]  # Fixtures.


class TestMany:
    def test_fifty_at_once_pass_the_gate(self, serve: Serve) -> None:
        """No more than four connect at a time, the old connections live on meanwhile, and each stream wakes."""
        connecting, most, lock = [0], [0], threading.Lock()

        def head(peer: Peer) -> None:
            with lock:
                connecting[0] += 1
                most[0] = max(most[0], connecting[0])
            time.sleep(0.002)
            with lock:
                connecting[0] -= 1
                heads[peer.asked[-1].target] += 1
                live[peer.asked[-1].target] += 1
            peer.send(CHUNKED)
            try:
                stall(peer)
            finally:
                with lock:
                    live[peer.asked[-1].target] -= 1
                    lowest[0] = min(lowest[0], live[peer.asked[-1].target])

        heads, live, lowest = Counter[str](), Counter[str](), [1]
        server = serve([request, head])
        with Streams(max_connecting=4) as streams:
            handles = [
                streams.add(f"{server.url}/{n}", timeouts=Timeouts(max_age=0.8), backoff=Backoff(healthy_after=0.1))
                for n in range(50)
            ]
            renewed: set[Any] = set()
            end = time.monotonic() + 2 * PATIENCE
            while len(renewed) < 50:
                streams.wait(0.5)
                renewed |= {handle for handle in handles if renewals(handle.state)}
                assert time.monotonic() < end
            assert all(handle.state.phase == "streaming" for handle in handles)
            with lock:
                assert lowest[0] >= 1, "an old connection was closed before there was a new one"
                assert most[0] <= 4
                assert min(heads[f"/stream/{n}"] for n in range(50)) >= 2
            handles[0].remove()
            assert len(streams) == 49

    def test_remove_in_the_overlap_lets_the_next_connect(self, serve: Serve) -> None:
        server = serve(*[[request, hold(CHUNKED)]] * 2, [request, hold()])
        with Streams(max_connecting=1) as streams:
            both = [streams.add(f"{server.url}/{n}", timeouts=LONG_AGE) for n in range(2)]
            while any(handle.state.phase != "streaming" for handle in both):
                streams.wait(0.05)
            over = threading.Event()
            waiting = InThread(lambda: [streams.wait(0.02) for _ in iter(over.is_set, True)])
            server.peer(), server.peer()
            second = server.peer()
            assert server.nobody(0.2)  # The other one waits for its turn.
            own = next(handle for handle in both if second.asked[-1].target in handle._record.url)
            own.remove()
            assert second.gone()
            third = server.peer()
            assert third.asked[-1].target != second.asked[-1].target
            over.set()
            waiting.result()

    def test_a_full_source_is_not_received_from_in_the_overlap(self, serve: Serve) -> None:
        server, began = serve([request, hold(CHUNKED)], [request, hold()]), threading.Event()
        with EventStreams() as streams:
            source = streams.add(server.url, timeouts=Timeouts(max_age=3))
            assert streams.next_item(PATIENCE) is not None
            first = server.peer()
            waiting = InThread(lambda: [streams.next(0.05) for _ in iter(began.is_set, True)])
            second = server.peer()
            began.set()
            waiting.result()
            for number in range(10 * MOST_UNREAD):
                first.say(b"data: %d\n\n" % number)
                if number % 16 == 0:
                    time.sleep(0.002)
                    streams._loop.run(0)
                    streams._pause_the_full()  # As `next` does for a program that reads slowly.
            assert MOST_UNREAD <= len(source._sink.items) <= 4 * MOST_UNREAD
            second.send(CHUNKED)
            got = list[int]()
            while len(got) < 10 * MOST_UNREAD:
                found = streams.next(PATIENCE)
                assert found is not None
                got.append(int(found[1].data))
            assert got == list(range(10 * MOST_UNREAD))
            assert first.gone()


class TestAsyncio:
    def test_each_event_comes_once(
        self, serve: Serve, context: ssl.SSLContext | None, ca_file: str, make: MakeLoop
    ) -> None:
        feed, numbers = Feed(), list[int]()
        server = serve_feed(serve, feed, context)

        async def main() -> None:
            async with AsyncEventSource(server.url, tls=ca_file, timeouts=AGE, backoff=QUICKLY) as source:
                assert isinstance(await source.next_item(PATIENCE), Opened)
                with feed.posting(0.005):
                    while renewals(source.state) < 3:
                        event = await source.next(PATIENCE)
                        assert event is not None
                        numbers.append(int(event.data))

        run(make, main())
        assert numbers == list(range(1, len(numbers) + 1)) and feed.gaps == 0

    def test_no_wake_is_lost(self, serve: Serve, make: MakeLoop) -> None:
        feed = Feed(ids=False, replays=False)
        server = serve_feed(serve, feed, None)

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, timeouts=AGE, backoff=QUICKLY) as subscriber:
                while subscriber.state.phase != "streaming":
                    await subscriber.wait(PATIENCE)
                while renewals(subscriber.state.endpoints[0]) < 3:
                    feed.post()
                    assert await subscriber.wait(PATIENCE)
                    await asyncio.sleep(0.003)

        run(make, main())
        assert feed.gaps == 0
