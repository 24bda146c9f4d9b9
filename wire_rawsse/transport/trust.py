"""The settings of trust and of a client certificate, as a caller gives them, and their checks.

`contexts` makes contexts of them. It loads `ssl` and `certifi` with the first https connection: a daemon on a local
relay never pays for them.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from wire_rawsse import checks
from wire_rawsse.errors import InvalidRequestError

if TYPE_CHECKING:
    import ssl


class Unverified:
    """The trust setting that checks no certificate. There is one, `UNVERIFIED`."""

    def __repr__(self) -> str:
        return "UNVERIFIED"


UNVERIFIED: Final = Unverified()

Trust: TypeAlias = "str | os.PathLike[str] | ssl.SSLContext | None"
"""None for the default roots, the path of a CA file (PEM) that is trusted instead, a context used as it is."""
AnyTrust: TypeAlias = "Trust | Unverified"
"""With the setting that only wire's environment can ask for."""

Path: TypeAlias = "str | os.PathLike[str]"
ClientCertificate: TypeAlias = "Path | tuple[Path, Path] | None"
"""The path of a PEM file with a certificate chain and its key, or one path for each."""


class ClientFiles(NamedTuple):
    """A client certificate (RFC 8446 §4.4.2): the PEM files of its chain and of its key, which may be the same."""

    certificate: str
    key: str


def check_trust(trust: AnyTrust) -> None:
    """Raises `InvalidRequestError` for what is no trust setting, and does not load `ssl` to find out."""
    if trust is None or isinstance(trust, Unverified):
        return
    if isinstance(trust, (str, bytes, os.PathLike)):
        _check_path(trust, "tls")
        return
    known: Any = sys.modules.get("ssl")
    if known is None or not isinstance(trust, known.SSLContext):
        raise checks.wrong("tls", "None, an SSLContext or the path of a CA file", trust)
    if getattr(trust, "protocol", None) == known.PROTOCOL_TLS_SERVER:
        raise InvalidRequestError("tls must be a context for clients, not one of ssl.PROTOCOL_TLS_SERVER")


def check_client_cert(client_cert: ClientCertificate, trust: AnyTrust) -> ClientFiles | None:
    """The files of a client certificate.

    Raises `InvalidRequestError` for anything else, and beside an `SSLContext` of the caller's.
    """
    if client_cert is None:
        return None
    pair = tuple(client_cert) if isinstance(client_cert, (tuple, list)) else (client_cert, client_cert)
    if len(pair) != 2 or not all(isinstance(path, (str, bytes, os.PathLike)) and path for path in pair):
        raise InvalidRequestError(
            "client_cert must be the path of a PEM file, or a pair of them (certificate, key), "
            f"not {type(client_cert).__name__}"
        )
    if trust is not None and not isinstance(trust, (str, bytes, os.PathLike, Unverified)):
        raise InvalidRequestError("client_cert cannot be added to an SSLContext of your own: use its load_cert_chain()")
    for path in pair:
        _check_path(path, "client_cert")
    return ClientFiles(*map(os.fsdecode, pair))


def _check_path(path: str | bytes | os.PathLike[str], name: str) -> None:
    """Raises `InvalidRequestError` for a path at which there can be no file."""
    text = os.fsdecode(path)
    if not text or "\0" in text:
        raise InvalidRequestError(
            f"{name} must be the path of a file, not {'an empty one' if not text else 'one with a NUL'}"
        )
