"""The parsers that `parse` measures: each is fed bytes, without a connection, through its public interface.

If a library's parser cannot be used without its connection, the connection is replaced by one that returns the feeds
and raises `End` after the last, since the library would otherwise wait and reconnect. Every adapter gives the number of
events and of the characters of data in them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

Parsed = tuple[int, int]
STREAM = {"content-type": "text/event-stream"}


class End(Exception):
    """The feeds are at an end."""


def parse_floor(feeds: list[bytes]) -> Parsed:
    """No parser: counts line ends. There is nothing in its result to check."""
    return sum(feed.count(b"\n") for feed in feeds), 0


def parse_ours(feeds: list[bytes]) -> Parsed:
    from wire_rawsse import Event, EventParser

    parser = EventParser(max_event_bytes=1 << 30)
    events = characters = 0
    for feed in feeds:
        for item in parser.feed(feed):
            if isinstance(item, Event):
                events += 1
                characters += len(item.data)
    return events, characters


def _count(events: Iterable[Any]) -> Parsed:
    number = characters = 0
    try:
        for one in events:
            number += 1
            characters += len(one.data)
    except End:
        pass
    return number, characters


def parse_httpx_sse(feeds: list[bytes]) -> Parsed:
    import httpx
    from httpx_sse import EventSource

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(feeds)

    return _count(EventSource(httpx.Response(200, headers=STREAM, stream=Stream())).iter_sse())


def parse_sseclient(feeds: list[bytes]) -> Parsed:
    import sseclient

    return _count(sseclient.SSEClient(iter(feeds)).events())


def parse_launchdarkly(feeds: list[bytes]) -> Parsed:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectionClient, ConnectionResult, ConnectStrategy, ErrorStrategy

    class Connection(ConnectionClient):  # type: ignore[misc]  # the package ships no types
        def connect(self, last_event_id: str | None) -> Any:
            return ConnectionResult(iter(feeds), None)

    class Strategy(ConnectStrategy):  # type: ignore[misc]  # the package ships no types
        def create_client(self, logger: Any) -> Any:
            return Connection()

    # The end of the feeds is the end of its stream, which it would otherwise report as a fault.
    with SSEClient(Strategy(), error_strategy=ErrorStrategy.always_fail()) as client:
        return _count(client.events)


def parse_requests_sse(feeds: list[bytes]) -> Parsed:
    import requests
    from requests_sse import EventSource

    def stream(chunk_size: int, decode_content: bool) -> Iterator[bytes]:
        yield from feeds
        raise End

    def request(**given: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.url = 200, "http://127.0.0.1/"
        response.headers.update(STREAM)
        response.raw = SimpleNamespace(stream=stream, close=lambda: None, release_conn=lambda: None)
        return response

    session: Any = SimpleNamespace(request=request)
    with EventSource("http://127.0.0.1/", session=session) as source:
        return _count(source)


def parse_aiohttp_sse(feeds: list[bytes]) -> Parsed:
    return asyncio.run(_aiohttp_sse(feeds))


async def _aiohttp_sse(feeds: list[bytes]) -> Parsed:
    import aiohttp
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp_sse_client2.client import EventSource
    from yarl import URL

    loop = asyncio.get_running_loop()
    rest = iter(feeds)

    class Content(aiohttp.StreamReader):
        async def _wait(self, who: str) -> None:
            for feed in rest:
                self.feed_data(feed)
                return
            raise End

    content = Content(BaseProtocol(loop), 1 << 16, loop=loop)

    async def request(method: str, url: URL, **given: Any) -> Any:
        return SimpleNamespace(
            status=200, content_type="text/event-stream", real_url=url, content=content, close=lambda: None
        )

    session: Any = SimpleNamespace(request=request)
    number = characters = 0
    async with EventSource("http://127.0.0.1/", session=session) as source:
        try:
            async for one in source:
                number += 1
                characters += len(one.data)
        except End:
            pass
    return number, characters


PARSERS: dict[str, tuple[str, Callable[[list[bytes]], Parsed]]] = {
    "ours": ("wire_rawsse: EventParser", parse_ours),
    "launchdarkly": ("launchdarkly-eventsource", parse_launchdarkly),
    "httpx-sse": ("httpx-sse", parse_httpx_sse),
    "sseclient-py": ("sseclient-py", parse_sseclient),
    "requests-sse": ("requests-sse", parse_requests_sse),
    "aiohttp-sse-client2": ("aiohttp-sse-client2", parse_aiohttp_sse),
}
"""pycurl and reqwest have none."""
PURE = tuple(name for name in PARSERS if name != "ours")
"""All of the peers: their parsers are Python, whatever their connections are written in."""
