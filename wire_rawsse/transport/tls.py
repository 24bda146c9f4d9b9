"""TLS on a non-blocking socket: what is trusted, the handshake, and what its failures mean.

`ssl` and `certifi` are loaded by the first https connection and by nothing before: a daemon on a local relay never pays
for them. Building trust costs tens of milliseconds and megabytes, so a context is made once for each trust setting and
kept, over reconnects and over subscribers.

Trusted are, by default, the roots that certifi brings and those of the system, as the original client has it: the first
for systems that have none, the second for a company's own. Either may fail as long as the other holds. They are nearly
the same, and together weigh little more than one of them.

Two traps of non-blocking TLS shape this module and the hosts. A socket may be readable without bringing data (TLS 1.3
sends session tickets whenever it likes), and may hold data without being readable (one record can be larger than one
read). And a read may have to wait for *writability*, a write for readability, since TLS speaks in both directions.
"""

from __future__ import annotations

import _thread
import errno
import os
import socket
import stat
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wire_rawsse.errors import CertificateError, HandshakeError, InvalidRequest, TrustError
from wire_rawsse.transport.budget import Budget
from wire_rawsse.waits import READ, WRITE, Coroutine, Wait, World

if TYPE_CHECKING:
    import ssl


class Unverified:
    """The trust setting that checks no certificate. There is one, `UNVERIFIED`."""

    def __repr__(self) -> str:
        return "UNVERIFIED"


UNVERIFIED: Final = Unverified()

Trust: TypeAlias = "str | os.PathLike[str] | ssl.SSLContext | Unverified | None"
"""None for the default roots, the path of a CA file (PEM) that is trusted instead, a context used as it is."""

_FOR_WANT_OF_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_CLOSE: Final = 7  # TCP_CLOSE in <netinet/tcp.h>: tcpi_state, the first byte of struct tcp_info.
_LAST_RECEIVED: Final = (52, 56)  # Where tcpi_last_data_recv and tcpi_last_ack_recv are in it: milliseconds ago.
_INFO_BYTES: Final = 60
_TICK: Final = 20  # Milliseconds: more than the kernel's clock is coarse.

_contexts: dict[object, tuple[object, ssl.SSLContext]] = {}
_lock = _thread.allocate_lock()


def _renew_lock() -> None:
    """In a forked child, where whoever held the lock does not exist."""
    global _lock
    _lock = _thread.allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def check_trust(trust: Trust) -> None:
    """Raises `InvalidRequest` for what is no trust setting, and does not load `ssl` to find out."""
    if trust is None or isinstance(trust, (str, bytes, os.PathLike, Unverified)):
        return
    known: Any = sys.modules.get("ssl")
    if known is None or not isinstance(trust, known.SSLContext):
        raise InvalidRequest(f"tls must be None, an SSLContext or the path of a CA file, not {type(trust).__name__}")


def context_for(trust: Trust) -> ssl.SSLContext:
    """The context for a trust setting, kept between calls; a CA file that was replaced on disk is read again.

    Raises `TrustError` for a CA file that cannot be used, the environment's SSL_CERT_FILE included where it may hang.
    """
    import ssl

    if isinstance(trust, ssl.SSLContext):
        return trust
    key: object = trust if trust is None or isinstance(trust, Unverified) else os.fsdecode(trust)
    version = _version_of(key) if isinstance(key, str) else None
    with _lock:
        known = _contexts.get(key)
        if known is None or known[0] != version:
            known = _contexts[key] = version, _build(key)
    return known[1]


def _version_of(path: str) -> object:
    try:
        facts = os.stat(path)
    except OSError as error:
        raise TrustError(f"the CA file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TrustError("the CA file's path holds a character that no path may have") from error
    if not stat.S_ISREG(facts.st_mode):
        raise _no_file(f"the CA file {path}")
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


def _no_file(what: str) -> TrustError:
    """It would be read by the thread that attends every stream, and a pipe may never say anything."""
    return TrustError(f"{what} cannot be used: expected a regular file, found something else")


def _build(trust: object) -> ssl.SSLContext:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 7301: say that we speak HTTP/1.1, or a server may choose HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    if isinstance(trust, Unverified):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif isinstance(trust, str):
        try:
            context.load_verify_locations(cafile=trust)
        except (OSError, ValueError) as error:
            detail = (
                "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "")
            )
            raise TrustError(f"the CA file {trust} cannot be used: {detail}") from error
    else:
        _load_default_roots(context)
    return context


def _load_default_roots(context: ssl.SSLContext) -> None:
    _check_system_file()
    try:
        context.load_default_certs()
    except OSError:
        pass  # Certifi's may do.
    try:
        _load_one_by_one(context, _certifi_file())
    except (ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _FOR_WANT_OF_ROOM:
            # It passes, and a context without these roots would be kept for ever.
            raise TrustError(f"certifi's roots cannot be read: {error.strerror}") from error
        # The system's own store may do.


def _check_system_file() -> None:
    """Raise where OpenSSL would wait for the system's roots. What is missing, empty or a folder is no file to it."""
    import ssl

    paths = ssl.get_default_verify_paths()
    path = os.environ.get(paths.openssl_cafile_env, paths.openssl_cafile)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path == os.devnull):
        raise _no_file(f"the CA file {path} (of {paths.openssl_cafile_env})")


def _load_one_by_one(context: ssl.SSLContext, path: str) -> None:
    """Load a file of certificates so that OpenSSL drops each at once that the context has already.

    A whole file is parsed before any of it is dropped, which leaves half a MiB of holes behind.
    """
    import ssl

    with open(path, encoding="ascii", errors="ignore") as lines:
        certificate = ""
        for line in lines:
            certificate += line
            if line.startswith("-----END "):
                try:
                    context.load_verify_locations(cadata=certificate)
                except ssl.SSLError:
                    # A CRL, for instance, or a certificate with trust settings, in a file of the distribution's own.
                    context.load_verify_locations(cafile=path)
                    return
                certificate = ""


def _certifi_file() -> str:
    """Where certifi's roots are: beside its code, so that none of it need run.

    `certifi.where()` knows, but loads thirty modules (1.2 MiB) for the case that all of it is in an archive. So it is
    asked where the file is not there: in that case, and where a distribution has put its own in its place.
    """
    from importlib.util import find_spec

    try:
        found = find_spec("certifi")
    except ValueError:  # It is loaded and does not say from where, as in a frozen program.
        found = None
    if found is not None and found.origin is not None:
        path = os.path.join(os.path.dirname(found.origin), "cacert.pem")
        if os.path.isfile(path):
            return path
    import certifi

    return certifi.where()


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
