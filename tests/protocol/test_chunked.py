"""Our chunked decoder, held against h11's over every split, and against RFC 9112 §7.1 by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.chunked_by_h11 import check_alike, ours, theirs
from tests.support.cost import check_linear
from wire_rawsse.protocol.chunked import LONGEST_LINE, LONGEST_TRAILERS, BadChunk, ChunkedBody


def chunk(data: bytes, extension: bytes = b"", upper: bool = False, zeros: int = 0) -> bytes:
    size = b"%x" % len(data)
    return b"0" * zeros + (size.upper() if upper else size) + extension + b"\r\n" + data + b"\r\n"


chunks = st.builds(
    chunk,
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"", b";", b";a=b", b';x="y"', b";" + b"z" * 40]),
    st.booleans(),
    st.integers(0, 3),
)
endings = st.sampled_from([b"", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"000;x\r\nA: b\r\nC: d\r\n\r\n", b"0\r\n\r\nrest"])
streams = st.builds(lambda parts, end: b"".join(parts) + end, st.lists(chunks, max_size=6), endings)


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(streams, st.lists(st.integers(0, 400), max_size=8))
def test_it_gives_what_h11_gives_however_the_stream_is_cut(stream: bytes, cuts: list[int]) -> None:
    assert ours(split(stream, cuts)) == theirs(stream)


@given(streams, st.integers(0, 300), st.binary(max_size=3), st.lists(st.integers(0, 400), max_size=4))
def test_damage_is_read_alike_under_every_split_and_what_h11_takes_is_taken_alike(
    stream: bytes, place: int, damage: bytes, cuts: list[int]
) -> None:
    place %= len(stream) + 1
    damaged = stream[:place] + damage + stream[place + len(damage) :]
    found = ours([damaged])
    for reads in (split(damaged, cuts), [damaged[n : n + 1] for n in range(len(damaged))]):
        assert ours(reads) == found
    check_alike(found, damaged)


def test_a_piece_is_given_before_its_chunk_is_complete() -> None:
    decoder = ChunkedBody()
    assert list(decoder.feed(b"10\r\nabc")) == [b"abc"]
    assert list(decoder.feed(b"def")) == [b"def"]
    assert list(decoder.feed(b"0123456789\r\n3\r\nxy")) == [b"0123456789", b"xy"]


@pytest.mark.parametrize(
    "stream",
    [
        b"<html>",
        b"-1\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"1_0\r\n",
        b" 3\r\nabc\r\n",
        b"3\nabc\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"\r\n3\r\nabc\r\n",
        b"11111111111111111\r\n",
        b"3;\x00\r\nabc\r\n",
        b"3;" + b"x" * LONGEST_LINE,
        b"0\r\n" + b"A: b\r\n" * (LONGEST_TRAILERS // 6 + 2),
        b"0\r\nA: b\n\r\n",
    ],
    ids=repr,
)
def test_what_is_no_chunk_is_refused_whole_and_byte_by_byte(stream: bytes) -> None:
    assert ours([stream]).refused
    assert ours([stream[n : n + 1] for n in range(len(stream))]).refused


@pytest.mark.parametrize(
    ("start", "garbage"),
    [
        (b"", b"S"),
        (b"", b"zz"),
        (b"", b" "),
        (b"", b"-"),
        (b"", b"\r"),
        (b"3\r\nabc\r\n", b"x"),
        (b"3\r\nabc\r\n", b"\x00"),
        (b"0", b"x"),
        (b"1", b"_0"),
        (b"1", b"z"),
        (b"1 ", b"2"),
        (b"1\t", b"\x0b"),
        (b"1111111111111111", b"1"),
        (b"3\r", b"a"),
        (b"3\r", b"\r"),
        (b"3;a", b"\x00"),
        (b"3;a\r", b"b"),
        (b"3\r\nabc", b"d"),
        (b"3\r\nabc\r", b"d"),
        (b"0\r\n", b":"),
        (b"0\r\nab", b" "),
        (b"0\r\n", b"<html>"),
        (b"0\r\nA: b\r", b"c"),
        (b"0\r\n\r", b"c"),
    ],
    ids=repr,
)
def test_garbage_is_refused_at_its_first_byte_and_not_at_the_end_of_its_line(start: bytes, garbage: bytes) -> None:
    for reads in ([start, garbage[:1]], [start + garbage], [start, *(bytes((one,)) for one in garbage)]):
        decoder = ChunkedBody()
        with pytest.raises(BadChunk):
            for read in reads:
                list(decoder.feed(read))
    decoder = ChunkedBody()
    list(decoder.feed(start))  # Valid so far.


def test_a_long_valid_size_line_is_accepted_byte_by_byte() -> None:
    decoder = ChunkedBody()
    for byte in b"5" + b" " * 2000 + b";" + b"x" * 2000:
        list(decoder.feed(bytes((byte,))))
    assert list(decoder.feed(b"\r\nhello")) == [b"hello"]


def test_a_size_beyond_all_memory_is_read_as_it_comes() -> None:
    decoder = ChunkedBody()
    assert list(decoder.feed(b"ffffffffffffffff\r\nabc")) == [b"abc"]


@pytest.mark.parametrize("bodies", [[b"x"], [b":\n\n"], [b"a", b"bcd", b"ef"], [b":\r\n\r\n"], [b"1", b"0"], [b"\r\n"]])
@pytest.mark.parametrize("cut", [1, 7, 16_384, 1 << 20])
def test_runs_of_small_chunks_are_joined(bodies: list[bytes], cut: int) -> None:
    """Each reception is one piece, plus what it begins and ends with: a stream may be nothing but such chunks."""
    stream = b"".join(map(chunk, bodies * 3000))
    decoder = ChunkedBody()
    body = b""
    for start in range(0, len(stream), cut):
        pieces = list(decoder.feed(stream[start : start + cut]))
        assert len(pieces) <= 3
        body += b"".join(pieces)
    assert body == b"".join(bodies) * 3000


@pytest.mark.campaign
@pytest.mark.parametrize(
    "mixed",
    [chunk(b"x"), chunk(b":\n\n"), chunk(b"\r\n"), chunk(b"x") + chunk(b"x", b";a"), chunk(b"x") + chunk(b"y" * 100)],
)
def test_small_chunks_take_linear_time(mixed: bytes) -> None:
    def feed(count: int) -> Callable[[], object]:
        stream = mixed * count
        return lambda: sum(map(len, ChunkedBody().feed(stream)))

    check_linear(feed, 1000, 16_000)


def test_a_small_chunk_costs_a_few_calls_into_c_at_most() -> None:
    """Counted, not timed: no line of Python runs for each of them."""
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return count

    stream = b"".join(chunk(b"x" * (1 + number % 3)) for number in range(2000))
    before = sys.gettrace()
    sys.settrace(count)
    try:
        body = b"".join(ChunkedBody().feed(stream))
    finally:
        sys.settrace(before)
    assert len(body) > 2000 and lines < 200
