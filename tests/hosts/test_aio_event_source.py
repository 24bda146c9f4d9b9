"""`AsyncEventSource` on every kind of event loop: events in order, cancellation, flow control, and how it ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import BEAT, EVENT, NEVER, PATIENCE, QUICK, Peer, Server, chunk
from tests.support.aio import LOOPS, MakeLoop, libuv, make, run, until
from wire_rawsse import Closed, Comment, Event, Opened, Timeouts
from wire_rawsse.aio import AsyncEventSource
from wire_rawsse.errors import BusyError, ClosedError, EventTooLargeError, InvalidRequestError, StatusError

__all__ = ["libuv", "make"]  # Fixtures.

X = Event("message", "x", "")
STATUS = b"HTTP/1.1 %d Told\r\nContent-Length: 0\r\n\r\n"


async def connected(server: Server, source: AsyncEventSource) -> Peer:
    """The server's end, once `Opened` has been taken."""
    opened = asyncio.create_task(source.next_item(PATIENCE))
    peer = await asyncio.to_thread(server.peer)
    assert isinstance(await opened, Opened)
    return peer


class TestNext:
    def test_returns_an_event_at_once(self, serve: Serve, ca_file: str, tls: bool, make: MakeLoop) -> None:
        server = serve(tls=tls)

        async def main() -> None:
            async with AsyncEventSource(server.url, tls=ca_file) as source:
                peer = await connected(server, source)
                for _ in range(3):
                    task = asyncio.create_task(source.next(PATIENCE))
                    await asyncio.sleep(0)
                    peer.say()
                    assert await task == X

        run(make, main())

    def test_returns_none_when_the_time_is_up(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncEventSource(server.url) as source:
                peer = await connected(server, source)
                for timeout in (0, 0.0, -1, 0.1):
                    began = time.monotonic()
                    peer.say(BEAT)  # A comment does not start the time over.
                    assert await source.next(timeout) is None
                    assert max(0.0, timeout) <= time.monotonic() - began < max(0.0, timeout) + PATIENCE

        run(make, main())

    def test_polled_without_waiting_it_gets_everything(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)

        async def main() -> list[Event]:
            async with AsyncEventSource(server.url, tls=ca_file) as source:
                helper = asyncio.create_task(asyncio.to_thread(lambda: server.peer().send(chunk(EVENT * 100))))
                got: list[Event] = []
                end = time.monotonic() + PATIENCE
                while len(got) < 100:
                    assert time.monotonic() < end
                    event = await source.next(0)
                    if event is None:
                        await asyncio.sleep(0)
                    else:
                        got.append(event)
                await helper
                return got

        assert run(LOOPS["asyncio"], main()) == [X] * 100

    def test_refuses_a_second_waiter(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncEventSource(server.url) as source:
                peer = await connected(server, source)
                first = asyncio.create_task(source.next(PATIENCE))
                await asyncio.sleep(0)
                for timeout in (None, 0, 1):
                    with pytest.raises(BusyError, match="another task waits"):
                        await source.next(timeout)
                peer.say()
                assert await first == X

        run(make, main())

    @pytest.mark.parametrize("timeout", ["1", True, float("nan")])
    def test_refuses_a_timeout_that_is_no_number(self, timeout: Any) -> None:
        async def main() -> None:
            with pytest.raises(InvalidRequestError):
                await AsyncEventSource("http://127.0.0.1:9/").next(timeout)

        run(LOOPS["asyncio"], main())


class TestCancellation:
    def test_never_loses_an_event_however_it_falls(self, serve: Serve, make: MakeLoop) -> None:
        """Cancelled at every moment around each event; nothing is lost, doubled or out of order."""
        server = serve()

        async def main() -> None:
            async with AsyncEventSource(server.url) as source:
                peer = await connected(server, source)
                got: list[str] = []
                for number in range(60):
                    task = asyncio.create_task(source.next())
                    await asyncio.sleep(0)
                    peer.say(b"data: %d\n\n" % number)
                    for _ in range(number % 6):
                        await asyncio.sleep(0)
                    task.cancel()
                    try:
                        event = await task
                        assert event is not None
                        got.append(event.data)
                    except asyncio.CancelledError:
                        pass
                while len(got) < 60:
                    event = await source.next(PATIENCE)
                    assert event is not None
                    got.append(event.data)
                assert got == [str(number) for number in range(60)]
                assert server.nobody(0)

        run(make, main())

    def test_time_limits_of_asyncio_work(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncEventSource(server.url) as source:
                peer = await connected(server, source)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(source.next(), 0.02)
                peer.say()
                assert await asyncio.wait_for(source.next(), PATIENCE) == X

        run(make, main())


class TestItems:
    def test_come_in_their_order(self, serve: Serve, ca_file: str, tls: bool, make: MakeLoop) -> None:
        server = serve(tls=tls)

        async def main() -> None:
            async with AsyncEventSource(server.url, tls=ca_file, backoff=QUICK) as source:
                items = source.items()
                opened = await items.__anext__()
                assert isinstance(opened, Opened) and opened.status == 200
                peer = await asyncio.to_thread(server.peer)
                peer.say(b": hello\nid: 7\nretry: 150\nevent: e\ndata: x\n\n")
                assert await items.__anext__() == Comment("hello")
                assert await items.__anext__() == Event("e", "x", "7")
                peer.end()
                closed = await items.__anext__()
                assert isinstance(closed, Closed) and closed.error is None
                assert source.retry_ms == 150
                assert isinstance(await items.__anext__(), Opened)
                assert b"\r\nLast-Event-ID: 7\r\n" in (await asyncio.to_thread(server.peer)).request
                assert source.last_event_id == "7"

        run(make, main())

    def test_a_loop_over_events_ends_with_close(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            source = AsyncEventSource(server.url)
            peer = await connected(server, source)
            peer.say(EVENT * 3)
            got = []
            async for event in source:
                got.append(event)
                if len(got) == 2:
                    source.close()
            assert got == [X, X]
            with pytest.raises(ClosedError):
                async for _ in source:
                    pass

        run(make, main())


class TestTheEnd:
    def test_what_is_for_good_is_raised_unchanged(self, serve: Serve, make: MakeLoop) -> None:
        server = serve(stage="asked")

        async def main() -> None:
            source = AsyncEventSource(server.url)
            waiting = asyncio.create_task(source.next(PATIENCE))
            (await asyncio.to_thread(server.peer)).send(STATUS % 404)
            with pytest.raises(StatusError) as caught:
                await waiting
            assert caught.value.status == 404 and caught.value.__cause__ is None
            with pytest.raises(StatusError):
                await source.next(0)

        run(make, main())

    def test_after_a_204_a_loop_ends_without_an_error(self, serve: Serve, make: MakeLoop) -> None:
        server = serve(stage="asked")

        async def main() -> None:
            source = AsyncEventSource(server.url)
            helper = asyncio.create_task(asyncio.to_thread(lambda: server.peer().send(STATUS % 204)))
            async for _ in source:
                raise AssertionError
            await helper
            with pytest.raises(ClosedError, match="204"):
                await source.next()

        run(make, main())

    def test_events_before_an_error_come_first(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            source = AsyncEventSource(server.url, max_event_bytes=100)
            peer = await connected(server, source)
            peer.say(EVENT * 3 + b"data: " + b"x" * 200)
            for _ in range(3):
                assert await source.next(PATIENCE) == X
            with pytest.raises(EventTooLargeError):
                await source.next(PATIENCE)

        run(make, main())

    def test_close_from_another_thread_lets_the_waiter_go(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            source = AsyncEventSource(server.url)
            await connected(server, source)
            waiting = asyncio.create_task(source.next())
            await asyncio.sleep(0.01)
            await asyncio.to_thread(source.close)
            with pytest.raises(ClosedError):
                await waiting

        run(make, main())


class TestFlowControl:
    def test_a_reader_that_is_away_is_not_sent_to(self, serve: Serve, make: MakeLoop) -> None:
        """Unread items stay few, what was sent comes in the end, and the silence in between is no fault."""
        server = serve()
        count = 2000
        body = [b"data: %d %s\n\n" % (number, b"x" * 2000) for number in range(count)]

        async def main() -> None:
            async with AsyncEventSource(server.url, backoff=NEVER, timeouts=Timeouts(read=1)) as source:
                peer = await connected(server, source)
                sending = asyncio.create_task(asyncio.to_thread(peer.send, b"".join(map(chunk, body))))
                await until(lambda: len(source._sink.items) >= 64)
                await asyncio.sleep(1.5)
                assert 64 <= len(source._sink.items) < 100
                assert source.state.state == "connected"
                got = 0
                while got < count:
                    event = await source.next(PATIENCE)
                    assert event is not None and event.data.startswith(f"{got} ")
                    got += 1
                await sending
                assert server.nobody(0)

        run(make, main())

    def test_a_stream_that_died_meanwhile_is_renewed_when_it_is_read_again(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncEventSource(server.url, backoff=QUICK, timeouts=Timeouts(read=1)) as source:
                peer = await connected(server, source)
                peer.say(EVENT * 64)
                await until(lambda: len(source._sink.items) >= 64)
                await asyncio.sleep(1.5)
                assert await asyncio.to_thread(server.nobody, 0)
                for _ in range(64):
                    assert await source.next(0) == X
                assert isinstance(await source.next_item(PATIENCE), Closed)
                assert isinstance(await source.next_item(PATIENCE), Opened)

        run(make, main())

    @pytest.mark.parametrize("from_thread", [False, True], ids=["here", "from a thread"])
    def test_close_of_a_full_source(self, serve: Serve, make: MakeLoop, from_thread: bool) -> None:
        server = serve()

        async def main() -> None:
            source = AsyncEventSource(server.url)
            peer = await connected(server, source)
            peer.say(EVENT * 100)
            await until(lambda: len(source._sink.items) >= 64)
            await asyncio.sleep(0.02)
            if from_thread:
                await asyncio.to_thread(source.close)
            else:
                source.close()
            assert await asyncio.to_thread(peer.gone)
            with pytest.raises(ClosedError):
                await source.next()

        run(make, main())

    def test_restart_of_a_full_source_drops_the_connection_at_once(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncEventSource(server.url, backoff=QUICK) as source:
                peer = await connected(server, source)
                peer.say(EVENT * 100)
                await until(lambda: len(source._sink.items) >= 64)
                await asyncio.sleep(0.02)
                source.restart()
                if make is not LOOPS["thread"]:  # There it is dropped when the program reads.
                    assert await asyncio.to_thread(peer.gone)
                got = 0
                while not isinstance(item := await source.next_item(PATIENCE), Opened):
                    got += item == X
                assert got == 100

        run(make, main())
