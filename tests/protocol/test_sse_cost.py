"""The cost of the event-stream parsers: time linear in every input; memory bounded by the limit, and in wake mode by
nothing that is sent. A parser that looks at anything twice is quadratic in one of the streams below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from tests.support.cost import check_linear, peak_bytes
from wire_rawsse.errors import EventTooLargeError
from wire_rawsse.protocol.events import Event, EventParser
from wire_rawsse.protocol.sse import WakeParser

GROWING: dict[str, Callable[[int], Iterator[bytes]]] = {
    # Name: a stream of about `size` bytes (or events, or feeds), as feeds.
    "a data line in 1-byte feeds": lambda n: (b"data: "[at : at + 1] or b"x" for at in range(n)),
    "another line in 1-byte feeds": lambda n: repeat(b"x", n),
    "an id line in 1-byte feeds": lambda n: (b"id: "[at : at + 1] or b"x" for at in range(n)),
    "data lines in 1-byte feeds": lambda n: (b"data:\n"[at % 6 : at % 6 + 1] for at in range(n)),
    "a data line in one feed": lambda n: iter([b"data: " + b"x" * (n * 64) + b"\n\n"]),
    "a data line in 4 KiB feeds": lambda n: (b"data: " if at == 0 else b"x" * 4096 for at in range(n // 64)),
    "another line in one feed": lambda n: iter([b"x" * (n * 64) + b"\n\n"]),
    "empty lines": lambda n: iter([b"\n" * (n * 2)]),
    "CRs only": lambda n: iter([b"\r" * (n * 2)]),
    "CRLFs only": lambda n: iter([b"\r\n" * n]),
    "CRs in 1-byte feeds": lambda n: repeat(b"\r", n),
    "tiny events": lambda n: iter([b"data: x\n\n" * n]),
    "tiny events, CR": lambda n: iter([b"data:x\r\r" * n]),
    "data lines of one event": lambda n: iter([b"data:\n" * n + b"\n"]),
    "ids": lambda n: iter([b"id: 1\n\n" * n]),
    "near separators": lambda n: iter([b"data: " + b"\n\ndata:" * n]),
    "comments": lambda n: iter([b":\n" * n]),
}


@pytest.mark.campaign
@pytest.mark.parametrize("make", [lambda: EventParser(max_event_bytes=1 << 30), WakeParser], ids=["events", "wakes"])
@pytest.mark.parametrize("name", GROWING)
def test_time_is_linear(name: str, make: Callable[[], EventParser | WakeParser]) -> None:
    def prepare(size: int) -> Callable[[], object]:
        feeds = list(GROWING[name](size))

        def work() -> None:
            parser = make()
            for feed in feeds:
                parser.feed(feed)

        return work

    check_linear(prepare, 1 << 13, 1 << 17)


def test_the_sizes_that_must_work() -> None:
    parser = EventParser()
    for _ in range(1 << 20):
        assert not parser.feed(b"x"[:1]) or pytest.fail("no event was sent")
    parser = EventParser(max_event_bytes=1 << 27)
    line = b"x" * (1 << 26)
    assert parser.feed(b"data: ") == []
    assert parser.feed(line) == []
    (event,) = parser.feed(b"\n\n")
    assert isinstance(event, Event)
    assert len(event.data) == 1 << 26
    assert parser.feed(b"\n" * 1_000_000) == []
    assert len(parser.feed(b"data: x\n\n" * 1_000_000)) == 1_000_000


@pytest.mark.parametrize(
    "block", [b"data: xxx", b"data:\n", b"id\n", b"x", b": ", b"data: x\n: c\n", b"\xff", b"x\r\n"]
)
def test_an_endless_event_ends_in_bounded_memory(block: bytes) -> None:
    limit = 1 << 18
    feed = block * (8192 // len(block))
    parser = EventParser(max_event_bytes=limit)

    def until_it_raises() -> None:
        with pytest.raises(EventTooLargeError):
            while True:
                parser.feed(feed)

    assert peak_bytes(until_it_raises) < 4 * limit + (1 << 20)


@pytest.mark.parametrize(
    ("start", "filling", "mebibytes"),
    [
        *((start, b"x", 100) for start in (b"data: ", b"x", b": ", b"id: ", b"retry: ")),
        *((b"data: ", filling, 8) for filling in (b"\nx", b"\ndata: xxxxxxxxx", b"\n: c")),
        *((b"data: ", filling, 1) for filling in (b"\n", b"\r", b"\r\n", b"\nid: 1", b"\nretry: 1")),
    ],
)
def test_in_wake_mode_an_event_of_any_size_costs_no_memory(start: bytes, filling: bytes, mebibytes: int) -> None:
    feed = filling * (4096 // len(filling))
    parser = WakeParser()

    def one_event() -> None:
        parser.feed(start)
        for _ in range(mebibytes << 8):
            parser.feed(feed)

    # Of one feed there may be a list of its lines; of the 256 and more feeds before it there is nothing.
    assert peak_bytes(one_event) < 1 << 18


def test_a_parser_keeps_nothing_of_what_it_handed_out() -> None:
    parser = EventParser()
    stream = b"event: t\ndata: " + b"x" * 100_000 + b"\ndata: y\n\n"
    parser.feed(stream)

    def many() -> None:
        for _ in range(50):
            parser.feed(stream)

    assert peak_bytes(many) < 6 * len(stream)


def test_a_new_parser_is_small() -> None:
    EventParser(), WakeParser()
    assert peak_bytes(lambda: [EventParser() for _ in range(100)]) < 100 * 600
