"""`AsyncStreams` on every kind of event loop: which streams wake, cancellation, and that none is lost."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from contextlib import suppress

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import PATIENCE, QUICK, Peer, Server, short_turns
from tests.support.aio import MakeLoop, libuv, make, run, until
from wire_rawsse import Timeouts
from wire_rawsse.aio import AsyncStreams
from wire_rawsse.errors import BusyError, ClosedError

__all__ = ["libuv", "make"]  # Fixtures.


async def connected(streams: AsyncStreams, servers: list[Server]) -> list[Peer]:
    """The servers' ends, once each stream has woken for its connection."""
    tags: set[object] = set()
    while len(tags) < len(servers):
        tags.update(handle.tag for handle in await streams.wait(PATIENCE))
    return [await asyncio.to_thread(server.peer) for server in servers]


def test_gives_the_streams_that_have_woken(serve: Serve, ca_file: str, tls: bool, make: MakeLoop) -> None:
    servers = [serve(tls=tls) for _ in range(4)]

    async def main() -> None:
        async with AsyncStreams() as streams:
            handles = [streams.add(server.url, tls=ca_file, tag=number) for number, server in enumerate(servers)]
            peers = await connected(streams, servers)
            for number in (2, 0, 3):
                waiting = asyncio.create_task(streams.wait(PATIENCE))
                await asyncio.sleep(0)
                peers[number].say()
                assert await waiting == (handles[number],)
            assert await streams.wait(0.02) == ()
            for peer in peers[:3]:
                peer.say()
            got: set[object] = set()
            while len(got) < 3:  # Also those that come while nobody waits.
                await asyncio.sleep(0.02)
                got.update(handle.tag for handle in await streams.wait(PATIENCE))
            assert got == {0, 1, 2}

    run(make, main())


def test_one_stream_alone_is_told_too(serve: Serve, make: MakeLoop) -> None:
    server = serve()

    async def main() -> None:
        async with AsyncStreams() as streams:
            handle = streams.add(server.url, tag="only")
            [peer] = await connected(streams, [server])
            for _ in range(3):
                peer.say()
                assert await streams.wait(PATIENCE) == (handle,)

    run(make, main())


def test_streams_come_and_go_from_another_thread(serve: Serve, make: MakeLoop) -> None:
    servers = [serve(), serve()]

    async def main() -> None:
        async with AsyncStreams() as streams:
            waiting = asyncio.create_task(streams.wait(PATIENCE))
            await asyncio.sleep(0.01)
            first = await asyncio.to_thread(streams.add, servers[0].url)
            assert await waiting == (first,)
            peer = await asyncio.to_thread(servers[0].peer)
            await asyncio.to_thread(first.remove)
            assert await asyncio.to_thread(peer.gone)
            second = streams.add(servers[1].url)
            assert await streams.wait(PATIENCE) == (second,)

    run(make, main())


def test_cancellation_never_loses_a_wake(serve: Serve, make: MakeLoop) -> None:
    servers = [serve(), serve()]

    async def main() -> None:
        async with AsyncStreams() as streams:
            handles = [streams.add(server.url, tag=number) for number, server in enumerate(servers)]
            peers = await connected(streams, servers)
            for count in range(40):
                task = asyncio.create_task(streams.wait())
                await asyncio.sleep(0)
                peers[count % 2].say()
                for _ in range(count % 5):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    woken = await task
                except asyncio.CancelledError:
                    woken = await streams.wait(PATIENCE)
                assert woken == (handles[count % 2],)

    run(make, main())


def test_a_stream_removed_since_its_wake_is_not_given(serve: Serve, make: MakeLoop) -> None:
    servers = [serve(), serve()]

    async def main() -> None:
        async with AsyncStreams() as streams:
            one, other = (streams.add(server.url, tag=number) for number, server in enumerate(servers))
            peers = await connected(streams, servers)
            for peer in peers:
                peer.say()
            await until(lambda: len(streams._woken) == 2)
            one.remove()
            assert await streams.wait(PATIENCE) == (other,)
            peers[1].say()
            await until(lambda: streams._woken)
            other.remove()
            assert await streams.wait(0.02) == ()

    run(make, main())


def test_streams_that_are_removed_by_another_thread_disturb_nobody(serve: Serve, make: MakeLoop) -> None:
    """The last stream is received for without a lock."""
    server, log = serve(), io.StringIO()
    over = threading.Event()

    async def main() -> None:
        async with AsyncStreams(watch=False) as streams:

            def come_and_go() -> None:
                for _ in range(100):
                    handle = streams.add(server.url, backoff=QUICK)
                    peer = server.peer()
                    with suppress(OSError):
                        for _ in range(10):
                            peer.say()
                    handle.remove()
                over.set()

            call = asyncio.create_task(asyncio.to_thread(come_and_go))
            while not over.is_set():
                await streams.wait(0.01)
            await call

    handler = logging.StreamHandler(log)
    logging.getLogger("wire_rawsse").addHandler(handler)
    try:
        with short_turns():
            run(make, main())
    finally:
        logging.getLogger("wire_rawsse").removeHandler(handler)
    assert "trying again" not in log.getvalue()


def test_a_wedge_is_found_while_nobody_waits(serve: Serve, make: MakeLoop) -> None:
    servers = [serve(), serve()]

    async def main() -> None:
        async with AsyncStreams() as streams:
            for server in servers:
                streams.add(server.url, timeouts=Timeouts(read=0.1), backoff=QUICK)
            for _ in range(2):
                for server in servers:
                    await asyncio.to_thread(server.peer)

    run(make, main())


def test_close_lets_the_waiter_go(serve: Serve, make: MakeLoop) -> None:
    server = serve()

    async def main() -> None:
        streams = AsyncStreams()
        streams.add(server.url)
        await connected(streams, [])
        assert await streams.wait(PATIENCE)
        waiting = asyncio.create_task(streams.wait())
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError):
            await streams.wait(0)
        await asyncio.to_thread(streams.close)
        assert await waiting == ()
        with pytest.raises(ClosedError):
            await streams.wait()

    run(make, main())
