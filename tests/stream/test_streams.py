"""Whole streams over real sockets: what is asked, what is taken for a stream, and how a connection ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import SOON, end, event, first, source, subscriber
from tests.support.server import (
    CHUNKED,
    EVENT,
    LAST_CHUNK,
    OPEN,
    PATIENCE,
    STREAM,
    Script,
    answer,
    byte_by_byte,
    chunk,
    cut,
    event_stream,
    request,
    reset,
    send,
    stall,
    wait_for,
)
from wire_rawsse import Backoff, Closed, Comment, Event, EventSource, Opened, StreamSubscriber
from wire_rawsse.errors import (
    ConnectionBrokenError,
    CredentialsError,
    DialError,
    InvalidRequestError,
    MalformedResponseError,
    TruncatedError,
    WireRawSSEError,
)


class TestTheRequest:
    def test_is_what_an_event_stream_asks_for(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(f"http://{server.place}/v1/events?since=7", bearer_token="t0ken") as listening:
            assert event(listening).data == "x"
        asked = server.asked[0]
        assert (asked.method, asked.target, asked.body) == ("GET", "/v1/events?since=7", b"")
        assert asked.raw.startswith(b"GET /v1/events?since=7 HTTP/1.1\r\n")
        assert asked.get("Accept") == "text/event-stream"
        assert asked.get("Cache-Control") == "no-cache"
        assert asked.get("Accept-Encoding") == "identity"
        assert asked.get("Host") == server.place
        assert asked.get("Authorization") == "Bearer t0ken"
        assert asked.get("Last-Event-ID") is None
        assert asked.get("Connection") is None

    def test_ipv6(self, serve: Serve) -> None:
        server = serve(STREAM, host="::1")
        with source(server.url) as listening:
            event(listening)
        assert server.asked[0].get("Host") == f"[::1]:{server.port}"

    def test_a_name(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(f"http://localhost:{server.port}/") as listening:
            event(listening)
        assert server.asked[0].get("Host") == f"localhost:{server.port}"

    def test_a_post_with_a_body_larger_than_the_kernel_takes_at_once(self, serve: Serve) -> None:
        body = b"x" * (4 << 20)
        server = serve(STREAM)
        with source(server.url, method="POST", body=body, headers={"Content-Type": "x/y"}) as listening:
            event(listening)
        asked = server.asked[0]
        assert (asked.method, len(asked.body), asked.get("Content-Length")) == ("POST", len(body), str(len(body)))
        assert asked.get("Content-Type") == "x/y"

    def test_a_header_of_the_caller_comes_before_ours_and_before_the_token(self, serve: Serve) -> None:
        server = serve(STREAM)
        given = {"accept": "a/b", "authorization": "Digest mine", "X-A": "1"}
        with source(server.url, headers=given, bearer_token="t0ken") as listening:
            event(listening)
        asked = server.asked[0]
        assert (asked.get("Accept"), asked.get("Authorization"), asked.get("X-A")) == ("a/b", "Digest mine", "1")
        assert given == {"accept": "a/b", "authorization": "Digest mine", "X-A": "1"}

    def test_userinfo_becomes_a_header_and_is_sent_nowhere_else(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(f"http://user:pass@{server.place}/x") as listening:
            event(listening)
        asked = server.asked[0]
        assert asked.get("Authorization") == "Basic dXNlcjpwYXNz"
        assert b"user" not in asked.raw and b"pass" not in asked.raw

    def test_headers_that_are_used_up_by_reading_last_for_every_connection(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(EVENT))])
        with source(server.url, headers=iter([("X-A", "1")])) as listening:
            event(listening)
            event(listening)
        assert [asked.get("X-A") for asked in server.asked[:2]] == ["1", "1"]


class TestRefusedBeforeAByteIsSent:
    @pytest.mark.parametrize(
        "bad",
        [
            {"url": "ftp://127.0.0.1/"},
            {"url": "http://127.0.0.1/\r\nX: y"},
            {"headers": {"X-A": "a\r\nX: y"}},
            {"headers": {"X-A": " a"}},
            {"headers": {"X A": "a"}},
            {"headers": {"Content-Length": "1"}},
            {"bearer_token": "a\r\nX: y"},
            {"bearer_token": "a b"},
            {"bearer_token": ""},
            {"method": "GET /"},
            {"method": "CONNECT"},
            {"body": "text"},
            {"tls": True},
            {"tls": 7},
        ],
    )
    @pytest.mark.parametrize("kind", [EventSource, StreamSubscriber])
    def test_by_the_constructor(self, bad: dict[str, Any], kind: Callable[..., Any]) -> None:
        with pytest.raises(InvalidRequestError):
            kind(**{"url": "http://127.0.0.1:9/", **bad})

    def test_a_token_file_loses_its_line_end(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(server.url, bearer_token="t0ken\n") as listening:
            event(listening)
        assert server.asked[0].get("Authorization") == "Bearer t0ken"

    def test_two_hosts_of_a_callable_are_refused_and_nothing_is_sent(self, serve: Serve) -> None:
        server = serve([request])
        hosts = [("Host", "a"), ("host", "b")]
        with source(server.url, headers=lambda: hosts) as listening:
            closed = listening.next_item(PATIENCE)
        assert isinstance(closed, Closed) and isinstance(closed.error, CredentialsError)
        assert server.asked == []


class TestWhatIsAStream:
    @pytest.mark.parametrize(
        "steps",
        [
            [send(OPEN + EVENT), cut],
            [send(OPEN), send(EVENT), stall],
            [send(CHUNKED + chunk(EVENT) + LAST_CHUNK)],
            [send(CHUNKED + chunk(b"da") + chunk(b"ta: x\n") + chunk(b"\n")), stall],
            [send(CHUNKED + b"9;a=b\r\ndata: x\n\n\r\n0\r\nTrailer: y\r\n\r\n")],
            [send(CHUNKED + b"fff\r\n" + EVENT), stall],  # Long before its chunk is complete.
            [send(event_stream(EVENT))],
            [send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + EVENT), cut],
            [send(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OPEN + EVENT), stall],
            [send(OPEN.replace(b"event-stream", b"Event-Stream; charset=UTF-8") + EVENT), stall],
            [byte_by_byte(CHUNKED + chunk(EVENT)), stall],
        ],
    )
    def test_an_event_comes_as_soon_as_it_is_there(self, steps: Script, serve: Serve) -> None:
        server = serve([request, *steps])
        with source(server.url) as listening:
            assert event(listening) == Event("message", "x", "")

    @pytest.mark.parametrize("by_byte", [False, True])
    def test_a_head_of_64_kib(self, by_byte: bool, serve: Serve) -> None:
        filler = b"X-F: " + b"f" * (65536 - len(OPEN) - 7) + b"\r\n"
        head = OPEN.replace(b"\r\n\r\n", b"\r\n" + filler + b"\r\n")
        assert len(head) == 65536
        longer = head.replace(b"X-F: ", b"X-F: f")
        way = byte_by_byte if by_byte else send
        server = serve([request, way(head), send(EVENT), cut], [request, way(longer), send(EVENT), stall])
        with source(server.url) as listening:
            assert event(listening).data == "x"
            closed = first(listening, Closed, lambda item: item.error is not None)
            assert isinstance(closed.error, MalformedResponseError)
            assert "longer than 65536 bytes" in str(closed.error)

    def test_an_endless_flood_of_interim_responses_is_refused(self, serve: Serve) -> None:
        server = serve([request, send(b"HTTP/1.1 102 Processing\r\n\r\n" * 3000), stall])
        closed = end(server.url)
        assert isinstance(closed.error, MalformedResponseError) and "more than 4000 lines" in str(closed.error)

    @pytest.mark.parametrize(
        ("came", "shown"),
        [
            (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0-OpenSSH_9.6.."),
            (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2"),
            (b"\x15\x03\x01\0\x02\x02\x46", "got TLS"),
            (b"<html>" + b"x" * 500, "<html>xxx"),
        ],
    )
    def test_something_else_on_the_port_is_shown_and_retried(self, came: bytes, shown: str, serve: Serve) -> None:
        server = serve([request, send(came), stall])
        closed = end(server.url)
        assert isinstance(closed.error, MalformedResponseError)
        assert server.place in str(closed.error) and shown in str(closed.error)
        assert len(str(closed.error)) < 200 and str(closed.error).isprintable()
        assert closed.retry_in is not None

    def test_items_come_in_their_order(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b": hi\nid: 7\nevent: t\ndata: x\n\n"))], [request, stall])
        with source(server.url) as listening:
            items = listening.items()
            opened, comment, happened, closed = (next(items) for _ in range(4))
        assert isinstance(opened, Opened) and (opened.status, opened.id_left_out) == (200, False)
        assert ("content-type", "text/event-stream") in opened.headers
        assert comment == Comment("hi")
        assert happened == Event("t", "x", "7")
        assert isinstance(closed, Closed) and closed.error is None and closed.retry_in is not None

    def test_only_events_are_iterated(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b": hi\n\n" + EVENT))])
        with source(server.url) as listening:
            for happened, _ in zip(listening, range(3), strict=False):
                assert happened == Event("message", "x", "")

    def test_next_is_none_when_the_time_is_up(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + b": hi\n"), stall])
        with source(server.url) as listening:
            began = time.monotonic()
            assert listening.next(timeout=0.2) is None
            assert time.monotonic() - began >= 0.2
            assert listening.next(timeout=0) is None

    def test_an_event_of_exactly_the_limit(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + b"data: " + b"x" * 93 + b"\n\n"), stall])
        with source(server.url, max_event_bytes=100) as listening:
            assert len(event(listening).data) == 93

    def test_nothing_runs_before_it_is_iterated(self, serve: Serve) -> None:
        server = serve([request])
        with source(server.url), subscriber(server.url):
            time.sleep(0.05)
            assert server.peers == []


class TestHowAConnectionEnds:
    @pytest.mark.parametrize(
        "steps",
        [
            [send(OPEN + EVENT), cut],
            [send(CHUNKED + chunk(EVENT) + LAST_CHUNK), stall],
            [send(event_stream(EVENT)), stall],
            [send(event_stream(b""))],
            [send(OPEN + b"data: unfinished"), cut],  # Dropped, by the standard, and no error.
        ],
    )
    def test_cleanly(self, steps: Script, serve: Serve) -> None:
        assert end(serve([request, *steps]).url).error is None

    @pytest.mark.parametrize(
        ("steps", "kind"),
        [
            ([cut], TruncatedError),
            ([send(b"HTTP/1.1 200 OK\r\nContent"), cut], TruncatedError),
            ([send(CHUNKED + chunk(EVENT)), cut], TruncatedError),
            ([send(CHUNKED + b"fff\r\n" + EVENT), cut], TruncatedError),
            ([send(CHUNKED + chunk(EVENT) + b"0\r\n"), cut], TruncatedError),
            ([send(event_stream(EVENT)[:-1]), cut], TruncatedError),
            ([send(CHUNKED + chunk(EVENT) + b"xyz\r\n"), stall], MalformedResponseError),
            ([reset], ConnectionBrokenError),
            ([send(b"HTTP/1.1 200 OK\r\n"), reset], ConnectionBrokenError),
        ],
    )
    def test_with_an_error_that_is_retried(self, steps: Script, kind: type[WireRawSSEError], serve: Serve) -> None:
        server = serve([request, *steps])
        closed = end(server.url)
        assert type(closed.error) is kind
        assert server.place in str(closed.error), "it does not say whose fault it is"
        assert closed.retry_in is not None
        assert isinstance(closed.error, ConnectionError)

    def test_a_reset_of_a_live_stream(self, serve: Serve) -> None:
        heard = threading.Event()
        server = serve([request, send(OPEN + EVENT), wait_for(heard), reset])
        with source(server.url) as listening:
            event(listening)
            heard.set()
            closed = first(listening, Closed)
        assert isinstance(closed.error, ConnectionBrokenError)
        assert isinstance(closed.error.__cause__, ConnectionResetError)
        assert "streaming" in str(closed.error) and server.place in str(closed.error)

    def test_nobody_there(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            closed = end(f"http://127.0.0.1:{bound.getsockname()[1]}/")
        assert isinstance(closed.error, DialError)
        assert closed.retry_in is not None

    def test_what_came_before_the_fault_is_not_lost(self, serve: Serve) -> None:
        server = serve([request, send(CHUNKED + chunk(EVENT * 3) + b"xyz\r\n"), stall])
        with source(server.url) as listening:
            items = listening.items()
            kinds = [type(next(items)) for _ in range(5)]
        assert kinds == [Opened, Event, Event, Event, Closed]


def test_backoff_settings_reach_the_loop(serve: Serve) -> None:
    """A connection that broke before it was healthy waits a jittered `initial`."""
    server = serve([request, send(answer("500 x"))])
    closed = end(server.url, backoff=Backoff(initial=40, maximum=60, healthy_after=1))
    assert closed.retry_in is not None and 20 <= closed.retry_in <= 40
    closed = end(server.url, backoff=SOON)
    assert closed.retry_in is not None and closed.retry_in <= 0.02
