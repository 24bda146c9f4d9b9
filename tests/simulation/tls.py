"""TLS as its traps: records, tickets, a handshake in flights, and updates that must be answered.

`MemoryContext` is an `ssl.SSLContext`, so the shipped channel runs as it is: it moves records between a socket in
memory and the real `ssl.MemoryBIO`s of a `Session`, which raises what `ssl.SSLObject` raises where it raises it. On the
wire a record has the header of a real one, and the length of one of TLS 1.3: behind its payload, which is in clear, are
one byte for its true kind and as many as a tag has.

The traps: a ticket makes a socket readable and brings nothing; several records come in one reception and are handed
out one for each `read`, while the socket is silent; a record may be larger than a reception; a key update is answered
while the socket takes nothing.
"""

from __future__ import annotations

import ssl
from typing import Any, ClassVar, Final, cast
from weakref import WeakValueDictionary

from tests.simulation.network import Connection, Program, Socket
from wire_rawsse.transport.records import HEADER_BYTES

GOODBYE, HELLO, DATA, TICKET, UPDATE = range(21, 26)
SIGNED_BY: Final = b"certificate signed by "
"""The first bytes of a server's flight if the signer of its certificate is checked."""
RECORD: Final = 16384
"""The most that one record carries (RFC 8446 §5.1)."""


_TAG: Final = bytes(15)
"""Together with the flag before the data of a record, this is as long as a real tag."""
_SHOWN_AS: Final = {HELLO: 22}
"""The type in the header; all else looks like application data (RFC 8446 §5.2)."""


def record(kind: int, payload: bytes = b"") -> bytes:
    content = payload + bytes((kind,)) + _TAG
    return bytes((_SHOWN_AS.get(kind, DATA), 3, 3)) + len(content).to_bytes(2, "big") + content


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
    if len(raw) > start and raw[start] not in (HELLO, DATA):
        raise broken("WRONG_VERSION_NUMBER")
    if len(raw) < start + HEADER_BYTES:
        return None
    end = start + HEADER_BYTES + int.from_bytes(raw[start + 3 : start + HEADER_BYTES], "big")
    if len(raw) < end:
        return None
    kind = end - len(_TAG) - 1
    if raw[kind:end] != bytes((raw[kind],)) + _TAG:
        raise broken("DECRYPTION_FAILED_OR_BAD_RECORD_MAC")
    return raw[kind], bytes(raw[start + HEADER_BYTES : kind]), end


class MemoryContext(ssl.SSLContext):
    """A context whose sessions speak the records of this module."""

    issuer: bytes | None

    def __new__(cls, issuer: bytes | None = None) -> MemoryContext:
        """`issuer`: whose certificates are trusted; None: everybody's."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.issuer = issuer
        return made

    def __init__(self, issuer: bytes | None = None) -> None:
        super().__init__()

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **settings: Any) -> ssl.SSLObject:
        return cast(ssl.SSLObject, Session(incoming, outgoing, self.issuer))


class Session:
    """A client's `SSLObject`. Its number is in its hello, so that the server can tell it the socket it is on."""

    by_number: ClassVar[WeakValueDictionary[int, Session]] = WeakValueDictionary()
    made: ClassVar[int] = 0

    def __init__(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, issuer: bytes | None) -> None:
        self.incoming = incoming
        self.outgoing = outgoing
        self.issuer = issuer
        self.sock: Socket | None = None
        self._raw = bytearray()
        self._plain = b""
        self._said = self._before = 0
        self._greeted = False
        self._done = False
        self._goodbye = False
        Session.made += 1
        self._number = Session.made
        self.by_number[self._number] = self

    def is_on(self, sock: Socket) -> None:
        self.sock = sock
        sock.session = self
        self._before = sock.sent - self._said  # To a proxy.

    def unsent(self) -> bool:
        """Whether something was said that the socket has not been given."""
        return self.sock is not None and self._said + self._before > self.sock.sent

    def _say(self, data: bytes) -> None:
        self.outgoing.write(data)
        self._said += len(data)

    def do_handshake(self) -> None:
        if not self._greeted:
            self._say(record(HELLO, b"client %08d" % self._number))
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
                self._say(record(HELLO, b"client again"))
            else:
                self._done = True
                self._say(record(HELLO, b"finished"))

    def read(self, size: int) -> bytes:
        assert self.sock is not None
        kernel = self.sock.kernel
        while not self._plain:
            if self._goodbye:
                return b""
            kind, payload = self._next()
            if kind == DATA:
                self._plain = payload[1:]
                if payload[:1] == b"!":
                    self.sock.last_life = self.sock.received_at
            elif kind == GOODBYE:
                self._goodbye = True
            elif kind == UPDATE:
                self._say(record(UPDATE))
        data, self._plain = self._plain[:size], self._plain[size:]
        kernel.moved += len(data)
        return data

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return "TLS_AES_256_GCM_SHA384", "TLSv1.3", 256

    def write(self, data: bytes | memoryview) -> int:
        assert len(data) <= RECORD
        if not data:
            return 0  # OpenSSL sends no empty record.
        self._say(record(DATA, b"!" + bytes(data)))
        return len(data)

    def unwrap(self) -> None:
        """The last thing that is asked of it; the socket is closed next."""
        if self.sock is not None:
            self.sock.unread_life = bool(self._plain) or self._unread()
            self.sock.closing = True
        self._say(record(GOODBYE))
        raise ssl.SSLWantReadError(2, "The operation did not complete (read)")

    def _unread(self) -> bool:
        """Whether a record with bytes of a body lies here unread."""
        assert self.sock is not None
        raw, start = self._raw + self.incoming.read() + self.sock.inbox, 0
        try:
            while (found := record_at(raw, start)) is not None:
                if found[0] == DATA and found[1][:1] == b"!":
                    return True
                start = found[2]
        except ssl.SSLError:
            pass  # Garbage.
        return False

    def _next(self) -> tuple[int, bytes]:
        """The next record. Like OpenSSL it takes no more than that out of the BIO, and all there is of half a one."""
        while True:
            found = record_at(self._raw)
            if found is not None:
                del self._raw[: found[2]]
                return found[0], found[1]
            more = self.incoming.read(self._missing())
            if not more:
                raise ssl.SSLWantReadError(2, "The operation did not complete (read)")
            self._raw += more

    def _missing(self) -> int:
        """Bytes of the present record that are not here yet: first its header, then the rest."""
        raw = self._raw
        if len(raw) < HEADER_BYTES:
            return HEADER_BYTES - len(raw)
        return HEADER_BYTES + int.from_bytes(raw[3:HEADER_BYTES], "big") - len(raw)


class Endpoint:
    """The server's TLS between a connection and the program behind it. It looks like both to the other."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.flights: list[bytes] = [b"done"]
        """The server's messages in the handshake, one for each of the client's flights; "more" asks for another."""
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
                session = Session.by_number.get(int(payload[-8:])) if payload[-8:].isdigit() else None
                if session is not None:
                    session.is_on(connection.client)
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
