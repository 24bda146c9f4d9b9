"""Invariant: whatever bytes stand where chunks are expected, `ChunkedBody` gives the same body, end or refusal however
they are cut, never an empty piece, and nothing after its end. If both it and h11's reader accept the bytes, body and
end are the same; if only h11 does, the reason is one of the few listed points on which `ChunkedBody` is stricter.

Layout: a byte of options, a way to cut, the stream.
"""

from __future__ import annotations

import re
from typing import Final

from tests.fuzz.pieces import cut
from tests.protocol.chunked_by_h11 import check_alike, ours
from wire_rawsse.protocol import chunked

SMALL: Final = 1
"""A bit of the options: lines may have 20 bytes and trailers 40."""

LONGEST: Final = 512
WORDS: Final = (
    *(
        b"5\r\nabcde\r\n",
        b"0\r\n\r\n",
        b"0\r\nA: b\r\n\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"1;a=b\r\nx\r\n",
        b"\n",
        b"\r",
        b";",
        b" ",
    ),
    *(b"a\r\n0123456789\r\n", b"00", b"FF", b"ffffffffffffffff", b"0x", b"-1", b"+1", b"\t", b"\x00", b": ", b"1_0"),
)
SEEDS: Final = (
    b"\x00\x215\r\nabcde\r\n0\r\n\r\n",
    b"\x01\x425;a=b\r\nabcde\r\n00\r\nA: b\r\n\r\nmore",
    b"\x00\x635\r\nabcdef\r\n",
    b"\x00\x84A\r\n0123456789\r\n1\r\nx\r\n",
    b"\x01\x851;" + b"x" * 30 + b"\r\nx\r\n",
    b"\x01\x060\r\n" + b"A: b\r\n" * 9,
)


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    options, rule, stream = data[0], data[1], data[2:]
    line, trailers = chunked.LONGEST_LINE, chunked.LONGEST_TRAILERS
    if options & SMALL:
        chunked.LONGEST_LINE, chunked.LONGEST_TRAILERS = 20, 40  # type: ignore[misc]
    try:
        found = ours([stream])
        assert ours(cut(stream, rule)) == found, "something else when cut"
    finally:
        chunked.LONGEST_LINE, chunked.LONGEST_TRAILERS = line, trailers  # type: ignore[misc]
    other = check_alike(found, stream)
    if found.refused and not options & SMALL:
        assert other.refused or not other.ended or _LENIENT.search(stream), "what h11 takes is refused"


_LENIENT: Final = re.compile(rb"(?<!\r)\n|\n[ \t]|;[^\n]*[\x00-\x08\x0b-\x1f\x7f][^\n]|[0-9A-Fa-f]{17}")
"""Accepted by h11 and not by us: lines without CR, folded trailers, controls in an extension, 20 digits."""
