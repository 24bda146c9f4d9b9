"""A stream and its event loop: which one attends it, what follows when that has ended, and what is left at exit."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import threading
import warnings
import weakref
from collections.abc import Sequence

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import NEVER, PATIENCE, QUICK, InThread, Server, Striker, run_script
from tests.support.aio import LOOPS, MakeLoop, libuv, make, run
from wire_rawsse import Opened
from wire_rawsse.aio import AsyncEventSource, AsyncStreamSubscriber
from wire_rawsse.errors import BusyError, ClosedError

__all__ = ["libuv", "make"]  # Fixtures.


async def woken(subscriber: AsyncStreamSubscriber) -> None:
    assert await subscriber.wait(PATIENCE)


class TestWhichEventLoop:
    def test_an_object_may_be_made_outside(self, serve: Serve, make: MakeLoop) -> None:
        subscriber = AsyncStreamSubscriber(serve().url)
        assert subscriber.state.state == "connecting"
        run(make, woken(subscriber))
        subscriber.close()

    def test_nothing_is_opened_before_it_is_attended(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()
        before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []

        async def main() -> None:
            AsyncStreamSubscriber(server.url)
            AsyncEventSource(server.url)
            await asyncio.sleep(0.02)
            assert server.nobody(0)

        run(make, main())
        assert len(os.listdir("/proc/self/fd")) == len(before) if before else True

    def test_the_next_one_goes_on_where_the_first_ended(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()
        subscriber = AsyncStreamSubscriber(server.url, backoff=NEVER)
        run(make, woken(subscriber))
        peer = server.peer()
        for _ in range(3):
            peer.say()
            run(make, woken(subscriber))
        assert server.nobody(0), "the connection has outlived the event loops"
        subscriber.close()
        assert peer.gone()

    def test_events_outlive_the_event_loop(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()
        source = AsyncEventSource(server.url, backoff=NEVER)

        async def first() -> None:
            helper = asyncio.create_task(asyncio.to_thread(lambda: server.peer().say(b"data: 1\n\ndata: 2\n\n")))
            event = await source.next(PATIENCE)
            assert event is not None and event.data == "1"
            await helper

        async def second() -> None:
            event = await source.next(PATIENCE)
            assert event is not None and event.data == "2"
            source.close()

        run(make, first())
        run(make, second())

    def test_another_one_is_refused_while_the_first_is_open(self, serve: Serve, make: MakeLoop) -> None:
        subscriber = AsyncStreamSubscriber(serve().url)

        async def main() -> None:
            await woken(subscriber)
            with pytest.raises(BusyError, match="another event loop attends"):
                await asyncio.to_thread(lambda: run(make, woken(subscriber)))
            subscriber.close()

        run(make, main())

    def test_two_in_two_threads(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url) as one, AsyncEventSource(server.url) as two:
                await woken(one)
                for _ in range(2):
                    (await asyncio.to_thread(server.peer)).say()
                assert await two.next(PATIENCE)

        for call in [InThread(lambda: run(make, main())) for _ in range(2)]:
            call.result()

    def test_a_closed_one_is_no_obstacle_to_close(self, serve: Serve, make: MakeLoop) -> None:
        """The program has closed its event loop too early."""
        server = serve()
        subscriber, source = AsyncStreamSubscriber(server.url), AsyncEventSource(server.url)

        async def main() -> None:
            await woken(subscriber)
            assert await source.next_item(PATIENCE)

        run(make, main())
        subscriber.restart()
        for one in (subscriber, source):
            InThread(one.close).result()
            one.close()
        for _ in range(2):
            assert server.peer().gone()

    def test_a_task_that_died_with_its_event_loop_is_no_waiter(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()
        subscriber, source = AsyncStreamSubscriber(server.url), AsyncEventSource(server.url)
        first = make()

        async def main() -> Sequence[asyncio.Task[object]]:
            await woken(subscriber)
            assert isinstance(await source.next_item(PATIENCE), Opened)
            tasks = [asyncio.create_task(one) for one in (subscriber.wait(), source.next())]
            await asyncio.sleep(0.01)
            return tasks

        left = first.run_until_complete(main())
        first.run_until_complete(first.shutdown_default_executor())
        first.close()
        for _ in range(2):
            server.peer().say()

        async def again() -> None:
            await woken(subscriber)
            assert await source.next(PATIENCE)

        run(make, again())
        subscriber.close()
        source.close()
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # They are left on purpose.
            task.get_coro().close()

    def test_close_from_a_thread_while_it_stops(self, serve: Serve, make: MakeLoop) -> None:
        """It runs nothing more, and is closed."""
        server = serve()
        subscriber, source = AsyncStreamSubscriber(server.url), AsyncEventSource(server.url)
        events = make()
        events.run_until_complete(woken(subscriber))
        events.run_until_complete(source.next_item(PATIENCE))

        def close() -> None:
            for one in (subscriber, source):
                InThread(one.close).result()
            events.stop()

        events.call_soon(close)
        events.run_forever()
        for _ in range(2):
            assert server.peer().gone()
        events.run_until_complete(events.shutdown_default_executor())
        events.close()
        for one in (subscriber, source):
            one.close()
            with pytest.raises(ClosedError):
                run(make, subscriber.wait() if one is subscriber else source.next())

    def test_close_from_a_thread_does_not_wait_for_it(self, serve: Serve, make: MakeLoop) -> None:
        server = serve()

        async def main() -> None:
            subscriber, source = AsyncStreamSubscriber(server.url), AsyncEventSource(server.url)
            await woken(subscriber)
            assert isinstance(await source.next_item(PATIENCE), Opened)
            for one in (subscriber, source):
                InThread(one.close).result()
            for _ in range(2):
                assert server.peer().gone(), "while the event loop stands still"

        run(make, main())

    @pytest.mark.parametrize("timeout", [None, 0])
    @pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
    def test_the_descriptor_leaves_it_before_it_is_closed(
        self, serve: Serve, kind: str, libuv: None, timeout: float | None
    ) -> None:
        """Closed by a thread, while the event loop is busy; the program asks before the event loop has heard of it."""
        server = serve()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            subscriber, source = AsyncStreamSubscriber(server.url), AsyncEventSource(server.url)
            await woken(subscriber)
            assert isinstance(await source.next_item(PATIENCE), Opened)
            for one in (subscriber, source):
                fd = one._driver._fd
                InThread(one.close).result()
                with pytest.raises(ClosedError):
                    for _ in range(2):
                        assert not await (subscriber.wait(timeout) if one is subscriber else source.next(timeout))
                assert not loop.remove_reader(fd)

        run(LOOPS[kind], main())

    def test_one_that_stands_still_is_none_either(self, serve: Serve) -> None:
        server = serve()
        subscriber = AsyncStreamSubscriber(server.url)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(woken(subscriber))
        subscriber.close()
        assert server.peer().gone()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()

    @pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
    def test_a_stream_that_is_dropped_with_its_event_loop_is_freed(self, serve: Serve, kind: str, libuv: None) -> None:
        """Without `close`."""
        server = serve()
        subscriber = AsyncStreamSubscriber(server.url)
        run(LOOPS[kind], woken(subscriber), debug=False)
        left = weakref.ref(subscriber)
        del subscriber
        gc.collect()
        assert server.peer().gone()
        assert left() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
class TestFork:
    def test_the_child_leaves_the_parents_event_loop_alone(self, serve: Serve) -> None:
        server = serve()

        async def main() -> None:
            async with AsyncStreamSubscriber(server.url, backoff=NEVER) as subscriber:
                await woken(subscriber)
                peer = await asyncio.to_thread(server.peer)
                with warnings.catch_warnings():
                    # From 3.12 on, on account of the server's threads.
                    warnings.simplefilter("ignore", DeprecationWarning)
                    child = os.fork()
                if child == 0:
                    os._exit(_in_child(subscriber))
                _, status = await asyncio.to_thread(os.waitpid, child, 0)
                assert status == 0
                peer.say()
                await woken(subscriber)
                assert server.nobody(0)

        run(LOOPS["asyncio"], main(), debug=False)


def _in_child(subscriber: AsyncStreamSubscriber) -> int:
    """0 if all is as it should be."""
    threading.Timer(PATIENCE, os._exit, (3,)).start()
    subscriber.close()  # Nothing may be sent to the parent's event loop.
    if subscriber._driver.events is not None:
        return 4
    loop = asyncio.SelectorEventLoop()
    try:
        loop.run_until_complete(subscriber.wait())
    except ClosedError as error:
        subscriber.close()
        return 0 if "fork" in str(error) else 1
    return 2


EXIT = """
import asyncio, sys
from wire_rawsse.aio import AsyncEventSource, AsyncStreamSubscriber

async def main(url, how):
    subscriber, source = AsyncStreamSubscriber(url), AsyncEventSource(url)
    tasks = [asyncio.create_task(source.next()) for _ in range(1)]
    assert await subscriber.wait(20)
    if how == "cancelled":
        return  # With a task that waits, and without close().
    if how == "closed":
        subscriber.close()
        source.close()
        await asyncio.gather(*tasks, return_exceptions=True)

factory = None
if sys.argv[3] == "uvloop":
    import uvloop as factory
if sys.argv[3] == "thread":
    class WithoutReaders(asyncio.SelectorEventLoop):
        def add_reader(self, *_):
            raise NotImplementedError
    loop = WithoutReaders()
else:
    loop = factory.new_event_loop() if factory else asyncio.new_event_loop()
loop.set_debug(True)
loop.slow_callback_duration = 60  # Otherwise a busy machine is told of.
try:
    task = loop.create_task(main(sys.argv[1], sys.argv[2]))
    loop.run_until_complete(task)
    for task in asyncio.all_tasks(loop):
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
finally:
    loop.close()
"""


@pytest.mark.parametrize("kind", ["asyncio", "uvloop", "thread"])
@pytest.mark.parametrize("how", ["cancelled", "closed"])
def test_nothing_is_said_at_exit(serve: Serve, kind: str, how: str) -> None:
    """No task that was pending, no descriptor that was not closed, no exception that was ignored."""
    server = serve()
    ran = run_script(EXIT, server.url, how, kind)
    assert ran.stdout == ran.stderr == ""


def test_the_rest_of_the_library_does_not_import_asyncio() -> None:
    run_script("import sys, wire_rawsse.hosts.loop; assert 'asyncio' not in sys.modules")


class TestARaisingSignalHandler:
    """It may strike anywhere in the library. asyncio reports what a callback raises, and goes on."""

    @pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
    @pytest.mark.parametrize("consumer", ["wakes", "events"])
    def test_costs_a_connection_at_most(self, serve: Serve, ca_file: str, tls: bool, consumer: str) -> None:
        point, struck = 0, True
        while struck:
            point += 1 + point // 10
            server = serve(tls=tls)
            loop = asyncio.SelectorEventLoop()
            loop.set_exception_handler(lambda *_: None)
            try:
                struck = self.once(server, loop, ca_file, consumer, Striker(point))
            finally:
                loop.close()
        assert point > 50, "it was struck at many points"

    def test_between_the_wake_and_the_task(self, serve: Serve, ca_file: str) -> None:
        """The task has been taken off its future, and has not been resumed yet."""
        struck = []
        for point in range(1, 7):
            loop, striker = asyncio.SelectorEventLoop(), Striker(point, within="_let_go")
            loop.set_exception_handler(lambda *_: None)
            try:
                self.once(serve(), loop, ca_file, "wakes", striker)
            finally:
                loop.close()
            struck.append(striker.struck.rpartition(" ")[2])
        assert struck[-2:] == ["remove_done_callback", "set_result"]

    def once(
        self, server: Server, loop: asyncio.AbstractEventLoop, ca_file: str, consumer: str, striker: Striker
    ) -> bool:
        """Whether the point was reached before an event was heard. Another is heard afterwards, whatever happened."""
        subscriber = AsyncStreamSubscriber(server.url, tls=ca_file, backoff=QUICK)
        source = AsyncEventSource(server.url, tls=ca_file, backoff=QUICK)
        stream: AsyncStreamSubscriber | AsyncEventSource
        if consumer == "wakes":
            stream, hear, opening = subscriber, subscriber.wait, subscriber.wait
        else:
            stream, hear, opening = source, source.next, source.next_item  # type: ignore[assignment]
        assert loop.run_until_complete(opening(PATIENCE))
        peer = server.peer()
        task = loop.create_task(hear(PATIENCE))
        loop.call_soon(peer.say)
        struck = striker.strikes(lambda: loop.run_until_complete(asyncio.wait([task], timeout=0.05)))
        heard = threading.Event()
        speaker = InThread(lambda: speak(server, heard))
        loop.run_until_complete(asyncio.wait([task], timeout=2 * PATIENCE))
        assert task.exception() or task.result(), striker.struck
        stream.restart()
        assert loop.run_until_complete(hear(PATIENCE)), striker.struck
        heard.set()
        speaker.result()
        stream.close()
        return struck


def speak(server: Server, heard: threading.Event) -> None:
    """An event on every new connection, until one was heard."""
    while not heard.is_set():
        try:
            server.peer(0.05).say()
        except (OSError, queue.Empty):
            continue
