"""Peer: aiohttp without a parser: the pieces of the content as they come, searched for an event.

It has no reconnect, no clock and no events, and is the least that a wake can cost with aiohttp.
"""

import ssl
from functools import partial
from time import monotonic_ns

import aiohttp

from bench.clients import _event_loop
from bench.clients._probe import Probe, run_variant


def listen(probe: Probe, *, use_uvloop: bool) -> None:
    """No content decoders, no cookies."""
    context = ssl.create_default_context(cafile=probe.ca) if probe.ca else True

    async def one(url: str) -> None:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.get(url, ssl=context) as response,
        ):
            async for piece in response.content.iter_any():
                if b"data:" in piece:
                    probe.woken(monotonic_ns())

    _event_loop.run(probe, one, use_uvloop=use_uvloop)


if __name__ == "__main__":
    run_variant({
        "asyncio": ("wake", partial(listen, use_uvloop=False)),
        "uvloop": ("wake", partial(listen, use_uvloop=True)),
    })  # fmt: skip
