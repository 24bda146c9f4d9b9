"""The log tells recovery as well as failure, at the same level."""

from __future__ import annotations

import logging

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import event, first, source
from tests.support.server import STREAM, Script, answer, event_stream, request, send
from wire_rawsse import Closed

DOWN: Script = [request, send(answer("503 x"))]
ENDS: Script = [request, send(event_stream(b"data: x\n\n"))]
STAYS: Script = STREAM


@pytest.mark.parametrize(
    ("before", "levels"),
    [
        ([], [("INFO", "connected")]),
        ([DOWN], [("WARNING", "answered 503"), ("WARNING", "connected again after 0.")]),
        ([DOWN, DOWN], [("WARNING", "503"), ("WARNING", "503"), ("WARNING", "connected again after 0.")]),
        ([ENDS], [("INFO", "connected"), ("INFO", "ended the stream"), ("INFO", "connected again after 0.")]),
        (
            [ENDS, DOWN],
            [
                *(("INFO", "connected"), ("INFO", "ended the stream"), ("WARNING", "503")),
                ("WARNING", "connected again after"),
            ],
        ),
    ],
)
def test_what_is_logged(
    before: list[Script], levels: list[tuple[str, str]], serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(*before, STAYS)
    with source(server.url) as listening:
        for _ in range(1 + before.count(ENDS)):
            event(listening)
    records = [record for record in caplog.records if record.name == "wire_rawsse"]
    assert [record.levelname for record in records] == [level for level, _ in levels]
    for record, (_, words) in zip(records, levels, strict=True):
        assert words in record.getMessage() and server.place in record.getMessage()


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/", "http://nowhere.invalid/", "/stream/elsewhere"])
def test_an_error_beyond_a_redirect_names_the_url_that_was_asked_for(
    location: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """A program with twenty streams must see which of them led to a place that it was never told of."""
    server = serve([request, send(answer("302 x", f"Location: {location}"))], DOWN)
    with source(server.url) as listening:
        error = first(listening, Closed).error
    assert f"(after a redirect from {server.url})" in str(error)
    assert str(error) in caplog.records[-1].getMessage()
    assert caplog.records[-1].getMessage().count(f"{server.url})") == 1


def test_a_line_names_its_stream_although_a_callable_is_at_fault(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise LookupError

    with source("http://127.0.0.1:1/", bearer_token=fail) as listening:
        first(listening, Closed)
    assert caplog.records[-1].getMessage().startswith("http://127.0.0.1:1/: the callable given as bearer_token raised")


def test_nor_does_it_name_it_twice(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve(DOWN)
    with source(server.url) as listening:
        first(listening, Closed)
    assert caplog.records[-1].getMessage().count(server.url) == 1


def test_a_server_that_is_polled_is_logged_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Two lines for each of two responses a second would be 30 MB a day. A failure in between is told as ever."""
    caplog.set_level(logging.DEBUG)
    polled: Script = [request, send(event_stream(b"retry: 100\ndata: x\n\n"))]
    server = serve(polled, polled, polled, polled, DOWN, polled, STAYS)
    with source(server.url) as listening:
        for _ in range(6):
            event(listening)
    said = [record.getMessage().removeprefix(server.url) for record in caplog.records if record.name == "wire_rawsse"]
    assert said[0] == ": connected"
    assert "(polling)" in said[1] and "503" in said[2] and "connected again" in said[3] and "(polling)" in said[4]
    assert len(said) == 5
