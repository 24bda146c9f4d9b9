"""Finds and reads the files of certificates that a TLS context is made from, and loads them into it.

A path may lead to anything, and OpenSSL opens any file that it is told to open: so each file is read by
`wire_rawsse.foreign` and given to OpenSSL as data, or by the path of the open descriptor where OpenSSL takes nothing
but paths.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from wire_rawsse.errors import TrustError
from wire_rawsse.foreign import exposed, opened, path_of, read_descriptor, reason, shown
from wire_rawsse.log import warn_once

if TYPE_CHECKING:
    import ssl

CA, SYSTEM_FILE, SYSTEM_FOLDER, CERTIFI, CHAIN, KEY = (
    "the CA file",
    "the CA file (system)",
    "the CA folder (system)",
    "certifi's roots",
    "the certificate",
    "the key",
)
"""Kinds of files; the first, the fourth and the last two stand in error texts."""

_LARGEST_ROOTS: Final = 16 << 20
"""Bytes of a file of roots; certifi's has 0.3 MiB."""
_LARGEST_CHAIN: Final = 1 << 20
_MOST_HASHED: Final = 4096
"""Files of a folder of hashed certificates; the others are not read."""
_GRANULE: Final = 2.5
"""Seconds: two writes within this may leave the same stamp (FAT counts in 2 s), with room for a clock that lags."""
_ENTRIES_EVERY: Final = 1.0
"""Seconds between two looks at each file of a folder that has not changed itself."""
_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_PLAIN: Final = (b"CERTIFICATE", b"X509 CERTIFICATE")

Stamp: TypeAlias = "tuple[int, ...]"
"""From stat(2): mtime, ctime, size, inode and device; or only an error number."""


class Place(NamedTuple):
    path: str
    kind: str


class Content(NamedTuple):
    """A file that is open: its path, its descriptor, its content."""

    path: str
    descriptor: int
    data: bytes

    def __repr__(self) -> str:
        return f"<Content of {shown(self.path)}, {len(self.data)} bytes>"


def default_roots() -> tuple[Place, ...]:
    """The places of the roots trusted by default: the system's, as OpenSSL looks for them, and certifi's."""
    import ssl

    found: list[Place] = []
    if sys.platform != "win32":  # Its store is no file.
        paths = ssl.get_default_verify_paths()
        found.append(Place(os.environ.get(paths.openssl_cafile_env, paths.openssl_cafile), SYSTEM_FILE))
        folders = os.environ.get(paths.openssl_capath_env, paths.openssl_capath)
        found += [Place(folder, SYSTEM_FOLDER) for folder in folders.split(os.pathsep) if folder]
    try:
        found.append(Place(certifi_file(), CERTIFI))
    except (ImportError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _PASSING:
            raise TrustError(f"{CERTIFI} cannot be found: {reason(error)}") from error
    return tuple(found)


def certifi_file() -> str:
    """The path of certifi's roots: beside its code, so that none of it need run.

    `certifi.where()` knows, but loads thirty modules (1.2 MiB) for the case that all of it is in an archive. So it is
    asked where the file is not there: in that case, and where a distribution has put its own in its place.

    `importlib.util.find_spec` takes the lock of all imports, at each call. A signal handler that raises there can leave
    it held, and then no thread can import anything any more. `PathFinder` takes no lock.
    """
    if "certifi" in sys.modules:
        origin = getattr(sys.modules["certifi"], "__file__", None)
    else:
        from importlib.machinery import PathFinder

        found = PathFinder.find_spec("certifi")
        origin = None if found is None else found.origin
    if origin is not None:
        path = os.path.join(os.path.dirname(origin), "cacert.pem")
        if os.path.isfile(path):
            return path
    import certifi

    return certifi.where()


def stamps(places: Sequence[Place]) -> tuple[tuple[Stamp, ...], ...]:
    """The result of stat(2) for each place, and of each file in a folder."""
    return tuple(
        (_stamp(place.path), *(_stamps_in(place.path) if place.kind == SYSTEM_FOLDER else ())) for place in places
    )


def young(found: tuple[tuple[Stamp, ...], ...], wall: float) -> bool:
    """Whether a stamp is so fresh at `wall` (seconds since the epoch) that another write may leave the same one."""
    return any(wall - max(one[:2]) / 1e9 < _GRANULE for stamps in found for one in stamps if len(one) > 1)


def contents(place: Place) -> Iterator[Content]:
    """The file at a place, or each file of a folder, while it is open. A missing one is left out if it may be missing.

    Raises `TrustError` for what cannot be used, and for the lack of a descriptor or of memory, which passes.
    """
    if place.kind in (CA, CHAIN, KEY):
        with _read(place) as content:
            yield content
        return
    folder = place.kind == SYSTEM_FOLDER
    for path in [os.path.join(place.path, name) for name in _hashed(place.path)] if folder else [place.path]:
        try:
            with opened(path) as (descriptor, about):
                yield Content(path, descriptor, read_descriptor(descriptor, about, _LARGEST_ROOTS))
        except OSError as error:
            if place.kind == SYSTEM_FILE and error.errno in (errno.EINVAL, errno.EFBIG):
                raise TrustError(f"{CA} {shown(path)} (of SSL_CERT_FILE) cannot be used: {reason(error)}") from error
            if error.errno in _PASSING:
                raise TrustError(f"the roots in {shown(path)} cannot be read: {reason(error)}") from error


def load_roots(context: ssl.SSLContext, place: Place, content: Content, loaded: set[int]) -> bool:
    """Trust the certificates of a file, each once: `loaded` has the hashes of those that the context has already.

    They are loaded one by one. A whole file is parsed before OpenSSL drops what it has already, which leaves half a MiB
    of holes in the heap. True if all of it is well and there was at least one. Raises `TrustError` for a CA file if
    not; of the default roots, bad ones are left out.
    """
    import ssl

    strict = place.kind == CA
    found = with_settings = False
    try:
        for label, block in _blocks(content.data):
            if label not in _PLAIN:
                with_settings = with_settings or label == b"TRUSTED CERTIFICATE"
                continue
            try:
                if hash(block) not in loaded:
                    context.load_verify_locations(cadata=block.decode("ascii", "ignore"))
            except (ssl.SSLError, ValueError):
                if strict:
                    raise _unusable(place, "one of its certificates is damaged") from None
                continue
            loaded.add(hash(block))
            found = True
        if with_settings:  # x509(1) calls it a trusted certificate. OpenSSL reads it from files only.
            context.load_verify_locations(cafile=path_of(content.descriptor, content.path))
            found = True
    except EOFError:
        if strict:
            raise _unusable(place, "it breaks off inside a certificate in PEM") from None
        return False
    except ssl.SSLError as error:
        if strict:
            raise _unusable(place, f"it holds a certificate that OpenSSL refuses ({error.reason})") from error
    if strict and not found:
        raise _unusable(place, "it holds no certificate in PEM")
    return found


def load_chain(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Show this certificate chain, with this key, to the peer. Both are PEM files, and may be the same.

    An encrypted key is refused: OpenSSL would ask for its password on the terminal. Raises `TrustError`.
    """
    import ssl

    def refuse_to_ask() -> str:
        raise _unusable(Place(key, KEY), "it is encrypted, and no password is asked for; remove it with openssl pkey")

    with _read(Place(certificate, CHAIN)) as chain, _read(Place(key, KEY)) as secret:
        if b"CERTIFICATE-----" not in chain.data:
            raise _unusable(Place(certificate, CHAIN), "it holds no certificate in PEM")
        if b"PRIVATE KEY-----" not in secret.data:
            raise _unusable(Place(key, KEY), "it holds no private key in PEM")
        paths = path_of(chain.descriptor, certificate), path_of(secret.descriptor, key)
        try:
            context.load_cert_chain(*paths, password=refuse_to_ask)
        except ssl.SSLError as error:
            if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
                raise _unusable(
                    Place(key, KEY), f"it does not belong to the certificate {shown(certificate)}"
                ) from error
            why = (error.reason or type(error).__name__).lower().replace("_", " ")
            text = f"the certificate {shown(certificate)} with the key {shown(key)} cannot be used: OpenSSL says {why}"
            raise TrustError(text) from error


def _unusable(place: Place, why: str) -> TrustError:
    return TrustError(f"{place.kind} {shown(place.path)} cannot be used: {why}")


@contextmanager
def _read(place: Place) -> Iterator[Content]:
    """A file that was given explicitly. Raises `TrustError`; warns once if others can read a key."""
    with ExitStack() as stack:
        try:
            descriptor, about = stack.enter_context(opened(place.path))
            data = read_descriptor(descriptor, about, _LARGEST_ROOTS if place.kind == CA else _LARGEST_CHAIN)
        except OSError as error:
            raise _unusable(place, reason(error)) from error
        warning = exposed(place.path, about.st_mode) if b"PRIVATE KEY-----" in data else None
        if warning:
            warn_once(warning)
        yield Content(place.path, descriptor, data)


def _blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each PEM block (RFC 7468) with its label. Raises `EOFError` where the last one has no end."""
    start = data.find(b"-----BEGIN ")
    while start >= 0:
        label_ends = data.find(b"-----", start + 11)
        label = data[start + 11 : label_ends] if label_ends >= 0 else b""
        footer = b"-----END " + label + b"-----"
        end = data.find(footer, label_ends) if label else -1
        if end < 0:
            raise EOFError
        yield label, data[start : end + len(footer)]
        start = data.find(b"-----BEGIN ", end)


def _stamp(path: str) -> Stamp:
    try:
        about = os.stat(path)
    except OSError as error:
        return (error.errno or -1,)
    except ValueError:
        return (-1,)
    return about.st_mtime_ns, about.st_ctime_ns, about.st_size, about.st_ino, about.st_dev


_looks: dict[str, tuple[Stamp, float, tuple[Stamp, ...]]] = {}
"""By folder: its own stamp, when its files were looked at (monotonic), and their stamps."""


def _stamps_in(folder: str) -> tuple[Stamp, ...]:
    """Of each hashed certificate in a folder. 150 of them take 0.4 ms, so a mass of reconnects shares one look."""
    own, now = _stamp(folder), time.monotonic()
    last = _looks.get(folder)
    if last is not None and last[0] == own and 0 <= now - last[1] < _ENTRIES_EVERY:
        return last[2]
    found = tuple(_stamp(os.path.join(folder, name)) for name in _hashed(folder))
    _looks[folder] = own, now, found
    return found


def _hashed(folder: str) -> list[str]:
    """The names that OpenSSL would look for in a folder of certificates: the hash of a subject, a dot, a number."""
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return []
    hexadecimal = frozenset("0123456789abcdef")
    found = [name for name in names if name[8:9] == "." and name[9:].isdigit() and hexadecimal.issuperset(name[:8])]
    return sorted(found)[:_MOST_HASHED]
