"""The rules of event streams that both parsers share, and `WakeParser`, which notices data lines and keeps no event.

The rules are the WHATWG HTML standard's, §9.2.5 "Parsing an event stream" and §9.2.6 "Interpreting an event stream",
with the UTF-8 decoder of the Encoding standard. The output never depends on how the bytes are split into feeds. Each
event is returned by the feed that holds its last byte. `events` has the parser that returns events. Neither parser
knows a socket, a clock or HTTP. Three decisions make both simple and fast:

Bytes are split into lines before they are decoded. CR, LF, colon and space are never part of a longer UTF-8 sequence,
so a field decoded by itself is the same as in the decoded stream. `errors="replace"` is the standard's decoder: one
U+FFFD for each maximal subpart. `splitlines` is not used, because it also splits at U+2028, NEL, VT and FF.

CR and CRLF become LF first, one piece of the input at a time. A CR ends its line at once. An LF directly after it, in
the same feed or in a later one, is dropped. All later steps see one kind of line end.

No byte is read again when more arrive. A feed is processed in pieces of at most 64 KiB, each in a fixed number of
linear passes. Between feeds a parser keeps the open line, which is interpreted when it ends, and the values that the
standard keeps: data, type and last event ID.

An unfinished event at the end of the stream is dropped (§9.2.6). There is nothing to flush: discard the parser.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wire_rawsse import checks

MAX_RETRY_MS: Final = (1 << 53) - 1
"""The largest `retry_ms`, in milliseconds; a larger `retry` counts as this. A float holds it exactly."""
LONGEST_KEPT_LINE: Final = 4096
"""Bytes of an `id` or `retry` line, without its line end, beyond which `WakeParser` ignores it."""

PIECE: Final = 1 << 16
"""Bytes of a feed that are processed at once."""
_BOM: Final = b"\xef\xbb\xbf"
LF, CR = 10, 13  # Integers: given bytes, `in` tries an integer first, and makes and drops an exception.


class LineParser:
    """The state of a stream that both parsers keep, and the preparation of its bytes."""

    __slots__ = ("_after_cr", "_beginning", "_id", "_line", "last_event_id", "line_ended", "line_open", "retry_ms")

    def __init__(self, last_event_id: str) -> None:
        self.last_event_id = last_event_id
        """The last event ID: commits at the blank line, with data or without. Hand it to the next stream's parser."""
        self.retry_ms: int | None = None
        """The last valid `retry`, in milliseconds, at most `MAX_RETRY_MS`; holds as soon as its line ends."""
        self.line_open = False
        """True while the bytes fed so far end inside a line. A CR at the end of a feed has ended its line."""
        self.line_ended = False
        """True if a line ended in the last feed."""
        self._id = last_event_id  # The standard's last event ID buffer.
        self._beginning: bytes | None = b""  # Bytes that may still become a BOM; None once that is settled.
        self._after_cr = False
        self._line = bytearray()  # The open line, without the BOM.

    def _pieces(self, data: bytes | bytearray | memoryview, size: int) -> Iterable[bytes]:
        """`data` without the stream's BOM, in pieces of at most `size` bytes."""
        if type(data) is not bytes:
            try:
                data = bytes(memoryview(data))  # Not bytes(data), which takes a number for a length.
            except TypeError:
                raise checks.wrong("data", "a bytes-like object", data) from None
        if self._beginning is not None:
            data = self._beginning + data
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._beginning = data
                return ()
            self._beginning = None
            data = data.removeprefix(_BOM)
        if len(data) <= size:
            return (data,)
        return (data[start : start + size] for start in range(0, len(data), size))

    def _as_lf(self, piece: bytes) -> bytes:
        """`piece` with LF for each of its line ends."""
        if self._after_cr and piece:
            self._after_cr = False
            if not self._line:
                piece = piece.removeprefix(b"\n")
        if CR in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return piece

    @property
    def unfinished(self) -> bool:
        """Whether the bytes so far end within something that more bytes would complete."""
        return self.line_open

    def replace_id(self, known: str, by: str) -> None:
        """Go on as if the last event id had been `by`, where it is `known`."""
        if self.last_event_id == known:
            self.last_event_id = by
        if self._id == known:
            self._id = by

    def _set_id(self, value: bytes) -> None:
        if b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _set_retry(self, value: bytes) -> None:
        if value.isdigit():  # Of bytes: ASCII digits only, and at least one.
            digits = value.lstrip(b"0")
            # `int` refuses thousands of digits. The maximum has 16.
            self.retry_ms = min(int(digits or b"0"), MAX_RETRY_MS) if len(digits) <= 16 else MAX_RETRY_MS


class WakeParser(LineParser):
    """Follows an event stream only to notice data lines. It keeps no event, so none is too large for it.

    `last_event_id` and `retry_ms` are as in `EventParser`, except that an `id` or `retry` line longer than
    `LONGEST_KEPT_LINE` bytes is ignored. No event and no line needs more memory than that, whatever its size. Time is
    linear in the number of bytes.
    """

    __slots__ = ("data_line", "delivered")

    def __init__(self, *, last_event_id: str = "") -> None:
        super().__init__(last_event_id)
        self.data_line = False
        """True if the last feed completed the name of a `data` field: it held the colon or the line end (CR or LF)
        after the letters `data` at the beginning of a line. A name that two feeds share counts in the second only."""
        self.delivered = False
        """True once a feed has held a data line. The caller may set it back."""

    def feed(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether `data` held a data line (see `data_line`). Raises `TypeError` if it is not bytes."""
        self.data_line = self.line_ended = False
        if type(data) is bytes and self._beginning is None and not self._after_cr and CR not in data:
            if self.line_open:
                if self._line.startswith(b"data:") and LF not in data:
                    return False  # More of a data line that was reported already.
            elif self._id == self.last_event_id and data[-2:] == b"\n\n" and data.find(b"\n") == len(data) - 2:
                # The usual cases: exactly one event, or one comment.
                if data[:5] == b"data:":
                    self.data_line = self.delivered = self.line_ended = True
                    return True
                if data[:1] == b":":
                    self.line_ended = True
                    return False
        if type(data) is bytes and self._beginning is None and len(data) <= PIECE:
            self._read(data)
        else:
            for piece in self._pieces(data, PIECE):
                self._read(piece)
        self.line_open = bool(self._line or self._beginning)
        self.delivered = self.delivered or self.data_line
        return self.data_line

    def _read(self, piece: bytes) -> None:
        if self._after_cr or CR in piece:
            piece = self._as_lf(piece)
        first = piece.find(b"\n")
        if first < 0:
            self._open(piece)
            return
        self.line_ended = True
        self._open(piece[:first])
        if not self._line.startswith(b"data:"):
            self._interpret(bytes(self._line))
        self._line.clear()
        end = piece.rfind(b"\n") + 1
        # Every line after the first follows an LF. A match may also lie in the open line, which does no harm.
        metadata = piece.find(b"\nid") >= 0 or piece.find(b"\nretry") >= 0
        if metadata or self._id != self.last_event_id:
            for line in piece[first + 1 : end].split(b"\n")[:-1]:
                self._interpret(line)
        elif not self.data_line:
            self.data_line = b"\ndata:" in piece or b"\ndata\n" in piece
        if end < len(piece):
            self._open(piece[end:])

    def _interpret(self, line: bytes) -> None:
        """Interpret one whole line. If it was too long to keep, `line` is only its beginning."""
        if not line:
            self.last_event_id = self._id
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self.data_line = True
        elif len(line) <= LONGEST_KEPT_LINE:
            if name == b"id":
                self._set_id(value.removeprefix(b" "))
            elif name == b"retry":
                self._set_retry(value.removeprefix(b" "))

    def _open(self, rest: bytes) -> None:
        """Keep the part of the open line that may matter. Of a `data` line that is the name. Of any other line it is at
        most one byte more than `LONGEST_KEPT_LINE`; that byte marks it as too long."""
        line = self._line
        if not line.startswith(b"data:"):
            line += rest[: LONGEST_KEPT_LINE + 1 - len(line)]
            if line.startswith(b"data:"):
                self.data_line = True
                del line[5:]


BEGINS_DATA_LINE: Final = b"\ndata"
"""Nearly every data line begins with these bytes where `holds_data_line` searches."""


def holds_data_line(read: bytes) -> bool:
    """Whether a line in `read` begins with `data`. `read` is a raw reception, before HTTP and events are parsed.

    It still has chunk framing. But a chunk's data begins on a new line (RFC 9112 §7.1), so a `data` line begins at the
    start of a line here too, or at the start of `read`. A false positive (a field called `database`, a chunk that
    begins in the middle of a line) costs one pull. After a false negative (a name that two receptions share, a byte
    order mark before it) the parser gives the wake later.
    """
    # Not `in`, which tries an integer first: CPython makes an exception, with its text, and drops it.
    return read.find(BEGINS_DATA_LINE) >= 0 or read.startswith(b"data") or read.find(b"\rdata") >= 0
