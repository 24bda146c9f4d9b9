"""The interfaces of the destination of a stream. For type checkers only: not imported at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.sse import LineParser


class HasId(Protocol):
    """The part of a sink that is about its id."""

    @property
    def last_event_id(self) -> str: ...

    def resume_from(self, last_event_id: str) -> None:
        """Continue from this id; "" for no id."""


class Sink(Protocol):
    """The destination of a stream's body: events, or only wakes."""

    wake_marker: bytes | None
    """Plaintext that holds these bytes is a wake; None if a wake needs the parsed event."""
    is_wake: Callable[[bytes], bool] | None
    """Tells whether plaintext holds a wake, before it is parsed; None if a wake needs the parsed event."""

    @property
    def last_event_id(self) -> str:
        """The id that the next request sends, unless it has been refused."""

    def resume_from(self, last_event_id: str) -> None:
        """Continue from this id; "" for none."""

    @property
    def parser(self) -> LineParser:
        """The parser of the present connection."""

    def opened(self, response: Response, id_left_out: bool) -> None:
        """A connection has opened, which is a wake. From now on `parser` and `feed` belong to it."""

    def feed(self, piece: bytes) -> bool:
        """Parse bytes of the body. Returns whether they hold a wake. Raises `EventTooLargeError`."""


class OwnedSink(Sink, Protocol):
    """A sink that also hears of attempts and ends."""

    @property
    def delivered(self) -> bool:
        """Whether the present attempt has brought at least one event."""

    @property
    def retry_ms(self) -> int | None:
        """The shortest pause before a reconnect in milliseconds, or None if the stream has asked for none."""

    def begin(self) -> None:
        """A connection is attempted."""

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        """The connection has ended. Returns whether that is a wake."""

    def renewing(self) -> None:
        """From now on a second connection is being made beside the present one. It may bring some events again."""

    def renewed(self, error: WireRawSSEError | None, response: Response, id_left_out: bool) -> None:
        """The second connection takes the place of the first, of which everything has been fed. See `opened`."""

    def not_renewed(self) -> None:
        """The second connection has failed or was given up, and the present one goes on, or has ended."""
