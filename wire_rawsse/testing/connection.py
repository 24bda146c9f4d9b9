"""A connection to the relay that can be held, and cut or reset at any byte.

- `hold` and `release`: while held no request is served and no stream goes on, and received bytes wait unread, as if the
  program were stopped. The peer's FIN is still seen, so that the log of the connection stays true.
- `before_flight` and `before_head` are called with the bytes that would have been sent next, in place of sending them.
  `before_head` goes back to None when used; `before_flight` is called for each flight of the handshake.
- `reset` ends it by RST, `cut` by FIN.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable

from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.guard import Rules
from wire_rawsse.relay.http import Handler, ServerConnection


class FaultyConnection(ServerConnection):
    """A server connection on which faults can be injected."""

    def __init__(
        self,
        handler: Handler,
        log: EventLog,
        connections: set[ServerConnection],
        rules: Rules,
        listener: str,
        bound: str,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(handler, log, connections, rules, listener, bound, context)
        self._then: Callable[[], None] | None = None
        self._withheld = bytearray()
        self.before_flight: Callable[[bytes], None] | None = None
        self.before_head: Callable[[bytes], None] | None = None

    def hold(self, then: Callable[[], None] | None = None, *, wire: bytes = b"") -> None:
        """Neither serve nor read until `release`, which first sends `wire` (bytes below TLS) and calls `then`."""
        self.held = True
        self._then = then
        self._withheld += wire
        self._set_clock()

    @property
    def owed(self) -> Callable[[], None] | None:
        """The function that `release` will call."""
        return self._then

    def release(self) -> None:
        """Back to normal. Does nothing unless held."""
        self.before_flight = self.before_head = None
        if not self.held or self.ended:
            return
        self.held = False
        self.record.note("released")
        withheld, self._withheld = bytes(self._withheld), bytearray()
        self.send_wire(withheld)
        then, self._then = self._then, None
        if then is not None:
            then()
        self._take_stash()
        self._go_on()

    def reset(self) -> None:
        """RST: unsent bytes are dropped. On a Unix-domain socket, which knows no RST, the peer sees an end."""
        if self.ended:
            return
        self.record.note("RST")
        self._end()
        if not self._transport.is_closing():
            sock: socket.socket = self._transport.get_extra_info("socket")
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                with contextlib.suppress(OSError):  # macOS refuses once the peer has reset it.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _send_flight(self, data: bytes) -> None:
        (self.before_flight or self.send_wire)(data)

    def _send_head(self, data: bytes) -> None:
        replacement, self.before_head = self.before_head, None
        (replacement or self.send)(data)
