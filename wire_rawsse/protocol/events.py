"""The event parser: bytes in, events out. `sse` has the rules that it shares with `WakeParser`.

One loop over lines follows the standard step by step. Three kinds of input bypass it. A feed without a line end only
extends the open line; connections that drip bring nothing else. A feed that is one whole event of one `data: ` line, as
a relay usually sends it, needs no state. A piece with many such events is decoded once, and split at the text between
two values.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any, Final, NamedTuple

from wire_rawsse import checks
from wire_rawsse.errors import EventTooLargeError
from wire_rawsse.protocol.sse import CR, LF, PIECE, LineParser

_CHUNK: Final = 28_000  # str.split is slower on more: from 30,000 characters CPython prepares for each separator again.

_new = tuple.__new__  # A named tuple's own constructor is a Python function, and this is twice as fast.


class Event(NamedTuple):
    """One dispatched event. Immutable, hashable, equal by value.

    `type` is "message" unless the event has one. `data` is its data lines, joined by LF. `id` is the last event ID at
    that moment, which an earlier event may have set; "" if there is none.
    """

    type: str
    data: str
    id: str

    def json(self) -> Any:
        """`data` as JSON. Raises `json.JSONDecodeError`, a `ValueError`, if it is something else."""
        import json

        return json.loads(self.data)


class Comment(NamedTuple):
    """One comment line. `text` is the rest after the colon, without one leading space, as in the value of a field."""

    text: str


class EventParser(LineParser):
    """An incremental parser of one event stream. A new connection needs a new parser, made with the last event id.

    comments:        True to return `Comment`s too.
    max_event_bytes: the most bytes that the block of one event may have, an int (default 1 MiB).
    last_event_id:   a str, the first value of the stream's last event ID buffer.

    Raises `InvalidRequestError` for a limit below 1 and for arguments of another type.

    A block is all lines since the last blank line: `data`, comments, ids, unknown fields. A line counts its bytes, and
    one more for its line end. The blank line that ends the block does not count, nor does a BOM. A comment line before
    the first field does not belong to the block, and is compared with the limit alone. So a stream may send nothing but
    comments for ever, even without a blank line.

    Between feeds it holds at most about `max_event_bytes` of memory, and a small multiple of it while an event is
    decoded, as text may need four bytes a character. Time is linear in the input, for every input and every split.
    """

    __slots__ = ("_between", "_comments", "_data", "_limit", "_piece", "_ready", "_room", "_size", "_type", "failed")

    def __init__(self, *, comments: bool = False, max_event_bytes: int = 1 << 20, last_event_id: str = "") -> None:
        checks.flag(comments, "comments")
        max_event_bytes = checks.whole(max_event_bytes, "max_event_bytes")
        checks.text(last_event_id, "last_event_id")
        super().__init__(last_event_id)
        self._comments = comments
        self._limit = max_event_bytes
        self._piece = min(max_event_bytes, PIECE)
        self.failed = False
        """True once an event was too large: every further `feed` raises."""
        self._ready = False  # A BOM would have been dropped by now, and nothing has failed.
        self._between = False  # Ready, and nothing is pending: no line, no block, and no CR that an LF may follow.
        self._size = 0  # Bytes of the block's lines so far, without the open one.
        self._room = 0  # Bytes that the open line may have.
        self._data = bytearray()
        self._type = ""

    @property
    def unfinished(self) -> bool:
        return self.line_open or self._size > 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event | Comment]:
        """The events that `data` completes, and the comments if they were asked for, in their order.

        If an event is too large, the items before it are still returned, and the bytes after it are ignored. The next
        call, even with b"", and each later one raises `EventTooLargeError`. Raises `InvalidRequestError` (also a
        `TypeError`) for an argument that is not bytes-like.
        """
        if type(data) is bytes and CR not in data:
            # The limit does not count the blank line.
            if self._between and data[:6] == b"data: " and data[-2:] == b"\n\n" and len(data) - 2 < self._limit:
                value = data[6:-2]
                if LF not in value:
                    try:
                        event = _new(Event, ("message", value.decode(), self.last_event_id))
                    except UnicodeDecodeError:
                        pass  # The general path decodes it. errors="replace" would slow down every event here.
                    else:
                        self.line_ended = True
                        return [event]
            if self._ready and LF not in data:
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
        if self._after_cr or CR in piece:
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
