"""Invariant: whatever the bytes and however they are cut, `EventParser` gives out of each feed exactly the events and
comments that a slow parser, written from the standard, says are complete with that feed, `WakeParser` says "data" for
exactly the feeds in which the name of a data line is complete, both know the same last event ID, reconnection time and
open line after each feed, and a limit falls on the same byte under any split.

Layout: a byte of options, a way to cut, the stream.
"""

from __future__ import annotations

from typing import Final

from tests.fuzz.pieces import cut
from tests.protocol.sse_reference import Fact, interpret, too_large_at
from wire_rawsse.errors import EventTooLargeError
from wire_rawsse.protocol import events, sse

COMMENTS, START_ID, SMALL_PIECES, LIMIT = 1, 2, 4, 8
"""Bits of the options. With `LIMIT` the four high bits are the limit, which is at least 2: with 1, the first two bytes
of what may still become a byte order mark are over it only when it is known that they are none."""

LONGEST: Final = 512
WORDS: Final = (
    *(
        b"data",
        b"data:",
        b"data: ",
        b"data: x\n\n",
        b"\n\ndata: ",
        b"\r\ndata:",
        b"\rdata\r",
        b"\n\n",
        b"\r\n",
        b"\r\r",
    ),
    *(b"event", b"event:", b"event: t\n", b"id", b"id:", b"id: 7\n", b"id\n\n", b"\nid:", b"retry", b"retry: 10\n"),
    *(b"retry: 99999999999999999999\n", b"retry: 9007199254740993\n", b": c\n", b"\xef\xbb\xbf", b"\xe2\x82\xac"),
    *(
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"\xc2\x85",
        b"\x00",
        b"data\n",
        b"\ndata\n",
        b"datax: 1\n",
    ),
)
SEEDS: Final = (
    b"\x00\x00data: x\n\n",
    b"\x01\x21: hello\ndata: a\ndata: b\n\nid: 5\nevent: t\ndata\n\n",
    b"\x02\x47\xef\xbb\xbfid: 7\r\n\r\ndata: \xe2\x82\xac\r\rretry: 10\r",
    b"\x05\x60data: a\n\ndata: b\n\ndata: c\n\nid\ndata: d\n\n",
    b"\x88\x33data: 12345\n\n: c\n: c\ndata: 12345\n\ndata: 1234567890\n\n",
    b"\xf9\x90event: t\nid: a\x00b\nretry: 1x\nretry: 007\n\n",
)


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    options, rule, stream = data[0], data[1], data[2:]
    start = "before" if options & START_ID else ""
    shipped = sse.PIECE, events._CHUNK
    if options & SMALL_PIECES:
        # A stream as long as the real pieces would take the reference too long.
        sse.PIECE = events.PIECE = 11 + options // 8  # type: ignore[attr-defined,misc]
        events._CHUNK = 19  # type: ignore[misc]
    try:
        facts = interpret(stream, start)
        limit = 2 + options // 16 * 5 if options & LIMIT else 0
        over = too_large_at(stream, limit) if limit else None
        pieces = cut(stream, rule)
        _check_wakes(pieces if rule & 1 else [stream], facts, start)
        for feeds in ([stream], pieces):
            if limit:
                _check_limit(feeds, facts, limit, over, start)
            else:
                _check_events(feeds, facts, start, bool(options & COMMENTS))
    finally:
        sse.PIECE, events._CHUNK = shipped  # type: ignore[misc]
        events.PIECE = sse.PIECE  # type: ignore[attr-defined]


def _line_open(stream: bytes) -> bool:
    return stream not in (b"", b"\xef\xbb\xbf") and stream[-1] not in b"\r\n"


class _Known:
    """The facts up to the end of each feed in turn."""

    __slots__ = ("_facts", "_next", "_retry", "fed", "last_id")

    def __init__(self, facts: list[Fact], start: str) -> None:
        self._facts = facts
        self._next = 0
        self.fed = b""
        self.last_id = start
        self._retry: int | None = None

    def feed(self, piece: bytes) -> list[Fact]:
        """The facts that `piece` completes."""
        self.fed += piece
        first = self._next
        facts = self._facts
        while self._next < len(facts) and facts[self._next].at < len(self.fed):
            _, what, value = facts[self._next]
            if what == "id":
                assert isinstance(value, str)
                self.last_id = value
            elif what == "retry":
                assert isinstance(value, int)
                self._retry = min(value, sse.MAX_RETRY_MS)
            self._next += 1
        return facts[first : self._next]

    def compare(self, parser: events.EventParser | sse.WakeParser) -> None:
        assert parser.last_event_id == self.last_id, "another last event ID"
        assert parser.retry_ms == self._retry, "another reconnection time"
        assert parser.line_open == _line_open(self.fed), "another opinion on whether a line is open"


def _check_events(feeds: list[bytes], facts: list[Fact], start: str, comments: bool) -> None:
    parser = events.EventParser(comments=comments, last_event_id=start)
    known = _Known(facts, start)
    for feed in feeds:
        items = parser.feed(feed)
        new = known.feed(feed)
        assert [tuple(item) for item in items] == _told(new, comments), "other events"
        known.compare(parser)


def _told(facts: list[Fact], comments: bool) -> list[object]:
    return [fact.value for fact in facts if fact.what == "event" or (comments and fact.what == "comment")]


def _check_wakes(feeds: list[bytes], facts: list[Fact], start: str) -> None:
    parser = sse.WakeParser(last_event_id=start)
    known = _Known(facts, start)
    for feed in feeds:
        woken = parser.feed(feed)
        new = known.feed(feed)
        assert woken == parser.data_line == any(fact.what == "data" for fact in new), "a wake too few or too many"
        known.compare(parser)


def _check_limit(feeds: list[bytes], facts: list[Fact], limit: int, over: int | None, start: str) -> None:
    parser = events.EventParser(comments=True, max_event_bytes=limit, last_event_id=start)
    known = _Known([fact for fact in facts if over is None or fact.at < over], start)
    for feed in feeds:
        items = parser.feed(feed)
        assert [tuple(item) for item in items] == _told(known.feed(feed), True), "other events before the limit"
        if over is not None and over < len(known.fed):
            assert parser.failed, "the limit was passed and nobody noticed"
            for _ in range(2):
                try:
                    parser.feed(b"")
                except EventTooLargeError as error:
                    assert error.limit == limit
                else:
                    raise AssertionError("a parser that has failed goes on")
            return
        assert not parser.failed, "the limit fell too early"
