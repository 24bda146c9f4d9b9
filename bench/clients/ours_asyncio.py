"""Ours in asyncio: `await wait()`, `on_wake` and `async for` over events, on asyncio's own event loop and on uvloop."""

import asyncio
from functools import partial
from time import monotonic_ns

from bench.clients import _event_loop
from bench.clients._probe import Probe, run_variant


def wait(probe: Probe, *, use_uvloop: bool) -> None:
    from wire_rawsse.aio import AsyncStreamSubscriber

    async def one(url: str) -> None:
        async with AsyncStreamSubscriber(url, tls=probe.ca) as subscriber:
            while True:
                if await subscriber.wait(timeout=5.0):
                    probe.woken(monotonic_ns())

    _event_loop.run(probe, one, use_uvloop=use_uvloop)


def on_wake(probe: Probe, *, use_uvloop: bool) -> None:
    from wire_rawsse.aio import AsyncStreamSubscriber

    async def one(url: str) -> None:
        async with AsyncStreamSubscriber(url, tls=probe.ca, on_wake=lambda: probe.woken(monotonic_ns())):
            await asyncio.get_running_loop().create_future()

    _event_loop.run(probe, one, use_uvloop=use_uvloop)


def events(probe: Probe, *, use_uvloop: bool) -> None:
    from wire_rawsse.aio import AsyncEventSource

    async def one(url: str) -> None:
        async with AsyncEventSource(url, tls=probe.ca) as source:
            async for _ in source:
                probe.woken(monotonic_ns())

    _event_loop.run(probe, one, use_uvloop=use_uvloop)


if __name__ == "__main__":
    run_variant({
        "wait": ("wake", partial(wait, use_uvloop=False)),
        "wait_uvloop": ("wake", partial(wait, use_uvloop=True)),
        "on_wake": ("wake", partial(on_wake, use_uvloop=False)),
        "on_wake_uvloop": ("wake", partial(on_wake, use_uvloop=True)),
        "events": ("event", partial(events, use_uvloop=False)),
    })  # fmt: skip
