"""Feeds the body of a response to its sink, and describes the last reception.

A reception is parsed once. If a wake needs the parsed event, the host parses it when it asks whether to wake;
otherwise the coroutine parses it later, when no caller waits. `tls_body` has the readers for TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from wire_rawsse.errors import MalformedResponseError, TruncatedError
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.waits import Receive

if TYPE_CHECKING:
    from wire_rawsse.sink import Sink

SMALL_BODY_BYTES: Final = 256
"""The longest `BodyReader.text` that is joined from several chunks. A heartbeat is shorter."""


class BodyReader:
    """Feeds the body of a plain response to the sink. The attributes describe the last reception."""

    __slots__ = (
        "_exchange",
        "_feed_sink",
        "_place",
        "_sink",
        "_whole_chunk",
        "ended",
        "failure",
        "lines",
        "size",
        "text",
        "wake",
    )

    unsent = False
    """True if TLS has bytes to send that the socket did not take yet."""

    def __init__(self, exchange: Exchange, sink: Sink, place: str) -> None:
        self._exchange = exchange
        self._place = place
        self._sink = sink
        self._feed_sink = sink.feed
        self._whole_chunk: Callable[[bytes], bytes | None] | None = None
        self.lines = sink.parser
        self.size = 0
        """The number of body bytes."""
        self.text = b""
        """The body bytes, if they are one whole chunk or at most `SMALL_BODY_BYTES`; otherwise empty."""
        self.wake = False
        """Whether they hold a wake."""
        self.ended = False
        """Whether the body is complete."""
        self.failure: Exception | None = None
        """The error that the coroutine will raise, after the wake for the data before it."""

    @property
    def fed_by_host(self) -> bool:
        """Whether the host feeds each reception by calling `is_wake`. If not, the coroutine feeds it."""
        return self._sink.is_wake is None

    def prepare(self, receive: Receive) -> None:
        """Set how the host finds a wake in a reception."""
        receive.wake_marker = self._sink.wake_marker
        receive.is_wake = self._sink.is_wake or self.feed

    def feed(self, received: bytes | None) -> bool:
        """Feed one reception. Returns whether it holds a wake.

        None, in the first call, stands for the bytes that came with the head, and b"" for the end of the connection.
        Raises nothing. An error is kept in `failure`, and the coroutine raises it.
        """
        if self._whole_chunk is None or not received:
            return self._feed_all(received)
        piece = self._whole_chunk(received)
        if piece is None:
            return self._feed_all(received)
        self.size = len(piece)  # The usual case: the reception is one whole chunk.
        self.text = piece
        self.wake = False
        try:
            self.wake = self._feed_sink(piece)
        except Exception as error:
            self.failure = error
        return self.wake

    def _feed_all(self, *receptions: bytes | None) -> bool:
        exchange, lines = self._exchange, self.lines
        self.size = 0
        self.text = text = b""
        line_ended = self.wake = False
        try:
            for received in receptions:
                for piece in exchange.body(received):
                    self.size += len(piece)
                    if self.size <= SMALL_BODY_BYTES:
                        text += piece
                    if self._feed_sink(piece):
                        self.wake = True
                    line_ended = line_ended or lines.line_ended
        except (MalformedResponseError, TruncatedError) as error:
            self.failure = type(error)(f"{self._place}: {error}")
        except Exception as error:
            self.failure = error
        if self.size <= SMALL_BODY_BYTES:
            self.text = text
        lines.line_ended = line_ended
        self.ended = exchange.ended
        self._whole_chunk = exchange.whole_chunk
        return self.wake
