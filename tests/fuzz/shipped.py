"""The shipped code alone, fed with anything at all, for those who measure what it costs: it raises nothing that is
documented, and nobody looks at what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wire_rawsse.errors import InvalidRequestError, MalformedResponseError, ProxyError, RelayFileError, TruncatedError
from wire_rawsse.protocol import http, proxy, request, sse, url
from wire_rawsse.protocol.events import EventParser
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response
from wire_rawsse.redact import Secrets
from wire_rawsse.wire import relay_json

REQUEST: Final = Request(b"GET", b"/", [(b"Host", b"h")], b"", Secrets(["s3cr3t-t0ken"]))
PLACE: Final = url.parse_url("http://10.1.2.3/a/b?c")


def exchange(stream: bytes, read: int) -> None:
    """A response in reads of so many bytes."""
    one = http.Exchange(REQUEST)
    response = None
    try:
        for at in range(0, len(stream), read):
            piece = stream[at : at + read]
            if response is None:
                response = one.head(piece)
                piece = b""
                if response is not None:
                    list(one.body(None))
            elif not one.ended:
                list(one.body(piece))
    except (MalformedResponseError, TruncatedError):
        pass


def events(stream: bytes, read: int) -> None:
    """Both parsers; no event is too large."""
    for parser in (EventParser(max_event_bytes=len(stream) + 1), sse.WakeParser()):
        for at in range(0, len(stream), read):
            parser.feed(stream[at : at + read])


def one_url(text: str) -> None:
    calls: list[Callable[[], object]] = [lambda: url.parse_url(text), lambda: url.resolve(PLACE, text)]
    for call in calls:
        try:
            call()
        except InvalidRequestError:
            pass


def one_proxy(text: str) -> None:
    try:
        proxy.proxy_for(PLACE, {"HTTP_PROXY": text, "NO_PROXY": text.replace("/", ",")})
    except ProxyError:
        pass


def one_document(content: bytes) -> None:
    try:
        relay_json.parse(content)
    except RelayFileError:
        pass


def one_kind(kind: str) -> None:
    response = Response(200, "OK", (("content-type", kind),))
    try:
        http.check_event_stream(response, REQUEST, "place")
    except ValueError:
        pass


def one_value(text: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: request.check_headers([(text, text)]),
        lambda: request.ask_bearer(text),
    ]
    for call in calls:
        try:
            call()
        except InvalidRequestError:
            pass
