"""`EventSource` as its caller sees it: how long `next` waits, what the iterations yield, and how each of them ends."""

from __future__ import annotations

import os
import queue
import select
import time
from contextlib import suppress

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import BEAT, EVENT, NEVER, PATIENCE, QUICK, InThread, Server, chunk, connected
from wire_rawsse import Closed, Comment, Event, EventSource, Opened, Timeouts
from wire_rawsse.errors import BusyError, ClosedError, EventTooLargeError, StatusError, TruncatedError

X = Event("message", "x", "")
STATUS = b"HTTP/1.1 %d Told\r\nContent-Length: 0\r\n\r\n"


class TestNext:
    def test_returns_an_event_at_once(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        with EventSource(server.url, tls=ca_file) as source:
            peer = connected(server, source)
            call = InThread(lambda: source.next(PATIENCE))
            peer.say()
            assert call.result() == X

    def test_returns_none_when_the_time_is_up(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url) as source:
            connected(server, source)
            for timeout in (0, 0.0, -1, 0.1):
                began = time.monotonic()
                assert source.next(timeout) is None
                assert max(0.0, timeout) <= time.monotonic() - began < max(0.0, timeout) + PATIENCE

    def test_comments_do_not_start_the_time_over(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url) as source:
            peer = connected(server, source)
            began = time.monotonic()  # Not after the start: the thread may be ahead of this one.
            call = InThread(lambda: source.next(0.3))
            while call.is_alive():
                peer.say(BEAT)
                call.join(0.02)
            assert call.result() is None
            assert 0.29 <= call.ended_at - began < PATIENCE

    def test_none_waits_for_ever(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url, backoff=QUICK, timeouts=Timeouts(read=0.1)) as source:
            call = InThread(source.next)
            for _ in range(3):
                server.peer()
            assert call.is_alive(), "it is no business of `next` that the stream was reconnected meanwhile"
            while call.is_alive():
                with suppress(OSError, queue.Empty):  # Too late on a busy machine; then on the next connection.
                    server.peer(0.05).say()
            assert call.result() == X

    def test_what_came_together_is_handed_out_one_by_one(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url) as source:
            peer = connected(server, source)
            peer.send(chunk(b"data: 1\n\n: c\n\ndata: 2\n\n") + chunk(b"data: 3\n\n"))
            assert source.next(PATIENCE) == Event("message", "1", "")
            assert source.next(0) == Event("message", "2", "")
            assert source.next(0) == Event("message", "3", "")
            assert source.next(0) is None

    def test_polled_without_waiting_it_gets_everything(self, serve: Serve, ca_file: str, tls: bool) -> None:
        """`next(0)` from a loop of the caller's: connects, and hears, in however small steps."""
        server = serve(tls=tls)
        with EventSource(server.url, tls=ca_file) as source:
            helper = InThread(lambda: server.peer().send(chunk(EVENT * 100)))
            got: list[Event] = []
            end = time.monotonic() + PATIENCE
            while len(got) < 100:
                assert time.monotonic() < end
                event = source.next(0)
                if event is None:
                    time.sleep(0.001)
                else:
                    got.append(event)
            helper.result()
            assert got == [X] * 100

    def test_a_slow_consumer_is_no_dead_server(self, serve: Serve) -> None:
        """The clocks stand still between two calls."""
        server = serve()
        with EventSource(server.url, timeouts=Timeouts(read=0.1), backoff=NEVER) as source:
            peer = connected(server, source)
            for _ in range(3):
                peer.say()
                time.sleep(0.2)
                assert source.next(0) == X


class TestItems:
    def test_come_in_their_order(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)
        with EventSource(server.url, tls=ca_file, backoff=QUICK) as source:
            items = source.items()
            opened = next(items)
            assert isinstance(opened, Opened) and opened.status == 200 and not opened.id_left_out
            assert ("content-type", "text/event-stream") in opened.headers
            assert "event-stream" not in repr(opened)
            peer = server.peer()
            peer.say(b": hello\nid: 7\nretry: 150\nevent: e\ndata: x\n\n")
            assert next(items) == Comment("hello")
            assert next(items) == Event("e", "x", "7")
            peer.end()
            closed = next(items)
            assert isinstance(closed, Closed) and closed.error is None
            assert closed.retry_in is not None and 0.15 <= closed.retry_in < 0.5
            assert source.retry_ms == 150
            assert isinstance(next(items), Opened)
            assert b"\r\nLast-Event-ID: 7\r\n" in server.peer().request
            assert source.last_event_id == "7"

    def test_tell_why_it_ended(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url, backoff=QUICK) as source:
            items = source.items()
            assert isinstance(next(items), Opened)
            server.peer().sock.close()
            closed = next(items)
            assert isinstance(closed, Closed) and isinstance(closed.error, TruncatedError)
            assert closed.retry_in is not None

    def test_may_be_left_and_taken_up_again(self, serve: Serve) -> None:
        """`next`, a loop over events and one over items all take from the same stream."""
        server = serve()
        with EventSource(server.url) as source:
            assert isinstance(next(source.items()), Opened)
            peer = server.peer()
            peer.say(b"data: 1\n\ndata: 2\n\n: c\n\ndata: 3\n\ndata: 4\n\n")
            for event in source:
                assert event.data == "1"
                break
            assert source.next(0) == Event("message", "2", "")
            assert next(source.items()) == Comment("c")
            assert [event.data for _, event in zip(range(2), source, strict=False)] == ["3", "4"]


def answering(server: Server, *answers: bytes) -> InThread[None]:
    """Each connection gets the next answer."""

    def answer() -> None:
        for data in answers:
            server.peer().send(data)

    return InThread(answer)


class TestTheEnd:
    def test_a_204_ends_a_loop_quietly(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with EventSource(server.url) as source:
            helper = answering(server, STATUS % 204)
            assert list(source) == []
            helper.result()
            for use in (
                lambda: source.next(0),
                source.next,
                lambda: next(iter(source)),
                lambda: list(source),
            ):
                with pytest.raises(ClosedError, match="204"):
                    use()

    def test_a_204_ends_the_items_quietly(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with EventSource(server.url) as source:
            helper = answering(server, STATUS % 204)
            (closed,) = list(source.items())
            helper.result()
            assert isinstance(closed, Closed) and closed.retry_in is None
            assert isinstance(closed.error, StatusError) and closed.error.status == 204
            with pytest.raises(ClosedError):
                next(source.items())

    def test_a_204_makes_next_raise(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with EventSource(server.url) as source:
            helper = answering(server, STATUS % 204)
            with pytest.raises(ClosedError, match="204"):
                source.next(PATIENCE)
            helper.result()

    def test_a_refusal_is_raised_and_stays(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls, stage="asked")
        with EventSource(server.url, tls=ca_file) as source:
            helper = answering(server, STATUS % 404)
            for use in (lambda: source.next(PATIENCE), lambda: list(source), lambda: list(source.items())):
                with pytest.raises(StatusError) as caught:
                    use()
                assert caught.value.status == 404
            helper.result()
            assert server.nobody(0)

    def test_a_refusal_comes_after_its_closed(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with EventSource(server.url) as source:
            helper = answering(server, STATUS % 401)
            items = source.items()
            closed = next(items)
            helper.result()
            assert isinstance(closed, Closed) and closed.retry_in is None
            with pytest.raises(StatusError):
                next(items)

    def test_what_can_be_retried_is_not_raised(self, serve: Serve) -> None:
        server = serve(stage="asked")
        with EventSource(server.url, backoff=QUICK) as source:
            helper = answering(server, STATUS % 503, b"garbage\r\n\r\n", STATUS % 429, STATUS % 500)
            kinds = []
            for item in source.items():
                assert isinstance(item, Closed) and item.retry_in is not None
                kinds.append(type(item.error).__name__)
                if len(kinds) == 4:
                    break
            helper.result()
            assert kinds == ["StatusError", "MalformedResponseError", "StatusError", "StatusError"]

    def test_an_event_too_large_comes_after_those_before_it(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url, max_event_bytes=1000) as source:
            helper = InThread(lambda: server.peer().say(EVENT + b"data: " + b"y" * 2000 + b"\n\n" + EVENT))
            got = []
            with pytest.raises(EventTooLargeError) as caught:
                for event in source:
                    got.append(event)  # noqa: PERF402  # what came before the error is wanted
            assert got == [X]
            assert caught.value.limit == 1000
            helper.result()
        with EventSource(server.url, max_event_bytes=1000) as source:
            helper = InThread(lambda: server.peer().say(EVENT + b"data: " + b"y" * 2000 + b"\n\n" + EVENT))
            assert source.next(PATIENCE) == X
            for _ in range(2):
                with pytest.raises(EventTooLargeError):
                    source.next(PATIENCE)
            helper.result()
        assert server.nobody(0)

    def test_close_from_another_thread_ends_a_loop_that_is_at_work(self, serve: Serve) -> None:
        """It ends at its next turn: what has come and was not handed out is dropped."""
        server = serve()
        source = EventSource(server.url)
        helper = InThread(lambda: server.peer().say(EVENT * 10))
        got = []
        for event in source:
            got.append(event)
            if len(got) == 3:
                InThread(source.close).result()
        helper.result()
        assert got == [X] * 3

    def test_close_within_the_loop(self, serve: Serve) -> None:
        server = serve()
        source = EventSource(server.url)
        helper = InThread(lambda: server.peer().say(EVENT * 10))
        turns = 0
        for _ in source:
            turns += 1
            source.close()
        assert turns == 1
        helper.result()

    def test_used_after_close(self, serve: Serve) -> None:
        with EventSource(serve().url) as source:
            assert source.next(0.02) is None
        for use in (lambda: source.next(0), lambda: list(source), lambda: list(source.items())):
            with pytest.raises(ClosedError, match="closed"):
                use()
        source.close()
        source.restart()
        assert source.last_event_id == ""
        assert source.retry_ms is None
        assert "closed" in repr(source)


class TestInASelectLoop:
    """`fileno()` and `deadline()`, and `next(0)` when one of them says so."""

    def test_every_event_arrives_over_a_reconnect(self, serve: Serve, ca_file: str, tls: bool) -> None:
        server = serve(tls=tls)

        def send() -> None:
            for _ in range(2):
                peer = server.peer()
                for _ in range(3):
                    peer.say()
                peer.end()

        with EventSource(server.url, tls=ca_file, backoff=QUICK) as source:
            fd, helper, found = source.fileno(), InThread(send), 0
            while found < 6:
                left = max(0.0, min(PATIENCE, source.deadline() - time.monotonic()))
                select.select([fd], [], [], left)
                found += source.next(0) == X
            helper.result()
            assert source.fileno() == fd

    def test_the_deadline_lies_in_the_past_while_items_wait(self, serve: Serve) -> None:
        server = serve()
        with EventSource(server.url) as source:
            peer = connected(server, source)
            peer.say(EVENT + EVENT)
            assert source.next(PATIENCE) == X
            assert source.deadline() < time.monotonic()
            assert source.next(0) == X

    def test_it_stays_readable_after_close_until_the_call_that_raises(self, serve: Serve) -> None:
        server = serve()
        source = EventSource(server.url)
        fd = source.fileno()
        connected(server, source)
        source.close()
        assert select.select([fd], [], [], PATIENCE)[0] == [fd]
        with pytest.raises(ClosedError):
            source.next(0)
        with pytest.raises(OSError):
            os.fstat(fd)

    def test_it_is_given_back_by_the_call_that_raises_an_end_for_good(self, serve: Serve) -> None:
        server = serve(stage="asked")
        source = EventSource(server.url)
        fd = source.fileno()
        helper = answering(server, STATUS % 404)
        with pytest.raises(StatusError):
            source.next(PATIENCE)
        helper.result()
        with pytest.raises(OSError):
            os.fstat(fd)


def test_it_may_not_be_asked_from_within(serve: Serve) -> None:
    """A callable that is asked for headers and asks the source in turn gets the clear error, and it is retried."""
    caught: list[BaseException] = []

    def headers() -> dict[str, str]:
        if not caught:
            try:
                source.next(0)
            except BusyError as error:
                caught.append(error)
                raise
        return {"X-Asked": "yes"}

    server = serve()
    with EventSource(server.url, headers=headers, backoff=QUICK) as source:
        helper = InThread(server.peer)
        while helper.is_alive():
            assert source.next(0.005) is None
        assert b"X-Asked: yes" in helper.result().request
        assert len(caught) == 1
