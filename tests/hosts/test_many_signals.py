"""A signal handler that raises anywhere in `Streams.wait` or `EventStreams.next` loses no wake and no event."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

from tests.hosts.conftest import Serve
from tests.hosts.feed import is_open
from tests.hosts.many import open_all, path_of
from tests.hosts.support import PATIENCE, QUICK, Peer, Server, Striker
from wire_rawsse import EventStreams, StreamHandle, Streams


def newest(server: Server, peer: Peer, turn: Callable[[float], object]) -> Peer:
    """The server's end of the same stream, which may have connected again; `turn` lets the streams go on."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            other = server.peer(0)
        except queue.Empty:
            if is_open(peer):
                return peer
            assert time.monotonic() < end, "it does not connect again"
            turn(0.01)
        else:
            peer = other if path_of(other) == path_of(peer) else peer


def test_no_wake_is_lost(serve: Serve) -> None:
    server = serve()
    with Streams() as streams:
        (handle, peer), _ = open_all(streams, server, 2, backoff=QUICK)
        for point in range(1, 10_000):
            peer.say()
            woken: list[StreamHandle] = []
            struck = Striker(point).strikes(lambda woken=woken: woken.extend(streams.wait(PATIENCE)))  # type: ignore[misc]
            while handle not in woken:
                found = streams.wait(PATIENCE)
                assert found, f"struck at point {point}"
                woken += found
            while streams.wait(0.005):
                pass
            peer = newest(server, peer, streams.wait)
            if not struck:
                break
        assert point > 10


def test_no_event_is_lost_that_was_received(serve: Serve) -> None:
    """An event in the hands of a struck `next` is gone, as with an `EventSource`; those after it are given in order."""
    server = serve()
    with EventStreams() as streams:
        source = streams.add(server.url, backoff=QUICK)
        while source.state.phase != "streaming":
            streams.next(0.01)
        peer = server.peer()
        for point in range(1, 10_000):
            while True:
                try:
                    peer.say(b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
                    break
                except OSError:  # It was struck, and connects again.
                    streams.next(0.01)
                    peer = newest(server, peer, streams.next)
            found: list[str] = []

            def read(found: list[str] = found) -> None:
                got = streams.next(PATIENCE)
                if got is not None:
                    found.append(got[1].data)

            struck = Striker(point).strikes(read)
            while (got := streams.next(0.02)) is not None:
                found.append(got[1].data)
            assert found == sorted(found)
            peer = newest(server, peer, streams.next)
            if not struck:
                assert found == ["1", "2", "3"]
                break
        peer.say()
        assert streams.next(PATIENCE) is not None


def test_struck_as_it_takes_the_last_item_it_goes_on(serve: Serve) -> None:
    server = serve()
    with EventStreams() as streams:
        source = streams.add(server.url, backoff=QUICK)
        while source.state.phase != "streaming":
            streams.next(0.01)
        peer = server.peer()
        for point in range(1, 20):
            peer.say()
            Striker(point, within="_take").strikes(lambda: streams.next(PATIENCE))
            while streams.next_item(0.02):
                pass
            peer = newest(server, peer, streams.next)


def test_a_stream_that_is_added_is_one_stream(serve: Serve) -> None:
    """A handler that raises in `add`, or where the loop gets the stream: none or one, and no connection besides."""
    server, point, struck = serve(), 0, True
    while struck:
        point += 1
        with Streams(watch=False) as streams:

            def begin(streams: Streams = streams) -> None:
                for _ in range(2):
                    streams.add(server.url, backoff=QUICK)
                streams.wait(0)

            striker = Striker(point)
            struck = striker.strikes(begin)
            end = time.monotonic() + PATIENCE
            while {state.phase for state in streams.states()} - {"streaming"}:
                assert time.monotonic() < end, f"it never begins: {striker.struck}"
                streams.wait(0.01)
            assert len(streams._loop.schedule.tasks) == len(streams), striker.struck
    assert point > 100, "it was struck at many points"
