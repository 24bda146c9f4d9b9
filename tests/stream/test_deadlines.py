"""Every clock again, with real sockets and real time: each runs out, says its name, and not before its time.

How long after its time is not asserted here: a test that shares its machine cannot know. `test_clocks` is exact.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import has_bare_threads
from tests.support.fixtures import Serve
from tests.support.listen import end, event, first, source, subscriber
from tests.support.server import (
    CHUNKED,
    OPEN,
    PATIENCE,
    QUIET,
    STREAM,
    Step,
    answer,
    chunk,
    drip,
    drip_for,
    request,
    send,
    stall,
)
from wire_rawsse import Closed, Timeouts
from wire_rawsse.errors import ConnectTimeout, DeadlineError, RateTimeout, ReadTimeout, ResponseTimeout

SHORT = 0.3


def timeouts(**short: float) -> Timeouts:
    clocks: dict[str, Any] = {"connect": PATIENCE, "response": PATIENCE, "read": PATIENCE, "min_rate": 0, **short}
    return Timeouts(**clocks)


def runs_out(url: str, seconds: float = SHORT, **short: float) -> DeadlineError:
    began = time.monotonic()
    closed = end(url, timeouts=timeouts(**short))
    assert time.monotonic() - began >= seconds
    assert isinstance(closed.error, DeadlineError) and closed.retry_in is not None
    assert isinstance(closed.error, TimeoutError)
    return closed.error


@pytest.fixture
def hanging_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that never answers, and what it was asked."""
    real = socket.getaddrinfo
    asked: list[str] = []
    over = threading.Event()

    def hang(host: str, *rest: Any, **named: Any) -> object:
        if named.get("flags") == socket.AI_NUMERICHOST:
            return real(host, *rest, **named)
        asked.append(host)
        assert over.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "over")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield asked
    over.set()


class TestConnect:
    def test_a_name_that_hangs(self, hanging_names: list[str]) -> None:
        error = runs_out("http://relay.example/", connect=SHORT)
        assert isinstance(error, ConnectTimeout)
        assert (error.clock, error.seconds, error.phase) == ("connect", SHORT, "resolving")
        assert "relay.example" in str(error) and "connect=0.3 s" in str(error)

    def test_one_thread_is_left_behind_however_often_it_is_retried(self, hanging_names: list[str]) -> None:
        with source("http://relay.example/", timeouts=timeouts(connect=0.02)) as listening:
            for _ in range(5):
                assert isinstance(first(listening, Closed).error, ConnectTimeout)
            assert has_bare_threads(1)
        assert hanging_names == ["relay.example"]

    def test_and_one_for_each_endpoint(self, hanging_names: list[str]) -> None:
        with ExitStack() as stack:
            for number in range(3):
                one = stack.enter_context(subscriber("http://relay.example/", timeouts=timeouts(connect=0.02)))
                assert not one.wait(0.1 + number * 0.01)
            assert has_bare_threads(3)

    def test_a_numeric_host_does_not_care(self, hanging_names: list[str], serve: Serve) -> None:
        with source(serve(STREAM).url) as listening:
            event(listening)
        assert hanging_names == []

    def test_it_comes_back_once_the_resolver_does(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        server = serve(STREAM)
        real = socket.getaddrinfo
        go = threading.Event()

        def slow(host: str, *rest: Any, **named: Any) -> object:
            if host == "relay.example" and named.get("flags") != socket.AI_NUMERICHOST:
                assert go.wait(PATIENCE)
                host = "127.0.0.1"
            return real(host, *rest, **named)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with source(f"http://relay.example:{server.port}/", timeouts=timeouts(connect=0.3)) as listening:
            assert isinstance(first(listening, Closed).error, ConnectTimeout)
            go.set()
            assert event(listening).data == "x"

    def test_an_address_that_swallows(self) -> None:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(64):
                filler = stack.enter_context(socket.socket())
                filler.settimeout(0.2)
                try:
                    filler.connect(listener.getsockname())
                except TimeoutError:
                    break
            else:
                pytest.skip("this system answers SYNs although the queue is full")
            error = runs_out(f"http://127.0.0.1:{listener.getsockname()[1]}/", connect=SHORT)
        assert isinstance(error, ConnectTimeout) and error.phase == "connecting"


class TestResponse:
    @pytest.mark.parametrize(
        "steps",
        [
            [stall],
            [request, stall],
            [request, send(b"HTTP/1.1 200 OK\r\n"), stall],
            [request, send(b"HTTP/1.1 200 OK\r\n"), drip(b"X: y\r\n", 0.02)],
            [request, drip(b"HTTP/1.1 102 Processing\r\n\r\n", 0.02)],
        ],
    )
    def test_no_whole_head(self, steps: list[Step], serve: Serve) -> None:
        server = serve(steps)
        error = runs_out(server.url, response=SHORT)
        assert isinstance(error, ResponseTimeout)
        assert (error.clock, error.seconds, error.phase) == ("response", SHORT, "head")
        assert server.place in str(error) and "response=0.3 s" in str(error)

    def test_a_server_that_takes_no_request(self, serve: Serve) -> None:
        server = serve([lambda peer: peer.server.closing.wait(PATIENCE) and None])  # type: ignore[list-item]  # its value is not used
        began = time.monotonic()
        with source(server.url, method="POST", body=b"x" * (32 << 20), timeouts=timeouts(response=SHORT)) as listening:
            closed = first(listening, Closed)
        assert isinstance(closed.error, ResponseTimeout)
        assert time.monotonic() - began >= SHORT


class TestRead:
    @pytest.mark.parametrize(
        "steps",
        [
            [send(OPEN), stall],
            [send(OPEN + b"data: x\n\n"), stall],
            [send(OPEN + b"data: unfinished"), stall],
            [send(CHUNKED + chunk(b": hi\n")), stall],
            [send(CHUNKED + b"5;"), drip(b"x", 0.02)],
            [send(CHUNKED + chunk(b": hi\n") + b"0\r\n"), drip(b"X: y\r\n", 0.02)],
            [send(CHUNKED), drip(b"0", 0.1)],
        ],
        ids=["after the head", "after an event", "in a line", "in chunks", "extension", "trailer", "size"],
    )
    def test_no_body_byte(self, steps: list[Step], serve: Serve) -> None:
        server = serve([request, *steps])
        error = runs_out(server.url, read=SHORT)
        assert isinstance(error, ReadTimeout)
        assert (error.clock, error.seconds, error.phase) == ("read", SHORT, "streaming")
        assert server.place in str(error) and "read=0.3 s" in str(error)

    def test_any_body_byte_is_life(self, serve: Serve) -> None:
        """Twice as long as silence may last, at a pace that even a busy machine keeps."""
        server = serve([request, send(OPEN), drip_for(3, b"x", 0.02), send(b"\n\ndata: end\n\n"), stall])
        with source(server.url, timeouts=timeouts(read=1.5)) as listening:
            for item in listening.items():
                assert not isinstance(item, Closed), item
                if getattr(item, "data", "") == "end":
                    break

    def test_a_subscriber_notices_as_well(self, serve: Serve) -> None:
        server = serve(QUIET)
        with subscriber(server.url, timeouts=timeouts(read=SHORT)) as listening:
            assert listening.wait(PATIENCE)
            began = time.monotonic()
            assert listening.wait(PATIENCE), "the wake for the reconnect"
            assert time.monotonic() - began >= SHORT - 0.1
            state = listening.state
        assert state.reconnect_count == 1
        assert state.last_error is not None and "read=0.3 s" in state.last_error

    def test_a_consumer_that_is_slow_is_not_a_server_that_is_dead(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + b"data: x\n\n"), drip(b": hi\n", 0.05)])
        with source(server.url, timeouts=timeouts(read=SHORT)) as listening:
            event(listening)
            time.sleep(3 * SHORT)
            assert listening.next(0) is None
            assert listening.next(SHORT / 4) is None
        assert len(server.peers) == 1


class TestMinRate:
    @pytest.mark.parametrize("head", [OPEN, OPEN + b"data: "])
    def test_a_line_that_drips(self, head: bytes, serve: Serve) -> None:
        server = serve([request, send(head), drip(b"x", 0.02)])
        error = runs_out(server.url, read=SHORT, min_rate=10_000)
        assert isinstance(error, RateTimeout)
        assert (error.clock, error.seconds, error.phase) == ("min_rate", 10_000, "streaming")
        assert server.place in str(error)

    def test_zero_turns_it_off(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + b"data: "), drip_for(3, b"x", 0.02), send(b"\n\n"), stall])
        with source(server.url, timeouts=timeouts(read=1.5, min_rate=0)) as listening:
            assert set(event(listening).data) == {"x"}

    def test_whole_lines_never_trip_it(self, serve: Serve) -> None:
        server = serve([request, send(OPEN), drip_for(3, b": hi\n", 0.05), send(b"data: x\n\n"), stall])
        with source(server.url, timeouts=timeouts(read=1.5, min_rate=10**9)) as listening:
            assert event(listening).data == "x"


def test_the_next_connection_has_clocks_of_its_own(serve: Serve) -> None:
    server = serve([request, stall], [request, send(answer("503 x"))], STREAM)
    with source(server.url, timeouts=timeouts(response=SHORT)) as listening:
        assert isinstance(first(listening, Closed).error, ResponseTimeout)
        assert event(listening).data == "x"
