"""Make before break on real sockets: another connection takes over at `max_age`, and nothing is missed meanwhile."""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.feed import AGE, LONG_AGE, QUICKLY, Feed, context, renewals, serve_feed
from tests.hosts.scenes import all_closed, descriptors
from tests.hosts.support import (
    PATIENCE,
    InThread,
    Peer,
    Server,
    Struck,
    on_signal,
    strike_main_thread,
    until,
    until_asleep,
)
from tests.hosts.test_fork import Child, linux, raises_closed
from tests.support.server import CHUNKED, EVENT, Script, answer, chunk, hold, request, stall
from tests.support.server import tls as secured
from wire_rawsse import (
    Closed,
    Event,
    EventSource,
    Opened,
    StreamSubscriber,
    Timeouts,
    WakeChannel,
    spawn_stream_subscriber,
)

__all__ = ["context"]  # Fixtures.


class TestNothingIsMissed:
    def read(self, source: EventSource, count: int, items: list[Any]) -> list[int]:
        """Until so many renewals have come, and an event after the last."""
        numbers: list[int] = []
        while sum(isinstance(item, Closed) for item in items) < count or not isinstance(items[-1], Event):
            item = source.next_item(PATIENCE)
            assert item is not None
            items.append(item)
            if isinstance(item, Event):
                numbers.append(int(item.data))
        return numbers

    @pytest.mark.parametrize("replays", [True, False])
    def test_each_event_comes_once_and_in_order(
        self, serve: Serve, context: ssl.SSLContext | None, ca_file: str, replays: bool
    ) -> None:
        feed, items = Feed(replays=replays), list[Any]()
        server = serve_feed(serve, feed, context)
        with EventSource(server.url, tls=ca_file, timeouts=AGE, backoff=QUICKLY) as source:
            assert isinstance(source.next_item(PATIENCE), Opened)
            with feed.posting(0.005):
                numbers = self.read(source, 3, items)
            state = source.state
        assert numbers == list(range(numbers[0], numbers[-1] + 1)) and numbers[0] == 1
        assert feed.gaps == 0
        others = [item for item in items if not isinstance(item, Event)]
        assert others[:6:2] == [Closed(None, 0.0)] * 3
        assert all(isinstance(item, Opened) for item in others[1:6:2])
        assert state.phase == "streaming" and set(dict(state.ends)) == {"renewal"}

    def test_without_ids_none_is_missed(self, serve: Serve, context: ssl.SSLContext | None, ca_file: str) -> None:
        """Those of the moment of the change may come twice."""
        feed = Feed(ids=False, replays=False)
        server = serve_feed(serve, feed, context)
        with EventSource(server.url, tls=ca_file, timeouts=AGE, backoff=QUICKLY) as source:
            assert isinstance(source.next_item(PATIENCE), Opened)
            with feed.posting(0.005):
                numbers = self.read(source, 3, [None])
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
        assert max(Counter(numbers).values()) <= 2

    def test_a_constant_id_hides_no_event(self, serve: Serve) -> None:
        """A server that gives all events one id names none of them by it."""
        same = b"id: now\ndata: x\n\n"
        server = serve([request, hold(CHUNKED)])
        with EventSource(server.url, timeouts=LONG_AGE) as source:
            source.next_item(PATIENCE)
            first = server.peer()
            first.say(same)
            assert source.next(PATIENCE) == Event("message", "x", "now")
            reading = InThread(lambda: [source.next(PATIENCE) for _ in range(4)])
            second = server.peer()
            second.say(same * 4)
            assert reading.result() == [Event("message", "x", "now")] * 4

    def test_half_an_event_is_completed(self, serve: Serve) -> None:
        server = serve(*[[request, hold()]] * 2)
        with EventSource(server.url, timeouts=LONG_AGE) as source:
            reading = InThread(lambda: [source.next(PATIENCE), source.next(PATIENCE)])
            first = server.peer()
            first.send(CHUNKED)
            first.say(b"data: begun\n")
            second = server.peer()
            second.send(CHUNKED + chunk(b"data: second\n\n"))
            assert not first.gone(0.05)
            first.say(b"data: ended\n\n")
            assert [event and event.data for event in reading.result()] == ["begun\nended", "second"]
            assert first.gone()

    def test_no_wake_is_lost(self, serve: Serve, context: ssl.SSLContext | None, ca_file: str) -> None:
        feed, pulled = Feed(ids=False, replays=False), 0
        server = serve_feed(serve, feed, context)
        with StreamSubscriber(server.url, tls=ca_file, timeouts=AGE, backoff=QUICKLY) as subscriber:
            while subscriber.state.phase != "streaming":
                subscriber.wait(PATIENCE)
            while renewals(subscriber.state.endpoints[0]) < 3:
                feed.post()
                while pulled < feed.count:
                    assert subscriber.wait(PATIENCE)
                    pulled = feed.count
                subscriber.wait(0.003)
        assert feed.gaps == 0

    def test_a_thread_wakes_through_renewals(self, serve: Serve, ca_file: str) -> None:
        feed, wake = Feed(ids=False, replays=False), WakeChannel()
        server = serve_feed(serve, feed, None)
        subscriber = StreamSubscriber(server.url, timeouts=AGE, backoff=QUICKLY)
        thread = spawn_stream_subscriber(wake, subscriber)
        try:
            until(lambda: subscriber.state.phase == "streaming")
            while renewals(subscriber.state.endpoints[0]) < 3:
                feed.post()
                assert wake.wait(PATIENCE)
        finally:
            thread.stop()
        assert feed.gaps == 0


class TestAnAttemptThatFails:
    @pytest.mark.parametrize(
        ("refuses", "name"),
        [
            ([request, lambda peer: peer.send(answer("401 No"))], "StatusError"),
            ([request, lambda peer: peer.send(answer("503 Busy"))], "StatusError"),
            ([request, stall], "ResponseTimeout"),
            ([request, lambda peer: peer.reset()], "ConnectionBrokenError"),
        ],
        ids=["401", "503", "black hole", "reset"],
    )
    def test_leaves_the_old_connection_alone(self, serve: Serve, refuses: Script, name: str) -> None:
        feed = Feed()
        server = serve_feed(serve, feed, None, refuses, refuses)
        timeouts = Timeouts(max_age=2, response=PATIENCE, read=1.2)
        if name == "ResponseTimeout":  # Two attempts of that length, before the old connection is twice as old.
            timeouts = Timeouts(max_age=5, response=1.5, read=1.2)
        with EventSource(server.url, timeouts=timeouts, backoff=QUICKLY) as source:
            source.next_item(PATIENCE)
            with feed.posting(0.005):
                numbers = TestNothingIsMissed().read(source, 1, [None])
            ends, error = dict(source.state.ends), source.state.last_error
        assert numbers == list(range(1, numbers[-1] + 1)) and feed.gaps == 0
        assert ends == {name: 2, "renewal": 1}
        assert error is not None

    def test_the_old_connection_dies_meanwhile(self, serve: Serve) -> None:
        server = serve([request, hold(CHUNKED)], [request, hold()], [request, hold(CHUNKED)])
        with StreamSubscriber(server.url, timeouts=LONG_AGE, backoff=QUICKLY) as subscriber:
            reading = InThread(lambda: wait_for_ends(subscriber, "ConnectionBrokenError"))
            first, second = server.peer(), server.peer()
            first.reset()
            reading.result()
            assert second.gone()
            woken = InThread(lambda: until_woken(subscriber))
            server.peer().say(EVENT)
            woken.result()

    def test_the_new_connection_dies_at_once(self, serve: Serve) -> None:
        feed = Feed()
        server = serve_feed(serve, feed, None, [request, lambda peer: peer.send(CHUNKED), lambda peer: peer.reset()])
        with EventSource(server.url, timeouts=AGE, backoff=QUICKLY) as source:
            source.next_item(PATIENCE)
            with feed.posting(0.005):
                numbers = TestNothingIsMissed().read(source, 2, [None])
        assert numbers == list(range(1, numbers[-1] + 1))


def wait_for_ends(subscriber: StreamSubscriber, name: str) -> None:
    while name not in dict(subscriber.state.endpoints[0].ends):
        subscriber.wait(0.05)


def until_woken(subscriber: StreamSubscriber) -> None:
    before = subscriber.state.endpoints[0].event_count
    while subscriber.state.endpoints[0].event_count == before:
        subscriber.wait(PATIENCE)


class TestInTheMidst:
    """The second connection is under way, and stays so."""

    @contextmanager
    def overlap(self, serve: Serve, tls: bool, ca_file: str, context: Any) -> Iterator[tuple[Any, Peer, Peer, Server]]:
        before: Script = [secured(context)] if tls else []
        server = serve([*before, request, hold(CHUNKED)], [*before, request, hold()], [*before, request, hold(CHUNKED)])
        server.scheme = "https" if tls else "http"
        with StreamSubscriber(server.url, tls=ca_file, timeouts=LONG_AGE, backoff=QUICKLY) as subscriber:
            waiting = InThread(lambda: reach(subscriber, server))
            first = server.peer()
            second = server.peer()
            server.keep(server.over, second)  # Tells `reach`.
            waiting.result()
            yield subscriber, first, second, server

    def test_close(self, serve: Serve, tls: bool, ca_file: str, context: Any) -> None:
        with self.overlap(serve, tls, ca_file, context) as (subscriber, first, second, _):
            held = descriptors(subscriber._loop)
            assert len([what for what in held.values() if what.startswith("socket")]) >= 2 or not held
            subscriber.close()
            assert all_closed(held)
            assert first.gone() and second.gone()

    def test_restart(self, serve: Serve, tls: bool, ca_file: str, context: Any) -> None:
        with self.overlap(serve, tls, ca_file, context) as (subscriber, first, second, server):
            subscriber.restart()
            woken = InThread(lambda: until_woken(subscriber))
            server.peer().say(EVENT)
            woken.result()
            assert first.gone() and second.gone()
            assert dict(subscriber.state.endpoints[0].ends)["restart"] == 1

    @linux
    def test_fork(self, serve: Serve, tls: bool, ca_file: str, context: Any) -> None:
        with self.overlap(serve, tls, ca_file, context) as (subscriber, first, second, _):

            def child() -> None:
                raises_closed(lambda: subscriber.wait(0))

            Child(child).check()
            woken = InThread(lambda: until_woken(subscriber))
            first.say(EVENT)
            woken.result()
            woken = InThread(lambda: until_woken(subscriber))
            second.send(CHUNKED + chunk(EVENT))
            woken.result()
            assert dict(subscriber.state.endpoints[0].ends) == {"renewal": 1}

    def test_a_signal_handler_that_raises(self, serve: Serve, tls: bool, ca_file: str, context: Any) -> None:
        with self.overlap(serve, tls, ca_file, context) as (subscriber, first, second, _):
            armed, struck = [True], list[float]()

            def handler() -> None:
                struck.append(time.monotonic())
                if armed.pop() if armed else False:
                    raise Struck

            def send() -> None:
                until_asleep(subscriber._loop)
                strike_main_thread(struck)

            with on_signal(handler):
                thread = threading.Thread(target=send)
                thread.start()
                try:
                    with pytest.raises(Struck):
                        subscriber.wait(PATIENCE)
                finally:
                    thread.join(PATIENCE)
            woken = InThread(lambda: until_woken(subscriber))
            first.say(EVENT)
            second.send(CHUNKED)
            woken.result()


def reach(subscriber: StreamSubscriber, server: Server) -> None:
    while not server.over:
        subscriber.wait(0.02)
    subscriber.wait(0.05)
