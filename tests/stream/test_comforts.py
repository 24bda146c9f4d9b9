"""Small things that a user looks for first: an event as JSON, why `wait` woke, what `items()` tells of connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import source, subscriber
from tests.support.server import EVENT, OPEN, QUIET, STREAM, event_stream, request, reset, send, wait_for
from wire_rawsse import Backoff, Closed, Event, Opened, StreamSubscriber
from wire_rawsse.aio import AsyncStreamSubscriber


def test_an_event_as_json() -> None:
    assert Event("message", '{"a": [1, "é"]}', "").json() == {"a": [1, "é"]}
    with pytest.raises(ValueError, match="Expecting value"):
        Event("message", "no JSON", "").json()


def why(listening: StreamSubscriber | AsyncStreamSubscriber) -> str | None:
    return listening.wait_reason


@pytest.fixture
def script(serve: Serve) -> tuple[str, Callable[[], None], Callable[[], None]]:
    """A server with two connections: the first sends an event and is reset, each when the test says so."""
    post, end = threading.Event(), threading.Event()
    server = serve(
        [request, send(OPEN), wait_for(post), send(EVENT), wait_for(end), reset],
        QUIET,
    )
    return server.url, post.set, end.set


def test_why_wait_returned(script: tuple[str, Callable[[], None], Callable[[], None]]) -> None:
    url, post, end = script
    with subscriber(url) as listening:
        assert why(listening) is None
        assert listening.wait(20) is True
        assert why(listening) == "reconnect"
        assert listening.wait(0.05) is False
        assert why(listening) is None
        post()
        assert listening.wait(20)
        assert (why(listening), why(listening)) == ("event", "event")
        end()
        assert listening.wait(20)
        assert why(listening) == "reconnect"
        assert listening.wait(0.05) is False
        assert why(listening) is None


def test_a_connection_and_an_event_at_once_are_a_reconnect(serve: Serve) -> None:
    server = serve(STREAM)
    with subscriber(server.url) as listening:
        assert listening.wait(20) and why(listening) == "reconnect"


def test_why_wait_returned_in_asyncio(script: tuple[str, Callable[[], None], Callable[[], None]]) -> None:
    url, post, end = script

    async def run() -> list[str | None]:
        reasons: list[str | None] = []
        backoff = Backoff(initial=0.01, maximum=0.01)
        async with AsyncStreamSubscriber(url, backoff=backoff) as listening:
            reasons.append(why(listening))
            for step in (None, post, end):
                if step is not None:
                    step()
                assert await listening.wait(20)
                reasons.append(why(listening))
            assert not await listening.wait(0.05)
            reasons.append(why(listening))
        return reasons

    assert asyncio.run(run()) == [None, "reconnect", "event", "reconnect", None]


def test_items_tell_of_connections(serve: Serve) -> None:
    """The purpose of on_open and on_close in other libraries."""
    server = serve([request, send(event_stream(EVENT))], STREAM)
    kinds = []
    with source(server.url) as listening:
        for item in listening.items():
            kinds.append(type(item))
            if kinds.count(Event) == 2:
                break
    assert kinds == [Opened, Event, Closed, Opened, Event]
