"""The chunked coding as our decoder reads it and as h11's does, in the same words, so that they can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import h11

from wire_rawsse.protocol.chunked import BadChunk, ChunkedBody

_REQUEST: Final = h11.Request(method="GET", target="/", headers=[("Host", "h")])
_HEAD: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    """The result of a stream."""

    body: bytes
    ended: bool
    refused: bool


def ours(reads: Iterable[bytes]) -> Read:
    """The result of `ChunkedBody` for these reads. None of its pieces is empty, nothing comes after the end, and what
    is said at once is what is said in the end.
    """
    decoder, body = ChunkedBody(), b""
    at_once: bytes | None = None
    try:
        for read in reads:
            at_once = decoder.whole(read)
            pieces = []
            for piece in decoder.feed(read):
                assert piece, "an empty piece"
                pieces.append(piece)
                body += piece
            assert at_once is None or pieces == [at_once], "something else at once"
    except BadChunk as error:
        assert at_once is None, "what is refused was taken at once"
        assert str(error).isprintable() and not decoder.ended
        return Read(body, False, True)
    if decoder.ended:
        assert not list(decoder.feed(b"5\r\nabcde\r\n")), "something after the end"
    return Read(body, decoder.ended, False)


def theirs(stream: bytes) -> Read:
    """The result of h11 for the whole stream."""
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
                return Read(body, True, False)
            elif event is h11.NEED_DATA:
                return Read(body, False, False)
    except h11.RemoteProtocolError:
        return Read(body, False, True)


def check_alike(found: Read, stream: bytes) -> Read:
    """A stream that h11 accepts has the same body, and the same end unless we are stricter. Returns h11's result."""
    other = theirs(stream)
    if not other.refused:
        assert other.body.startswith(found.body), "another body than h11's"
        assert found.refused or found == other, "another end than h11's"
    return other
