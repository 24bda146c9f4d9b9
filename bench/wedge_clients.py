"""The programs that `wedge` wedges: each library as its documentation shows it, and once more with its own settings
against silence, where it has any: a read timeout, and TCP keepalive as in the client that we replace (30 s, then 3
probes 10 s apart). `python -m bench.wedge_clients NAME URL READ` runs one; READ is that setting in seconds.

Nothing is added to a library here: no loop that tries again, no watchdog. A program whose library gives up ends
with one line that says how; one whose library tries again goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

from bench.roster import NATIVE

KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value)
      for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)) if hasattr(socket, name)),
]  # fmt: skip


def drain(events: Iterable[object]) -> None:
    for _ in events:
        pass


def ours_default(url: str, read: float) -> None:
    from wire_rawsse import StreamSubscriber

    with StreamSubscriber(url) as subscriber:
        while True:
            subscriber.wait(timeout=5.0)


def ours_read(url: str, read: float) -> None:
    from wire_rawsse import StreamSubscriber, Timeouts

    with StreamSubscriber(url, timeouts=Timeouts(read=read)) as subscriber:
        while True:
            subscriber.wait(timeout=5.0)


def ours_learned(url: str, read: float) -> None:
    from wire_rawsse import StreamSubscriber

    with StreamSubscriber(url, watch=False) as subscriber:
        while True:
            subscriber.wait(timeout=5.0)


def ours_watch(url: str, read: float) -> None:
    from wire_rawsse import StreamSubscriber, Timeouts

    with StreamSubscriber(url, timeouts=Timeouts(learn=False)) as subscriber:
        while True:
            subscriber.wait(timeout=5.0)


def ours_clocks(url: str, read: float) -> None:
    from wire_rawsse import StreamSubscriber, Timeouts

    with StreamSubscriber(url, timeouts=Timeouts(learn=False), watch=False) as subscriber:
        while True:
            subscriber.wait(timeout=5.0)


def ours_source_read(url: str, read: float) -> None:
    from wire_rawsse import EventSource, Timeouts

    with EventSource(url, timeouts=Timeouts(read=read)) as source:
        drain(source)


def requests_default(url: str, read: float) -> None:
    import requests

    with requests.get(url, stream=True) as response:
        drain(response.iter_lines())


def requests_read(url: str, read: float) -> None:
    import requests

    with requests.get(url, stream=True, timeout=(10.0, read)) as response:
        drain(response.iter_lines())


def requests_sse_default(url: str, read: float) -> None:
    from requests_sse import EventSource

    with EventSource(url) as source:
        drain(source)


def requests_sse_read(url: str, read: float) -> None:
    from requests_sse import EventSource

    with EventSource(url, timeout=read) as source:
        drain(source)


def sseclient_default(url: str, read: float) -> None:
    import requests
    import sseclient

    with requests.get(url, stream=True) as response:
        drain(sseclient.SSEClient(iter(response)).events())


def sseclient_read(url: str, read: float) -> None:
    import requests
    import sseclient

    with requests.get(url, stream=True, timeout=(10.0, read)) as response:
        drain(sseclient.SSEClient(iter(response)).events())


def launchdarkly_default(url: str, read: float) -> None:
    from ld_eventsource import SSEClient

    with SSEClient(url) as client:
        drain(client.events)


def launchdarkly_read(url: str, read: float) -> None:
    import urllib3
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectStrategy, ErrorStrategy

    options = {"timeout": urllib3.Timeout(connect=10.0, read=read)}
    pool = urllib3.PoolManager(socket_options=KEEPALIVE)
    strategy = ConnectStrategy.http(url, pool=pool, urllib3_request_options=options)
    with SSEClient(strategy, error_strategy=ErrorStrategy.always_continue()) as client:
        drain(client.events)


def httpx_sse_default(url: str, read: float) -> None:
    import httpx
    from httpx_sse import connect_sse

    with httpx.Client() as client, connect_sse(client, "GET", url) as source:
        drain(source.iter_sse())


def httpx_sse_read(url: str, read: float) -> None:
    import httpx
    from httpx_sse import connect_sse

    timeout = httpx.Timeout(10.0, read=read)
    transport = httpx.HTTPTransport(socket_options=KEEPALIVE)
    with httpx.Client(timeout=timeout, transport=transport) as client, connect_sse(client, "GET", url) as source:
        drain(source.iter_sse())


def aiohttp_default(url: str, read: float) -> None:
    import aiohttp

    asyncio.run(_aiohttp(url, aiohttp.ClientTimeout(total=5 * 60, sock_connect=30)))


def aiohttp_read(url: str, read: float) -> None:
    import aiohttp

    asyncio.run(_aiohttp(url, aiohttp.ClientTimeout(total=None, sock_read=read)))


async def _aiohttp(url: str, timeout: Any) -> None:
    import aiohttp

    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
        async for _ in response.content:
            pass


def aiohttp_sse_default(url: str, read: float) -> None:
    asyncio.run(_aiohttp_sse(url, None))


def aiohttp_sse_read(url: str, read: float) -> None:
    asyncio.run(_aiohttp_sse(url, read))


async def _aiohttp_sse(url: str, read: float | None) -> None:
    import aiohttp
    from aiohttp_sse_client2.client import EventSource

    timeout = aiohttp.ClientTimeout(total=5 * 60 if read is None else None, sock_read=read)
    async with aiohttp.ClientSession(timeout=timeout) as session, EventSource(url, session=session) as source:
        async for _ in source:
            pass


def pycurl_default(url: str, read: float) -> None:
    _pycurl(url, None)


def pycurl_read(url: str, read: float) -> None:
    _pycurl(url, read)


def _pycurl(url: str, read: float | None) -> None:
    import pycurl

    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.WRITEFUNCTION, len)
    if read is not None:
        # libcurl's own word for a stalled transfer; the limit is as low as it goes, otherwise quiet streams would end.
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.LOW_SPEED_TIME, max(1, round(read)))
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.TCP_KEEPIDLE, 30)
        curl.setopt(pycurl.TCP_KEEPINTVL, 10)
    curl.perform()


def _native(library: str, *, tuned: bool) -> Callable[[str, float], None]:
    def listen(url: str, read: float) -> None:
        from bench.clients.native import LIBRARIES

        drain(LIBRARIES[library](url, None, read if tuned else None))

    return listen


REQWEST = "reqwest"
"""The Rust peer of `wake`, which is a program of its own: wire's first subscriber, with the keepalive that it had."""

SUBJECTS: dict[str, tuple[str, Callable[[str, float], None]]] = {
    "ours_default": ("wire_rawsse: StreamSubscriber, stock", ours_default),
    "ours_learned": ("wire_rawsse: learned heartbeat, watch=False", ours_learned),
    "ours_watch": ("wire_rawsse: network watched, learn=False", ours_watch),
    "ours_clocks": ("wire_rawsse: clocks alone (both off)", ours_clocks),
    "ours_read": ("wire_rawsse: StreamSubscriber, Timeouts(read=)", ours_read),
    "ours_source_read": ("wire_rawsse: EventSource, Timeouts(read=)", ours_source_read),
    REQWEST: ("Rust: reqwest, keepalive 30 s", lambda url, read: None),
    "pycurl_default": ("pycurl, stock", pycurl_default),
    "pycurl_read": ("pycurl, tuned: low speed, keepalive", pycurl_read),
    "requests_default": ("requests, stock", requests_default),
    "requests_read": ("requests, tuned: timeout", requests_read),
    "requests_sse_default": ("requests-sse, stock", requests_sse_default),
    "requests_sse_read": ("requests-sse, tuned: timeout", requests_sse_read),
    "sseclient_default": ("sseclient-py, stock", sseclient_default),
    "sseclient_read": ("sseclient-py, tuned: requests' timeout", sseclient_read),
    "launchdarkly_default": ("launchdarkly, stock", launchdarkly_default),
    "launchdarkly_read": ("launchdarkly, tuned: timeout, keepalive, always_continue", launchdarkly_read),
    "httpx_sse_default": ("httpx-sse, stock", httpx_sse_default),
    "httpx_sse_read": ("httpx-sse, tuned: timeout, keepalive", httpx_sse_read),
    "aiohttp_default": ("aiohttp, stock", aiohttp_default),
    "aiohttp_read": ("aiohttp, tuned: sock_read", aiohttp_read),
    "aiohttp_sse_default": ("aiohttp-sse-client2, stock", aiohttp_sse_default),
    "aiohttp_sse_read": ("aiohttp-sse-client2, tuned: sock_read", aiohttp_sse_read),
    **{f"{library}_default": (f"{library}, stock", _native(library, tuned=False)) for library in NATIVE},
    **{f"{library}_read": (f"{library}, tuned: its read timeout", _native(library, tuned=True)) for library in NATIVE},
}


def main() -> None:
    name, url, read = sys.argv[1], sys.argv[2], float(sys.argv[3])
    try:
        SUBJECTS[name][1](url, read)
        print("ended: the library returned")
    except ImportError as error:
        print(f"unavailable: {error}")
    except Exception as error:
        print(f"ended: {type(error).__name__}")


if __name__ == "__main__":
    main()
