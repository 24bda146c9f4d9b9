"""The contexts of TLS: made from default roots, a CA file and a client certificate. Loaded by the first https URL.

`ssl` and `certifi` are loaded by the first https connection and by nothing before. Building trust costs tens of
milliseconds and megabytes, so a context is made once for each setting and kept, over reconnects and over subscribers,
until one of its files changes.

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
from typing import TYPE_CHECKING, NamedTuple

from wire_rawsse.errors import TrustError
from wire_rawsse.log import warn_once
from wire_rawsse.transport.trust import AnyTrust, ClientFiles, Unverified

if TYPE_CHECKING:
    import ssl

    from wire_rawsse.transport.certificates import Place, Stamp


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
