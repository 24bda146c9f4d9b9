"""The URLs of event streams: `http`, `https`, and `unix:///path.sock?path=/target`.

Our own splitter rather than `urllib.parse`: that one accepts what must not be sent (controls, which it silently
removes), and costs as much memory as half of this library. What is accepted follows RFC 3986; what is sent is always
ASCII.

A URL is user input that ends up in a request line, a log and an error, so this is where its secrets are taken out:
userinfo becomes an `Authorization` value, and `shown` has neither userinfo nor query.

What every URL passes through are sets of characters and no regular expressions, which take longer to compile at each
import than all the rest of this module. The two that are left are for what is seldom there, and compiled when it is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from wire_rawsse.errors import InvalidRequest, one_line

_MOST_SHOWN: Final = 300
"""Characters of a URL in a text. A host name has 253 at most."""

LONGEST_HOST_NAME: Final = 255
"""Characters (RFC 1035 §2.3.4 allows as many octets). Checked before IDNA, whose cost grows with the labels."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "unix": 0}

_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS: Final = frozenset("0123456789")
_CONTROLS: Final = frozenset(map(chr, (*range(32), 127)))
_IN_SCHEME: Final = _LETTERS | _DIGITS | frozenset("+-.")  # RFC 3986 §3.1
_IN_HOST_NAME: Final = _LETTERS | _DIGITS | frozenset("!$&'()*+,-.;=_~")  # §3.2.2, but for what is percent-encoded
_SENT_AS_IS: Final = _IN_HOST_NAME | frozenset("#%/:?@[]")
_HEX_PAIR: Final = rb"[0-9A-Fa-f]{2}"
_IPV6: Final = r"[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?"


class Url(NamedTuple):
    """A checked URL. `target` is the origin form (RFC 9112 §3.2.1); `socket_path` is set for `unix` only."""

    scheme: str
    host: str
    port: int
    target: str
    socket_path: str
    authorization: str | None
    """The `Authorization` value made of the URL's userinfo (RFC 7617), or None."""

    @property
    def origin(self) -> tuple[str, str, int, str]:
        """What must stay the same for credentials to be sent on (RFC 6454 §4)."""
        return self.scheme, self.host, self.port, self.socket_path

    @property
    def authority(self) -> str:
        """The `Host` value (RFC 9110 §7.2): a port only where it is not the scheme's own, no zone (RFC 6874 §4)."""
        if self.scheme == "unix":
            return "localhost"
        return self._host_shown() if self.port == DEFAULT_PORTS[self.scheme] else self.host_and_port

    @property
    def host_and_port(self) -> str:
        """The authority form, as `CONNECT` needs it (RFC 9112 §3.2.3)."""
        return f"{self._host_shown()}:{self.port}"

    @property
    def shown(self) -> str:
        """For logs and errors: scheme, place and path, in the form that can be typed, cut if it is long.

        It has no userinfo and no query, which may hold secrets.
        """
        path = self.target.partition("?")[0]
        if self.scheme != "unix":
            return one_line(f"{self.scheme}://{self.authority}{path}", _MOST_SHOWN)
        typed = _ascii(self.socket_path.replace("%", "%25").replace("?", "%3F").replace("#", "%23"), "path")
        value = path.replace("%", "%25").replace("&", "%26")
        return one_line(f"unix://{typed}" + (f"?path={value}" if path != "/" else ""), _MOST_SHOWN)

    def __repr__(self) -> str:
        return f"<Url {self.shown}>"

    def _host_shown(self) -> str:
        return f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host


def parse_url(text: str, what: str = "URL") -> Url:
    """Check and split an absolute URL. `what` names it in errors, which never quote it.

    Raises `InvalidRequest`.
    """
    if not isinstance(text, str):
        raise InvalidRequest(f"the {what} must be a str, not {type(text).__name__}")
    if not _CONTROLS.isdisjoint(text):
        raise InvalidRequest(f"the {what} holds a control character (a line end?); remove it")
    if text != text.strip():
        raise InvalidRequest(f"the {what} begins or ends with a space; remove it")
    scheme, authority, path, query = _parts(text)
    scheme = (scheme or "").lower()
    if scheme not in DEFAULT_PORTS:
        raise InvalidRequest(f"the {what} must begin with http://, https:// or unix:///")
    if scheme == "unix":
        return _unix(authority, path, query, what)
    if not authority:
        raise InvalidRequest(f"the {what} names no host: expected {scheme}://host/…")
    userinfo, _, place = authority.rpartition("@")
    host, port = _host_and_port(place, DEFAULT_PORTS[scheme], what)
    target = (path or "/") + ("" if query is None else f"?{query}")
    return Url(scheme, host, port, _ascii(target, what), "", basic(userinfo) if userinfo else None)


def resolve(base: Url, reference: str) -> Url:
    """The URL that `reference` (a `Location`, RFC 9110 §10.2.2) means at `base` (RFC 3986 §5.2).

    Userinfo of `base` is inherited only within its own origin. Raises `InvalidRequest`.
    """
    if not _CONTROLS.isdisjoint(reference):
        raise InvalidRequest("the Location holds a control character")
    reference = reference.strip(" ")
    scheme, authority, path, query = _parts(reference)
    if scheme is not None:
        return parse_url(reference, "Location")
    if authority is not None:
        if base.scheme == "unix":
            raise InvalidRequest("the Location leads off a Unix-domain socket")
        return parse_url(f"{base.scheme}:{reference}", "Location")
    base_path, _, base_query = base.target.partition("?")
    if not path:
        path = base_path
        query = base_query or None if query is None else query
    elif not path.startswith("/"):
        path = base_path.rpartition("/")[0] + "/" + path
    target = _without_dots(path) + ("" if query is None else f"?{query}")
    return base._replace(target=_ascii(target, "Location"))


def basic(userinfo: str) -> str:
    """The Basic credentials (RFC 7617 §2, UTF-8) for a URL's percent-encoded `user:password`."""
    import binascii

    user, _, password = userinfo.partition(":")
    pair = _percent_decoded(user) + b":" + _percent_decoded(password)
    return "Basic " + binascii.b2a_base64(pair, newline=False).decode("ascii")


def _parts(reference: str) -> tuple[str | None, str | None, str, str | None]:
    """Scheme, authority, path and query, as RFC 3986 appendix B cuts them; None for what is not there.

    The fragment is never sent (RFC 9110 §4.2.5).
    """
    rest, mark, query = reference.partition("#")[0].partition("?")
    scheme: str | None = None
    before, colon, after = rest.partition(":")
    if colon and before[:1] in _LETTERS and _IN_SCHEME.issuperset(before):
        scheme, rest = before, after
    authority: str | None = None
    if rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    return scheme, authority, rest, query if mark else None


def _unix(authority: str | None, path: str, query: str | None, what: str) -> Url:
    if authority or not path.startswith("/") or path == "/":
        raise InvalidRequest(f"the {what} must be unix:///absolute/path.sock, with the request target in ?path=")
    target = "/"
    if query:
        name, _, value = query.partition("=")
        if name != "path" or "&" in value:
            raise InvalidRequest(f"the {what} may have one parameter, path=, that holds the percent-encoded target")
        target = _decoded_text(value, what)
        if not target.startswith("/"):
            raise InvalidRequest(f"the target in the {what}'s path= must begin with /")
    return Url("unix", "", 0, _ascii(target.partition("#")[0], what), _decoded_text(path, what), None)


def _host_and_port(place: str, default_port: int, what: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or not re.fullmatch(_IPV6, host) or ":" not in host or rest[:1] not in ("", ":"):
            raise InvalidRequest(f"the {what} has no valid IPv6 address between its brackets")
        address, mark, zone = host.partition("%25")
        host = address.lower() + mark[:1] + zone  # The name of an interface keeps its case (RFC 4007 §11.2).
        port = rest[1:]
    else:
        host, _, port = place.partition(":")
        if len(host) > LONGEST_HOST_NAME:
            raise InvalidRequest(f"the {what} has a host name of more than {LONGEST_HOST_NAME} characters (RFC 1035)")
        if not host.isascii():
            host = _idna(host, what)
        if not host or not _IN_HOST_NAME.issuperset(host):
            raise InvalidRequest(f"the {what} has no valid host name")
        host = host.lower()
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise InvalidRequest(f"the {what} has no valid port: expected a number from 1 to 65535")
    return host, int(port)


def _idna(host: str, what: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidRequest(f"the {what} has a host name that no DNS name stands for (RFC 3490)") from None


def _ascii(target: str, what: str) -> str:
    """Percent-encode what RFC 3986 has no place for; what is already encoded stays."""
    if _SENT_AS_IS.issuperset(target):
        return target
    try:
        encoded = target.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"the {what} holds a lone surrogate, which has no UTF-8") from None
    # A table, because a Location can hold 64 KiB of such characters.
    table = [chr(byte) if chr(byte) in _SENT_AS_IS else f"%{byte:02X}" for byte in range(256)]
    return "".join(map(table.__getitem__, encoded))


def _percent_decoded(text: str) -> bytes:
    head, *rest = text.encode("utf-8", "surrogatepass").split(b"%")
    decoded = bytearray(head)
    for piece in rest:
        if re.match(_HEX_PAIR, piece):
            decoded += bytes((int(piece[:2], 16),)) + piece[2:]
        else:
            decoded += b"%" + piece
    return bytes(decoded)


def _decoded_text(text: str, what: str) -> str:
    try:
        decoded = _percent_decoded(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"the {what} is not UTF-8 once percent-decoded") from None
    if not _CONTROLS.isdisjoint(decoded):
        raise InvalidRequest(f"the {what} holds an encoded control character")
    return decoded


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
