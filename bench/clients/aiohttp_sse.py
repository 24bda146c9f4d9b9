"""Peer: aiohttp-sse-client2, `EventSource` as its documentation shows it, in the loop of the main thread."""

import ssl
from collections.abc import Callable
from time import monotonic_ns

import aiohttp
from aiohttp_sse_client2.client import EventSource

from bench.clients import _event_loop
from bench.clients._probe import Probe, run_variant

FOREVER = aiohttp.ClientTimeout(total=None)


def listen(probe: Probe, make_session: Callable[[], aiohttp.ClientSession], *, use_uvloop: bool) -> None:
    context = ssl.create_default_context(cafile=probe.ca) if probe.ca else True

    async def one(url: str) -> None:
        async with make_session() as session, EventSource(url, session=session, ssl=context) as source:
            async for _ in source:
                probe.woken(monotonic_ns())

    _event_loop.run(probe, one, use_uvloop=use_uvloop)


def stock(probe: Probe) -> None:
    listen(probe, lambda: aiohttp.ClientSession(timeout=FOREVER), use_uvloop=False)


def lean_session() -> aiohttp.ClientSession:
    """Without content decoders and cookies."""
    return aiohttp.ClientSession(timeout=FOREVER, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())


def tuned(probe: Probe) -> None:
    """uvloop, no content decoders, no cookies."""
    listen(probe, lean_session, use_uvloop=True)


if __name__ == "__main__":
    run_variant({"stock": ("event", stock), "tuned": ("event", tuned)})
