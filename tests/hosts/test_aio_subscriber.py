"""`AsyncStreamSubscriber` on every kind of event loop: wakes, cancellation, the background, and the end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from unittest.mock import Mock

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import AT_ONCE, NEVER, PATIENCE, QUICK, Peer, Server
from tests.support.aio import LOOPS, MakeLoop, libuv, make, run, until
from wire_rawsse import Timeouts
from wire_rawsse.aio import AsyncStreamSubscriber
from wire_rawsse.errors import BusyError, ClosedError, InvalidRequestError

__all__ = ["libuv", "make"]  # Fixtures.


async def connected(server: Server, subscriber: AsyncStreamSubscriber) -> Peer:
    """The server's end, once the wake of the connection has been taken."""
    woken = asyncio.create_task(subscriber.wait(PATIENCE))
    peer = await asyncio.to_thread(server.peer)
    assert await woken
    return peer


class TestWait:
    def test_returns_true_at_once_on_a_wake(self, serve: Serve, ca_file: str, tls: bool, make: MakeLoop) -> None:
        server = serve(tls=tls)

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, tls=ca_file) as subscriber:
                peer = await connected(server, subscriber)
                for _ in range(5):
                    task = asyncio.create_task(subscriber.wait(PATIENCE))
                    await asyncio.sleep(0)
                    peer.say()
                    assert await task
                assert not await subscriber.wait(0.05)

        run(make, main())

    @pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
    def test_costs_no_poll_of_ours(self, serve: Serve, ca_file: str, tls: bool, kind: str, libuv: None) -> None:
        """The event loop's own poll has found the descriptor readable, and the next one will."""
        server = serve(tls=tls)

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, tls=ca_file) as subscriber:
                peer = await connected(server, subscriber)
                poller: Any = subscriber._loop._handle.watch.poller
                poller.poll = counted = Mock(wraps=poller.poll)
                for _ in range(20):
                    peer.say()
                    assert await subscriber.wait(PATIENCE)
                    await asyncio.sleep(0.002)
                assert counted.call_count < 10

        run(LOOPS[kind], main())

    def test_returns_false_when_the_time_is_up(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                await connected(server, subscriber)
                for timeout in (0, 0.0, -1, 0.1):
                    began = time.monotonic()
                    assert not await subscriber.wait(timeout)
                    assert max(0.0, timeout) <= time.monotonic() - began < max(0.0, timeout) + PATIENCE

        run(make, main())

    def test_keeps_one_wake_while_nobody_waits(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                peer = await connected(server, subscriber)
                for _ in range(3):
                    peer.say()
                    await asyncio.sleep(0.02)
                assert await subscriber.wait(PATIENCE)
                assert not await subscriber.wait(0.02)

        run(make, main())

    def test_polled_without_waiting_it_connects_and_wakes(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, tls=ca_file) as subscriber:
                end = time.monotonic() + PATIENCE
                while not await subscriber.wait(0):  # Never gives the event loop a chance to run.
                    assert time.monotonic() < end
                    time.sleep(0.001)
                server.peer().say()
                while not await subscriber.wait(0):
                    assert time.monotonic() < end
                    time.sleep(0.001)

        run(LOOPS["asyncio"], main())

    def test_refuses_a_second_waiter(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                peer = await connected(server, subscriber)
                first = asyncio.create_task(subscriber.wait(PATIENCE))
                await asyncio.sleep(0)
                for timeout in (None, 0, 1):
                    with pytest.raises(BusyError, match="another task waits"):
                        await subscriber.wait(timeout)
                peer.say()
                assert await first
                assert not await subscriber.wait(0)

        run(make, main())

    def test_iterates_over_the_wakes_until_it_is_closed(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> int:
            count = 0
            subscriber = AsyncStreamSubscriber(server.url)
            async for _ in subscriber:
                count += 1
                if count == 1:
                    peer = await asyncio.to_thread(server.peer)
                if count == 3:
                    subscriber.close()
                else:
                    peer.say()
            with pytest.raises(ClosedError):
                async for _ in subscriber:
                    pass
            return count

        assert run(make, main()) == 3

    @pytest.mark.parametrize("timeout", ["1", True, float("nan")])
    def test_refuses_a_timeout_that_is_no_number(self, timeout: Any) -> None:
        async def main() -> None:
            with pytest.raises(InvalidRequestError):
                await AsyncStreamSubscriber("http://127.0.0.1:9/").wait(timeout)

        run(LOOPS["asyncio"], main())

    def test_needs_a_running_event_loop(self) -> None:
        waiting = AsyncStreamSubscriber("http://127.0.0.1:9/").wait()
        with pytest.raises(RuntimeError, match="no running event loop"):
            waiting.send(None)


class TestCancellation:
    def test_touches_only_the_waiter(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                peer = await connected(server, subscriber)
                task = asyncio.create_task(subscriber.wait())
                await asyncio.sleep(0)
                task.cancel("why")
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert subscriber.state.state == "connected"
                peer.say()
                assert await subscriber.wait(PATIENCE)
                assert server.nobody(0)

        run(make, main())

    def test_leaves_the_wake_to_the_next_waiter(self, serve: Serve, make: MakeLoop) -> None:
        """Also where the wake comes between `cancel` and the end of the cancelled task."""
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                peer = await connected(server, subscriber)
                for _ in range(20):
                    task = asyncio.create_task(subscriber.wait())
                    await asyncio.sleep(0)
                    peer.say()
                    task.cancel()
                    second = asyncio.create_task(subscriber.wait(PATIENCE))
                    assert await second
                    with pytest.raises(asyncio.CancelledError):
                        await task

        run(make, main())

    def test_never_loses_a_wake_however_it_falls(self, serve: Serve, make: MakeLoop) -> None:
        """Cancelled at every moment around the wake, either `wait` returned True or the next one does."""
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                peer = await connected(server, subscriber)
                for round_ in range(60):
                    task = asyncio.create_task(subscriber.wait())
                    await asyncio.sleep(0)
                    peer.say()
                    for _ in range(round_ % 6):
                        await asyncio.sleep(0)
                    task.cancel()
                    try:
                        woken = await task
                    except asyncio.CancelledError:
                        woken = False
                    assert woken or await subscriber.wait(PATIENCE)

        run(make, main())

    def test_time_limits_of_asyncio_work(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as subscriber:
                peer = await connected(server, subscriber)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(subscriber.wait(), 0.02)
                if hasattr(asyncio, "timeout"):
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.02):
                            await subscriber.wait()
                peer.say()
                assert await asyncio.wait_for(subscriber.wait(), PATIENCE)

        run(make, main())


class TestInTheBackground:
    def test_a_wedge_is_found_while_the_program_does_other_things(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, timeouts=Timeouts(read=0.1), backoff=QUICK):
                for _ in range(3):
                    await asyncio.to_thread(server.peer)

        run(make, main())

    def test_a_deadline_is_kept_while_somebody_waits_for_longer(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, timeouts=Timeouts(read=0.1), backoff=QUICK) as subscriber:
                for _ in range(3):
                    assert await subscriber.wait(PATIENCE)
                    server.peer()

        run(make, main())

    def test_restart_makes_a_new_connection(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, backoff=NEVER) as subscriber:
                await connected(server, subscriber)
                subscriber.restart()
                await connected(server, subscriber)
                threading.Thread(target=subscriber.restart).start()
                await connected(server, subscriber)

        run(make, main())

    def test_on_wake_is_called_by_the_event_loop(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            calls: list[object] = []
            here = threading.get_ident()

            def on_wake() -> None:
                assert threading.get_ident() == here
                calls.append(asyncio.get_running_loop())

            async with AsyncStreamSubscriber(server.url, on_wake=on_wake) as subscriber:
                peer = await asyncio.to_thread(server.peer)
                await until(lambda: len(calls) == 1)
                peer.say()
                await until(lambda: len(calls) == 2)
                assert await subscriber.wait(PATIENCE), "it was not taken by the callback"

        run(make, main())

    def test_an_error_of_on_wake_goes_to_the_event_loop(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            told: list[object] = []
            loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
            mistake = ValueError("a mistake of the program's")

            def on_wake() -> None:
                raise mistake

            async with AsyncStreamSubscriber(server.url, on_wake=on_wake, backoff=NEVER) as subscriber:
                peer = await connected(server, subscriber)
                for _ in range(3):
                    peer.say()
                    assert await subscriber.wait(PATIENCE)
                await until(lambda: len(told) == 4)
                peer.say()
                time.sleep(0.05)
                while not await subscriber.wait(0):  # It calls `on_wake` itself, if no thread runs the loop.
                    await asyncio.sleep(0)
                assert told == [mistake] * 5
                assert subscriber.state.state == "connected"

        run(make, main())

    def test_on_wake_may_close(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            def on_wake() -> None:
                subscriber.close()
                closed.set()

            closed = asyncio.Event()
            subscriber = AsyncStreamSubscriber(server.url, on_wake=on_wake)
            async with subscriber:
                await closed.wait()
            with pytest.raises(ClosedError):
                await subscriber.wait()

        run(make, main())


class TestClose:
    @pytest.mark.parametrize("from_thread", [False, True], ids=["here", "from a thread"])
    def test_lets_the_waiter_go(self, serve: Serve, make: MakeLoop, from_thread: bool) -> None:
        server = serve()

        async def main() -> None:
            subscriber = AsyncStreamSubscriber(server.url)
            peer = await connected(server, subscriber)
            task = asyncio.create_task(subscriber.wait())
            await asyncio.sleep(0.01)
            began = time.monotonic()
            if from_thread:
                await asyncio.to_thread(subscriber.close)
            else:
                subscriber.close()
            assert await task is False
            assert time.monotonic() - began < AT_ONCE
            assert await asyncio.to_thread(peer.gone)
            with pytest.raises(ClosedError):
                await subscriber.wait()
            subscriber.close()

        run(make, main())

    def test_twice_before_and_without_an_event_loop(self, make: MakeLoop) -> None:
        subscriber = AsyncStreamSubscriber("http://127.0.0.1:9/")
        subscriber.close()
        subscriber.close()

        async def main() -> None:
            with pytest.raises(ClosedError):
                await subscriber.wait()
            with pytest.raises(ClosedError):
                await subscriber.wait(0)

        run(make, main())
