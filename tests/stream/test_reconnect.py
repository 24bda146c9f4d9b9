"""From one connection to the next: ids that are sent on, delays that servers ask for, callables asked again."""

from __future__ import annotations

import email.utils
import time

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import LONG, end, event, first, run_until, source, subscriber
from tests.support.server import (
    OPEN,
    PATIENCE,
    QUIET,
    STREAM,
    Step,
    answer,
    cut,
    event_stream,
    pause,
    request,
    reset,
    send,
    stall,
)
from wire_rawsse import Backoff, Closed, Opened
from wire_rawsse.errors import CredentialsError
from wire_rawsse.protocol.request import Headers

LIVED = [request, send(OPEN), pause(0.3), send(b"data: x\n\n")]
"""A stream that is healthy: it lives longer than `healthy_after`, and still speaks."""


class TestLastEventId:
    def test_is_sent_on(self, serve: Serve) -> None:
        server = serve(
            [request, send(event_stream(b"id: 1\ndata: a\n\nid: 2\n\n"))],
            [request, send(event_stream(b"data: b\n\nid: 3\ndata: dropped, as is its id"))],
            [request, send(OPEN + b"id\ndata: c\n\n"), cut],
            QUIET,
        )
        with source(server.url) as listening:
            assert listening.last_event_id == ""
            assert (event(listening).id, listening.last_event_id) == ("1", "2")
            assert (event(listening).id, listening.last_event_id) == ("2", "2")
            assert (event(listening).id, listening.last_event_id) == ("", "")
            first(listening, Opened)
        assert [asked.get("Last-Event-ID") for asked in server.asked] == [None, "2", "2", None]

    def test_where_to_resume(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(server.url, last_event_id="41") as listening:
            assert event(listening).id == "41"
        assert server.asked[0].get("Last-Event-ID") == "41"

    def test_is_sent_as_utf_8(self, serve: Serve) -> None:
        server = serve([request, send(event_stream("id: é€\ndata: x\n\n".encode()))], [request, stall])
        with source(server.url) as listening:
            assert event(listening).id == "é€"
            run_until(listening, lambda: len(server.asked) == 2)
        assert "\r\nLast-Event-ID: é€\r\n".encode() in server.asked[1].raw

    @pytest.mark.parametrize(
        "last_event_id", ["a\x01b", "\x1b", " outer", "outer ", "\ttab", "del\x7f", "\x0b"], ids=repr
    )
    def test_one_that_http_cannot_carry_is_left_out_and_told_of(self, last_event_id: str, serve: Serve) -> None:
        """The stream goes on, and the next id that can be carried is."""
        server = serve(
            [request, send(event_stream(f"id: {last_event_id}\ndata: a\n\n".encode()))],
            [request, send(event_stream(b"data: b\n\nid: 7\ndata: c\n\n"))],
            QUIET,
        )
        with source(server.url) as listening:
            assert first(listening, Opened).id_left_out is False
            assert event(listening).id == last_event_id
            assert first(listening, Opened).id_left_out is True
            assert (event(listening).id, event(listening).id) == (last_event_id, "7")
            assert first(listening, Opened).id_left_out is False
        assert [asked.get("Last-Event-ID") for asked in server.asked] == [None, None, "7"]

    def test_one_that_was_given_and_cannot_be_carried(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(server.url, last_event_id="a\r\nX: y") as listening:
            assert first(listening, Opened).id_left_out
            assert event(listening).id == "a\r\nX: y"
        assert b"X: y" not in server.asked[0].raw

    def test_an_id_with_nul_is_ignored(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b"id: 1\n\nid: a\0b\ndata: x\n\n"))], [request, stall])
        with source(server.url) as listening:
            assert event(listening).id == "1"
            run_until(listening, lambda: len(server.asked) == 2)
        assert server.asked[1].get("Last-Event-ID") == "1"

    def test_a_subscriber_sends_it_too(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b"id: 5\ndata: x\n\n"))], QUIET)
        with subscriber(server.url, last_event_id="4") as listening:
            while len(server.asked) < 2:
                assert listening.wait(PATIENCE)
        assert [asked.get("Last-Event-ID") for asked in server.asked] == ["4", "5"]

    def test_survives_a_connection_that_fails(self, serve: Serve) -> None:
        server = serve(
            [request, send(OPEN + b"id: 1\ndata: a\n\n"), cut],
            [request, reset],
            [request, send(answer("503 x"))],
            [request, send(OPEN + b"data: b\n\n"), stall],
        )
        with source(server.url) as listening:
            assert [event(listening).data for _ in range(2)] == ["a", "b"]
        assert [asked.get("Last-Event-ID") for asked in server.asked] == [None, "1", "1", "1"]


class TestDelays:
    def delay(self, serve: Serve, *steps: Step, backoff: Backoff = LONG) -> float:
        closed = end(serve([*steps]).url, backoff=backoff)
        assert closed.retry_in is not None
        return closed.retry_in

    def test_a_healthy_stream_that_ends_cleanly_comes_back_within_a_second(self, serve: Serve) -> None:
        assert self.delay(serve, *LIVED, cut) < 1.0

    def test_one_that_breaks_waits_a_jittered_initial(self, serve: Serve) -> None:
        assert 20 <= self.delay(serve, *LIVED, reset) <= 40

    def test_one_that_ends_cleanly_at_once_waits_too(self, serve: Serve) -> None:
        """Connected is not healthy: or a server that answers 200 and closes would be hammered."""
        assert 20 <= self.delay(serve, request, send(event_stream(b"data: x\n\n"))) <= 40

    def test_it_grows_and_is_reset_by_a_healthy_stream(self, serve: Serve) -> None:
        server = serve(
            *[[request, reset]] * 4,
            [*LIVED, reset],
            [request, reset],
        )
        backoff = Backoff(initial=0.01, maximum=0.4, healthy_after=0.05)
        delays: list[float] = []
        with source(server.url, backoff=backoff) as listening:
            for item in listening.items():
                if isinstance(item, Closed):
                    assert item.retry_in is not None
                    delays.append(item.retry_in)
                    if len(delays) == 6:
                        break
        for number, (low, high) in enumerate([(5, 10), (10, 20), (20, 40), (40, 80), (5, 10), (10, 20)]):
            assert low <= delays[number] * 1000 <= high

    @pytest.mark.parametrize(
        ("field", "low", "high"),
        [(b"retry: 3000\n", 3.0, 4.5), (b"retry: 1\n", 0.1, 0.15), (b"retry: 99999999999\n", 3600, 5400)],
    )
    def test_retry_takes_the_place_of_initial_and_is_a_minimum(
        self, field: bytes, low: float, high: float, serve: Serve
    ) -> None:
        """Held between 0.1 s and 1 h; also after a clean close of a healthy stream."""
        steps = [request, send(event_stream(field + b"data: x\n\n"))]
        assert low <= self.delay(serve, *steps) <= high
        healthy = Backoff(initial=0.001, maximum=0.001, healthy_after=0)
        assert low <= self.delay(serve, *steps, backoff=healthy) <= high

    def test_retry_is_kept(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b"retry: 150\ndata: x\n\n"))], [request, reset])
        with source(server.url) as listening:
            before = listening.retry_ms
            event(listening)
            assert before is None
            assert listening.retry_ms == 150
            first(listening, Closed)
            second = first(listening, Closed, lambda closed: closed.error is not None)
            assert second.retry_in is not None and second.retry_in >= 0.15
            assert listening.retry_ms == 150

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_in_seconds(self, status: int, serve: Serve) -> None:
        steps = [request, send(answer(f"{status} x", "Retry-After: 120"))]
        assert 120 <= self.delay(serve, *steps) <= 180

    def test_retry_after_as_a_date(self, serve: Serve) -> None:
        then = email.utils.formatdate(time.time() + 120, usegmt=True)
        steps = [request, send(answer("503 x", f"Retry-After: {then}"))]
        assert 115 <= self.delay(serve, *steps) <= 180

    @pytest.mark.parametrize("value", ["-1", "soon", "", "Sat, 01 Jan 2000 00:00:00 GMT", "1e9"])
    def test_a_retry_after_that_says_nothing(self, value: str, serve: Serve) -> None:
        steps = [request, send(answer("503 x", f"Retry-After: {value}"))]
        assert 20 <= self.delay(serve, *steps) <= 40

    def test_retry_after_on_other_statuses(self, serve: Serve) -> None:
        assert self.delay(serve, request, send(answer("500 x", "Retry-After: 1000"))) <= 40

    def test_at_most_an_hour(self, serve: Serve) -> None:
        steps = [request, send(answer("503 x", "Retry-After: 99999999"))]
        assert 3600 <= self.delay(serve, *steps) <= 5400

    def test_the_delay_is_kept(self, serve: Serve) -> None:
        server = serve([request, send(answer("503 x"))], QUIET)
        with source(server.url, backoff=Backoff(initial=0.4, maximum=0.4)) as listening:
            closed = first(listening, Closed)
            began = time.monotonic()
            first(listening, Opened)
            assert closed.retry_in is not None
            assert time.monotonic() - began >= closed.retry_in - 0.05


class TestCallables:
    def test_are_asked_at_each_connect(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b"data: x\n\n"))])
        tokens = iter(["one", "two\n", "three"])
        counts = iter("123")

        def headers() -> Headers:
            return {"X-Count": next(counts)}

        with source(server.url, bearer_token=lambda: next(tokens), headers=headers) as listening:
            for _ in range(3):
                event(listening)
        asked = [(asked.get("Authorization"), asked.get("X-Count")) for asked in server.asked[:3]]
        assert asked == [("Bearer one", "1"), ("Bearer two", "2"), ("Bearer three", "3")]

    @pytest.mark.parametrize("name", ["bearer_token", "headers"])
    def test_one_that_raises_is_retried(self, name: str, serve: Serve) -> None:
        server = serve(STREAM)
        faults = iter([OSError("no seKret"), KeyError("seKret")])

        def ask() -> object:
            for fault in faults:
                raise fault
            return "t0ken" if name == "bearer_token" else {"Authorization": "Bearer t0ken"}

        with source(server.url, **{name: ask}) as listening:
            for fault in ("OSError", "KeyError"):
                closed = first(listening, Closed)
                assert isinstance(closed.error, CredentialsError) and closed.retry_in is not None
                assert fault in str(closed.error) and "seKret" not in str(closed.error)
            assert event(listening).data == "x"
        assert len(server.peers) == 1, "it was connected to without credentials"
        assert server.asked[0].get("Authorization") == "Bearer t0ken"

    @pytest.mark.parametrize("bad", ["seKret\r\nX: y", "", None])
    def test_one_that_returns_something_bad_is_retried(self, bad: str, serve: Serve) -> None:
        server = serve(QUIET)
        tokens = iter([bad, "good"])
        with subscriber(server.url, bearer_token=lambda: next(tokens)) as listening:
            assert listening.wait(PATIENCE)
            error = listening.state.last_error
        assert error is not None and "bearer_token" in error and "seKret" not in error
        assert [asked.get("Authorization") for asked in server.asked] == ["Bearer good"]

    def test_a_new_token_after_a_refusal(self, serve: Serve) -> None:
        """wire may rotate a token at any time; a subscriber asks again after a 401."""
        server = serve([request, send(answer("401 x"))], QUIET)
        tokens = iter(["old"])
        quick = Backoff(initial=0.01, maximum=0.02)
        with subscriber(server.url, bearer_token=lambda: next(tokens, "new"), backoff=quick) as listening:
            assert listening.wait(PATIENCE)
            assert listening.state.state == "connected"
        assert [asked.get("Authorization") for asked in server.asked] == ["Bearer old", "Bearer new"]

    def test_it_is_not_asked_where_a_header_has_the_authorization(self, serve: Serve) -> None:
        server = serve(STREAM)
        with source(server.url, bearer_token=_never, headers={"Authorization": "Basic eA=="}) as listening:
            event(listening)
        assert server.asked[0].get("Authorization") == "Basic eA=="


def _never() -> str:
    raise AssertionError("asked")


def test_the_number_of_connections_is_bounded_whatever_the_server_does(serve: Serve) -> None:
    """Eight in a burst, and then one in 0.75 × maximum. The backoff alone would allow twenty in the first second."""
    server = serve([request, send(event_stream(b""))])
    with source(server.url, backoff=Backoff(initial=0.000001, maximum=20, healthy_after=20)) as listening:
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            listening.next(0.2)
    assert len(server.peers) <= 8


def test_the_repr_says_where_it_stands(serve: Serve) -> None:
    server = serve(STREAM)
    with source(f"http://user:seKret@{server.place}/x?token=seKret") as listening:
        assert repr(listening) == f"<EventSource http://{server.place}/x idle>"
        event(listening)
        assert repr(listening) == f"<EventSource http://{server.place}/x streaming>"
    assert repr(listening) == f"<EventSource http://{server.place}/x closed>"
