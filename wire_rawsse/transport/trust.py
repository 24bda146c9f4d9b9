"""What a TLS connection trusts: contexts made from the default roots, a CA file or the caller's own `SSLContext`.

`ssl` and `certifi` are loaded by the first https connection and by nothing before: a daemon on a local relay never pays
for them. Building trust costs tens of milliseconds and megabytes, so a context is made once for each trust setting and
kept, over reconnects and over subscribers.

Trusted are, by default, the roots that certifi brings and those of the system, as the original client has it: the first
for systems that have none, the second for a company's own. Either may fail as long as the other holds. They are nearly
the same, and together weigh little more than one of them.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wire_rawsse.errors import InvalidRequest, TrustError

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

_contexts: dict[object, tuple[object, ssl.SSLContext]] = {}
"""By trust setting, with the version of its CA file. No lock: two threads that build the same context at the same time
cost a little memory, whereas on CPython 3.14 a signal handler that raises can leave a lock held for ever."""


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
