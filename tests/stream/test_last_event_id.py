"""A `Last-Event-ID` given in `headers=` is where to begin, in every form that headers have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import event, first, run_until, source, subscriber
from tests.support.server import (
    OPEN,
    PATIENCE,
    QUIET,
    STREAM,
    Script,
    answer,
    cut,
    event_stream,
    request,
    send,
    stall,
)
from wire_rawsse import EventSource, Opened, StreamSubscriber
from wire_rawsse.errors import InvalidRequestError, StatusError
from wire_rawsse.protocol.request import Headers

FORMS: dict[str, Headers | Callable[[], Headers]] = {
    "mapping": {"Last-Event-ID": "42"},
    "lower case": {"last-event-id": "42", "X-A": "b"},
    "upper case": {"LAST-EVENT-ID": "42"},
    "pairs": [("X-A", "b"), ("Last-Event-Id", "42")],
    "callable": lambda: {"Last-Event-ID": "42"},
    "callable of pairs": lambda: [("last-event-id", "42")],
}
NEXT: Script = [request, send(event_stream(b"retry: 100\nid: 43\ndata: x\n\n"))]


@pytest.fixture(params=FORMS)
def headers(request: pytest.FixtureRequest) -> Headers | Callable[[], Headers]:
    return FORMS[request.param]


def test_is_sent_first_and_then_what_the_stream_says(headers: Headers, serve: Serve) -> None:
    server = serve(NEXT, [request, cut], [request, send(OPEN + b"id\ndata: y\n\n"), cut], [request, stall])
    with source(server.url, headers=headers) as listening:
        assert event(listening).id == "43"
        assert event(listening).id == ""
        run_until(listening, lambda: len(server.asked) == 4)
        assert listening.last_event_id == ""
    assert [asked.get("Last-Event-ID") for asked in server.asked] == ["42", "43", "43", None]


def test_a_subscriber_resumes_from_it(headers: Headers, serve: Serve) -> None:
    server = serve(NEXT, QUIET)
    with subscriber(server.url, headers=headers) as listening:
        while len(server.asked) < 2:
            assert listening.wait(PATIENCE)
    assert [asked.get("Last-Event-ID") for asked in server.asked] == ["42", "43"]


def test_a_subscriber_without_one_sends_none(serve: Serve) -> None:
    """It could only be refused: each connection is a wake, whatever is replayed."""
    server = serve(NEXT, QUIET)
    with subscriber(server.url) as listening:
        while len(server.asked) < 2:
            assert listening.wait(PATIENCE)
    assert [asked.get("Last-Event-ID") for asked in server.asked] == [None, None]


@pytest.mark.parametrize("make", [EventSource, StreamSubscriber])
def test_two_of_them_are_refused(make: type[EventSource] | type[StreamSubscriber]) -> None:
    with pytest.raises(InvalidRequestError, match="last_event_id="):
        make("http://127.0.0.1/", headers={"last-event-id": "1"}, last_event_id="2")
    with pytest.raises(InvalidRequestError, match="last-event-id is given twice"):
        make("http://127.0.0.1/", headers=[("Last-Event-ID", "1"), ("last-event-id", "1")])


def test_an_id_that_was_given_directly_comes_before_one_of_a_callable(serve: Serve) -> None:
    server = serve(STREAM)
    with source(server.url, headers=lambda: {"Last-Event-ID": "1"}, last_event_id="2") as listening:
        assert event(listening).id == "2"
    assert server.asked[0].get("Last-Event-ID") == "2"


@pytest.mark.parametrize(("size", "sent"), [(4096, True), (4097, False), (900_000, False)])
def test_an_id_over_4_kib_is_left_out_and_told(size: int, sent: bool, serve: Serve) -> None:
    name = "7" * size
    server = serve([request, send(event_stream(b"id: %s\ndata: x\n\n" % name.encode()))], QUIET)
    with source(server.url) as listening:
        assert event(listening).id == name
        assert first(listening, Opened).id_left_out is not sent
    assert server.asked[1].get("Last-Event-ID") == (name if sent else None)


def test_its_bytes_count_and_not_its_characters(serve: Serve) -> None:
    server = serve(QUIET)
    with source(server.url, last_event_id="é" * 2049) as listening:
        assert first(listening, Opened).id_left_out
    assert server.asked[0].get("Last-Event-ID") is None


def test_a_subscriber_is_not_locked_out_by_an_id_that_its_server_has_forgotten(serve: Serve) -> None:
    server = serve(
        [request, send(event_stream(b"id: 5\ndata: x\n\n"))],
        [request, send(answer("410 Gone"))],
        [request, send(OPEN + b"id: 6\ndata: x\n\n"), cut],
        QUIET,
    )
    with subscriber(server.url, last_event_id="4") as listening:
        while len(server.asked) < 4:
            listening.wait(PATIENCE)
    assert [asked.get("Last-Event-ID") for asked in server.asked] == ["4", "5", None, "6"]


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "410 Gone", "422 No"])
def test_a_persistent_source_tells_the_gap_and_goes_on(status: str, serve: Serve) -> None:
    server = serve(
        [request, send(event_stream(b"id: 5\ndata: a\n\n"))],
        [request, send(answer(status))],
        [request, send(event_stream(b"data: b\n\nid: 6\ndata: c\n\n"))],
        QUIET,
    )
    with source(server.url, persistent=True) as listening:
        assert first(listening, Opened).id_left_out is False
        assert event(listening).id == "5"
        assert first(listening, Opened).id_left_out is True
        assert (event(listening).id, event(listening).id) == ("", "6")
        assert first(listening, Opened).id_left_out is False
    assert [asked.get("Last-Event-ID") for asked in server.asked] == [None, "5", None, "6"]


def test_a_source_that_is_not_persistent_ends(serve: Serve) -> None:
    server = serve([request, send(answer("410 Gone"))])
    with source(server.url, last_event_id="5") as listening, pytest.raises(StatusError, match="410"):
        listening.next(PATIENCE)
    assert len(server.asked) == 1


def test_an_id_is_not_sent_to_another_origin_and_the_gap_is_told(serve: Serve) -> None:
    other = serve(STREAM)
    server = serve([request, send(answer("307 x", f"Location: {other.url}"))])
    with source(server.url, last_event_id="5") as listening:
        assert first(listening, Opened).id_left_out is True
    assert server.asked[0].get("Last-Event-ID") == "5" and other.asked[0].get("Last-Event-ID") is None
