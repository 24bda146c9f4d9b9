"""The input of the parsers of `parse`: streams in the shapes in which they really come, cut into feeds. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from bench.sender import HEARTBEAT, event

FEEDS = {"1 B": 1, "1460 B": 1460, "64 KiB": 65536}
"""A byte at a time; one packet of Ethernet; a full read of a socket."""
LENGTHS = (16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20)
"""Of one line, to see how time grows with it."""
GROWTH_FEED = 1460


@dataclass(frozen=True)
class Input:
    """Bytes cut into feeds, and what a right parser makes of them."""

    feeds: list[bytes]
    events: int
    characters: int
    """Of data, in all events together."""

    @property
    def size(self) -> int:
        return sum(map(len, self.feeds))


def cut(whole: bytes, size: int) -> list[bytes]:
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def relay_event(number: int) -> bytes:
    """The bytes that wire's relay sends for a small posted event, without its chunk framing: some 200 bytes of JSON."""
    return event(number).split(b"\r\n", 1)[1][:-2]


def json_event(size: int) -> bytes:
    """One event whose data is JSON of about so many bytes."""
    body = {"event_id": "0" * 64, "body": {"text": "x" * (size - 100)}}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


MANY_LINES = "event: token\nid: 7\n" + "data: a line of some text – and so on\n" * 10 + "\n"


@dataclass(frozen=True)
class Shape:
    """`make(n)` gives the n-th piece of a stream, `data` the characters of data in it, `pieces` how many make a run; of
    a run in feeds of one byte `few` are enough."""

    label: str
    make: Callable[[int], bytes]
    pieces: int
    few: int
    events: int = 1


SHAPES = {
    "relay": Shape("relay events, 200 B of JSON", relay_event, 8_000, 250),
    "4k": Shape("4 KiB events", lambda n: json_event(4 << 10), 500, 15),
    "256k": Shape("256 KiB events", lambda n: json_event(256 << 10), 8, 1),
    "lines": Shape("10 data lines, type, id", lambda n: MANY_LINES.encode(), 4_000, 150),
    "heartbeats": Shape("heartbeats", lambda n: HEARTBEAT, 40_000, 2_000, events=0),
}


def characters(piece: bytes) -> int:
    """Of the data in one event, by the letter of the standard, for pieces without a carriage return."""
    lines = [line.removeprefix("data: ") for line in piece.decode().split("\n") if line.startswith("data")]
    return len("\n".join(lines))


def make(shape: str, feed: str) -> Input:
    """The input of one cell."""
    kind, size = SHAPES[shape], FEEDS[feed]
    pieces = [kind.make(number) for number in range(kind.few if size == 1 else kind.pieces)]
    return Input(cut(b"".join(pieces), size), kind.events * len(pieces), sum(map(characters, pieces)))


def one_line(length: int) -> Input:
    """One event of one line, so many characters long."""
    return Input(cut(b"data: " + b"x" * length + b"\n\n", GROWTH_FEED), 1, length)
