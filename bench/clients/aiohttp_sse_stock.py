"""Peer: aiohttp-sse-client2, `EventSource` as its documentation shows it, in the loop of the main thread."""

import asyncio
import ssl
from time import monotonic_ns

import aiohttp
from aiohttp_sse_client2.client import EventSource

from bench.clients._probe import Probe, run


async def listen(probe: Probe) -> None:
    context = ssl.create_default_context(cafile=probe.ca) if probe.ca else True
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        EventSource(probe.url, session=session, ssl=context) as source,
    ):
        async for _ in source:
            probe.woken(monotonic_ns())


def body(probe: Probe) -> None:
    asyncio.run(listen(probe))


if __name__ == "__main__":
    run("event", body)
