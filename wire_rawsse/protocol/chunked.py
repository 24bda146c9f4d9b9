"""An incremental decoder of the chunked coding (RFC 9112 §7.1).

h11 has one too, and does the rest of HTTP for us. But it is slow for small chunks, and a stream is a body of a million
small chunks: the latency of an event and the processor time of an idle year are spent here. The tests compare this
decoder with h11's, byte for byte and for each split of the input.

It is strict where lenient parsers have had security holes: sizes are plain hexadecimal digits, and lines end with CRLF
only. Chunk extensions and trailers are ignored, as §7.1.1 and §7.1.2 allow. A line may have 4 KiB and the trailers
64 KiB, which bounds the memory if they drip. The read deadline bounds the time, because they are not body bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

LONGEST_LINE: Final = 4096
"""Bytes of a chunk's size and extensions, without the line end. (h11 takes 64 KiB, nginx's own chunks have 10.)"""
LONGEST_TRAILERS: Final = 65536
"""Bytes of all trailer fields."""

_HEX: Final = b"0123456789ABCDEFabcdef"
_IN_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110 §5.6.2."""
_MOST_DIGITS: Final = 16
_SMALL: Final = 64
"""Bytes; chunks of fewer are taken many at a time."""
_SIZES_KEPT: Final = 256
_CONTROLS: Final = bytes((*range(9), *range(10, 32), 127))  # RFC 9110 §5.5: a tab is none.

_CR, _LF = b"\r\n"

_SIZE, _DATA, _DATA_END, _TRAILERS = range(4)


class BadChunk(Exception):
    """The received bytes are no chunk. The text says why, and quotes nothing."""


class ChunkedBody:
    """An incremental decoder. Feed it; it yields the body's pieces, each before its chunk is complete."""

    __slots__ = ("_left", "_line", "_state", "_trailers", "ended")

    def __init__(self) -> None:
        self.ended = False
        """The last chunk and its trailers have been read. Bytes that are fed after that are ignored."""
        self._state = _SIZE
        self._left = 0  # Bytes of the present chunk that are still to come.
        self._line = b""  # The beginning of a line that was cut by a read; of the end of a chunk's data too.
        self._trailers = 0

    def whole(self, data: bytes) -> bytes | None:
        """The data of the chunk that `data` is, if it is one whole chunk and no other is under way.

        This is the fast path for nearly every reception of a stream. If it returns None, call `feed` with the bytes.
        """
        if self._state == _SIZE and not self._line:
            line, _, rest = data.partition(b"\r\n")
            size = _sizes[line]  # The code of `int` is large, and after a sleep it is not in the caches.
            if size and size == len(rest) - 2 and rest[-1] == _LF and rest[-2] == _CR:
                return rest[:-2]
        return None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces of the body in `data`. Raises `BadChunk`, after the pieces before the fault."""
        position, size = 0, len(data)
        many = True  # Tried once only, because it searches all of `data`.
        while position < size and not self.ended:
            if self._state == _SIZE and not self._line:
                # The usual case: whole chunks and nothing else.
                piece, position = _whole_chunks(data, position, many)
                many = False
                if piece:
                    yield piece
                    continue
            if self._state == _DATA:
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
                yield piece
                continue
            line, position = self._take_line(data, position)
            if line is not None:
                self._interpret(line)

    def _take_line(self, data: bytes, position: int) -> tuple[bytes | None, int]:
        """The next line without its CRLF, or None if it is not complete; and the position to go on from."""
        end = data.find(b"\n", position)  # Only new bytes are searched. The CR before it may be older.
        line = self._line + (data[position:] if end < 0 else data[position:end])
        if self._state == _SIZE and (not line or line[0] not in _HEX):
            raise BadChunk("a chunk does not begin with its size in hexadecimal")
        if self._state == _DATA_END and line[:1] not in (b"", b"\r"):
            raise BadChunk("a chunk's data does not end where its size says")
        if len(line) > LONGEST_LINE + 1:
            raise BadChunk("a line of the chunked coding is too long")
        if end < 0:
            self._check_unfinished(line)
            self._line = line
            return None, len(data)
        if not line.endswith(b"\r"):
            raise BadChunk("a line of the chunked coding does not end with CRLF")
        self._line = b""
        return line[:-1], end + 1

    def _check_unfinished(self, line: bytes) -> None:
        """Refuse the beginning of a line that no further byte can make valid, because the peer may never end it."""
        text = line.removesuffix(b"\r")
        if b"\r" in text:
            raise BadChunk("a line of the chunked coding does not end with CRLF")
        if self._state == _SIZE:
            digits, _, extensions = text.partition(b";")
            _check_size(digits.rstrip(b" \t"), extensions)
        elif self._state == _TRAILERS:
            name, colon, _ = text.partition(b":")
            if not _is_token(name) and (name or colon):
                raise BadChunk("a trailer is no field line")

    def _interpret(self, line: bytes) -> None:
        if self._state == _DATA_END:
            if line:
                raise BadChunk("a chunk's data does not end where its size says")
            self._state = _SIZE
        elif self._state == _TRAILERS:
            name, colon, _ = line.partition(b":")
            if line and not (colon and _is_token(name) and b"\r" not in line):
                raise BadChunk("a trailer is no field line")
            self._trailers += len(line) + 2
            if self._trailers > LONGEST_TRAILERS:
                raise BadChunk("the trailers of the chunked coding are too long")
            self.ended = not line
        else:
            self._left = _size(line)
            self._state = _DATA if self._left else _TRAILERS


def _whole_chunks(data: bytes, position: int, many: bool) -> tuple[bytes, int]:
    """The data of the whole chunks that begin at `position`, joined, and their end. b"" if there is none.

    `many`: whether to try `_small_chunks`.
    """
    begin = position
    pieces = []
    while position < len(data):
        end = data.find(b"\r\n", position, position + _MOST_DIGITS + 2)
        size = _sizes[data[position:end]] if end > position else 0
        start = end + 2
        end = start + size
        if not size or data[end : end + 2] != b"\r\n":
            break
        if many and size < _SMALL and position == begin:
            joined = _small_chunks(data[position:])
            if joined is not None:
                return joined[0], position + joined[1]
        pieces.append(data[start:end])
        position = end + 2
    return b"".join(pieces), position


def _small_chunks(data: bytes) -> tuple[bytes, int] | None:
    """The same for a run of small chunks, without Python code for each of them. None if that is not possible.

    The lines of such a run are sizes and data in turn. If there is a CRLF in the data, the sizes do not fit.
    """
    lines = data.split(b"\r\n")
    sizes, pieces = lines[:-1:2], lines[1:-1:2]
    del sizes[len(pieces) :]
    if list(map(len, pieces)) != list(map(_sizes.__getitem__, sizes)) or b"" in pieces:
        return None
    body = b"".join(pieces)
    return body, len(body) + sum(map(len, sizes)) + 4 * len(pieces)


class _Sizes(dict[bytes, int]):
    """The size in each line; 0 if it is not plain digits, or that of the last chunk. The first 256 lines are kept."""

    def __missing__(self, line: bytes) -> int:
        if not (0 < len(line) <= _MOST_DIGITS and not line.strip(_HEX)):
            return 0
        size = int(line, 16)
        if len(self) < _SIZES_KEPT:
            self[line] = size
        return size


_sizes: Final = _Sizes()


def _size(line: bytes) -> int:
    """§7.1: 1*HEXDIG, here at most 16 of them, then extensions, which §7.1.1 lets begin with white space."""
    digits, _, extensions = line.partition(b";")
    digits = digits.rstrip(b" \t")
    _check_size(digits, extensions)
    return int(digits, 16)


def _check_size(digits: bytes, extensions: bytes) -> None:
    visible = len(extensions.translate(None, _CONTROLS)) == len(extensions)
    if not (0 < len(digits) <= _MOST_DIGITS and not digits.strip(_HEX) and visible):
        raise BadChunk("a chunk does not begin with its size in hexadecimal")


def _is_token(name: bytes) -> bool:
    # `translate` checks 4 KiB in a few microseconds, a set in a hundred. A line may come one byte at a time.
    return bool(name) and not name.translate(None, _IN_TOKEN)
