"""Trust and certificate of a TLS connection: contexts made from default roots, a CA file, and a client certificate.

`ssl` and `certifi` are loaded by the first https connection and by nothing before: a daemon on a local relay never pays
for them. Building trust costs tens of milliseconds and megabytes, so a context is made once for each setting and kept,
over reconnects and over subscribers, until one of its files changes.

Trusted by default are the roots that certifi brings and those of the system, as the original client has it: the first
for systems that have none, the second for a company's own. Either may fail as long as the other holds.

Every file is read by `wire_rawsse.foreign` and handed to OpenSSL as data, the folder of hashed certificates included:
OpenSSL itself would open whatever is at a path, in the middle of a handshake too, and block on a FIFO.

At each connect the files are looked at with stat(2). A change is followed by reading them, and only another content by
a new context. A file that can no longer be read does not replace working roots: the default roots and a client
certificate stay in use while their files are missing, cut short, or do not belong together. An explicit CA file must be
readable.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from wire_rawsse import checks
from wire_rawsse.errors import InvalidRequestError, TrustError
from wire_rawsse.log import warn_once

if TYPE_CHECKING:
    import ssl

    from wire_rawsse.transport.certificates import Place, Stamp


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


class Setting(NamedTuple):
    """The parts of a context. `trust` is None, `UNVERIFIED` or the path of a CA file."""

    trust: str | Unverified | None
    client: ClientFiles | None = None


class _Kept(NamedTuple):
    context: ssl.SSLContext
    places: tuple[Place, ...]
    """The files that it was made from."""
    stamps: tuple[tuple[Stamp, ...], ...]
    """The result of stat(2) for each of them before it was read."""
    young: bool
    """A stamp was so fresh that another write may leave the same one."""
    digest: int
    gave: frozenset[str]
    """The paths of those that gave a certificate."""


_contexts: dict[Setting, _Kept] = {}
"""No lock: two threads that build the same context at the same time cost a little memory, whereas on CPython 3.14 a
signal handler that raises can leave a lock held for ever."""


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


def context_for(trust: AnyTrust, client: ClientFiles | None = None) -> ssl.SSLContext:
    """The context for a trust setting and a client certificate, kept until one of its files has other content.

    A context of the caller's own is returned as it is. Raises `TrustError` for files that cannot be used, and for good
    where this Python has no `ssl` module.
    """
    try:
        import ssl
    except ImportError as error:
        raise TrustError(
            "https:// needs the ssl module, and this Python was built without it; use another Python, or http://",
            permanent=True,
        ) from error
    if isinstance(trust, ssl.SSLContext):
        return trust
    from wire_rawsse.transport import certificates

    setting = Setting(trust if trust is None or isinstance(trust, Unverified) else os.fsdecode(trust), client)
    known = _contexts.get(setting)
    if known is None:
        known = _contexts[setting] = _make(setting)
        return known.context
    found = certificates.stamps(known.places)
    if known.young or found != known.stamps:
        try:
            known = _contexts[setting] = _renewed(setting, known, found)
        except TrustError as error:
            if _must_be_new(known, found):
                raise
            warn_once(f"{error}; the earlier content stays in use until it can be read")
    return known.context


def _make(setting: Setting) -> _Kept:
    from wire_rawsse.transport.certificates import CA, CHAIN, KEY, Place, default_roots, stamps, young

    places: tuple[Place, ...] = ()
    if isinstance(setting.trust, str):
        places = (Place(setting.trust, CA),)
    elif setting.trust is None:
        places = default_roots()
    if setting.client is not None:
        places += Place(setting.client.certificate, CHAIN), Place(setting.client.key, KEY)
    # Looked at before they are read, so that no change can fall in between.
    found = stamps(places)
    fresh = young(found, time.time())
    context, digest, gave = _build(setting, places)
    return _Kept(context, places, found, fresh, digest, gave)


def _renewed(setting: Setting, known: _Kept, found: tuple[tuple[Stamp, ...], ...]) -> _Kept:
    """The same context if the content is the same, otherwise another one. Raises `TrustError` if there is none."""
    from wire_rawsse.foreign import shown
    from wire_rawsse.transport.certificates import contents, young

    fresh = young(found, time.time())
    digest = 0
    for place in known.places:
        for content in contents(place):
            digest = hash((digest, content.data))
    if digest == known.digest:
        return known._replace(stamps=found, young=fresh)
    made = _make(setting)
    for place in made.places if setting.trust is None else ():
        if place.path in known.gave and place.path not in made.gave:
            raise TrustError(f"{shown(place.path)} held certificates, and is now missing, empty or cut short")
    return made


def _must_be_new(known: _Kept, found: tuple[tuple[Stamp, ...], ...]) -> bool:
    """Whether an explicit CA file has changed: nothing else is trusted in its place then."""
    from wire_rawsse.transport.certificates import CA

    return any(
        place.kind == CA and before != now for place, before, now in zip(known.places, known.stamps, found, strict=True)
    )


def _build(setting: Setting, places: Sequence[Place]) -> tuple[ssl.SSLContext, int, frozenset[str]]:
    """A context, a digest of what it was made from, and the paths that gave certificates. Raises `TrustError`."""
    import ssl

    from wire_rawsse.transport.certificates import CHAIN, KEY, contents, load_chain, load_roots

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 7301: say that we speak HTTP/1.1, or a server may choose HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    # RFC 9110 §4.3.4 and RFC 9525 §6.3: only subjectAltName identifies a server.
    context.hostname_checks_common_name = False
    if isinstance(setting.trust, Unverified):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if setting.trust is None and sys.platform == "win32":
        context.load_default_certs()
    digest, gave, loaded = 0, set(), set[int]()
    for place in places:
        for content in contents(place):
            digest = hash((digest, content.data))
            if place.kind not in (CHAIN, KEY) and load_roots(context, place, content, loaded):
                gave.add(place.path)
    if setting.client is not None:
        load_chain(context, *setting.client)
    return context, digest, frozenset(gave)
