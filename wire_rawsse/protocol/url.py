"""The URLs of event streams: `http`, `https`, and `unix:///path.sock?path=/target`.

Our own splitter rather than `urllib.parse`: that one accepts what must not be sent (controls, which it silently
removes), and costs as much memory as half of this library. It accepts URLs by RFC 3986; the target that is sent is
always ASCII.

A URL is user input that ends up in a request line, a log and an error, so this is where its secrets are taken out:
userinfo becomes an `Authorization` value, and `shown` has neither userinfo nor query.

Every URL is checked by the characters that may be in it: if `strip` removes them at both ends, nothing is left. Regular
expressions take longer to compile at each import than all the rest of this module, and sets take 4 KiB each. One
expression is left, for what is seldom there, and is compiled then.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from wire_rawsse import checks
from wire_rawsse.errors import InvalidRequestError, one_line

_MOST_SHOWN: Final = 300
"""Characters of a URL in a text. A host name has 253 at most."""

LONGEST_HOST_NAME: Final = 255
"""Characters (RFC 1035 §2.3.4 allows as many octets). Checked before IDNA, whose cost grows with the labels."""
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "unix": 0}

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"
_IN_SCHEME: Final = _LETTERS + _DIGITS + "+-."  # RFC 3986 §3.1
_IN_HOST_NAME: Final = _LETTERS + _DIGITS + "!$&'()*+,-.;=_~"  # §3.2.2, but for what is percent-encoded
_SENT_AS_IS: Final = _IN_HOST_NAME + "#%/:?@[]"
_HEX_PAIRS: Final = rb"(?:%[0-9A-Fa-f]{2})+"
_HEX_DIGITS: Final = "0123456789abcdefABCDEF"
_IN_ZONE: Final = _LETTERS + _DIGITS + "._~-"  # RFC 6874 §2
_DEVIATIONS: Final = "\xdf\u1e9e\u03c2\u200c\u200d"


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
        """The parts that must stay the same for credentials to be sent on (RFC 6454 §4)."""
        return self.scheme, self.host, self.port, self.socket_path

    @property
    def authority(self) -> str:
        """The `Host` value (RFC 9110 §7.2): a port only if it is not the scheme's own, no zone (RFC 6874 §4).

        A trailing dot is left out, as servers compare the value with names that have none.
        """
        return "localhost" if self.scheme == "unix" else self._place(self.server_name)

    @property
    def place(self) -> str:
        """The same with the trailing dot, for the party that looks the name up."""
        return "localhost" if self.scheme == "unix" else self._place(self.host)

    @property
    def server_name(self) -> str:
        """The name for SNI (RFC 6066 §3: "without a trailing dot") and for the check of the certificate."""
        return self.host.removesuffix(".")

    @property
    def host_and_port(self) -> str:
        """The authority form, as `CONNECT` needs it (RFC 9112 §3.2.3)."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def redacted(self) -> str:
        """For logs and errors: scheme, place and path, in the form that can be typed, cut if it is long.

        It has no userinfo and no query, which may hold secrets.
        """
        path = self.target.partition("?")[0]
        if self.scheme != "unix":
            return one_line(f"{self.scheme}://{self.place}{path}", _MOST_SHOWN)
        typed = _ascii(self.socket_path.replace("%", "%25").replace("?", "%3F").replace("#", "%23"), "path")
        value = path.replace("%", "%25").replace("&", "%26")
        return one_line(f"unix://{typed}" + (f"?path={value}" if path != "/" else ""), _MOST_SHOWN)

    def __repr__(self) -> str:
        return f"<Url {self.redacted}>"

    def _place(self, host: str) -> str:
        shown = _bracketed(host)
        return shown if self.port == DEFAULT_PORTS[self.scheme] else f"{shown}:{self.port}"


def parse_url(text: str, what: str = "URL") -> Url:
    """Check and split an absolute URL. `what` names it in errors, which never quote it.

    Raises `InvalidRequestError`.
    """
    if not isinstance(text, str):
        raise checks.wrong(f"the {what}", "a str", text)
    if _has_controls(text):
        raise InvalidRequestError(f"the {what} holds a control character (a line end?); remove it")
    if text != text.strip():
        raise InvalidRequestError(f"the {what} begins or ends with a space; remove it")
    scheme, authority, path, query = _parts(text)
    scheme = (scheme or "").lower()
    if scheme not in DEFAULT_PORTS:
        raise InvalidRequestError(f"the {what} must begin with http://, https:// or unix:///")
    if scheme == "unix":
        return _unix(authority, path, query, what)
    if not authority:
        raise InvalidRequestError(f"the {what} names no host: expected {scheme}://host/…")
    userinfo, _, place = authority.rpartition("@")
    host, port = _host_and_port(place, DEFAULT_PORTS[scheme], what)
    target = (path or "/") + ("" if query is None else f"?{query}")
    return Url(scheme, host, port, _ascii(target, what), "", basic(userinfo) if userinfo else None)


def _has_controls(text: str) -> bool:
    return "\x7f" in text or min(text, default=" ") < " "


def resolve(base: Url, reference: str) -> Url:
    """The URL that `reference` (a `Location`, RFC 9110 §10.2.2) means at `base` (RFC 3986 §5.2).

    Userinfo of `base` is inherited only within its own origin. Raises `InvalidRequestError`.
    """
    if _has_controls(reference):
        raise InvalidRequestError("the Location holds a control character")
    reference = reference.strip(" ")
    scheme, authority, path, query = _parts(reference)
    if scheme is not None:
        return parse_url(reference, "Location")
    if authority is not None:
        if base.scheme == "unix":
            raise InvalidRequestError("the Location leads off a Unix-domain socket")
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
    if colon and before and before[0] in _LETTERS and not before.strip(_IN_SCHEME):
        scheme, rest = before, after
    authority: str | None = None
    if rest.startswith("//"):
        authority, slash, rest = rest[2:].partition("/")
        rest = slash + rest
    return scheme, authority, rest, query if mark else None


def _unix(authority: str | None, path: str, query: str | None, what: str) -> Url:
    if authority or not path.startswith("/") or path == "/":
        raise InvalidRequestError(f"the {what} must be unix:///absolute/path.sock, with the request target in ?path=")
    target = "/"
    if query:
        name, _, value = query.partition("=")
        if name != "path" or "&" in value:
            raise InvalidRequestError(
                f"the {what} may have one parameter, path=, that holds the percent-encoded target"
            )
        target = _decoded_text(value, what)
        if not target.startswith("/"):
            raise InvalidRequestError(f"the target in the {what}'s path= must begin with /")
    return Url("unix", "", 0, _ascii(target.partition("#")[0], what), _decoded_text(path, what), None)


def _host_and_port(place: str, default_port: int, what: str) -> tuple[str, int]:
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        address, mark, zone = host.partition("%25")
        if (
            not bracket
            or not _is_ipv6(address)
            or zone.strip(_IN_ZONE)
            or (mark and not zone)
            or (rest[:1] not in ("", ":"))
        ):
            raise InvalidRequestError(
                f"the {what} has no valid IPv6 address between its brackets (RFC 3986 section 3.2.2)"
            )
        host = address.lower() + mark[:1] + zone  # The name of an interface keeps its case (RFC 4007 §11.2).
        port = rest[1:]
    else:
        host, _, port = place.partition(":")
        if len(host) > LONGEST_HOST_NAME:
            raise InvalidRequestError(
                f"the {what} has a host name of more than {LONGEST_HOST_NAME} characters (RFC 1035)"
            )
        if not host.isascii():
            host = _idna(host, what)
        host = host.lower()
        _check_name(host, what)
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise InvalidRequestError(f"the {what} has no valid port: expected a number from 1 to 65535")
    return host, int(port)


def _check_name(host: str, what: str) -> None:
    """A name that DNS can hold (RFC 1035 §2.3.4) or an IPv4 address in its one unambiguous form (RFC 3986 §3.2.2).

    A host that ends in a number is an address, never a name (WHATWG URL, "ends in a number"). The C library would read
    1.2.3 as 1.2.0.3, 0x7f.1 as 127.0.0.1, 010.0.0.1 as 8.0.0.1 and * as 127.0.0.1, so another host than a reader may
    expect.
    """
    labels = host.removesuffix(".").split(".")
    if host.strip(_IN_HOST_NAME) or host == "*" or not all(0 < len(label) <= 63 for label in labels):
        raise InvalidRequestError(f"the {what} has no valid host name")
    last = labels[-1]
    is_number = last.isdigit() or (last.startswith("0x") and not last[2:].strip(_HEX_DIGITS))
    if is_number and (host.endswith(".") or len(labels) != 4 or not all(map(_is_octet, labels))):
        raise InvalidRequestError(
            f"the {what} has a host that ends in a number and is no IPv4 address: "
            "expected four decimal numbers from 0 to 255, without leading zeros"
        )


def _is_octet(text: str) -> bool:
    return text.isdigit() and len(text) <= 3 and int(text) < 256 and (text[0] != "0" or text == "0")


def _is_ipv6(text: str) -> bool:
    """RFC 3986 §3.2.2: eight groups of up to four digits, the last two perhaps as an IPv4 address, `::` once."""
    before, double, after = text.partition("::")
    groups = [*(before.split(":") if before else ()), *(after.split(":") if after else ())]
    if groups and "." in groups[-1] and (after or not double):
        if not all(map(_is_octet, octets := groups.pop().split("."))) or len(octets) != 4:
            return False
        groups += ["0", "0"]
    if not all(0 < len(group) <= 4 and not group.strip(_HEX_DIGITS) for group in groups):
        return False
    return len(groups) < 8 if double else len(groups) == 8


def _bracketed(host: str) -> str:
    """As it stands in an authority: an IPv6 address in brackets and without its zone."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def _idna(host: str, what: str) -> str:
    """The ASCII form, by IDNA 2003 (RFC 3490), which is what Python has.

    IDNA 2008 and browsers encode four characters that IDNA 2003 replaces or removes (UTS 46 §2.3), so a name with one
    of them belongs to another owner there. It is refused.
    """
    import unicodedata

    # Each character by itself: at the end of a word `lower` makes a final sigma of a capital one, and IDNA does not.
    lower = "".join(map(str.lower, host))
    normal = unicodedata.normalize("NFKC", lower) + unicodedata.normalize("NFKC", host)
    if any(one in normal for one in _DEVIATIONS):
        raise InvalidRequestError(
            f"the {what} has a host name with a character that IDNA 2003 and 2008 encode differently "
            "(sharp s, final sigma, zero-width joiner or non-joiner); give the name in its xn-- form"
        )
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        pass  # It holds the name, so what is raised must not have it as its context.
    raise InvalidRequestError(f"the {what} has a host name that no DNS name stands for (RFC 3490)")


def _ascii(target: str, what: str) -> str:
    """Percent-encode the characters that RFC 3986 does not allow; encoded ones stay."""
    if not target.strip(_SENT_AS_IS):
        return target
    encoded = checks.utf8(target, f"the {what}")
    # A table, because a Location can hold 64 KiB of such characters.
    table = [chr(byte) if chr(byte) in _SENT_AS_IS else f"%{byte:02X}" for byte in range(256)]
    return "".join(map(table.__getitem__, encoded))


def _percent_decoded(text: str) -> bytes:
    # A run at once: a Location can hold 20,000 of them.
    data = text.encode("utf-8", "surrogatepass")
    return re.sub(_HEX_PAIRS, lambda run: bytes.fromhex(run[0].replace(b"%", b"").decode()), data)


def _decoded_text(text: str, what: str) -> str:
    data = _percent_decoded(text)
    decoded = data.decode("utf-8", "replace")
    if decoded.encode() != data:
        raise InvalidRequestError(f"the {what} is not UTF-8 once percent-decoded")
    if _has_controls(decoded):
        raise InvalidRequestError(f"the {what} holds an encoded control character")
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
