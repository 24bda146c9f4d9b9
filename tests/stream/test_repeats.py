"""Events that two connections of one stream both bring while one takes the place of the other: each is handed out once.

The server is a log: it answers with the events after the id of the request, then with new ones. Its connections are
bytes that are fed to the sink of an `EventSource`, in pieces of any size, so that the tests know each moment.
"""

from __future__ import annotations

import random

import pytest

from wire_rawsse import Closed, Event, Opened
from wire_rawsse.event_source import EventSink
from wire_rawsse.protocol.response import Response

OK = Response(200, "OK", ())
GREETING = b"event: hello\ndata: welcome\n\n"


def event(number: int, data: str = "") -> bytes:
    return f"id: {number}\ndata: {data or number}\n\n".encode()


def events(first: int, last: int) -> bytes:
    """Those of the numbers from `first` to `last`."""
    return b"".join(map(event, range(first, last + 1)))


class Client:
    """A sink, driven as a connection and its renewal drive it."""

    def __init__(self) -> None:
        self.sink = EventSink("", 1 << 20)
        self.sink.begin()
        self.sink.opened(OK, False)

    def feed(self, data: bytes) -> None:
        self.sink.feed(data)

    def change(self, overlap: bytes) -> str:
        """A renewal during which the old connection brings `overlap`. Returns the id that the new request sent."""
        self.sink.renewing()
        sent = self.sink.last_event_id
        self.feed(overlap)
        self.sink.renewed(None, OK, False)
        return sent

    def reconnect(self) -> str:
        """The connection breaks, and another one is made. Returns the id that its request sends."""
        self.sink.closed(None, 0.0)
        self.sink.begin()
        sent = self.sink.last_event_id
        self.sink.opened(OK, False)
        return sent

    @property
    def events(self) -> list[Event]:
        return [item for item in self.sink.items if isinstance(item, Event)]

    @property
    def numbers(self) -> list[int]:
        """Of the events of the log."""
        return [int(item.data) for item in self.events if item.type == "message"]


def test_a_break_among_the_repeats_repeats_nothing() -> None:
    client = Client()
    client.feed(events(1, 4))
    assert client.change(events(5, 7)) == "4"
    client.feed(event(5))
    assert client.sink.last_event_id == "7"
    assert client.reconnect() == "7"
    client.feed(events(8, 9))
    assert client.numbers == [*range(1, 10)] and client.sink.last_event_id == "9"


def test_a_greeting_without_an_id_hides_no_repeat() -> None:
    client = Client()
    client.feed(events(1, 6))
    client.change(event(7))
    client.feed(GREETING + events(7, 8))
    assert client.numbers == [*range(1, 9)]
    assert client.events[7] == Event("hello", "welcome", "7")


def test_an_event_without_an_id_is_never_a_repeat() -> None:
    """Some servers name an id now and then only, and send the same data each time."""
    client = Client()
    client.feed(b"id: 6\ndata: refresh\n\n")
    client.change(b"id: 7\ndata: refresh\n\n")
    client.feed(b"data: refresh\n\n" * 2)
    assert client.events == [Event("message", "refresh", "6")] + [Event("message", "refresh", "7")] * 3
    assert client.reconnect() == "7"


@pytest.mark.parametrize("reason", ["the repeats are over", "another renewal", "the connection ends"])
def test_no_trace_is_left_of_the_id_that_stands_for_none(reason: str) -> None:
    client = Client()
    client.feed(event(1))
    client.change(event(2))
    client.feed(b"data\n\n")
    if reason == "the repeats are over":
        client.feed(b"data: x\n\n" * 40)
        assert client.sink.repeats is None
    elif reason == "another renewal":
        assert client.change(b"data: x\n\n") == "2"
    else:
        assert client.reconnect() == "2"
    client.feed(b"data: y\n\n: z\n\n")
    assert {item.id for item in client.events[1:]} == {"2"} and client.sink.last_event_id == "2"
    assert client.sink.parser.last_event_id in ("2", "\0")


@pytest.mark.parametrize("seed", range(20))
def test_each_event_comes_once_whatever_breaks_when(seed: int) -> None:
    choose = random.Random(seed)
    for _ in range(30):
        client, last, sent, told = Client(), 0, 0, 0
        greets = choose.random() < 0.5
        """The log has `last` events; the connection has begun after `sent`, and has brought those up to `told`."""
        for _ in range(choose.randrange(2, 12)):
            last += choose.randrange(4)
            stop = choose.randint(told, last)
            data = events(told + 1, stop)
            if choose.random() < 0.3:
                data += b": beat\n\n" + b"id: %d\n\n" % stop * (stop > 0)
            kind = choose.choice(["feed", "renew", "break"])
            pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
            if kind == "renew" and client.sink.repeats is not None:
                kind = "feed"  # No connection is renewed before it has brought the events that were there.
            if kind == "renew":
                client.sink.renewing()
                sent = int(client.sink.last_event_id or 0)
            for piece in pieces:
                client.feed(piece)
            told = stop
            if kind == "renew":
                client.sink.renewed(None, OK, False)
            elif kind == "break":
                sent = int(client.reconnect() or 0)
            if kind != "feed":
                told = sent
                if greets:
                    client.feed(GREETING)
        client.feed(events(told + 1, last))
        assert client.numbers == [*range(1, last + 1)]
        assert int(client.sink.last_event_id or 0) == last
        assert not any("\0" in item.id for item in client.events)


def test_the_change_is_told_in_its_place() -> None:
    client = Client()
    client.feed(event(1))
    client.change(event(2))
    client.feed(events(2, 3))
    kinds = [type(item) for item in client.sink.items]
    assert kinds == [Opened, Event, Event, Closed, Opened, Event]
