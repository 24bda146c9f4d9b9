"""The fast parsers against the slow reference: any bytes, any split, every fact out of the feed that completes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.protocol.sse_reference import Fact, interpret, too_large_at, utf8_decode
from wire_rawsse.errors import EventTooLargeError
from wire_rawsse.protocol import events, sse
from wire_rawsse.protocol.events import Comment, Event, EventParser
from wire_rawsse.protocol.sse import MAX_RETRY_MS, WakeParser

BOM = b"\xef\xbb\xbf"

# Whole fields are rare in random bytes, so most pieces are words of the format, or what breaks them.
pieces = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"),
        *(b":", b" ", b": ", b":  ", b"::", b"\t", b"\0", b"x", b"y z"),
        *(b"data", b"data:", b"data: ", b"data: x", b"data: x\n\n", b"data:x\r\r", b"dat", b"a:", b"datax:", b"Data:"),
        *(b"event", b"event:", b"event: t", b"event: t\n", b"id", b"id:", b"id: 7", b"id: 8\n", b"id: a\0b", b"id\n"),
        *(b"retry", b"retry:", b"retry: 10", b"retry: 1x", b"retry: +5", b"retry:  5", b"retry: 007\n"),
        *("retry: ٣".encode(), "retry: ²".encode(), b"retry: 99999999999999999999\n"),
        *(b": hello\n", b":", b": hello\n\n", b"unknown: x\n"),
        *(BOM, BOM[:1], BOM[:2], BOM[1:], BOM[2:]),
        *("€".encode(), "€".encode()[:1], "€".encode()[:2], "€".encode()[1:], "😀".encode(), "😀".encode()[:3]),
        *(b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\xf5", b"\xff", b"\xfe"),
        *("\u2028".encode(), "\u2029".encode(), "\x85".encode(), b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e"),
    ]
)
words = st.lists(pieces, max_size=40).map(b"".join)
# A stream that is mostly well-formed reaches states that noise rarely does.
plain = st.lists(
    st.one_of(
        st.sampled_from(
            [b"data: a\n\n", b"data: b\n\n", b"data: \n\n", b"data: \xff\n\n", b": c\n\n", b"id: 3\ndata: d\n\n"]
        ),
        pieces,
    ),
    max_size=30,
).map(b"".join)
streams = st.one_of(words, plain, st.binary(max_size=40), st.builds(bytes.__add__, st.just(BOM), words))


@st.composite
def split_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream as a list of feeds, some of them empty."""
    stream = draw(streams)
    if draw(st.booleans()):
        return [stream[i : i + 1] for i in range(len(stream))]
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=12))
    return [stream[start:end] for start, end in pairwise([0, *sorted(cuts), len(stream)])]


def line_open(stream: bytes) -> bool:
    return stream not in (b"", BOM) and stream[-1] not in b"\r\n"


def retry(facts: list[Fact]) -> int | None:
    found = [fact.value for fact in facts if fact.what == "retry"]
    last = found[-1] if found else None
    assert last is None or isinstance(last, int)
    return None if last is None else min(last, MAX_RETRY_MS)


def last_id(facts: list[Fact], start: str) -> object:
    return [start, *(fact.value for fact in facts if fact.what == "id")][-1]


def shown(items: list[Event | Comment]) -> list[object]:
    return [(type(item).__name__.lower(), tuple(item)) for item in items]


def feed_by_feed(feeds: list[bytes], facts: list[Fact]) -> Iterator[tuple[bytes, bytes, list[Fact], list[Fact]]]:
    """Each feed, with all bytes up to its end, the facts that it completes, and all facts so far."""
    fed = b""
    for feed in feeds:
        before, fed = len(fed), fed + feed
        yield feed, fed, [f for f in facts if before <= f.at < len(fed)], [f for f in facts if f.at < len(fed)]


@settings(max_examples=300, deadline=None)
@given(split_streams(), st.booleans(), st.sampled_from(["", "before"]))
@example([b"\r", b"\n", b"data: x\r", b"\n", b"\r", b"\n"], True, "")
@example([b"\xef", b"\xbb", b"\xbf\xef\xbb\xbfdata: x\n\n"], True, "")
@example([b"data:", b" ", b" x\n\n"], True, "")
@example([b"\r", b"data: x\n\n", b"\n"], True, "")
def test_every_feed_brings_what_the_reference_says(feeds: list[bytes], comments: bool, start: str) -> None:
    check_events(feeds, comments, start)


def check_events(feeds: list[bytes], comments: bool, start: str) -> None:
    facts = interpret(b"".join(feeds), start)
    wanted = ("event", "comment") if comments else ("event",)
    parser = EventParser(comments=comments, last_event_id=start)
    for feed, fed, new, known in feed_by_feed(feeds, facts):
        assert shown(parser.feed(feed)) == [(f.what, f.value) for f in new if f.what in wanted]
        assert parser.last_event_id == last_id(known, start)
        assert parser.retry_ms == retry(known)
        assert parser.line_open == line_open(fed)


@settings(max_examples=300, deadline=None)
@given(split_streams(), st.sampled_from(["", "before"]))
@example([b"id: 1\n", b"x", b"\n", b"\n"], "")
@example([b"dat", b"a", b"\r", b"\n"], "")
@example([b"x\nid: 5", b"\n\n"], "")
@example([b"data", b":", b"\n"], "")
@example([b"x\ndatax:\n"], "")
def test_the_wake_parser_hears_and_remembers_the_same(feeds: list[bytes], start: str) -> None:
    check_wakes(feeds, start)


def check_wakes(feeds: list[bytes], start: str) -> None:
    facts = interpret(b"".join(feeds), start)
    parser = WakeParser(last_event_id=start)
    for feed, fed, new, known in feed_by_feed(feeds, facts):
        assert parser.feed(feed) == parser.data_line == any(f.what == "data" for f in new)
        assert parser.last_event_id == last_id(known, start)
        assert parser.retry_ms == retry(known)
        assert parser.line_open == line_open(fed)


@settings(max_examples=300, deadline=None)
@given(streams, st.integers(1, 40), st.integers(2, 20))
def test_large_feeds_are_worked_through_in_pieces(stream: bytes, piece: int, chunk: int) -> None:
    # Streams as large as the real pieces would take the reference too long; so the pieces are made small.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "PIECE", piece)
        patch.setattr(events, "PIECE", piece)
        patch.setattr(events, "_CHUNK", chunk)
        check_events([stream], True, "")
        check_wakes([stream], "")


@settings(max_examples=300, deadline=None)
@given(split_streams(), st.integers(2, 40))
@example([b"data: x\n", b"\n"], 8)
@example([b"data: x", b"\n\n"], 7)
@example([b": c\n: c\n: c\n", b"data\n", b": c\n\n"], 10)
def test_the_limit_falls_on_the_same_byte_under_any_split(feeds: list[bytes], limit: int) -> None:
    stream = b"".join(feeds)
    over = too_large_at(stream, limit)
    facts = [fact for fact in interpret(stream) if over is None or fact.at < over]
    parser = EventParser(comments=True, max_event_bytes=limit)
    for feed, fed, new, _ in feed_by_feed(feeds, facts):
        assert shown(parser.feed(feed)) == [(f.what, f.value) for f in new if f.what in ("event", "comment")]
        if over is not None and over < len(fed):
            for _ in range(2):
                with pytest.raises(EventTooLargeError) as caught:
                    parser.feed(b"")
                assert caught.value.limit == limit
            return
    parser.feed(b"")


@settings(deadline=None)
@given(split_streams(), st.sampled_from([bytearray, memoryview]))
def test_any_bytes_like_object_is_the_same(feeds: list[bytes], kind: Callable[[bytes], bytearray | memoryview]) -> None:
    wakes, parser = WakeParser(), EventParser(comments=True)
    same_wakes, same = WakeParser(), EventParser(comments=True)
    for feed in feeds:
        assert same.feed(kind(feed)) == parser.feed(feed)
        assert same_wakes.feed(kind(feed)) == wakes.feed(feed)


@settings(deadline=None)
@given(streams)
def test_pythons_replacement_is_the_encoding_standards(stream: bytes) -> None:
    assert "".join(character for character, _ in utf8_decode(BOM + stream)) == stream.decode("utf-8", "replace")
