"""TLS on a non-blocking socket: the handshake, and what its failures mean. `trust` makes the contexts.

Two traps of non-blocking TLS shape this module and the hosts. A socket may be readable without bringing data (TLS 1.3
sends session tickets whenever it likes), and may hold data without being readable (one record can be larger than one
read). And a read may have to wait for *writability*, a write for readability, since TLS speaks in both directions.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.errors import CertificateError, HandshakeError
from wire_rawsse.transport.budget import Budget
from wire_rawsse.waits import READ, WRITE, Coroutine, Wait, World

if TYPE_CHECKING:
    import ssl

_CLOSE: Final = 7  # TCP_CLOSE in <netinet/tcp.h>: tcpi_state, the first byte of struct tcp_info.
_LAST_RECEIVED: Final = (52, 56)  # Where tcpi_last_data_recv and tcpi_last_ack_recv are in it: milliseconds ago.
_INFO_BYTES: Final = 60
_TICK: Final = 20  # Milliseconds: more than the kernel's clock is coarse.


def secure(
    world: World, sock: socket.socket, context: ssl.SSLContext, host: str, budget: Budget
) -> Coroutine[ssl.SSLSocket]:
    """The TLS handshake on a connected socket, which this takes over: it is released if this raises.

    The certificate is checked against `host`, a name (RFC 6125; sent as SNI, RFC 6066 §3) or an address.
    Raises `CertificateError`, `HandshakeError`, `ConnectTimeout`.
    """
    import ssl

    owned: socket.socket = sock
    try:
        try:
            owned = secured = context.wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException as error:
            owned = _taken_over(error) or sock
            raise
        interest = 0
        while True:
            try:
                secured.do_handshake()
                return secured
            except ssl.SSLWantReadError:
                interest = READ
            except ssl.SSLWantWriteError:
                interest = WRITE
            if (yield Wait({secured.fileno(): interest}, budget.deadline)) is None:
                raise budget.ran_out("handshake", "waiting for the peer's part of the TLS handshake")
    except ssl.SSLCertVerificationError as error:
        world.release(owned)
        raise CertificateError(
            f"the certificate of {budget.place} does not verify: {error.verify_message.rstrip('.')}"
        ) from error
    except (OSError, ValueError) as error:
        world.release(owned)
        if isinstance(error, TimeoutError):
            raise
        raise HandshakeError(f"no TLS with {budget.place}: {_told(error)}") from error
    except BaseException:
        world.release(owned)
        raise


def _taken_over(error: BaseException) -> socket.socket | None:
    """The socket that `wrap_socket` has taken the descriptor to, where it raised `error` behind that.

    It closes that socket in some cases and forgets it in others (the peer has reset already), so that the descriptor
    would live as long as the error does. Nothing but the frames of the error knows it.
    """
    import ssl

    trace = error.__traceback__
    while trace is not None:
        found = trace.tb_frame.f_locals.get("self")
        if isinstance(found, ssl.SSLSocket):
            return found
        trace = trace.tb_next
    return None


def _told(error: OSError | ValueError) -> str:
    import ssl

    gone = isinstance(error, ConnectionResetError) or getattr(error, "errno", None) == errno.ENOTCONN
    if gone or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, BrokenPipeError)):
        how = "reset" if gone else "closed"
        return f"the peer {how} the connection during the handshake"
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "").lower().replace("_", " ")
        if reason in ("wrong version number", "http request", "record layer failure", "packet length too long"):
            return "the peer does not speak TLS there; is it an http:// URL?"
        return f"the handshake failed ({reason or type(error).__name__})"
    return getattr(error, "strerror", None) or str(error)


def what_ended(sock: socket.socket, error: OSError) -> OSError:
    """`error`, which a TLS read raised, or what it hides: a reset, or that the kernel gave the peer up.

    Before 3.11.9 and 3.12.3 Python tells all of these as an end (gh-115627), and the kernel's own word is gone with the
    read. But the kernel still knows the connection's state (tcp(7), TCP_INFO): a peer's end leaves CLOSE_WAIT, the
    others CLOSE, and it was given up if nothing had come for the whole of TCP_USER_TIMEOUT.
    """
    if "EOF" in type(error).__name__ and hasattr(socket, "TCP_INFO") and hasattr(socket, "TCP_USER_TIMEOUT"):
        try:
            facts = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            patience = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        except OSError:
            return error
        if len(facts) == _INFO_BYTES and facts[0] == _CLOSE:
            silent = min(int.from_bytes(facts[at : at + 4], sys.byteorder) for at in _LAST_RECEIVED)
            code = errno.ETIMEDOUT if 0 < patience <= silent + _TICK else errno.ECONNRESET
            return OSError(code, os.strerror(code))
    return error


def would_block() -> tuple[tuple[type[OSError], ...], tuple[type[OSError], ...]]:
    """What `recv` and `send` of a TLS socket raise where they would block, and those of them that want writability."""
    import ssl

    return (ssl.SSLWantReadError, ssl.SSLWantWriteError), (ssl.SSLWantWriteError,)


def say_goodbye(sock: Any) -> None:
    """Send close_notify (RFC 8446 §6.1) if that is possible without waiting. Never raises."""
    try:
        sock.unwrap()
    except (OSError, ValueError):
        pass
