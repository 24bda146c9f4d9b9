"""Some errors end a source for good, others do not, and none ends a subscriber."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import event, first, source, subscriber, told
from tests.support.server import EVENT, OPEN, PATIENCE, QUIET, STREAM, answer, event_stream, request, send, stall, tls
from tests.support.trust import Authority
from wire_rawsse import Backoff, Closed, EventSource, Opened, connection
from wire_rawsse.errors import (
    CertificateError,
    ClosedError,
    EventTooLargeError,
    NotAnEventStreamError,
    RedirectError,
    StatusError,
    WireRawSSEError,
)
from wire_rawsse.protocol import http


def _ends(serve: Serve, *steps: Any, **settings: Any) -> tuple[WireRawSSEError, EventSource]:
    """How a source ends for good, with its Closed before it."""
    server = serve([request, *steps])
    listening = source(settings.pop("url", server.url), **settings)
    closed: Closed | None = None
    with pytest.raises(WireRawSSEError) as ended:
        for item in listening.items():
            assert not isinstance(item, Opened), "what was refused was opened"
            if isinstance(item, Closed):
                assert closed is None, "it tried again"
                closed = item
    assert closed is not None and closed.retry_in is None
    assert closed.error is ended.value
    assert len(server.peers) <= 1
    return ended.value, listening


class TestWhatEndsForGood:
    @pytest.mark.parametrize("status", [201, 202, 203, 205, 206, 226, 300, 304, 305])
    def test_a_status_that_is_no_200(self, status: int, serve: Serve) -> None:
        """A POST that is answered 201 with a stream would be sent again and again."""
        stream_of_it = event_stream(EVENT).replace(b"200 OK", f"{status} Fine".encode())
        error, _ = _ends(serve, send(stream_of_it), method="POST", body=b"{}")
        assert isinstance(error, StatusError) and error.status == status

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 410, 413, 431])
    def test_a_4xx(self, status: int, serve: Serve) -> None:
        error, listening = _ends(serve, send(answer(f"{status} Because")))
        assert isinstance(error, StatusError) and error.status == status
        assert f"answered {status} Because" in str(error)
        with pytest.raises(StatusError):
            listening.next(0)
        with pytest.raises(StatusError):
            next(iter(listening))

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
    def test_but_not_these(self, status: int, serve: Serve) -> None:
        server = serve([request, send(answer(f"{status} x"))], STREAM)
        with source(server.url) as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, StatusError) and closed.error.status == status
            assert closed.retry_in is not None
            assert event(listening).data == "x"

    def test_a_204_ends_a_for_quietly(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(EVENT))], [request, send(answer("204 No Content"))])
        with source(server.url) as listening:
            assert [happened.data for happened in listening] == ["x"]
            with pytest.raises(ClosedError, match="204"):
                listening.next(PATIENCE)
            with pytest.raises(ClosedError, match="204"):
                list(listening)
            with pytest.raises(ClosedError):
                list(listening.items())
        assert len(server.peers) == 2

    def test_a_204_is_told_by_items(self, serve: Serve) -> None:
        server = serve([request, send(answer("204 No Content"))])
        with source(server.url) as listening:
            [closed] = list(listening.items())
        assert isinstance(closed, Closed) and closed.retry_in is None
        assert isinstance(closed.error, StatusError) and closed.error.status == 204

    def test_close_ends_a_for_quietly(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + EVENT * 3), stall])
        with source(server.url) as listening:
            seen = []
            for happened in listening:
                seen.append(happened)
                listening.close()
            assert len(seen) == 1
            with pytest.raises(ClosedError):
                listening.next(0)
            with pytest.raises(ClosedError):
                list(listening)
            listening.close()

    @pytest.mark.parametrize("fields", ["Content-Type: text/html", "X: y", "Content-Type: application/json"])
    def test_a_200_that_is_no_event_stream(self, fields: str, serve: Serve) -> None:
        error, _ = _ends(serve, send(answer("200 OK", fields, body=b"data: x\n\n")))
        assert isinstance(error, NotAnEventStreamError)

    def test_a_coding_that_was_not_asked_for(self, serve: Serve) -> None:
        error, _ = _ends(serve, send(OPEN.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")), stall)
        assert isinstance(error, NotAnEventStreamError)

    def test_an_event_beyond_the_limit(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + EVENT + b"data: " + b"x" * 94 + b"\n\n"), stall])
        with source(server.url, max_event_bytes=100) as listening:
            assert event(listening).data == "x"
            with pytest.raises(EventTooLargeError, match="max_event_bytes=100"):
                listening.next(PATIENCE)
            with pytest.raises(EventTooLargeError):
                listening.next(PATIENCE)
        assert len(server.peers) == 1

    def test_a_certificate_that_does_not_verify(self, serve: Serve, authority: Authority, stranger: Authority) -> None:
        server = serve([tls(stranger.server()), request])
        with source(server.url.replace("http", "https"), tls=authority.file) as listening:
            with pytest.raises(CertificateError):
                listening.next(PATIENCE)
            assert len(server.peers) == 1

    def test_a_redirect_from_https_to_http(self, serve: Serve, authority: Authority) -> None:
        plain = serve(STREAM)
        secure = serve([tls(authority.server()), request, send(answer("302 Found", f"Location: {plain.url}"))])
        with (
            source(secure.url.replace("http", "https"), tls=authority.file) as listening,
            pytest.raises(RedirectError, match="from https to http"),
        ):
            listening.next(PATIENCE)
        assert plain.peers == []

    @pytest.mark.parametrize(
        "first_answer",
        [
            answer("404 Not Found"),
            answer("204 No Content"),
            answer("200 OK", "Content-Type: text/html", body=b"<html>"),
            OPEN.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n"),
            answer("302 Found", "Location: unix:///run/x.sock"),
        ],
    )
    def test_a_subscriber_never_gives_up_on_any_of_it(self, first_answer: bytes, serve: Serve) -> None:
        """It says so in its state, and tries again at the slowest pace."""
        server = serve([request, send(first_answer), stall], QUIET)
        slow = Backoff(initial=0.001, maximum=0.5, healthy_after=0)
        with subscriber(server.url, backoff=slow) as listening:
            began = time.monotonic()
            assert listening.wait(PATIENCE)
            assert time.monotonic() - began >= 0.25, "not the slowest pace"
            state = listening.state
            assert state.state == "connected" and state.reconnect_count == 1
            assert state.last_error is not None and server.place in state.last_error

    def test_an_internal_error_does_not_end_it(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        real = http.check_event_stream
        faults = iter([ZeroDivisionError("ours")])

        def faulty(*args: Any) -> None:
            for fault in faults:
                raise fault
            real(*args)

        monkeypatch.setattr(connection, "check_event_stream", faulty)
        server = serve(STREAM)
        with source(server.url) as listening:
            closed = first(listening, Closed)
            assert "internal error (ZeroDivisionError)" in str(closed.error)
            assert "ours" in told(closed.error or Exception())
            assert event(listening).data == "x"
