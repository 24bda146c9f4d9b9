"""Peer: aiohttp, whatever `readany` gives (no lines), in the loop of the main thread."""

import asyncio
import ssl
from time import monotonic_ns

import aiohttp

from bench.clients._probe import Probe, run


async def listen(probe: Probe) -> None:
    context = ssl.create_default_context(cafile=probe.ca) if probe.ca else True
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.get(probe.url, ssl=context) as response,
    ):
        while chunk := await response.content.readany():
            if b"data:" in chunk:
                probe.woken(monotonic_ns())


def body(probe: Probe) -> None:
    asyncio.run(listen(probe))


if __name__ == "__main__":
    run("wake", body)
