"""Feeds the body of a response over TLS to its sink. The length of a TLS record can tell that a wake is due before
OpenSSL decrypts it. Loaded by the first stream over https.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wire_rawsse.body import BodyReader
from wire_rawsse.early_wakes import NEVER, EarlyWakes, overhead
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.transport.records import APPLICATION_DATA, HEADER_BYTES
from wire_rawsse.transport.tls import TlsChannel
from wire_rawsse.waits import Receive

if TYPE_CHECKING:
    from wire_rawsse.sink import Sink


class TlsBodyReader(BodyReader):
    """Decrypts a reception and feeds it at once. For a sink that needs the parsed event."""

    __slots__ = ("_channel", "_scanner")

    def __init__(self, exchange: Exchange, sink: Sink, place: str, channel: TlsChannel) -> None:
        super().__init__(exchange, sink, place)
        self._channel = channel
        self._scanner = channel.release_scanner()  # Used by `TlsWakeReader` only.

    @property
    def unsent(self) -> bool:  # type: ignore[override]  # a constant of plain connections
        return self._channel.unsent

    def feed(self, received: bytes | None) -> bool:
        return self._feed_plaintext(b"" if received is None else self._channel.decrypt(received))

    def _feed_plaintext(self, data: bytes) -> bool:
        channel = self._channel
        if data and not channel.ended and channel.failure is None:
            return BodyReader.feed(self, data)
        # None stands for the bytes that came with the head, b"" for the end: only close_notify is one (RFC 8446 §6.1).
        self._feed_all(data or None, *((b"",) if channel.ended else ()))
        self.failure = self.failure or channel.failure
        return self.wake


class TlsWakeReader(TlsBodyReader):
    """Wakes early if a record is longer than any heartbeat, and decrypts it at the caller's next call.

    Any other reception is decrypted at once and searched, as without TLS. A reception that continues a line does not
    wake early and teaches nothing: a large event has many long records, and the first one gave the wake.
    """

    __slots__ = (
        *("_between", "_early", "_early_wakes", "_holds_wake", "_learned_limit", "_limit", "_longest", "_overhead"),
        "_plaintext",
    )

    def __init__(
        self,
        exchange: Exchange,
        sink: Sink,
        place: str,
        channel: TlsChannel,
        holds_wake: Callable[[bytes], bool],
        early_wakes: EarlyWakes,
    ) -> None:
        super().__init__(exchange, sink, place, channel)
        self._holds_wake = holds_wake
        self._early_wakes = early_wakes
        self._overhead = overhead(channel.session.version(), channel.cipher)
        self._learned_limit = early_wakes.limit + self._overhead
        """Bytes of ciphertext above which a record is worth a wake."""
        self._limit = NEVER
        """The same for the next reception; `NEVER` if it continues a line."""
        self._between = False
        """True if the last reception ended where a record ends."""
        self._longest = 0
        """Bytes of ciphertext in the longest application-data record of the last reception."""
        self._early = False
        """True if the last reception gave a wake and has not been decrypted."""
        self._plaintext = b""
        """Its plaintext, if it has been decrypted."""

    @property
    def fed_by_host(self) -> bool:
        return False

    def prepare(self, receive: Receive) -> None:
        receive.wake_marker, receive.is_wake = None, self.is_wake

    def is_wake(self, received: bytes) -> bool:
        """Whether ciphertext is worth a wake. The host asks about each reception once, before the coroutine has it."""
        length = len(received) - HEADER_BYTES
        whole = self._between and length > 0 and received[0] == APPLICATION_DATA
        # Nearly always it is one whole record, whose length is known without the scanner.
        if not whole or received[3] << 8 | received[4] != length:
            length = self._scanner.scan(received)
        self._longest = length
        self._early = early = length > self._limit
        if early:
            return True
        self._plaintext = data = self._channel.decrypt(received)
        return self._holds_wake(data)

    def feed(self, received: bytes | None) -> bool:
        in_line, early = self.lines.line_open, self._early
        if received is None:
            wake = self._feed_plaintext(b"")
        else:
            wake = self._feed_plaintext(self._channel.decrypt(received) if early else self._plaintext)
            if not in_line and (early or (not wake and self._longest > self._limit)):
                self._early_wakes.judge(self._longest - self._overhead, early=early, data_line=wake)
                self._learned_limit = self._early_wakes.limit + self._overhead
        self._plaintext = b""
        self._limit = NEVER if self.lines.line_open else self._learned_limit
        self._between = not self._scanner.in_record
        return wake
