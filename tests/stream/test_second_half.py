"""The two halves of a wake, counted in calls: up to the return of `run`, and from the next `run` to its sleep."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import subscriber
from tests.support.server import CHUNKED, PATIENCE, chunk, request, stall
from wire_rawsse import EventSource

MOST_CALLS = 20
"""Of Python functions, resumed generators included. A call costs little in warm caches; a daemon wakes in cold ones."""
EVENT = b'data: {"event_id": "0123456789abcdef", "kind": 1}\n\n'


def calls_until_sleep(wait: Callable[[], object]) -> list[str]:
    """The Python functions that `wait` calls inside of the loop's `run` before it polls."""
    called: list[str] = []
    polled = False

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal polled
        if event == "c_call" and argument.__name__ == "poll":
            polled = True
        elif event == "call" and not polled:
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        wait()
    finally:
        sys.setprofile(None)
    assert polled
    return called[called.index("run") + 1 :]


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="only epoll is polled without a function of ours")
def test_the_first_half_of_a_wake_is_four_calls_of_c(serve: Serve) -> None:
    """Between the poll and the return of `run` there is no other Python frame."""
    server = serve([request, lambda peer: peer.sock.sendall(CHUNKED), stall])
    called: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument.__name__ == "poll":
            called.clear()
        elif event == "c_call":
            called.append(argument.__name__)
        elif event in ("call", "return"):
            called.append(f"{event} {frame.f_code.co_name}")

    with subscriber(server.url, watch=False) as listening:
        for _ in range(3):  # The first receptions of a stream are not like the others.
            assert listening.wait(PATIENCE)
            while listening.deadline() <= 0:
                listening.wait(0)
            server.peers[0].sock.sendall(chunk(EVENT))
        sys.setprofile(note)
        try:
            assert listening.wait(PATIENCE)
        finally:
            sys.setprofile(None)
    assert called[: called.index("return run")] == ["recv", "find", "monotonic", "release"]


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="only epoll is polled without a function of ours")
@pytest.mark.parametrize("watch, most", [(False, MOST_CALLS), (True, MOST_CALLS + 2)])
def test_the_second_half_of_a_wake_is_short(serve: Serve, watch: bool, most: int) -> None:
    """To watch for a suspend is to compare two clocks before each sleep: two calls more."""
    server = serve([request, lambda peer: peer.sock.sendall(CHUNKED), stall])
    with subscriber(server.url, watch=watch) as listening:
        assert listening.wait(PATIENCE)
        for _ in range(3):  # The first receptions of a stream are not like the others.
            server.peers[0].sock.sendall(chunk(EVENT))
            assert listening.wait(PATIENCE)
        calls = calls_until_sleep(lambda: listening.wait(0))
        assert listening.state.last_event_at is not None
    print(f"{len(calls)} calls: {' '.join(calls)}")
    assert len(calls) <= most


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="only epoll is polled without a function of ours")
def test_a_heartbeat_is_cheap(serve: Serve) -> None:
    """It comes more often than an event. Learning from it takes three of the calls."""
    server = serve([request, lambda peer: peer.sock.sendall(CHUNKED), stall])
    with subscriber(server.url, watch=False) as listening:
        assert listening.wait(PATIENCE)

        def calls() -> list[str]:
            called: list[str] = []

            def note(frame: FrameType, event: str, argument: Any) -> None:
                if event == "call":
                    called.append(frame.f_code.co_name)

            sys.setprofile(note)
            try:
                assert not listening.wait(0.2)
            finally:
                sys.setprofile(None)
            return called

        for _ in range(3):
            idle = calls()
            server.peers[0].sock.sendall(chunk(b": heartbeat\n\n"))
            one = calls()
    print(f"{len(one) - len(idle)} calls: {' '.join(one)}")
    assert len(one) - len(idle) <= MOST_CALLS + 2


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="only epoll is polled without a function of ours")
def test_an_event_is_handed_out_in_four_calls(serve: Serve) -> None:
    """After the poll: the chunk, the sink and the parser. Each function more is fetched into a cold cache."""
    server = serve([request, lambda peer: peer.sock.sendall(CHUNKED), stall])
    called: list[str] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument.__name__ == "poll":
            called.clear()
        elif event == "call":
            called.append(frame.f_code.co_name)

    with EventSource(server.url, watch=False) as source:
        assert source.next(0.05) is None
        for _ in range(3):
            server.peers[0].sock.sendall(chunk(EVENT))
            assert source.next(PATIENCE)
        server.peers[0].sock.sendall(chunk(EVENT))
        take = source.next
        sys.setprofile(note)
        try:
            assert take(PATIENCE)
        finally:
            sys.setprofile(None)
    print(*called)
    assert len(called) <= 4


def test_a_stream_of_large_events_receives_them_whole(serve: Serve) -> None:
    """Short receptions are faster, but a stream that has filled one gets room for more in all that follow."""
    large = b"data: " + b"x" * 10_000 + b"\n\n"
    received: list[int] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument.__name__ == "recv" and frame.f_code.co_name == "run":
            received[-1] += 1

    server = serve([request, lambda peer: peer.sock.sendall(CHUNKED), stall])
    with subscriber(server.url, watch=False) as listening:
        assert listening.wait(PATIENCE)
        for event in (EVENT, large, large, EVENT):
            received.append(0)
            server.peers[0].sock.sendall(chunk(event))
            sys.setprofile(note)
            try:
                assert listening.wait(PATIENCE)
                assert not listening.wait(0.05)
            finally:
                sys.setprofile(None)
    assert received == [1, 2, 1, 1]
