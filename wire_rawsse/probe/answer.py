"""The facts of a response head: whether it begins a stream, its sender, its own time, and the framing."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from wire_rawsse.connection import error_body
from wire_rawsse.errors import NotAnEventStreamError, StatusError
from wire_rawsse.probe.measurements import Head
from wire_rawsse.probe.reach import Reached, Way
from wire_rawsse.protocol.http import check_event_stream, is_event_stream
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response, compression

SHOWN: Final = (
    *("server", "via", "date", "age", "cache-control", "connection", "keep-alive", "content-encoding"),
    *(
        "transfer-encoding",
        "content-length",
        "x-accel-buffering",
        "x-cache",
        "cf-cache-status",
        "cf-ray",
        "x-served-by",
    ),
    *("retry-after", "www-authenticate", "alt-svc", "upgrade"),
)
"""Fields that tell who answered and how a stream is treated on its way."""


def head_of(reached: Reached, request: Request, way: Way, fields_left_behind: bool) -> Head:
    """The facts of an answer. Of a refusal the beginning of the body is read for its reason."""
    response = reached.response
    assert response is not None
    quote = way.secrets.quote
    refused = response.status != 200 or not is_event_stream(response)
    assert reached.channel is not None and reached.exchange is not None
    body = b""
    if refused:
        body = reached.host.run(error_body(reached.host, reached.channel, reached.exchange, way.end))
    error = ""
    try:
        left_at = way.hop.left_at if fields_left_behind else ""
        check_event_stream(response, request, way.hop.place, body, left_at)
    except (StatusError, NotAnEventStreamError) as found:
        way.secrets.cleanse(found)
        error = str(found)
    skew, held = _clock(response, reached)
    return Head(
        status=response.status,
        content_type=quote(response.get("content-type") or ""),
        fields=[(name, quote(value, 120)) for name, value in response.headers if name in SHOWN],
        framing=_framing(response),
        coding=compression(response) or "",
        error=error,
        skew=skew,
        held=held,
        html="html" in (response.get("content-type") or "").lower() or body.lstrip()[:1] == b"<",
        retry_after=quote(response.get("retry-after") or ""),
        age=quote(response.get("age") or ""),
    )


def _framing(response: Response) -> str:
    if response.get("transfer-encoding") is not None:
        return "chunked"
    return "length" if response.get("content-length") is not None else "close"


def _clock(response: Response, reached: Reached) -> tuple[float | None, float | None]:
    """The server's clock minus ours, and how long the head was held back.

    Date (RFC 9110 section 6.6.1) has whole seconds. If the clocks agree, it lies between the request and the answer.
    """
    try:
        date = parsedate_to_datetime(response.get("date") or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None, None
    asked, answered = reached.asked_wall, reached.answered_wall
    if date + 1 < asked:
        return date + 1 - asked, None
    if date > answered:
        return date - answered, None
    return 0.0, max(0.0, answered - (date + 1))
