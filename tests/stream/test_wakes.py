"""Wakes of a subscriber, and data that wakes nobody."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import subscriber, wakes
from tests.support.server import (
    CHUNKED,
    LAST_CHUNK,
    OPEN,
    PATIENCE,
    Peer,
    Step,
    answer,
    byte_by_byte,
    chunk,
    cut,
    drip,
    event_stream,
    pause,
    request,
    reset,
    send,
    stall,
    wait_for,
)
from wire_rawsse import Backoff, StreamSubscriber
from wire_rawsse.errors import ClosedError

QUIET = 0.15
"""Seconds in which a wake that is wrong would have come: the server has sent what might cause it before."""


def after(event: threading.Event, *steps: Step) -> list[Step]:
    """A stream on which nothing happens before `event`."""
    return [request, send(OPEN), wait_for(event), *steps, stall]


def never(listening: StreamSubscriber, condition: Callable[[], bool]) -> None:
    """No wake until something has come true."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it has not come true"
        assert not listening.wait(0.01)


class TestAnEvent:
    @pytest.mark.parametrize(
        "steps",
        [
            [send(b"data: x\n\n")],
            [send(b"data: x\n")],  # Even before the blank line: it is a hint to pull, and sooner is better.
            [send(b"data\n\n")],
            [send(b"data:x\r\n\r\n")],
            [send(b"data:x\r\r")],
            [send(b"id: 7\nevent: t\ndata: x\n\n")],
            [send(b": hi\n\ndata: x\n\n: ho\n")],
            [send(b"\xef\xbb\xbfdata: x\n\n")],
            [send(b"da"), pause(0.05), send(b"ta: x\n\n")],
            [send(b"data"), pause(0.05), send(b": x\n\n")],
            [send(b": hi\nd"), pause(0.05), send(b"ata: x\n\n")],
            [byte_by_byte(b"id: 7\ndata: x\n\n")],
        ],
    )
    def test_wakes(self, steps: list[Step], serve: Serve) -> None:
        go = threading.Event()
        server = serve(after(go, *steps))
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE), "the wake for the connection"
            assert not listening.wait(0.02)
            go.set()
            assert listening.wait(PATIENCE)

    @pytest.mark.parametrize("body", [b"da", b"data: "])
    def test_wakes_over_two_chunks(self, body: bytes, serve: Serve) -> None:
        go = threading.Event()
        rest = b"data: x\n\n".removeprefix(body)
        steps = [wait_for(go), send(chunk(body)), pause(0.05), send(chunk(rest)), stall]
        server = serve([request, send(CHUNKED), *steps])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            go.set()
            assert listening.wait(PATIENCE)

    @pytest.mark.parametrize(
        "noise",
        [b": phyllis: still on the line\n\n", b"id: 7\n\n", b"retry: 9\n\n", b"event: t\n\n", b"\n", b"x: data\n"],
    )
    def test_nothing_else_does(self, noise: bytes, serve: Serve) -> None:
        go = threading.Event()
        server = serve(after(go, send(noise * 3)))
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            go.set()
            never(listening, lambda: listening.state.last_byte_at is not None)
            assert not listening.wait(QUIET)
            assert listening.state.last_event_at is None

    def test_many_at_once_are_one_wake(self, serve: Serve) -> None:
        go = threading.Event()
        server = serve(after(go, send(b"data: x\n\n" * 5000)))
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            go.set()
            assert listening.wait(PATIENCE)
            assert wakes(listening, QUIET) < 50, "45,000 bytes are a few receptions"

    def test_while_nobody_waits_they_become_one(self, serve: Serve) -> None:
        sent = threading.Event()

        def note(peer: Peer) -> None:
            sent.set()

        ten = [step for _ in range(10) for step in (send(b"data: x\n\n"), pause(0.005))]
        server = serve([request, send(OPEN), *ten, note, stall])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            assert sent.wait(PATIENCE)
            assert listening.wait(PATIENCE)
            assert not listening.wait(QUIET)

    def test_and_none_is_lost_between_two_waits(self, serve: Serve) -> None:
        server = serve([request, send(OPEN), drip(b"data: x\n\n", 0.01)])
        with subscriber(server.url) as listening:
            for _ in range(10):
                assert listening.wait(PATIENCE)
                time.sleep(0.02)


class TestAConnection:
    def test_wakes_once(self, serve: Serve) -> None:
        server = serve([request, send(OPEN), stall])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            assert wakes(listening, QUIET) == 0

    def test_with_its_first_event_in_the_same_read_wakes_once(self, serve: Serve) -> None:
        server = serve([request, send(OPEN + b"data: x\n\n" * 100), stall])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            assert wakes(listening, QUIET) == 0
            assert listening.state.last_event_at is not None

    def test_each_one_wakes(self, serve: Serve) -> None:
        """Events between two of them are never replayed."""
        server = serve(
            *[[request, send(OPEN), pause(0.02), end] for end in (cut, reset, cut)], [request, send(OPEN), stall]
        )
        with subscriber(server.url) as listening:
            for number in range(4):
                assert listening.wait(PATIENCE)
                assert len(server.peers) == number + 1
            assert wakes(listening, QUIET) == 0
            assert listening.state.reconnect_count == 3

    def test_a_stream_that_is_over_with_its_head_wakes_too(self, serve: Serve) -> None:
        server = serve([request, send(event_stream(b""))], [request, send(CHUNKED + LAST_CHUNK)], [request, stall])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            assert listening.wait(PATIENCE)
            assert not listening.wait(QUIET)

    def test_garbage_after_an_event_takes_no_wake_away(self, serve: Serve) -> None:
        go = threading.Event()
        steps = [wait_for(go), send(chunk(b"data: x\n\n") + b"garbage\r\n"), stall]
        server = serve([request, send(CHUNKED), *steps], [request, stall])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            go.set()
            assert listening.wait(PATIENCE)
            assert not listening.wait(QUIET)


LINES = b"data: x\n\n" * 20


@pytest.mark.parametrize(
    "steps",
    [
        [send(answer("503 x", "Content-Type: text/event-stream", body=LINES))],
        [send(answer("404 x", "Content-Type: text/event-stream", body=LINES))],
        [send(answer("206 x", "Content-Type: text/event-stream", body=LINES))],
        [send(b"HTTP/1.1 500 x\r\n\r\n"), drip(LINES, 0.01)],
        [send(answer("200 OK", "Content-Type: text/html", body=LINES))],
        [send(answer("200 OK", body=LINES))],
        [send(OPEN.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + LINES)],
        [send(LINES)],
        [send(b"HTTP/1.1 200 OK\r\ndata: x\r\ndata\r\n\r\n" + LINES)],
        [send(b"HTTP/1.1 103 Early Hints\r\ndata: x\r\n\r\n" * 10), stall],
        [send(b"HTTP/1.1 200 OK\r\ndata: x\r\n"), stall],
        [reset],
        [cut],
    ],
)
def test_no_other_body_wakes(steps: list[Step], serve: Serve) -> None:
    """Only what a 200 event stream brings is owed a wake, and a captive portal's page is none."""
    server = serve([request, *steps])
    late = Backoff(initial=60, maximum=60)
    with subscriber(server.url, backoff=late) as listening:
        never(listening, lambda: bool(server.asked))
        assert not listening.wait(QUIET)
        assert listening.state.last_wake_at is None


class TestWait:
    def test_returns_false_when_the_time_is_up(self, serve: Serve) -> None:
        server = serve([request, send(OPEN), stall])
        with subscriber(server.url) as listening:
            assert listening.wait(PATIENCE)
            for seconds in (0, 0.05, 0.2):
                began = time.monotonic()
                assert listening.wait(seconds) is False
                assert time.monotonic() - began >= seconds

    def test_zero_never_waits_and_still_gets_there(self, serve: Serve) -> None:
        """A host that only ever looks in connects as well."""
        server = serve([request, send(OPEN), stall])
        with subscriber(f"http://localhost:{server.port}/") as listening:
            until = time.monotonic() + PATIENCE
            while not listening.wait(0):
                assert time.monotonic() < until
                time.sleep(0.001)

    def test_after_close_it_raises(self, serve: Serve) -> None:
        listening = subscriber(serve([request, send(OPEN), stall]).url)
        assert listening.wait(PATIENCE)
        listening.close()
        listening.close()
        with pytest.raises(ClosedError):
            listening.wait(0)
        assert listening.state.phase == "closed"

    def test_close_calls_off_the_next_attempt(self, serve: Serve) -> None:
        listening = subscriber(serve([request, reset]).url, backoff=Backoff(initial=60.0, maximum=60.0))
        until = time.monotonic() + PATIENCE
        while listening.state.phase != "backing off":
            assert time.monotonic() < until
            listening.wait(0.01)
        assert listening.state.next_attempt_in is not None
        listening.close()
        state = listening.state
        assert (state.phase, state.next_attempt_in) == ("closed", None)

    def test_the_state_tells_it_all(self, serve: Serve) -> None:
        go = threading.Event()
        server = serve(after(go, send(b"data: x\n\n")))
        began = time.time()
        with subscriber(f"http://user:seKret@{server.place}/x?t=seKret", bearer_token="t0ken") as listening:
            before = listening.state
            assert (before.state, before.phase, before.last_byte_at) == ("connecting", "idle", None)
            assert listening.wait(PATIENCE)
            go.set()
            assert listening.wait(PATIENCE)
            assert not listening.wait(QUIET)
            state = listening.state
            assert (state.state, state.phase, state.reconnect_count) == ("connected", "streaming", 0)
            for moment in (state.since, state.last_byte_at, state.last_wake_at, state.last_event_at):
                assert moment is not None and began - 1 <= moment <= time.time() + 1
            [endpoint] = state.endpoints
            assert endpoint.url == f"http://{server.place}/x"
            assert "seKret" not in repr(state) + repr(listening) and "t0ken" not in repr(state) + repr(listening)


def test_an_event_of_any_size_costs_no_memory(serve: Serve) -> None:
    piece = b"x" * (1 << 16)

    def huge(peer: Peer) -> None:
        for _ in range(512):  # 32 MiB in one line.
            peer.sock.sendall(piece)

    done = threading.Event()
    server = serve([request, send(OPEN + b"data: "), huge, lambda peer: done.set(), send(b"\n\n"), stall])
    with subscriber(server.url) as listening:
        assert listening.wait(PATIENCE)
        tracemalloc.start()
        try:
            until = time.monotonic() + PATIENCE
            while not done.is_set():
                assert time.monotonic() < until
                listening.wait(0.01)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 2 << 20
