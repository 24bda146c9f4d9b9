"""The recipe for trio and anyio: the descriptor, and the deadline around the wait for it."""

from __future__ import annotations

import time

import anyio
import pytest
import trio

from tests.hosts.conftest import Serve
from tests.hosts.support import PATIENCE, QUICK, InThread, embedded
from tests.support.aio import libuv
from wire_rawsse import Event, EventSource, StreamSubscriber, Timeouts
from wire_rawsse.errors import ClosedError

__all__ = ["libuv"]  # A fixture.

BACKENDS = {
    "asyncio": {"backend": "asyncio", "backend_options": {"debug": True}},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


async def wait(subscriber: StreamSubscriber) -> None:
    """As the README has it, with anyio's names."""
    while True:
        with anyio.move_on_after(max(0.0, subscriber.deadline() - time.monotonic())):
            await anyio.wait_readable(subscriber.fileno())
        if subscriber.wait(0):
            return


@pytest.mark.parametrize("kind", BACKENDS)
class TestAnyio:
    def test_wakes(self, serve: Serve, ca_file: str, tls: bool, kind: str, libuv: None) -> None:
        server = serve(tls=tls)

        async def main() -> None:
            with anyio.fail_after(PATIENCE), embedded(server.url, tls=ca_file) as subscriber:
                await wait(subscriber)
                helper = InThread(lambda: server.peer().say())
                await wait(subscriber)
                helper.result()
                with anyio.move_on_after(0.05) as scope:
                    await wait(subscriber)
                assert scope.cancelled_caught
                subscriber.restart()
                await wait(subscriber)

        anyio.run(main, **BACKENDS[kind])  # type: ignore[arg-type]

    def test_keeps_its_deadlines(self, serve: Serve, kind: str, libuv: None) -> None:
        server = serve()

        async def main() -> None:
            timeouts = Timeouts(read=0.1)
            with anyio.fail_after(PATIENCE), embedded(server.url, timeouts=timeouts, backoff=QUICK) as one:
                for _ in range(3):
                    await wait(one)

        anyio.run(main, **BACKENDS[kind])  # type: ignore[arg-type]


def test_events_in_trio(serve: Serve) -> None:
    server = serve()

    async def main() -> Event:
        with trio.fail_after(PATIENCE), EventSource(server.url) as source:
            helper = InThread(lambda: server.peer().say())
            while (event := source.next(0)) is None:
                with trio.move_on_after(max(0.0, source.deadline() - time.monotonic())):
                    await trio.lowlevel.wait_readable(source.fileno())
            helper.result()
            source.close()
            with pytest.raises(ClosedError):  # Gives the descriptor back.
                source.next(0)
            return event

    assert trio.run(main) == Event("message", "x", "")
