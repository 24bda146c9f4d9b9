"""TLS on a non-blocking socket: the handshake, its failures, and the channel that comes out of it.

The socket is received from by the caller, and the ciphertext passes through memory BIOs. With an `SSLSocket`, one read
consumes post-handshake messages (KeyUpdate, session tickets; RFC 8446 §4.6) for as long as the peer sends them, and no
deadline and no `close` is looked at meanwhile. Here the work for one reception is bounded by its size, and no
ciphertext is left over without its plaintext. And a caller that needs no plaintext yet can do something else first.

`trust` makes the contexts.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Final

from wire_rawsse.errors import CertificateError, HandshakeError
from wire_rawsse.transport import alerts
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.waits import READ, WRITE, Coroutine, Wait

if TYPE_CHECKING:
    import ssl

    from wire_rawsse.services import HostServices
    from wire_rawsse.transport.records import RecordScanner

HANDSHAKE_BYTES: Final = 512
"""Bytes of ciphertext to receive at once in a handshake. A memory BIO keeps the room for the most that it ever held."""
HANDSHAKE_PIECES: Final = 8
"""How many of them may be received without a wait, so that a flood does not hold up the deadline."""
RECORD: Final = 16384
"""Bytes of plaintext in the largest record (RFC 8446 §5.1)."""


MOST_UNSENT: Final = 65536
"""Bytes of ciphertext that a peer may leave unread while it is still received from."""
UNREAD: Final = 65536
"""Bytes of ciphertext that are read and dropped before the socket is closed."""

_NOT_YET_VALID: Final = 9
_UNKNOWN_ISSUER: Final = (18, 19, 20, 21)
"""Self-signed, a self-signed issuer, an issuer that was not found, the same of the first certificate."""
_HOSTNAME_MISMATCH: Final = 62
_IP_ADDRESS_MISMATCH: Final = 64
"""Of X509_STORE_CTX_get_error(3)."""


class TlsChannel:
    """TLS on `sock`, which it does not own: `decrypt` what was received from the socket, `send` plaintext."""

    __slots__ = (
        "_feed",
        "_incoming",
        "_muted",
        "_outgoing",
        "_read",
        "_scanner",
        "_send_failure",
        "_sent",
        "_unsent",
        "_want_read",
        "ended",
        "failure",
        "session",
        "sock",
        "unsent",
    )

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """`host`, a name (sent as SNI, RFC 6066 §3) or an address, is checked against the certificate (RFC 6125).

        Raises `ValueError` or `ssl.SSLError` if it cannot be either.
        """
        import ssl

        from wire_rawsse.transport.records import RecordScanner

        self.sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        # As for `resolve.look_up`: from bytes `ssl` itself makes the same name without the codec `idna`.
        name = host.encode("ascii") if getattr(context.wrap_bio, "__func__", None) is ssl.SSLContext.wrap_bio else host
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._feed = self._incoming.write
        # `SSLObject.read` adds a Python frame to this and nothing more; a cold wake over https is 3 % slower with it.
        self._read = getattr(self.session, "_sslobj", self.session).read
        self._want_read = ssl.SSLWantReadError
        self._scanner: RecordScanner | None = RecordScanner()
        self.unsent = False
        """The socket has not taken all of what TLS has to say: `flush` once it is writable."""
        self.failure: OSError | None = None
        """Follows the plaintext that was returned last: an error of TLS, or an end without close_notify."""
        self.ended = False
        """The peer has ended TLS after that plaintext (close_notify, RFC 8446 §6.1)."""
        self._unsent = b""
        """Ciphertext that the socket has not taken yet."""
        self._sent = 0
        """Bytes of plaintext that `send` has encrypted and not reported as sent yet."""
        self._send_failure: OSError | None = None
        self._muted = False

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the agreed cipher suite."""
        return (self.session.cipher() or ("",))[0]

    def release_scanner(self) -> RecordScanner:
        """Hand over what knows where the present record ends. From now on the caller shows it what is received."""
        scanner, self._scanner = self._scanner, None
        assert scanner is not None
        return scanner

    def decrypt(self, received: bytes | None) -> bytes:
        """The plaintext of every record that `received`, one reception of the socket, completes.

        b"" is the end of the connection, None asks for what was received before. Afterwards nothing is held here but a
        part of a record; `failure` and `ended` say what follows the plaintext. Raises nothing.
        """
        if received:
            self._feed(received)
            if self._scanner is not None:
                self._scanner.scan(received)
        elif received is not None:
            self.failure = self.failure or self._send_failure or _closed_without_ending_tls()
            return b""
        data = b""
        try:
            data = self._read(RECORD)
            if self._incoming.pending:
                data = self._with_further_records(data)
            elif not data:
                self.ended = True
        except self._want_read:
            pass
        except OSError as error:
            self.failure = error
        if self._outgoing.pending:
            self.flush()  # An alert after a failure, an answer after a KeyUpdate.
        return data

    def _with_further_records(self, data: bytes) -> bytes:
        """`data`, and the plaintext of the records that came with it: there may be a hundred small ones."""
        records = [data]
        try:
            while data:
                data = self._read(RECORD)
                records.append(data)
            self.ended = True
        except self._want_read:
            pass
        except OSError as error:
            self.failure = error  # It follows the plaintext. OpenSSL would not repeat it.
        return b"".join(records)

    def send(self, data: bytes | memoryview) -> int:
        """Send the beginning of `data`; how many bytes that were.

        Raises `BlockingIOError` if the socket takes no more: call again with the same data once it is writable.
        """
        if not self._sent:
            if self._send_failure is not None:
                raise self._send_failure
            self._sent = self.session.write(data[:RECORD])
        if not self.flush():
            raise BlockingIOError(errno.EAGAIN, "the socket takes no more")
        if self._send_failure is not None:
            raise self._send_failure
        sent, self._sent = self._sent, 0
        return sent

    def stop_sending(self) -> None:
        """Send nothing more: the unsent bytes belong to a request that has been answered before it was complete."""
        self._muted = True

    def trim(self) -> None:
        """Give back memory that a silent stream does not need: a write of nothing makes OpenSSL free its write buffer.

        It allocates 16 KiB for session tickets, which it keeps otherwise.
        """
        try:
            self.session.write(b"")
        except OSError:
            pass

    def handshake(self) -> int:
        """One step of the handshake. READ or WRITE: wait for that, and call again; 0: it is complete.

        Raises `OSError` or `ValueError`.
        """
        try:
            self.session.do_handshake()
            interest = 0
        except self._want_read:
            interest = READ
        finally:
            flushed = self.flush()
        return interest if flushed else WRITE

    def receive_handshake(self) -> bool:
        """Take one piece of the peer's part of the handshake off the socket. Returns whether there is probably more.

        Raises `OSError`.
        """
        try:
            ciphertext = self.sock.recv(HANDSHAKE_BYTES)
        except BlockingIOError:
            return False
        if not ciphertext:
            raise self._send_failure or _closed_without_ending_tls()
        self._feed(ciphertext)
        if self._scanner is not None:
            self._scanner.scan(ciphertext)
        return len(ciphertext) == HANDSHAKE_BYTES

    def end(self) -> None:
        """Send close_notify (RFC 8446 §6.1) if that is possible without waiting. Never raises."""
        try:
            self.session.unwrap()
        except (OSError, ValueError):
            pass
        self.flush()
        try:
            # Session tickets, mostly. A socket that is closed with unread data sends a reset, which may overtake this.
            self.sock.recv(UNREAD)
        except OSError:
            pass

    def flush(self) -> bool:
        """Send what OpenSSL has to say. False if the socket takes no more of it now.

        If sending fails, that is kept for `send` and for the end of the connection: received bytes count first.
        """
        if not (self._unsent or self._outgoing.pending):
            return True
        data = self._unsent + self._outgoing.read()
        self._unsent = b""
        self.unsent = False
        try:
            while data and not self._muted:
                data = data[self.sock.send(data) :]
        except BlockingIOError:
            self._unsent = data
            self.unsent = True
            if len(data) > MOST_UNSENT:
                self.failure = self.failure or OSError(
                    errno.ENOBUFS, "the peer asks for key updates and reads no answer"
                )
            return False
        except OSError as error:
            self._send_failure = error
            self._muted = True
        return True


def secure(
    services: HostServices, sock: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline
) -> Coroutine[TlsChannel]:
    """The TLS handshake on a connected socket, which this takes over: it is released if this raises.

    Raises `CertificateError`, `HandshakeError`, `ConnectTimeout`.
    """
    import ssl

    try:
        channel = TlsChannel(sock, context, host)
        pieces = 0
        while interest := channel.handshake():
            if interest == WRITE or not pieces:
                if (yield Wait({sock.fileno(): interest}, deadline.at)) is None:
                    raise deadline.ran_out("handshake", "waiting for the peer's part of the TLS handshake")
                pieces = HANDSHAKE_PIECES
            if interest == READ:
                pieces = pieces - 1 if channel.receive_handshake() else 0
        return channel
    except ssl.SSLCertVerificationError as error:
        services.release(sock)
        raise CertificateError(
            f"the certificate of {deadline.place} does not verify: {_certificate_fault(error, services.time())}"
        ) from error
    except (OSError, ValueError) as error:
        services.release(sock)
        if isinstance(error, TimeoutError):
            raise
        raise HandshakeError(f"no TLS with {deadline.place}: {_told(error)}") from error
    except BaseException:
        services.release(sock)
        raise


def _closed_without_ending_tls() -> ssl.SSLError:
    import ssl

    return ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the peer closed the connection without ending TLS")


def _certificate_fault(error: ssl.SSLCertVerificationError, wall: float) -> str:
    """In OpenSSL's words, except where they quote the host: it may come from a Location that holds a secret."""
    code = getattr(error, "verify_code", 0)
    if code == _HOSTNAME_MISMATCH:
        return "Hostname mismatch, it is for other names"
    if code == _IP_ADDRESS_MISMATCH:
        return "IP address mismatch, it is for other addresses"
    text = str(error.verify_message).rstrip(".")
    if code in _UNKNOWN_ISSUER:
        return f"{text}; if its issuer is a CA of your own, give the file of that CA (tls=, --cacert)"
    if code == _NOT_YET_VALID:
        # A device without a battery for its clock begins in the past.
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime(max(0, min(wall, 2**40))))
        return f"{text}; check the clock of this machine, which says {now} UTC"
    return text


def _told(error: OSError | ValueError) -> str:
    import ssl

    gone = isinstance(error, ConnectionResetError) or getattr(error, "errno", None) == errno.ENOTCONN
    if gone or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, BrokenPipeError)):
        how = "reset" if gone else "closed"
        return f"the peer {how} the connection during the handshake"
    alert = alerts.told(error)
    if alert is not None:
        return alert
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").lower().replace("_", " ")
        if reason in ("wrong version number", "http request", "record layer failure", "packet length too long"):
            return "the peer does not speak TLS there; is it an http:// URL?"
        return f"the handshake failed ({reason or type(error).__name__})"
    return getattr(error, "strerror", None) or str(error)
