"""Flow control: a source of `EventStreams` with 64 unread items is not received from, and the others go on."""

from __future__ import annotations

import time

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import NEVER, PATIENCE, InThread, Peer, chunk
from tests.hosts.test_many_events import X, numbered, opened, receive
from wire_rawsse import Closed, EventStreams, Opened, SourceHandle, Timeouts
from wire_rawsse.many_events import MOST_UNREAD

ONE_RECEPTION = 16384 // len(numbered(1))
"""Items that one reception brings at most, beyond those that are unread already."""


def read_all(streams: EventStreams, source: SourceHandle, count: int) -> list[int]:
    """The numbers of so many events of one source; those of the others are dropped."""
    found: list[int] = []
    while len(found) < count:
        got = streams.next(PATIENCE)
        assert got is not None
        if got[0] is source:
            found.append(int(got[1].data))
    return found


def flood(peer: Peer, count: int) -> None:
    """The events 0 to count - 1, ten in a chunk."""
    for number in range(0, count, 10):
        peer.say(numbered(10, number))


def unread_of(source: SourceHandle) -> int:
    return len(source._sink.items)


def test_it_is_received_from_again_when_all_are_read(serve: Serve) -> None:
    server = serve()
    with EventStreams() as streams:
        source, peer = opened(streams, server)
        peer.say(numbered(MOST_UNREAD))
        receive(streams, source, MOST_UNREAD)
        streams._pause_the_full()
        peer.say(numbered(1, MOST_UNREAD))
        for _ in range(5):
            streams._loop.run(0.01)
        assert unread_of(source) == MOST_UNREAD
        assert read_all(streams, source, MOST_UNREAD + 1) == [*range(MOST_UNREAD + 1)]


def test_one_less_is_no_reason(serve: Serve) -> None:
    server = serve()
    with EventStreams() as streams:
        source, peer = opened(streams, server)
        peer.say(numbered(MOST_UNREAD - 1))
        receive(streams, source, MOST_UNREAD - 1)
        streams._pause_the_full()
        peer.say(numbered(1, MOST_UNREAD - 1))
        receive(streams, source, MOST_UNREAD)


def test_the_others_go_on_and_nothing_is_lost(serve: Serve) -> None:
    """A slow consumer: one source floods, and the other is heard in its turn."""
    server = serve()
    with EventStreams() as streams:
        (noisy, its), (quiet, peer) = opened(streams, server), opened(streams, server)
        count = 30_000
        call = InThread(lambda: flood(its, count))
        found: list[int] = []
        for _ in range(20):
            peer.say()
            heard = False
            for _ in range(4 * MOST_UNREAD):
                got = streams.next(PATIENCE)
                assert got is not None and unread_of(noisy) < MOST_UNREAD + ONE_RECEPTION
                if got == (quiet, X):
                    heard = True
                    break
                found.append(int(got[1].data))
                time.sleep(0.001)  # So the loop has its turn, although items are unread.
            assert heard, "it waits for one that floods"
        found += read_all(streams, noisy, count - len(found))
        assert found == [*range(count)]
        call.result()


@pytest.mark.parametrize("unread", [MOST_UNREAD, MOST_UNREAD + 6])
def test_its_silence_is_no_fault_meanwhile(serve: Serve, unread: int) -> None:
    server = serve()
    with EventStreams() as streams:
        source, peer = opened(streams, server, timeouts=Timeouts(read=1), backoff=NEVER)
        other, _ = opened(streams, server)
        peer.say(numbered(unread))
        receive(streams, source, unread)
        streams._pause_the_full()
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            streams._loop.run(0.05)
        assert source.state.phase == "streaming"
        assert read_all(streams, source, unread) == [*range(unread)]
        # From now on it must speak again.
        got = streams.next_item(PATIENCE)
        assert got is not None and got[0] is source and isinstance(got[1], Closed)
        assert other.state.phase == "streaming"


def test_restart_of_one_that_is_not_received_from(serve: Serve) -> None:
    """It connects again, and is received from once what it had before is read."""
    server = serve()
    with EventStreams() as streams:
        source, peer = opened(streams, server, backoff=NEVER)
        peer.say(numbered(MOST_UNREAD))
        receive(streams, source, MOST_UNREAD)
        streams._pause_the_full()
        source.restart()
        again = InThread(server.peer)
        while again.is_alive() or source.state.phase != "streaming":
            streams._loop.run(0.01)
            streams._pause_the_full()
        assert peer.gone()
        again.result().say(numbered(1, MOST_UNREAD))
        for _ in range(5):
            streams._loop.run(0.01)
        kinds = [type(item) for item in source._sink.items]
        assert kinds[MOST_UNREAD:] == [Closed, Opened]
        assert read_all(streams, source, MOST_UNREAD + 1) == [*range(MOST_UNREAD + 1)]


def test_remove_of_one_that_is_not_received_from(serve: Serve) -> None:
    server = serve()
    with EventStreams() as streams:
        source, peer = opened(streams, server)
        peer.say(numbered(MOST_UNREAD))
        receive(streams, source, MOST_UNREAD)
        streams._pause_the_full()
        source.remove()
        assert peer.gone() and streams.next(0.01) is None and not streams._paused


def test_comments_count_too(serve: Serve) -> None:
    server = serve()
    with EventStreams() as streams:
        source, peer = opened(streams, server)
        peer.send(chunk(b":\n" * MOST_UNREAD))
        receive(streams, source, MOST_UNREAD)
        streams._pause_the_full()
        peer.say()
        streams._loop.run(0.05)
        assert unread_of(source) == MOST_UNREAD
        assert streams.next(PATIENCE) == (source, X)
