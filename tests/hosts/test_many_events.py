"""`EventStreams`: the events of many streams. Turns, ends, and streams that are not received from."""

from __future__ import annotations

import math
import select
import time
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import BEAT, NEVER, PATIENCE, QUICK, InThread, Peer, Server, until_asleep
from wire_rawsse import Closed, Comment, Event, EventStreams, Opened, SourceHandle, many_events
from wire_rawsse.errors import BusyError, ClosedError, EventTooLargeError, InvalidRequestError, StatusError

X = Event("message", "x", "")
X_EVENT = b"data: x\n\n"


def opened(streams: EventStreams, server: Server, **options: Any) -> tuple[SourceHandle, Peer]:
    """One more source, connected, with its `Opened` read."""
    source = streams.add(server.url, **options)
    found = streams.next_item(PATIENCE)
    assert found is not None and found[0] is source and isinstance(found[1], Opened)
    return source, server.peer()


def numbered(count: int, start: int = 0) -> bytes:
    return b"".join(b"data: %d\n\n" % number for number in range(start, start + count))


def receive(streams: EventStreams, source: SourceHandle, unread: int) -> None:
    """Until so many items of a source are unread, while nothing is read."""
    end = time.monotonic() + PATIENCE
    while len(source._sink.items) < unread:
        streams._loop.run(0.01)
        assert time.monotonic() < end


class TestNext:
    def test_gives_events_with_their_sources(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        with EventStreams() as streams:
            pairs = [opened(streams, server, tls=ca_file, tag=number) for number in range(3)]
            for source, peer in reversed(pairs):
                peer.say()
                assert streams.next(PATIENCE) == (source, X)
            assert streams.next(0.01) is None
            assert [source.tag for source, _ in pairs] == [0, 1, 2]

    def test_sources_take_turns(self, serve: Serve) -> None:
        server = serve()
        with EventStreams() as streams:
            (one, first), (other, second) = opened(streams, server), opened(streams, server)
            first.say(numbered(3))
            assert streams.next(PATIENCE) == (one, Event("message", "0", ""))
            second.say(numbered(2, 10))
            receive(streams, other, 2)
            rest = [found for _ in range(4) if (found := streams.next(PATIENCE))]
            assert [source for source, _ in rest] == [one, other, one, other]
            assert [event.data for source, event in rest if source is one] == ["1", "2"]
            assert [event.data for source, event in rest if source is other] == ["10", "11"]

    def test_returns_none_when_the_time_is_up(self, serve: Serve) -> None:
        with EventStreams() as streams:
            assert streams.next(0.02) is None, "there is no stream at all"
            _, peer = opened(streams, serve())
            began = time.monotonic()
            call = InThread(lambda: streams.next(0.3))
            while call.is_alive():
                peer.say(BEAT)
                call.join(0.02)
            assert call.result() is None
            assert 0.29 <= call.ended_at - began < PATIENCE

    def test_the_first_id_and_the_last(self, serve: Serve) -> None:
        server = serve()
        with EventStreams() as streams:
            source, peer = opened(streams, server, last_event_id="7", backoff=QUICK)
            assert b"\r\nLast-Event-ID: 7\r\n" in peer.request and source.last_event_id == "7"
            peer.say(b"id: 8\nretry: 50\ndata: x\n\n")
            assert streams.next(PATIENCE) == (source, Event("message", "x", "8"))
            assert (source.last_event_id, source.retry_ms) == ("8", 50)
            peer.reset()
            call = InThread(lambda: streams.next(PATIENCE))
            again = server.peer()
            assert b"\r\nLast-Event-ID: 8\r\n" in again.request
            again.say()
            assert call.result() == (source, Event("message", "x", "8"))

    def test_everything_that_happens(self, serve: Serve) -> None:
        server = serve()
        with EventStreams() as streams:
            source, peer = opened(streams, server, backoff=QUICK)
            peer.say(b": hello\n")
            peer.end()
            assert streams.next_item(PATIENCE) == (source, Comment("hello"))
            found = streams.next_item(PATIENCE)
            assert found is not None and found[0] is source
            assert isinstance(found[1], Closed) and found[1].error is None and found[1].retry_in is not None
            found = streams.next_item(PATIENCE)
            assert found is not None and isinstance(found[1], Opened)

    def test_waits_although_only_a_removed_source_has_items(self, serve: Serve) -> None:
        with EventStreams() as streams:
            (one, its), _ = opened(streams, serve()), opened(streams, serve())
            its.say(numbered(3))
            assert streams.next(PATIENCE) == (one, Event("message", "0", ""))
            one.remove()
            began = time.monotonic()
            assert streams.next(0.2) is None
            assert time.monotonic() - began >= 0.2

    def test_comments_without_end_do_not_hold_it_up(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the time is up it gives what has been received, and receives nothing more."""
        monkeypatch.setattr(many_events, "LOOK_EVERY", 0.0)  # As if the caller were slow.
        with EventStreams() as streams:
            pairs = [opened(streams, serve()) for _ in range(2)]
            for _, peer in pairs:
                peer.say(BEAT * 50_000 + X_EVENT)  # Less than the kernel keeps for a socket.
            time.sleep(0.05)
            assert streams.next(0) is None
            found = [got for _ in pairs if (got := streams.next(PATIENCE))]
            assert {source for source, _ in found} == {source for source, _ in pairs}

    def test_a_second_waiter_is_refused(self) -> None:
        with EventStreams() as streams:
            call = InThread(streams.next)
            until_asleep(streams._loop)
            with pytest.raises(BusyError):
                streams.next(0)
            streams.close()
            with pytest.raises(ClosedError):
                call.result()

    def test_in_a_select_loop(self, serve: Serve) -> None:
        with EventStreams() as streams:
            fd = streams.fileno()
            assert streams.deadline() < time.monotonic()
            source, peer = opened(streams, serve())
            while streams.next_item(0):
                pass
            assert time.monotonic() < streams.deadline() < math.inf
            peer.say(numbered(2))
            assert select.select([fd], [], [], PATIENCE)[0]
            assert streams.next(0) == (source, Event("message", "0", ""))
            assert streams.deadline() < time.monotonic(), "one more is unread"
            assert streams.next(0) == (source, Event("message", "1", ""))
            streams.close()
            assert select.select([fd], [], [], PATIENCE)[0]
            with pytest.raises(ClosedError):
                streams.next(0)


class TestEnds:
    def test_an_end_for_good_is_an_item_and_no_exception(self, serve: Serve) -> None:
        server, good = serve(stage="asked"), serve()
        with EventStreams() as streams:
            healthy, peer = opened(streams, good)
            ended = streams.add(server.url)
            call = InThread(lambda: streams.next_item(PATIENCE))
            server.peer().send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            found = call.result()
            assert found is not None and found[0] is ended
            assert isinstance(found[1], Closed) and isinstance(found[1].error, StatusError)
            assert found[1].retry_in is None
            assert ended.state.phase == "closed" and "404" in (ended.state.last_error or "")
            assert len(streams) == 1, "it has left the set"
            ended.restart()
            ended.remove()
            peer.say()
            assert streams.next(PATIENCE) == (healthy, X)

    def test_what_came_before_it_is_given_first(self, serve: Serve) -> None:
        with EventStreams() as streams:
            source, peer = opened(streams, serve(), max_event_bytes=100)
            peer.say(b"data: x\n\ndata: " + b"y" * 200)
            items = [streams.next_item(PATIENCE) for _ in range(2)]
            assert items[0] == (source, X)
            assert items[1] is not None and isinstance(items[1][1], Closed)
            assert isinstance(items[1][1].error, EventTooLargeError)
            assert streams.next_item(0.01) is None

    def test_of_one_response(self, serve: Serve) -> None:
        with EventStreams() as streams:
            source, peer = opened(streams, serve(), reconnect=False)
            with pytest.raises(InvalidRequestError):
                source.restart()
            peer.end()
            assert streams.next_item(PATIENCE) == (source, Closed(None, None))
            with pytest.raises(InvalidRequestError):
                streams.add("http://relay.test/", reconnect=False, persistent=True)

    def test_persistent(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with EventStreams() as streams:
            source = streams.add(server.url, persistent=True, backoff=NEVER)
            call = InThread(lambda: streams.next_item(PATIENCE))
            server.peer().send(b"HTTP/1.1 204 No Content\r\n\r\n")
            found = call.result()
            assert found is not None and isinstance(found[1], Closed) and found[1].retry_in is not None
            assert source.state.phase == "backing off" and len(streams) == 1

    def test_removed_with_unread_items(self, serve: Serve) -> None:
        server = serve()
        with EventStreams() as streams:
            (one, its), (other, others) = opened(streams, server), opened(streams, server)
            its.say(numbered(3))
            assert streams.next(PATIENCE) == (one, Event("message", "0", ""))
            one.remove()
            assert its.gone() and len(streams) == 1
            others.say()
            assert streams.next(PATIENCE) == (other, X)
            assert streams.next(0.01) is None
