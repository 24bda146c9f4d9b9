"""Which response is an event stream, and what is said of one that is none."""

from __future__ import annotations

import pytest

from wire_rawsse.errors import NotAnEventStreamError, StatusError
from wire_rawsse.protocol.http import check_event_stream
from wire_rawsse.protocol.request import compose
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import parse_url

URL = parse_url("http://example.com/v1")


def response_with(*fields: tuple[str, str], status: int = 200, reason: str = "OK") -> Response:
    return Response(status, reason, fields)


class TestEventStream:
    REQUEST = compose(URL)

    @pytest.mark.parametrize(
        "kind",
        [
            "text/event-stream",
            "Text/EVENT-Stream",
            "text/event-stream;",
            "text/event-stream;charset=utf-8",
            "text/event-stream ; charset=utf-8",
            "text/event-stream\t;charset=utf-8",
            'text/event-stream;charset="UTF-8"',
            "text/event-stream;charset=iso-8859-1",  # Ignored: it is always UTF-8.
            "text/event-stream;;;",
            'text/event-stream;a="x,y"',
            'text/event-stream;a="x\\",y";b=",,"',
            'text/event-stream;a="unfinished, text/html',
            # Fetch, "extract a MIME type": the last one that is one.
            "text/html, text/event-stream",
            "text/html,text/event-stream;charset=utf-8",
            "text/event-stream, */*",
            "text/event-stream,",
            "text/event-stream, nothing",
        ],
    )
    def test_accepted(self, kind: str) -> None:
        check_event_stream(response_with(("content-type", kind)), self.REQUEST, "place")

    @pytest.mark.parametrize(
        "kind",
        [
            "",
            "text/html",
            "application/json",
            "text/event-streams",
            "text/event-stream+xml",
            "xtext/event-stream",
            "text",
            "event-stream",
            "text/ event-stream",
            "text /event-stream",
            "text/event-stream charset=utf-8",
            "text/event-stream\u00a0",
            "*/*",
            "text/event-stream, text/html",
            'text/html;a="x, text/event-stream"',
            "multipart/mixed;boundary=text/event-stream",
        ],
    )
    def test_no_event_stream(self, kind: str) -> None:
        with pytest.raises(NotAnEventStreamError, match="expected text/event-stream") as refused:
            check_event_stream(response_with(("content-type", kind)), self.REQUEST, "place")
        assert refused.value.permanent
        assert str(refused.value).isprintable()

    def test_it_says_what_came(self) -> None:
        with pytest.raises(
            NotAnEventStreamError, match="place answered 200 with Content-Type Text/HTML; charset=x, expected"
        ):
            check_event_stream(response_with(("content-type", "Text/HTML; charset=x")), self.REQUEST, "place")
        with pytest.raises(NotAnEventStreamError, match="place answered 200 with no Content-Type"):
            check_event_stream(response_with(), self.REQUEST, "place")

    def test_of_two_fields_the_last_counts(self) -> None:
        html, stream = ("content-type", "text/html"), ("content-type", "text/event-stream")
        check_event_stream(response_with(html, stream), self.REQUEST, "place")
        with pytest.raises(NotAnEventStreamError):
            check_event_stream(response_with(stream, html), self.REQUEST, "place")

    @pytest.mark.parametrize(
        "coding",
        [
            *("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz"),
            *("GZIP", "identity, gzip", "gzip,identity", "gzip\t", "none, br", "br;q=1"),
        ],
    )
    def test_a_coding_that_was_not_asked_for(self, coding: str) -> None:
        fields = ("content-type", "text/event-stream"), ("content-encoding", coding)
        with pytest.raises(NotAnEventStreamError, match="Content-Encoding") as refused:
            check_event_stream(response_with(*fields), self.REQUEST, "place")
        assert refused.value.permanent

    @pytest.mark.parametrize(
        "coding",
        ["identity", "Identity", "", "none", "utf-8", "identity, identity", "chunked", "x", "aws-chunked", "gzipped"],
    )
    def test_no_coding_at_all(self, coding: str) -> None:
        fields = ("content-type", "text/event-stream"), ("content-encoding", coding)
        check_event_stream(response_with(*fields), self.REQUEST, "place")

    @pytest.mark.parametrize(
        ("status", "permanent"),
        [
            *((status, True) for status in (101, 201, 202, 203, 204, 205, 206, 226, 299, 300, 304, 305, 306)),
            *((status, True) for status in (400, 401, 403, 404, 405, 407, 410, 431)),
            *((status, False) for status in (408, 425, 429, 500, 502, 503, 504, 511, 599, 999)),
        ],
    )
    def test_other_statuses(self, status: int, permanent: bool) -> None:
        response = response_with(("content-type", "text/event-stream"), status=status, reason="Because")
        with pytest.raises(StatusError, match=f"place answered {status} Because") as refused:
            check_event_stream(response, self.REQUEST, "place")
        assert (refused.value.status, refused.value.permanent) == (status, permanent)

    def test_retry_after_is_kept(self) -> None:
        with pytest.raises(StatusError) as refused:
            check_event_stream(response_with(("retry-after", "7"), status=503), self.REQUEST, "place")
        assert refused.value.retry_after == "7"
