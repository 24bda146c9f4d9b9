"""TLS as its traps: records, tickets, a handshake in flights, and reads that wait for writability.

`MemoryContext` is an `ssl.SSLContext`, so the shipped code takes it as it is. Its sockets raise what `ssl` raises where
it raises it. On the wire a record is one byte of kind, three bytes of length and its payload, in clear.

Pythons before 3.11.9 and 3.12.3 tell a reset, and a peer that the kernel has given up, as an end (gh-115627). Where
`hides_errors` is set these do too, and only TCP_INFO knows better.

The traps: a ticket makes a socket readable and brings nothing; with `read_ahead` everything that the socket has goes
into the TLS layer at once, one record of it is handed out for each `recv`, and the rest makes nothing readable; a key
update must be answered before reading on, so `recv` may wait for room to write.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final, cast

from tests.simulation.kernel import trouble
from tests.simulation.network import ROOM, Connection, Program, Socket

GOODBYE, HELLO, DATA, TICKET, UPDATE = range(21, 26)
TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8
"""States in <netinet/tcp.h>."""
SIGNED_BY: Final = b"certificate signed by "
"""What a server's flight begins with where it is looked at whose signature it bears."""
RECORD: Final = 16384
"""The most that one record carries (RFC 8446 §5.1)."""


def record(kind: int, payload: bytes = b"") -> bytes:
    return b"%c%c%c%c" % (kind, len(payload) >> 16, len(payload) >> 8 & 255, len(payload) & 255) + payload


def broken(reason: str) -> ssl.SSLError:
    """As OpenSSL's own come: with a reason."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower().replace('_', ' ')}")
    error.reason = reason
    return error


def untrusted(reason: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = reason
    return error


def record_at(raw: bytes | bytearray, start: int = 0) -> tuple[int, bytes, int] | None:
    """Kind, payload, and where it ends; None while it is not all there. Raises `SSLError` for what is no record."""
    if len(raw) > start and raw[start] not in (HELLO, DATA, TICKET, UPDATE, GOODBYE):
        raise broken("WRONG_VERSION_NUMBER")
    if len(raw) < start + 4:
        return None
    end = start + 4 + (raw[start + 1] << 16 | raw[start + 2] << 8 | raw[start + 3])
    if len(raw) < end:
        return None
    return raw[start], bytes(raw[start + 4 : end]), end


class MemoryContext(ssl.SSLContext):
    """`read_ahead` is decided for each connection by `choose`."""

    choose: Callable[[], bool]
    hides_errors: bool
    issuer: bytes | None

    def __new__(
        cls, choose: Callable[[], bool] = lambda: True, hides_errors: bool = False, issuer: bytes | None = None
    ) -> MemoryContext:
        """`issuer`: whose certificates are trusted; None: everybody's."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.choose, made.hides_errors, made.issuer = choose, hides_errors, issuer
        return made

    def __init__(
        self, choose: Callable[[], bool] = lambda: True, hides_errors: bool = False, issuer: bytes | None = None
    ) -> None:
        super().__init__()

    def wrap_socket(self, sock: Any, *args: Any, **settings: Any) -> ssl.SSLSocket:
        assert not settings["suppress_ragged_eofs"] and not settings["do_handshake_on_connect"]
        if sock.error:
            # The peer was faster: `ssl` takes the descriptor over, finds no peer, and closes it.
            code = sock.error
            sock.lose()
            raise trouble(code)
        return cast(ssl.SSLSocket, Secured(sock, self.choose(), self.hides_errors, self.issuer))


class Secured:
    """A client's socket behind TLS."""

    def __init__(self, sock: Socket, read_ahead: bool, hides_errors: bool = False, issuer: bytes | None = None) -> None:
        self.inner = sock
        self.issuer = issuer
        self.read_ahead = read_ahead
        self.hides_errors = hides_errors
        self._raw = bytearray()
        self._plain = b""
        self._handed_over = 0
        self._greeted = False
        self._done = False
        self._goodbye = False
        self._owes = False

    def fileno(self) -> int:
        return self.inner.fileno()

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes | int:
        inner = self.inner
        if (level, option) != (socket.IPPROTO_TCP, socket.TCP_INFO):
            return inner.options[level, option]
        facts = bytearray(size)
        facts[0] = TCP_CLOSE if inner.broke else TCP_CLOSE_WAIT
        silent = int((inner.kernel.now - inner.heard_at) * 1000)
        for at in (52, 56):  # tcpi_last_data_recv and tcpi_last_ack_recv, of which we know the later.
            facts[at : at + 4] = min(silent, 0xFFFFFFFF).to_bytes(4, sys.byteorder)
        return bytes(facts)

    def do_handshake(self) -> None:
        if not self._greeted:
            self.inner.send(record(HELLO, b"client"), ROOM)
            self._greeted = True
        while not self._done:
            kind, payload = self._next()
            if kind != HELLO:
                raise broken("UNEXPECTED_MESSAGE")
            if payload == b"certificate of another":
                raise untrusted("Hostname mismatch")
            if payload.startswith(SIGNED_BY) and self.issuer not in (None, payload[len(SIGNED_BY) :]):
                raise untrusted("unable to get local issuer certificate")
            if payload == b"more":
                self.inner.send(record(HELLO, b"client again"), ROOM)
            else:
                self._done = True
                self.inner.send(record(HELLO, b"finished"), ROOM)

    def recv(self, size: int) -> bytes:
        while not self._plain:
            if self._goodbye:
                return b""
            if self._owes:
                self._send(record(UPDATE))
                self._owes = False
            kind, payload = self._next()
            if kind == DATA:
                self._plain = payload[1:]
                if payload[:1] == b"!":
                    self.inner.last_life = self.inner.kernel.now
            elif kind == GOODBYE:
                self._goodbye = True
            elif kind == UPDATE:
                self._owes = True
        data, self._plain = self._plain[:size], self._plain[size:]
        self.inner.kernel.moved += len(data)
        self._handed_over += len(data)
        self.inner.hand_over(self._handed_over)
        return data

    read = recv

    def send(self, data: bytes | memoryview) -> int:
        piece = bytes(data[: min(RECORD, self.inner.network.takes)])
        self._send(record(DATA, b"!" + piece))
        return len(piece)

    def unwrap(self) -> None:
        self.inner.send(record(GOODBYE), ROOM)
        raise ssl.SSLWantReadError(2, "The operation did not complete (read)")

    def close(self) -> None:
        if self.inner.fd >= 0:
            pending = bool(self._plain) or self._pending()
            self.inner.close()
            self.inner.unread_life = pending

    def _pending(self) -> bool:
        """Whether a record with bytes of a body lies here unread."""
        raw, start = self._raw + self.inner.inbox, 0
        try:
            while (found := record_at(raw, start)) is not None:
                if found[0] == DATA and found[1][:1] == b"!":
                    return True
                start = found[2]
        except ssl.SSLError:
            pass  # Garbage.
        return False

    def _send(self, whole: bytes) -> None:
        if not self.inner.error and self.inner.room() < len(whole):
            raise ssl.SSLWantWriteError(3, "The operation did not complete (write)")
        self.inner.send(whole, ROOM)

    def _next(self) -> tuple[int, bytes]:
        while True:
            found = record_at(self._raw)
            if found is not None:
                del self._raw[: found[2]]
                return found[0], found[1]
            try:
                more = self.inner.recv(1 << 20 if self.read_ahead else self._missing())
            except BlockingIOError:
                raise ssl.SSLWantReadError(2, "The operation did not complete (read)") from None
            except OSError:
                if not self.hides_errors:
                    raise
                more = b""
            if not more:
                raise ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
            self._raw += more

    def _missing(self) -> int:
        """Bytes of the present record that are not here yet: OpenSSL takes no more than it needs."""
        raw = self._raw
        if len(raw) < 4:
            return 4 - len(raw)
        return 4 + (raw[1] << 16 | raw[2] << 8 | raw[3]) - len(raw)


class Endpoint:
    """The server's TLS between a connection and the program behind it. It looks like both to the other."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.flights: list[bytes] = [b"done"]
        """What is sent in the handshake, one for each of the client's flights; "more" asks for another."""
        self.stalls_at: int | None = None
        """The flight that is never sent."""
        self.breaks_off = ""
        """"reset" or "cut": what comes in the place of that flight."""
        self.tickets = 2
        self.greets = b""
        """Said at once instead, as by a program that speaks no TLS."""
        self._raw: dict[Connection, bytes] = {}
        self._flight: dict[Connection, int] = {}

    def accepted(self, connection: Connection) -> None:
        self._raw[connection] = b""
        self._flight[connection] = 0
        if self.greets:
            connection.send(self.greets)

    def received(self, connection: Connection, data: bytes) -> None:
        self._raw[connection] += data
        while connection in self._raw:
            try:
                found = record_at(self._raw[connection])
            except ssl.SSLError:
                connection.reset()
                return
            if found is None:
                return
            kind, payload, end = found
            self._raw[connection] = self._raw[connection][end:]
            if kind == HELLO:
                self._answer(connection)
            elif kind == DATA:
                self.program.received(connection, payload[1:])

    def ended(self, connection: Connection) -> None:
        if self._raw.pop(connection, None) is not None and self._flight.pop(connection) > len(self.flights):
            self.program.ended(connection)

    def _answer(self, connection: Connection) -> None:
        number = self._flight[connection]
        self._flight[connection] = number + 1
        if number == self.stalls_at:
            if self.breaks_off == "reset":
                connection.reset()
            elif self.breaks_off:
                connection.send(record(HELLO, self.flights[number])[:3])
                connection.finish()
            return
        if number < len(self.flights):
            connection.send(record(HELLO, self.flights[number]))
        else:
            self.program.accepted(connection)
            connection.send(record(TICKET, b"a session ticket") * self.tickets)
