"""Peer: aiohttp-sse-client2, `EventSource` as its documentation shows it, in the loop of the main thread."""

import asyncio
import signal
import ssl
import sys
from collections.abc import Callable
from time import monotonic_ns

import aiohttp
from aiohttp_sse_client2.client import EventSource

from bench.clients._probe import Probe, Stop, run_variant

FOREVER = aiohttp.ClientTimeout(total=None)


async def listen(probe: Probe, make_session: Callable[[], aiohttp.ClientSession]) -> None:
    context = ssl.create_default_context(cafile=probe.ca) if probe.ca else True

    async def one(url: str) -> None:
        async with make_session() as session, EventSource(url, session=session, ssl=context) as source:
            async for _ in source:
                probe.woken(monotonic_ns())

    task = asyncio.current_task()
    assert task is not None
    # uvloop would swallow what a signal handler raises.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await asyncio.gather(*map(one, probe.urls))
    except asyncio.CancelledError:
        raise Stop from None


def stock(probe: Probe) -> None:
    asyncio.run(listen(probe, lambda: aiohttp.ClientSession(timeout=FOREVER)))


def tuned(probe: Probe) -> None:
    """uvloop, no content decoders, no cookies."""
    import uvloop

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(timeout=FOREVER, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())

    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(listen(probe, session))
    else:
        uvloop.install()
        asyncio.run(listen(probe, session))


if __name__ == "__main__":
    run_variant({"stock": ("event", stock), "tuned": ("event", tuned)})
