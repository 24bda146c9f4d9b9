"""TLS between two byte strings. Knows no socket.

asyncio could do TLS itself, but then nobody could stall a handshake after its first flight, cut a connection in the
middle of a TLS record, or leave close_notify out: the bytes on the wire must pass through our hands. `ssl.MemoryBIO`
gives them, and the whole of it is small.
"""

from __future__ import annotations

import ssl

from wire_rawsse.transport.certificates import load_chain


def context_for(certificate: str, key: str) -> ssl.SSLContext:
    """A server's context for a certificate chain and its key, two PEM files. Raises `TrustError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_chain(context, certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServerTls:
    """The server's side of one TLS connection. After each call `take` has what must go onto the wire."""

    __slots__ = ("_incoming", "_object", "_outgoing", "established")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False

    def receive(self, data: bytes) -> bytes:
        """Bytes from the wire in, plaintext out (often none). Raises `ssl.SSLError` if the peer speaks no proper
        TLS."""
        self._incoming.write(data)
        plain: list[bytes] = []
        try:
            if not self.established:
                self._object.do_handshake()
                self.established = True
            while piece := self._object.read(65536):
                plain.append(piece)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return b"".join(plain)

    def seal(self, data: bytes) -> bytes:
        """`data` as TLS records, preceded by whatever else had to go onto the wire."""
        if data:
            self._object.write(data)
        return self.take()

    def take(self) -> bytes:
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """A close_notify alert (RFC 8446 §6.1), without waiting for the peer's."""
        if self.established:
            try:
                self._object.unwrap()
            except ssl.SSLError:  # It wants the peer's close_notify, which nobody here waits for.
                pass
        return self.take()
