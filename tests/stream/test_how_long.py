"""How long an `EventSource` goes on: until an end for good, for ever, or for one response."""

from __future__ import annotations

import socket
import time
from itertools import count
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import LONG, event, first, source, subscriber
from tests.support.ports import CLOSED
from tests.support.server import (
    CHUNKED,
    EVENT,
    OPEN,
    PATIENCE,
    QUIET,
    STREAM,
    Peer,
    Server,
    Step,
    answer,
    cut,
    event_stream,
    pause,
    request,
    reset,
    send,
    stall,
    tls,
)
from tests.support.trust import Authority
from wire_rawsse import Backoff, Closed, EventSource, Timeouts, reconnect
from wire_rawsse.errors import (
    CertificateError,
    ClosedError,
    ConnectionBrokenError,
    CredentialsError,
    DialError,
    InvalidRequestError,
    NotAnEventStreamError,
    ResponseTimeout,
    StatusError,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.protocol.request import Headers

SLOW = Backoff(initial=0.001, maximum=0.3, healthy_after=0)


def send_in_the_clear(data: bytes) -> Step:
    def step(peer: Peer) -> None:
        socket.socket.send(peer.sock, data)
        peer.finish()

    return step


class TestPersistent:
    @pytest.mark.parametrize(
        "refusal",
        [
            answer("204 No Content"),
            answer("401 Unauthorized"),
            answer("404 Not Found"),
            answer("200 OK", "Content-Type: text/html", body=b"<html>"),
            OPEN.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n"),
            OPEN + b"data: " + b"y" * 2000 + b"\n\n",
            answer("302 Found", "Location: unix:///run/x.sock"),
        ],
        ids=["204", "401", "404", "a web page", "brotli", "too large", "redirect off"],
    )
    def test_retries_what_is_for_good_at_the_slowest_pace(self, refusal: bytes, serve: Serve) -> None:
        server = serve([request, send(refusal), stall], STREAM)
        with source(server.url, backoff=SLOW, persistent=True, max_event_bytes=1000) as listening:
            began = time.monotonic()
            closed = None
            while closed is None:
                item = listening.next_item(PATIENCE)
                closed = item if isinstance(item, Closed) else None
            assert closed.error is not None and closed.error.permanent
            assert closed.retry_in is not None and 0.15 <= closed.retry_in <= 0.3
            assert event(listening).data == "x"
            assert time.monotonic() - began >= 0.15
            assert listening.state.phase == "streaming"
        with pytest.raises(ClosedError):
            listening.next(0)

    def test_retries_a_certificate_that_does_not_verify(
        self, serve: Serve, authority: Authority, stranger: Authority
    ) -> None:
        server = serve([tls(stranger.server()), request], [tls(authority.server()), request, send(OPEN + EVENT), stall])
        url = server.url.replace("http", "https")
        with source(url, tls=authority.file, backoff=SLOW, persistent=True) as listening:
            item = listening.next_item(PATIENCE)
            assert isinstance(item, Closed) and isinstance(item.error, CertificateError)
            assert item.retry_in is not None
            assert event(listening).data == "x"


class TestOneResponse:
    """`reconnect=False`: a POST that costs money is sent once."""

    def one(self, serve: Serve, *steps: Step, **settings: Any) -> tuple[list[object], EventSource, Server]:
        """All items of a source that is asked until its end, which is a clean one."""
        server = serve([request, *steps], STREAM)
        listening = source(server.url, method="POST", body=b"{}", reconnect=False, **settings)
        return list(listening.items()), listening, server

    def test_a_clean_end_stops_the_iteration(self, serve: Serve) -> None:
        items, listening, server = self.one(serve, send(event_stream(EVENT * 2)))
        assert [type(item).__name__ for item in items] == ["Opened", "Event", "Event", "Closed"]
        assert items[-1] == Closed(None, None)
        for use in (lambda: listening.next(0), lambda: next(listening.items())):
            with pytest.raises(ClosedError, match="reconnect=False"):
                use()
        assert server.asked[0].body == b"{}"
        time.sleep(0.1)
        assert len(server.peers) == 1

    @pytest.mark.parametrize(
        "steps, kind",
        [
            ([send(OPEN + EVENT + b"data: "), reset], ConnectionBrokenError),
            ([send(answer("503 x", "Retry-After: 0"))], StatusError),
            ([send(answer("401 x"))], StatusError),
            ([reset], WireRawSSEError),
            ([cut], TruncatedError),
            ([send(answer("200 OK", "Content-Type: text/html"))], NotAnEventStreamError),
        ],
        ids=["reset", "503", "401", "reset before the head", "cut before the head", "a web page"],
    )
    def test_whatever_ends_it_is_raised(self, steps: list[Step], kind: type[WireRawSSEError], serve: Serve) -> None:
        tokens = iter(["one", "two"])
        server = serve([request, *steps], STREAM)
        with source(
            server.url, method="POST", body=b"{}", reconnect=False, bearer_token=lambda: next(tokens)
        ) as listening:
            with pytest.raises(kind) as caught:
                list(listening)
            with pytest.raises(kind):
                listening.next(0)
            assert listening.state.phase == "closed"
            assert "trying again" not in str(caught.value)
        assert next(tokens) == "two", "a token was asked for that could not be used"
        assert len(server.peers) == 1

    def test_a_timeout_speaks_of_no_next_attempt(self, serve: Serve) -> None:
        with source(serve([request, stall]).url, reconnect=False, timeouts=Timeouts(response=0.1)) as listening:
            with pytest.raises(ResponseTimeout, match=r"Timeouts\(response=…, read=…\)$") as caught:
                listening.next(PATIENCE)
            assert "next attempt" not in str(caught.value)

    def test_nobody_listens(self) -> None:
        with source(f"http://127.0.0.1:{CLOSED}/", reconnect=False) as listening, pytest.raises(DialError):
            list(listening)

    def test_a_redirect_is_followed(self, serve: Serve) -> None:
        server = serve([request, send(answer("307 x", "Location: /there"))], [request, send(event_stream(EVENT))])
        with source(server.url, method="POST", body=b"{}", reconnect=False) as listening:
            assert [happened.data for happened in listening] == ["x"]
        assert [asked.target for asked in server.asked][1:] == ["/there"]

    def test_it_cannot_be_restarted(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(server.url, reconnect=False) as listening:
            assert event(listening).data == "x"
            with pytest.raises(InvalidRequestError, match="reconnect=False"):
                listening.restart()
            assert listening.next(0.05) is None
        assert len(server.peers) == 1

    def test_a_signal_handler_that_raises_sends_no_second_request(self, serve: Serve) -> None:
        """If bytes may be lost, all streams start over; but this one must not."""
        server = serve(STREAM, STREAM)
        with source(server.url, method="POST", body=b"{}", reconnect=False) as listening:
            assert event(listening).data == "x"
            listening._loop.start_over()
            for _ in range(2):
                with pytest.raises(ConnectionBrokenError, match="reconnect=False"):
                    listening.next(PATIENCE)
        assert len(server.peers) == 1

    def test_nor_does_a_fault_of_ours(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        server = serve(STREAM)
        monkeypatch.setattr(reconnect, "one_stream", lambda *_: 1 / 0)
        with (
            source(server.url, reconnect=False) as listening,
            pytest.raises(WireRawSSEError, match="internal error"),
        ):
            list(listening)
        assert server.peers == []


class TestRefused:
    """After a 401 the callables are asked once more."""

    def test_another_token_is_tried_at_once(self, serve: Serve) -> None:
        """Whether it would be for good or not, and whatever the backoff is."""
        for persistent in (False, True):
            server = serve([request, send(answer("401 x"))], STREAM)
            tokens = iter(["old"])
            with source(
                server.url, bearer_token=lambda tokens=tokens: next(tokens, "new"), backoff=LONG, persistent=persistent
            ) as listening:
                closed = first(listening, Closed)
                assert isinstance(closed.error, StatusError) and closed.retry_in == 0
                assert event(listening).data == "x"
            assert [asked.get("Authorization") for asked in server.asked] == ["Bearer old", "Bearer new"]

    def test_headers_and_urls_are_asked_too(self, serve: Serve) -> None:
        server = serve([request, send(answer("401 x"))], STREAM)
        keys = iter(["old"])
        with source(server.url, headers=lambda: {"X-Api-Key": next(keys, "new")}, backoff=LONG) as listening:
            assert event(listening).data == "x"
        assert [asked.get("X-Api-Key") for asked in server.asked] == ["old", "new"]
        server = serve([request, send(answer("401 x"))], STREAM)
        queries = iter(["old"])
        with source(lambda: f"{server.url}?key={next(queries, 'new')}", backoff=LONG) as listening:
            assert event(listening).data == "x"
        assert [asked.target.partition("=")[2] for asked in server.asked] == ["old", "new"]

    def test_the_same_token_is_refused_for_good(self, serve: Serve) -> None:
        server = serve([request, send(answer("401 x"))])
        asked = count()

        def token() -> str:
            next(asked)
            return "same"

        with source(server.url, bearer_token=token) as listening, pytest.raises(StatusError):
            list(listening)
        assert len(server.peers) == 1 and next(asked) == 2

    def test_a_token_that_changes_each_time_is_tried_once_more_only(self, serve: Serve) -> None:
        server = serve([request, send(answer("401 x"))])
        numbers = count()
        with (
            source(server.url, bearer_token=lambda: f"t{next(numbers)}", backoff=LONG) as listening,
            pytest.raises(StatusError),
        ):
            list(listening)
        assert len(server.peers) == 2

    def test_nor_does_it_hammer_a_server_where_nothing_is_for_good(self, serve: Serve) -> None:
        server = serve([request, send(answer("401 x"))])
        numbers = count()
        with source(server.url, bearer_token=lambda: f"t{next(numbers)}", backoff=LONG, persistent=True) as listening:
            waits = [first(listening, Closed).retry_in for _ in range(2)]
        assert waits[0] == 0 and waits[1] is not None and waits[1] >= 30
        assert len(server.peers) == 2

    def test_it_is_asked_again_after_another_end(self, serve: Serve) -> None:
        server = serve(*[[request, send(answer("401 x"))], [request, send(event_stream(EVENT))]] * 3, QUIET)
        numbers = count()
        with source(server.url, bearer_token=lambda: f"t{next(numbers)}") as listening:
            assert [event(listening).data for _ in range(3)] == ["x"] * 3

    def test_a_callable_that_fails_then_is_asked_again_later(self, serve: Serve) -> None:
        """A token file that is just being written must not end a source for good."""
        server = serve([request, send(answer("401 x"))], STREAM)
        answers = iter(["old", None, "new"])

        def token() -> str:
            found = next(answers)
            if found is None:
                raise OSError("seKret")
            return found

        with source(server.url, bearer_token=token) as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, CredentialsError) and closed.retry_in is not None
            assert "seKret" not in str(closed.error)
            assert event(listening).data == "x"

    def test_not_where_another_origin_refused(self, serve: Serve) -> None:
        """It never saw the token."""
        other = serve([request, send(answer("401 x"))])
        server = serve([request, send(answer("302 x", f"Location: {other.url}"))])
        numbers = count()
        with (
            source(server.url, bearer_token=lambda: f"t{next(numbers)}") as listening,
            pytest.raises(StatusError),
        ):
            list(listening)
        assert len(other.peers) == 1 and next(numbers) == 1


class TestCallableUrl:
    def test_is_asked_at_each_connect_and_never_shown(self, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        server = serve([request, reset], [request, send(answer("503 x"))], STREAM)
        numbers = count()

        def url() -> str:
            return f"{server.url}?token=seKret-{next(numbers)}"

        with source(url) as listening:
            texts = [repr(listening), str(listening.state)]
            assert event(listening).data == "x"
            texts += [repr(listening), str(listening.state)]
            assert listening.state.url == server.url
        assert [asked.target.partition("=")[2] for asked in server.asked] == [f"seKret-{n}" for n in range(3)]
        assert "seKret" not in "".join(texts) + caplog.text and server.place in caplog.text

    def test_of_a_subscriber(self, serve: Serve) -> None:
        server = serve([request, reset], QUIET)
        numbers = count()
        with subscriber(lambda: f"{server.url}?n={next(numbers)}") as listening:
            assert listening.wait(PATIENCE)
            assert listening.state.endpoints[0].url == server.url
        assert [asked.target.partition("=")[2] for asked in server.asked] == ["0", "1"]

    @pytest.mark.parametrize("bad", [OSError("seKret"), "seKret", None, "ftp://seKret/", 5], ids=repr)
    def test_that_fails_is_asked_again(self, bad: Any, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        server = serve(STREAM)
        answers = iter([bad])

        def url() -> str:
            answer = next(answers, server.url)
            if isinstance(answer, Exception):
                raise answer
            return answer

        with source(url) as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, CredentialsError) and "callable given as url" in str(closed.error)
            assert "seKret" not in str(closed.error) + caplog.text + str(listening.state)
            assert event(listening).data == "x"


def test_a_callable_that_gives_what_cannot_be_sent_is_asked_again(serve: Serve) -> None:
    """Headers that were given directly are refused when they are given; see `test_checks`."""
    answers: list[Headers] = [{"Host": "a", "host": "b"}, {"X": "a\nb"}, [("Connection", "close")]]
    server = serve(STREAM)
    with source(server.url, headers=lambda: answers.pop() if answers else {}) as listening:
        for _ in range(3):
            closed = first(listening, Closed)
            assert isinstance(closed.error, CredentialsError) and closed.retry_in is not None
            assert "callable given as headers" in str(closed.error)
        assert event(listening).data == "x"
    assert len(server.peers) == 1, "it connected before it asked"


class TestCleanEnds:
    def test_a_server_that_is_polled_is_asked_after_its_retry_each_time(self, serve: Serve) -> None:
        """`cases/retry-polling.py`: one event, a `retry:`, a clean end."""
        server = serve([request, send(event_stream(b"retry: 100\ndata: x\n\n"))])
        with source(server.url, backoff=Backoff()) as listening:
            waits = [first(listening, Closed).retry_in for _ in range(12)]
        assert all(wait is not None and 0.1 <= wait <= 0.125 for wait in waits)

    def test_without_a_retry_it_is_the_pace_that_tells(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(EVENT))])
        with source(server.url, backoff=Backoff(initial=0.001, maximum=30, healthy_after=10)) as listening:
            waits = [first(listening, Closed).retry_in or 0.0 for _ in range(8)]
        assert max(waits[:7]) <= 0.001 and 9 < waits[7] <= 10.7

    def test_an_idle_stream_that_is_cut_was_healthy(self, serve: Serve) -> None:
        """`cases/idle-is-not-ill.py`: a proxy ends what has nothing to say."""
        for end in (cut, reset):
            server = serve([request, send(CHUNKED), pause(0.3), end])
            with source(server.url, backoff=Backoff(0.01, 30, 0.2)) as listening:
                waits = [first(listening, Closed).retry_in or 0.0 for _ in range(4)]
            assert max(waits) <= 0.01

    @pytest.mark.parametrize("last", [cut, reset, pause(0), send_in_the_clear(b"HTTP/1.1 408 Request Timeout\r\n\r\n")])
    def test_so_was_one_over_tls(self, last: Step, serve: Serve, authority: Authority) -> None:
        """With and without close_notify, and by a proxy that answers in the clear."""
        server = serve([tls(authority.server()), request, send(CHUNKED), pause(0.3), last])
        url = server.url.replace("http", "https")
        with source(url, backoff=Backoff(0.01, 30, 0.2), tls=authority.file) as listening:
            ends = [first(listening, Closed) for _ in range(4)]
        assert max(end.retry_in or 0.0 for end in ends) <= 0.01
        assert all("_ssl.c" not in str(end.error) for end in ends)
