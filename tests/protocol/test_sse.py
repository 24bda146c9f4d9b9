"""The event-stream parsers by hand: a vector for each rule, fed whole, byte by byte and at every two-way split; the
limit's exact edge. The rules' own order is that of WHATWG HTML §9.2.5 and §9.2.6.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest

from wire_rawsse.errors import EventTooLargeError, InvalidRequestError, WireRawSSEError
from wire_rawsse.protocol.events import Comment, Event, EventParser
from wire_rawsse.protocol.sse import LONGEST_KEPT_LINE, MAX_RETRY_MS, WakeParser

BOM = b"\xef\xbb\xbf"
R = "\ufffd"


def message(data: str, id: str = "", type: str = "message") -> Event:
    return Event(type, data, id)


# Name: the stream, what comes out, the last event ID at the end, the last valid retry.
VECTORS: dict[str, tuple[bytes, list[Event | Comment], str, int | None]] = {
    # Line ends.
    "LF": (b"data: x\n\n", [message("x")], "", None),
    "CR": (b"data: x\r\r", [message("x")], "", None),
    "CRLF": (b"data: x\r\n\r\n", [message("x")], "", None),
    "LF and CR are two": (b"data: x\n\r", [message("x")], "", None),
    "CR LF CR is two": (b"data: x\r\n\r", [message("x")], "", None),
    "CR LF LF is two": (b"data: x\r\n\n", [message("x")], "", None),
    "CR LF is one": (b"data: x\r\ndata: y\r\n\r\n", [message("x\ny")], "", None),
    "CR CR LF is two": (b"data: x\r\r\ndata: y\r\r\n", [message("x"), message("y")], "", None),
    "all three in one block": (b"data: 1\rdata: 2\ndata: 3\r\n\n", [message("1\n2\n3")], "", None),
    "no other line end": (
        "data: a\u2028b\u2029c\x85d\ve\ff\x1cg\x1dh\x1ei\n\n".encode(),
        [message("a\u2028b\u2029c\x85d\ve\ff\x1cg\x1dh\x1ei")],
        "",
        None,
    ),
    "only blank lines": (b"\n\r\r\n\n\r\n", [], "", None),
    "blank lines between": (b"\n\n\ndata: x\n\n\n\ndata: y\n\n\n", [message("x"), message("y")], "", None),
    # The byte order mark.
    "one BOM is dropped": (BOM + b"data: x\n\n", [message("x")], "", None),
    "the second BOM is not": (BOM + BOM + b"data: x\n\ndata: y\n\n", [message("y")], "", None),
    "a BOM later on is not": (b"\n" + BOM + b"data: x\n\n", [], "", None),
    "a BOM in a value is kept": (BOM + b"data: " + BOM + b"\n\n", [message("\ufeff")], "", None),
    "half a BOM": (b"\xef\xbbdata: x\n\ndata: y\n\n", [message("y")], "", None),
    "a BOM and nothing": (BOM, [], "", None),
    "a BOM and a blank line": (BOM + b"\n", [], "", None),
    # UTF-8.
    "multi-byte": ("data: ü€😀\n\n".encode(), [message("ü€😀")], "", None),
    "noncharacters are characters": ("data: \uffff\ufdd0\n\n".encode(), [message("\uffff\ufdd0")], "", None),
    "stray continuation bytes": (b"data: \x80\xbf\n\n", [message(R * 2)], "", None),
    "bytes that never occur": (b"data: \xc0\xc1\xf5\xff\n\n", [message(R * 4)], "", None),
    "maximal subparts": (b"data: \xf0\x9f\x98x\xe2\x82y\xc3z\n\n", [message(f"{R}x{R}y{R}z")], "", None),
    "a cut sequence and the next": (b"data: \xe2\x82\xe2\x82\xac\n\n", [message(f"{R}€")], "", None),
    "overlong": (b"data: \xe0\x80\xaf\xf0\x80\x80\xaf\n\n", [message(R * 7)], "", None),
    "a surrogate": (b"data: \xed\xa0\x80\n\n", [message(R * 3)], "", None),
    "beyond U+10FFFF": (b"data: \xf4\x90\x80\x80\n\n", [message(R * 4)], "", None),
    "cut by an LF": (b"data: \xe2\x82\ndata: \xac\n\n", [message(f"{R}\n{R}")], "", None),
    "cut by a CR": (b"data: \xf0\x9f\x98\r\r", [message(R)], "", None),
    "cut by a colon": (b"\xe2\x82: x\ndata: \xe2: \n\n", [message(f"{R}: ")], "", None),
    "cut by the end": (b"data: x\n\ndata: \xe2\x82", [message("x")], "", None),
    "invalid in type and id": (
        b"event: \xff\nid: \xe2\x82\ndata\n\n",
        [message("", R, R)],
        R,
        None,
    ),
    # Fields.
    "one space is removed": (b"data:  x \ndata:x\ndata: \n\n", [message(" x \nx\n")], "", None),
    "only a space is": (b"data:\tx\n\n", [message("\tx")], "", None),
    "the first colon counts": (b"data: a: b:c\n\n", [message("a: b:c")], "", None),
    "no colon": (b"data\n\n", [message("")], "", None),
    "an empty value": (b"data:\n\n", [message("")], "", None),
    "one trailing LF is removed": (b"data\ndata\n\ndata: x\ndata\n\n", [message("\n"), message("x\n")], "", None),
    "names are exact": (b"Data: x\n data: x\ndata : x\ndatax\ndat: x\nDATA\n\n", [], "", None),
    "unknown fields": (b"foo: bar\nfoo\ndata: x\nfoo\n\n", [message("x")], "", None),
    "comments": (b": a\n:b\n:\n::  c\ndata: x\n:  d\n\n", [message("x")], "", None),
    "a leading space makes no comment": (b" : a\n\n", [], "", None),
    "a NUL in data": (b"data: a\0b\n\n", [message("a\0b")], "", None),
    # Dispatch.
    "a type": (b"event: t\ndata: x\n\n", [message("x", type="t")], "", None),
    "the last type counts": (b"event: t\nevent: u\ndata: x\n\n", [message("x", type="u")], "", None),
    "an empty type is none": (b"event: t\nevent:\ndata: x\n\n", [message("x")], "", None),
    "a type is for one event": (b"event: t\ndata: x\n\ndata: y\n\n", [message("x", type="t"), message("y")], "", None),
    "no data, no event, no type": (b"event: t\n\ndata: x\n\n", [message("x")], "", None),
    "an unfinished event": (b"data: x\n\ndata: y\n", [message("x")], "", None),
    "an unfinished line": (b"data: x\n\ndata: y\n\ndata: z", [message("x"), message("y")], "", None),
    "an unfinished id": (b"id: 1\n\nid: 2\ndata: x\n", [], "1", None),
    # The last event ID.
    "an id": (b"id: 1\ndata: x\n\ndata: y\n\n", [message("x", "1"), message("y", "1")], "1", None),
    "an id without data": (b"id: 1\n\ndata: x\n\n", [message("x", "1")], "1", None),
    "an id alone": (b"id: 1\n\n", [], "1", None),
    "an empty id": (b"id: 1\ndata: x\n\nid\ndata: y\n\n", [message("x", "1"), message("y")], "", None),
    "the last id counts": (b"id: 1\nid: 2\ndata: x\n\n", [message("x", "2")], "2", None),
    "an id after the data": (b"data: x\nid:2\n\n", [message("x", "2")], "2", None),
    "a NUL in an id": (b"id: 1\n\nid: 2\0\ndata: x\n\n", [message("x", "1")], "1", None),
    "a NUL leaves the one before": (b"id: 1\nid: \0\ndata: x\n\n", [message("x", "1")], "1", None),
    "an id with spaces": (b"id:  1 \ndata: x\n\n", [message("x", " 1 ")], " 1 ", None),
    # retry.
    "retry": (b"retry: 1500\n", [], "", 1500),
    "retry needs its line end": (b"retry: 1500\nretry: 20", [], "", 1500),
    "leading zeros": (b"retry: 000" + b"0" * 5000 + b"7\n", [], "", 7),
    "zero": (b"retry: 0\n", [], "", 0),
    "digits only": (
        b"retry: 9\nretry: +1\nretry: -1\nretry: 1.5\nretry: 1e3\nretry: 1_0\nretry: 2 \nretry:  3\nretry: \nretry\n\n",
        [],
        "",
        9,
    ),
    "ASCII digits only": ("retry: ٣\nretry: ²\nretry: 𝟗\nretry: 1٣\n".encode(), [], "", None),
    "the largest retry": (f"retry: {MAX_RETRY_MS}\n".encode(), [], "", MAX_RETRY_MS),
    "a larger one": (f"retry: {MAX_RETRY_MS + 1}\n".encode(), [], "", MAX_RETRY_MS),
    "a far larger one": (b"retry: " + b"9" * 4000 + b"\n", [], "", MAX_RETRY_MS),
    # Input that the fast path must leave to the other.
    "plain, then not": (
        b"data: a\n\ndata: b\n\ndata: c\nid: 1\n\ndata: d\n\n",
        [message("a"), message("b"), message("c", "1"), message("d", "1")],
        "1",
        None,
    ),
    "plain with a comment": (b"data: a\n\n: c\n\ndata: b\n\n", [message("a"), message("b")], "", None),
    "plain and empty": (b"data: \n\ndata: \n\n", [message(""), message("")], "", None),
    "plain with the separator as text": (b"data: \\n\\ndata: \n\n", [message("\\n\\ndata: ")], "", None),
}

# Comments, if they are asked for: each when its own line ends.
WITH_COMMENTS: dict[str, list[Event | Comment]] = {
    "comments": [Comment("a"), Comment("b"), Comment(""), Comment(":  c"), Comment(" d"), message("x")],
    "plain with a comment": [message("a"), Comment("c"), message("b")],
}


def every_split(stream: bytes) -> Iterator[list[bytes]]:
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    yield [piece for at in range(len(stream)) for piece in (b"", stream[at : at + 1])]
    for at in range(len(stream)):
        yield [stream[:at], stream[at:]]


@pytest.mark.parametrize("name", VECTORS)
def test_vector(name: str) -> None:
    stream, expected, last_event_id, retry_ms = VECTORS[name]
    # Long vectors are long in digits only: all their splits would take long and show nothing more.
    splits = every_split(stream) if len(stream) < 1000 else iter([[stream], [stream[:9], stream[9:-1], stream[-1:]]])
    for feeds in splits:
        plain, all_items, wake = EventParser(), EventParser(comments=True), WakeParser()
        items = [item for feed in feeds for item in plain.feed(feed)]
        assert items == expected
        items = [item for feed in feeds for item in all_items.feed(feed)]
        assert items == WITH_COMMENTS.get(name, expected)
        for feed in feeds:
            wake.feed(feed)
        for parser in (plain, all_items, wake):
            if not isinstance(parser, WakeParser) or len(stream) < LONGEST_KEPT_LINE:
                assert parser.retry_ms == retry_ms
            assert parser.last_event_id == last_event_id


@pytest.mark.parametrize(
    ("feeds", "expected"),
    [
        ([b"data: x\r", b"\r"], [[], [message("x")]]),
        ([b"data: x\r", b"\r", b"\n"], [[], [message("x")], []]),
        ([b"data: x\n", b"\r", b"\ndata: y\r", b"\n\r"], [[], [message("x")], [], [message("y")]]),
        ([b"data: x\r\n\r", b"\n\n", b"data: y\n\n"], [[message("x")], [], [message("y")]]),
        ([b"data: x\r\r", b"data: y\n\n", b"\ndata: z\n\n"], [[message("x")], [message("y")], [message("z")]]),
        ([b": a\r", b"\n: b\n", b": c", b"\n"], [[Comment("a")], [Comment("b")], [], [Comment("c")]]),
    ],
)
def test_everything_comes_out_of_the_feed_that_completes_it(
    feeds: list[bytes], expected: list[list[Event | Comment]]
) -> None:
    parser = EventParser(comments=True)
    assert [parser.feed(feed) for feed in feeds] == expected


@pytest.mark.parametrize("make", [EventParser, WakeParser])
def test_the_id_outlives_the_stream_and_starts_the_next(make: type[EventParser] | type[WakeParser]) -> None:
    first = make(last_event_id="a")
    assert first.last_event_id == "a"
    first.feed(b"\n")
    assert first.last_event_id == "a"
    first.feed(b"id: b\ndata: x\n")
    assert first.last_event_id == "a"
    first.feed(b"\n")
    assert first.last_event_id == "b"
    first.feed(b"id: c\n")
    second = make(last_event_id=first.last_event_id)
    second.feed(b"data: y\n\n")
    assert second.last_event_id == "b"


def test_an_event_before_any_id_has_the_one_of_the_stream_before() -> None:
    assert EventParser(last_event_id="a").feed(b"data: x\n\nid\ndata: y\n\n") == [message("x", "a"), message("y")]


@pytest.mark.parametrize("make", [EventParser, WakeParser])
def test_a_retry_holds_from_its_line_end_on(make: type[EventParser] | type[WakeParser]) -> None:
    parser = make()
    parser.feed(b"retry: 10")
    assert parser.retry_ms is None
    parser.feed(b"\r")
    assert parser.retry_ms == 10


@pytest.mark.parametrize("make", [EventParser, WakeParser])
@pytest.mark.parametrize(
    ("feeds", "open_after"),
    [
        ([b""], [False]),
        ([b"d", b"\n", b"data: x", b"\r", b"\n", b"data:", b" ", b"\n\n"], [1, 0, 1, 0, 0, 1, 1, 0]),
        ([b"data: x\r\n", b"\r", b"\n"], [0, 0, 0]),
        ([b"\xef", b"\xbb", b"\xbf", b"d"], [1, 1, 0, 1]),
        ([b":", b"x" * 100_000, b"\n"], [1, 1, 0]),
        ([b"data: x\n\ndata: y"], [1]),
    ],
)
def test_line_open(make: type[EventParser] | type[WakeParser], feeds: list[bytes], open_after: list[int]) -> None:
    parser = make()
    seen = []
    for feed in feeds:
        parser.feed(feed)
        seen.append(parser.line_open)
    assert seen == [bool(wanted) for wanted in open_after]


@pytest.mark.parametrize(
    ("feeds", "held"),
    [
        ([b"data: x\n\n", b""], [1, 0]),
        ([b"data", b": x\n\n"], [0, 1]),
        ([b"data:", b" x\n\n"], [1, 0]),
        ([b"data:", b"x", b"\n\n"], [1, 0, 0]),
        ([b"data: ", b"x", b"\n\n"], [1, 0, 0]),
        ([b"data:", b"\n", b"\n"], [1, 0, 0]),
        ([b"data", b"\n", b"\n"], [0, 1, 0]),
        ([b"data", b"\r", b"\n\n"], [0, 1, 0]),
        ([b"d", b"at", b"a", b":"], [0, 0, 0, 1]),
        ([b"data", b"x:\n"], [0, 0]),
        ([b": data: x\n", b"Data: x\n data: x\n", b"x\ndata: x"], [0, 0, 1]),
        ([b"x\ndatabase: x\ndata \ndata-x\nDATA:\n\n"], [0]),
        ([b"x\ndatabase: x\ndata:\n"], [1]),
        ([b"x", b"\ndata\n"], [0, 1]),
        ([b"x\rdata\r"], [1]),
        ([b"id: data:\n\n", b"data:x\ndata:y", b"\ndata:z", b"\n\n"], [0, 1, 1, 0]),
        ([b"\xef\xbb", b"\xbfdata", b":"], [0, 0, 1]),
        ([b"id: 1\ndata", b": x\n\n"], [0, 1]),
    ],
)
def test_a_data_line_is_known_by_its_name(feeds: list[bytes], held: list[int]) -> None:
    parser = WakeParser()
    seen = []
    for feed in feeds:
        answer = parser.feed(feed)
        seen.append(parser.data_line)
        assert answer is parser.data_line
    assert seen == [bool(wanted) for wanted in held]


def test_the_wake_parser_ignores_overlong_ids_and_retries_only() -> None:
    longest = LONGEST_KEPT_LINE - len("id: ")
    for size in (1, 4096, 1 << 20):

        def feeds(stream: bytes, size: int = size) -> list[bytes]:
            return [stream[at : at + size] for at in range(0, len(stream), size)]

        parser = WakeParser()
        for feed in feeds(b"id: " + b"x" * longest + b"\n\n"):
            parser.feed(feed)
        assert parser.last_event_id == "x" * longest
        for feed in feeds(b"id: " + b"y" * (longest + 1) + b"\n\nretry: 1" + b"0" * 5000 + b"\n"):
            parser.feed(feed)
        assert (parser.last_event_id, parser.retry_ms) == ("x" * longest, None)
        for feed in feeds(b"id: z\nretry: 5\ndata: " + b"d" * 5000 + b"\n\n"):
            parser.feed(feed)
        assert (parser.last_event_id, parser.retry_ms) == ("z", 5)


# The limit.

EDGES: dict[str, tuple[bytes, int]] = {
    # A block, without its blank line, and what it counts.
    "one line": (b"data: x\n", 8),
    "CRLF is one": (b"data: x\r\n", 8),
    "CR is one": (b"data: x\r", 8),
    "two lines": (b"data: x\ndata: y\n", 16),
    "ids, types, unknown fields": (b"id: 1\nevent: t\nfoo\ndata\n", 24),
    "comments in the block": (b"data\n: c\n", 9),
    "all of them": (b"data\n: c\n: d\nfoo\n", 17),
    "comments before the block": (b": 45678\n: 45678\ndata: x\n", 8),
    "a comment alone": (b": 45678\n", 8),
    "a BOM is not counted": (BOM + b"data: x\n", 8),
    "bytes, not characters": ("data: €\n".encode(), 10),
    "no event at all": (b"id: 1\n", 6),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_edge_of_the_limit(name: str) -> None:
    block, size = EDGES[name]
    stream = block + block[-1:]
    for feeds in every_split(stream):
        for before, after in ((b"", b"data\n\n"), (b"data\n\n", b"data\n\n")):
            fed = [before, *feeds, after] if BOM not in block else [*feeds, after]
            fits = EventParser(max_event_bytes=size)
            for feed in fed:
                fits.feed(feed)
            assert not fits.failed
            small = EventParser(max_event_bytes=size - 1)
            with pytest.raises(EventTooLargeError) as caught:
                for feed in [*fed, b""]:
                    small.feed(feed)
            assert caught.value.limit == size - 1


def test_what_comes_before_is_returned_and_what_comes_after_is_not() -> None:
    stream = b"data: a\n\nid: 7\n\nretry: 9\n: c\ndata: bbbbbbbbbbbbbbbbbbbbbbbbb\n\nid: 8\ndata: c\n\n"
    parser = EventParser(max_event_bytes=20, comments=True)
    assert parser.feed(stream) == [message("a"), Comment("c")]
    assert parser.failed
    for data in (b"", b"data: d\n\n", b"\n"):
        with pytest.raises(EventTooLargeError) as caught:
            parser.feed(data)
        assert isinstance(caught.value, (WireRawSSEError, ValueError))
        assert caught.value.permanent
    assert (parser.last_event_id, parser.retry_ms) == ("7", 9)


def test_a_healthy_stream_of_comments_alone_never_ends() -> None:
    parser = EventParser(max_event_bytes=100)
    for _ in range(1000):
        assert parser.feed(b": still on the line\n") == []
    assert parser.feed(b"data: x\n\n") == [message("x")]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"1 or more, not {limit}"):
        EventParser(max_event_bytes=limit)


@pytest.mark.parametrize("make", [EventParser, WakeParser])
@pytest.mark.parametrize("wrong", ["data: x\n\n", 7, None, [1]])
def test_what_is_no_bytes_is_refused(make: Callable[[], EventParser | WakeParser], wrong: object) -> None:
    with pytest.raises(TypeError, match="bytes-like"):
        make().feed(wrong)  # type: ignore[arg-type]  # The wrong type is the point.


# The values.


def test_events_and_comments_are_values() -> None:
    event = Event("message", "x", "1")
    assert (event.type, event.data, event.id) == ("message", "x", "1")
    assert repr(event) == "Event(type='message', data='x', id='1')"
    assert repr(Comment("x")) == "Comment(text='x')"
    assert event == Event(type="message", data="x", id="1") != Event("message", "x", "2")
    assert {event, Event("message", "x", "1"), Comment("x")} == {Comment("x"), event}
    assert pickle.loads(pickle.dumps(event)) == event
    for name in ("type", "data", "id", "other"):
        with pytest.raises(AttributeError):
            setattr(event, name, "y")
    with pytest.raises(AttributeError):
        Comment("x").text = "y"  # type: ignore[misc]  # That it cannot be set is the point.


def test_parsed_events_are_of_the_very_class() -> None:
    parser = EventParser(comments=True)
    items = parser.feed(b"data: x\n\ndata: y\n\n") + parser.feed(b"data: z\n\n") + parser.feed(b"id\ndata\n\n:\n")
    assert [type(item) for item in items] == [Event, Event, Event, Event, Comment]
