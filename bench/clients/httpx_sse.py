"""Peer: httpx-sse, `connect_sse` and `iter_sse` as its README shows them.

Without `timeout=None` httpx would end a stream that is quiet for 5 s.
"""

import socket
import ssl
from collections.abc import Iterator
from time import monotonic_ns

import httpx
from httpx_sse import ServerSentEvent, aconnect_sse, connect_sse

from bench.clients import _event_loop
from bench.clients._handover import in_main, in_thread
from bench.clients._probe import Probe, run_variant


def trust(probe: Probe) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=probe.ca) if probe.ca else True


def stock(probe: Probe) -> None:
    def events(url: str) -> Iterator[ServerSentEvent]:
        with httpx.Client(verify=trust(probe), timeout=None) as client, connect_sse(client, "GET", url) as source:
            yield from source.iter_sse()

    in_thread(probe, events)


def tuned_events(probe: Probe, url: str) -> Iterator[ServerSentEvent]:
    """No look at the environment, no pool to speak of, no Nagle, no content decoders, no guess at the charset."""
    transport = httpx.HTTPTransport(
        verify=trust(probe),
        limits=httpx.Limits(max_connections=1),
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    with (
        httpx.Client(transport=transport, timeout=None, trust_env=False, default_encoding="utf-8") as client,
        connect_sse(client, "GET", url, headers={"Accept-Encoding": "identity"}) as source,
    ):
        yield from source.iter_sse()


def tuned(probe: Probe) -> None:
    in_thread(probe, lambda url: tuned_events(probe, url))


def main(probe: Probe) -> None:
    in_main(probe, lambda url: tuned_events(probe, url))


def in_asyncio(probe: Probe) -> None:
    async def one(url: str) -> None:
        async with (
            httpx.AsyncClient(verify=trust(probe), timeout=None) as client,
            aconnect_sse(client, "GET", url) as source,
        ):
            async for _ in source.aiter_sse():
                probe.woken(monotonic_ns())

    _event_loop.run(probe, one)


if __name__ == "__main__":
    run_variant({
        "stock": ("event", stock), "tuned": ("event", tuned), "main": ("event", main), "asyncio": ("event", in_asyncio),
    })  # fmt: skip
