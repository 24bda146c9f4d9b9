"""A signal handler that raises anywhere in `Streams.wait` or `EventStreams.next` loses no wake and no event."""

from __future__ import annotations

import queue

from tests.hosts.conftest import Serve
from tests.hosts.many import open_all, path_of
from tests.hosts.support import PATIENCE, QUICK, Peer, Server, Striker
from wire_rawsse import EventStreams, StreamHandle, Streams

STEP = 1
"""Of the points at which CPython may run a handler, each third is struck."""


def newest(server: Server, peer: Peer) -> Peer:
    """The server's end of the same stream, which may have connected again."""
    try:
        while True:
            other = server.peer(0.002)
            if path_of(other) == path_of(peer):
                peer = other
    except queue.Empty:
        return peer


def test_no_wake_is_lost(serve: Serve) -> None:
    server = serve()
    with Streams() as streams:
        (handle, peer), _ = open_all(streams, server, 2, backoff=QUICK)
        for point in range(1, 10_000, STEP):
            peer.say()
            woken: list[StreamHandle] = []
            struck = Striker(point).strikes(lambda woken=woken: woken.extend(streams.wait(PATIENCE)))  # type: ignore[misc]
            while handle not in woken:
                found = streams.wait(PATIENCE)
                assert found, f"struck at point {point}"
                woken += found
            while streams.wait(0.005):
                pass
            peer = newest(server, peer)
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
        for point in range(1, 10_000, STEP):
            peer.say(b"data: 1\n\ndata: 2\n\ndata: 3\n\n")
            found: list[str] = []

            def read(found: list[str] = found) -> None:
                got = streams.next(PATIENCE)
                if got is not None:
                    found.append(got[1].data)

            struck = Striker(point).strikes(read)
            while (got := streams.next(0.02)) is not None:
                found.append(got[1].data)
            assert found == sorted(found)
            peer = newest(server, peer)
            if not struck:
                assert found == ["1", "2", "3"]
                break
        peer.say()
        assert streams.next(PATIENCE) is not None
