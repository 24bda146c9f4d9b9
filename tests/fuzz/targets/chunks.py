"""Invariant: whatever bytes stand where chunks are expected, `ChunkedBody` gives the same body, end or refusal however
they are cut, never an empty piece, and nothing behind its end. What both it and h11's reader take has the same body and
the same end; what h11 takes and it refuses is one of the few things that it is stricter about.

Layout: a byte of options, a way to cut, the stream.
"""

from __future__ import annotations

import re
from typing import Final

import h11

from tests.fuzz.pieces import cut
from wire_rawsse.protocol import chunked

SMALL: Final = 1
"""A bit of the options: lines may have 20 bytes and trailers 40."""

ABOUT: Final = ("protocol/chunked.py",)
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

_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    options, rule, stream = data[0], data[1], data[2:]
    line, trailers = chunked.LONGEST_LINE, chunked.LONGEST_TRAILERS
    if options & SMALL:
        chunked.LONGEST_LINE, chunked.LONGEST_TRAILERS = 20, 40  # type: ignore[misc]
    try:
        body, ended, refused = _ours([stream])
        assert _ours(cut(stream, rule)) == (body, ended, refused), "something else when cut"
    finally:
        chunked.LONGEST_LINE, chunked.LONGEST_TRAILERS = line, trailers  # type: ignore[misc]
    h11_body, h11_ended, h11_refused = _theirs(stream)
    if not h11_refused:
        assert h11_body.startswith(body), "another body than h11's"
        assert refused or (body, ended) == (h11_body, h11_ended), "another end than h11's"
    if refused and not options & SMALL:
        assert h11_refused or not h11_ended or _LENIENT.search(stream), "what h11 takes is refused"


_LENIENT: Final = re.compile(rb"(?<!\r)\n|\n[ \t]|;[^\n]*[\x00-\x08\x0b-\x1f\x7f][^\n]|[0-9A-Fa-f]{17}")
"""What h11 takes and we do not: lines without CR, trailers that are folded, controls in an extension, 20 digits."""


def _ours(reads: list[bytes]) -> tuple[bytes, bool, bool]:
    """(body, ended, refused)."""
    decoder, body = chunked.ChunkedBody(), b""
    try:
        for read in reads:
            for piece in decoder.feed(read):
                assert piece, "an empty piece"
                body += piece
    except chunked.BadChunk as error:
        assert str(error).isprintable() and not decoder.ended
        return body, False, True
    if decoder.ended:
        assert not list(decoder.feed(b"5\r\nabcde\r\n")), "something behind the end"
    return body, decoder.ended, False


def _theirs(stream: bytes) -> tuple[bytes, bool, bool]:
    connection, body = h11.Connection(h11.CLIENT), b""
    connection.send(_REQUEST)
    connection.send(h11.EndOfMessage())
    connection.receive_data(_HEAD + stream)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return body, True, False
            elif event is h11.NEED_DATA:
                return body, False, False
    except h11.RemoteProtocolError:
        return body, False, True


_REQUEST: Final = h11.Request(method="GET", target="/", headers=[("Host", "h")])
