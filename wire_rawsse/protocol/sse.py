"""The event-stream parser: bytes in, events out. It knows no socket, no clock and no HTTP.

The rules are the WHATWG HTML standard's, §9.2.5 "Parsing an event stream" and §9.2.6 "Interpreting an event stream",
with the UTF-8 decoder of the Encoding standard. The output never depends on how the bytes were cut into feeds, and
comes out of the feed that held the byte which completes it. Four things make that both simple and fast.

Bytes are cut into lines before they are decoded. CR, LF, colon and space are never part of a longer UTF-8 sequence, so
decoding a field by itself gives what decoding the whole stream would have given. `errors="replace"` is the standard's
decoder: one U+FFFD for each maximal subpart. `splitlines` would also cut at U+2028, NEL, VT and FF, and is not used.

CR and CRLF become LF first, one piece of the input at a time. A CR ends its line at once; when an LF comes next, in
the same feed or a later one, it is dropped. Everything after that step sees one kind of line end.

No byte is looked at again when more arrive. A feed is worked through in pieces of at most 64 KiB, each by a fixed
number of linear passes. Between feeds there is only the open line, which is looked at when it ends, and what the
standard keeps: data, type and last event ID.

One loop over lines follows the standard step by step. Three kinds of feed bypass it. A feed without a line end only
extends the open line: links that drip bring nothing else. A feed that is a whole event of one `data: ` line, as a relay
sends it when somebody posts, needs no state. A piece that holds many such events is decoded once and split at the text
between two values. `WakeParser` has a loop of its own that knows `id`,
`retry` and the name of `data` only.

An unfinished event at the end of the stream is dropped (§9.2.6): there is nothing to flush, just drop the parser.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any, Final, NamedTuple

from wire_rawsse import checks
from wire_rawsse.errors import EventTooLargeError

MAX_RETRY_MS: Final = (1 << 53) - 1
"""The largest `retry_ms`, in milliseconds; a larger `retry` counts as this. A float holds it exactly."""
LONGEST_KEPT_LINE: Final = 4096
"""Bytes of an `id` or `retry` line, without its line end, beyond which `WakeParser` ignores it."""

_PIECE: Final = 1 << 16
_CHUNK: Final = 28_000  # str.split is slower on more: from 30,000 characters CPython prepares for each separator again.
_BOM: Final = b"\xef\xbb\xbf"
_LF, _CR = 10, 13  # Integers: for bytes, `in` tries an integer first, and makes and drops an exception.

_new = tuple.__new__  # A named tuple's own constructor is a Python function, and this is twice as fast.


class Event(NamedTuple):
    """One dispatched event. Immutable, hashable, equal by value.

    `type` is "message" unless the event named one, `data` its lines joined by LF, `id` the last event ID at that moment
    (which an earlier event may have set; "" for none).
    """

    type: str
    data: str
    id: str

    def json(self) -> Any:
        """`data` as JSON. Raises `json.JSONDecodeError`, a `ValueError`, if it is something else."""
        import json

        return json.loads(self.data)


class Comment(NamedTuple):
    """One comment line: `text` is what follows the colon, without one leading space (as in the value of a field)."""

    text: str


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
        if _CR in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return piece

    def _set_id(self, value: bytes) -> None:
        if b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _set_retry(self, value: bytes) -> None:
        if value.isdigit():  # Of bytes: ASCII digits only, and at least one.
            digits = value.lstrip(b"0")
            # int() refuses thousands of digits, and 16 are beyond the maximum or just at it.
            self.retry_ms = min(int(digits or b"0"), MAX_RETRY_MS) if len(digits) <= 16 else MAX_RETRY_MS


class EventParser(LineParser):
    """An incremental parser of one event stream. A new stream needs a new parser, begun with the last one's id.

    `comments`: hand out `Comment`s too. `last_event_id`: the first value of the stream's last event ID buffer.
    `max_event_bytes`: the most that the block of one event may hold. Raises `InvalidRequestError` for a limit below 1
    and for arguments of another type.

    A block is every line since the last blank line: `data`, comments, ids, unknown fields. Each line counts with its
    bytes and with one for its line end, whichever it is. A block of exactly `max_event_bytes` is fine; the blank line
    that closes it is not counted, nor is a BOM. Comment lines before the first field are no part of the block: each is
    only measured by itself, so that a stream may send comments and nothing else, not even a blank line, for ever.

    Between feeds the memory held is at most about `max_event_bytes`, while an event is decoded a small multiple of it
    (text may need four bytes for a character). Time is linear in what is fed, for every input and every split.
    """

    __slots__ = ("_between", "_comments", "_data", "_limit", "_piece", "_ready", "_room", "_size", "_type", "failed")

    def __init__(self, *, comments: bool = False, max_event_bytes: int = 1 << 20, last_event_id: str = "") -> None:
        checks.flag(comments, "comments")
        max_event_bytes = checks.whole(max_event_bytes, "max_event_bytes")
        checks.text(last_event_id, "last_event_id")
        super().__init__(last_event_id)
        self._comments = comments
        self._limit = max_event_bytes
        self._piece = min(max_event_bytes, _PIECE)
        self.failed = False
        """True once an event was too large: every further `feed` raises."""
        self._ready = False  # The BOM, if any, was dropped, and nothing has failed.
        self._between = False  # And nothing is pending: no line, no block, and no CR that an LF may follow.
        self._size = 0  # Bytes of the block's lines so far, without the open one.
        self._room = 0  # Bytes that the open line may have.
        self._data = bytearray()
        self._type = ""

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event | Comment]:
        """The events that `data` completes, and the comments if they were asked for, in their order.

        The items before an event that is too large are still returned; bytes after it are never looked at. The
        next call, with b"" too, and each later one raises `EventTooLargeError`. Raises `InvalidRequestError` (a
        `TypeError` too) for an argument that is not bytes-like.
        """
        if type(data) is bytes and _CR not in data:
            # The limit does not count the blank line.
            if self._between and data[:6] == b"data: " and data[-2:] == b"\n\n" and len(data) - 2 < self._limit:
                value = data[6:-2]
                if _LF not in value:
                    try:
                        event = _new(Event, ("message", value.decode(), self.last_event_id))
                    except UnicodeDecodeError:
                        pass  # The general path decodes it. errors="replace" would slow down every event here.
                    else:
                        self.line_ended = True
                        return [event]
            if self._ready and _LF not in data:
                self._between = self.line_ended = False
                line = self._line
                line += data
                self.line_open = bool(line)
                if len(line) > self._room:
                    self._fail()
                return []
        return self._feed(data)

    def _feed(self, data: bytes | bytearray | memoryview) -> list[Event | Comment]:
        if self.failed:
            raise EventTooLargeError(self._limit)
        items: list[Event | Comment] = []
        self.line_ended = False
        try:
            if type(data) is bytes and self._beginning is None and len(data) <= self._piece:
                self._read(data, items)
            else:
                for piece in self._pieces(data, self._piece):
                    self._read(piece, items)
            self._room = self._limit - self._size
            self._ready = self._beginning is None
            self._between = self._ready and not (self._line or self._size or self._after_cr)
        except EventTooLargeError:
            self._fail()
        self.line_open = bool(self._line or self._beginning)
        return items

    def _fail(self) -> None:
        self.failed = True
        self._ready = self._between = False
        self._line.clear()
        self._data.clear()

    def _read(self, piece: bytes, items: list[Event | Comment]) -> None:
        if self._after_cr or _CR in piece:
            piece = self._as_lf(piece)
        start = 0
        if self._size or self._line:
            # Up to the end of the pending block, or of the next one if this piece completes the blank line.
            start = piece.find(b"\n\n") + 2
            if start == 1:
                start = len(piece)
            self._interpret(piece[:start], items)
        while start < len(piece):
            # A block begins here. None that ends in `piece` is over the limit, because no piece is longer than that.
            end = piece.rfind(b"\n\n", start, start + _CHUNK) + 2
            if end == 1:
                self._interpret(piece[start:], items)
                return
            if piece.startswith(b"data: ", start):
                values = piece[start + 6 : end - 2].decode("utf-8", "replace").split("\n\ndata: ")
                if "\n" not in "".join(values):
                    self.line_ended = True
                    # One event for each value, of the default type, with the last event ID as it is. There is no
                    # Python between two of them.
                    items += map(_new, repeat(Event), zip(repeat("message"), values, repeat(self.last_event_id)))
                    start = end
                    continue
            self._interpret(piece[start:end], items)
            start = end

    def _interpret(self, piece: bytes, items: list[Event | Comment]) -> None:
        """WHATWG HTML §9.2.6, line by line, for a piece in which every line end is an LF."""
        lines = piece.split(b"\n")
        rest = lines.pop()
        data = self._data
        limit = self._limit
        size = self._size
        if lines:
            self.line_ended = True
            if self._line:
                self._line += lines[0]
                lines[0] = bytes(self._line)
                self._line.clear()
        values: list[bytes] = []  # Of the block's `data` lines in this piece; those of earlier pieces are in `data`.
        for line in lines:
            if not line:
                self.last_event_id = self._id
                if data:
                    data += b"\n".join([*values, b""])
                    del data[-1]
                    items.append(_new(Event, (self._type or "message", data.decode("utf-8", "replace"), self._id)))
                    data.clear()
                    values.clear()
                elif values:
                    text = b"\n".join(values).decode("utf-8", "replace")
                    items.append(_new(Event, (self._type or "message", text, self._id)))
                    values.clear()
                self._type = ""
                size = 0
                continue
            size += len(line) + 1
            if size > limit:
                raise EventTooLargeError(limit)
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                values.append(value)
            elif name == b"event":
                self._type = value.decode("utf-8", "replace")
            elif name == b"id":
                self._set_id(value)
            elif not name:
                if self._comments:
                    items.append(Comment(value.decode("utf-8", "replace")))
                if size == len(line) + 1:
                    size = 0  # Nothing of an event precedes it.
            elif name == b"retry":
                self._set_retry(value)
        data += b"\n".join([*values, b""])
        self._size = size
        self._line += rest
        if size + len(self._line) > limit:
            raise EventTooLargeError(limit)


class WakeParser(LineParser):
    """Follows an event stream only to notice data lines. It keeps no event, so none is too large for it.

    `last_event_id` and `retry_ms` are those of `EventParser`, except that an `id` or `retry` line longer than
    `LONGEST_KEPT_LINE` bytes is ignored. An event of any size and a line of any length cost no memory beyond that,
    and time is linear in what is fed.
    """

    __slots__ = ("data_line", "delivered")

    def __init__(self, *, last_event_id: str = "") -> None:
        super().__init__(last_event_id)
        self.data_line = False
        """True if the last feed completed the name of a `data` field, so if it held the colon or the line end (CR or
        LF) after a line's first four letters `data`. A name cut over two feeds counts in the second, and only there."""
        self.delivered = False
        """True once a feed has held a data line. The caller may set it back."""

    def feed(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether `data` held a data line (see `data_line`). Raises `TypeError` if it is not bytes."""
        self.data_line = self.line_ended = False
        if type(data) is bytes and self._beginning is None and not self._after_cr and _CR not in data:
            if self._line:
                if self._line.startswith(b"data:") and _LF not in data:
                    return False  # More of a data line that was reported already.
            elif (
                self._id == self.last_event_id
                and data[:5] == b"data:"
                and data[-2:] == b"\n\n"
                and data.find(b"\n") == len(data) - 2
            ):
                # The usual case: exactly one event.
                self.data_line = self.delivered = self.line_ended = True
                return True
        if type(data) is bytes and self._beginning is None and len(data) <= _PIECE:
            self._read(data)
        else:
            for piece in self._pieces(data, _PIECE):
                self._read(piece)
        self.line_open = bool(self._line or self._beginning)
        self.delivered = self.delivered or self.data_line
        return self.data_line

    def _read(self, piece: bytes) -> None:
        if self._after_cr or _CR in piece:
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
        # Every line after the first has an LF before it. A match in the open line is right for that line, or harmless.
        metadata = piece.find(b"\nid") >= 0 or piece.find(b"\nretry") >= 0
        if metadata or self._id != self.last_event_id:
            for line in piece[first + 1 : end].split(b"\n")[:-1]:
                self._interpret(line)
        elif not self.data_line:
            self.data_line = b"\ndata:" in piece or b"\ndata\n" in piece
        if end < len(piece):
            self._open(piece[end:])

    def _interpret(self, line: bytes) -> None:
        """One whole line. Of a line that was too long to be kept, `line` is the beginning."""
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
        """Keep the part of the open line that may matter: the name of a `data` line; of any other line at most one byte
        more than `LONGEST_KEPT_LINE`, which marks it as too long."""
        line = self._line
        if not line.startswith(b"data:"):
            line += rest[: LONGEST_KEPT_LINE + 1 - len(line)]
            if line.startswith(b"data:"):
                self.data_line = True
                del line[5:]


BEGINS_DATA_LINE: Final = b"\ndata"
"""The beginning of nearly every data line, as `holds_data_line` sees it."""


def holds_data_line(read: bytes) -> bool:
    """True if a line in `read` begins with `data`: asked of raw bytes, before HTTP and events are parsed.

    The bytes still carry chunk framing, but a chunk's data begins on a line of its own (RFC 9112 §7.1), so a `data`
    line is always at the start of a line here too, or at the start of the read. A false
    positive (a field called `database`, a chunk that begins in the middle of a line) costs one pull. After a false
    negative (a name cut over two reads, a byte order mark before it) the parser, which runs later, gives the wake.
    """
    # Not `in`, which tries an integer first: CPython makes an exception, with its text, and drops it.
    return read.find(BEGINS_DATA_LINE) >= 0 or read.startswith(b"data") or read.find(b"\rdata") >= 0
