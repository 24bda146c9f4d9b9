"""Protects the relay from web pages, and from peers that hold its memory. Knows no socket.

A browser on this machine can reach every port of loopback. Three headers tell a web page from a program:

* `Host` (RFC 9110 §7.2): a page whose name was rebound to 127.0.0.1 (DNS rebinding) sends its own name.
* `Origin` (RFC 6454 §7, Fetch §3.2): sent with every POST and every CORS request of a page.
* `Sec-Fetch-Site` (Fetch Metadata): sent by current browsers with every request; `none` is a URL that a person typed.

A program sends no `Origin` and no `Sec-Fetch-Site`, and as `Host` the address or name that it connected to. A request
without `Host` (HTTP/1.0) comes from no browser.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import math
import re
import urllib.parse
from collections.abc import Collection
from typing import Final

import h11

from wire_rawsse.errors import InvalidRequestError, excerpt

_SAFE_SITES: Final = ("same-origin", "none")
_NO_AUTHORITY: Final = re.compile(r"[\s/\\?#@]")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def refusal(
    request: h11.Request, scheme: str, here: str | None, bound: str, allowed: Collection[str] = ()
) -> str | None:
    """Why a request is refused, in one line, or None.

    `here` is the local address of its connection; None for a Unix-domain socket, which no browser can reach: there any
    `Host` is right. `bound` is the host that the listener was asked for. `allowed` are more host names (see
    `host_name`), whose pages may use the relay too.
    """
    fields = [(name, value.decode("latin-1")) for name, value in request.headers]
    host = next((value for name, value in fields if name == b"host"), None)  # h11 refuses a second one.
    if host is not None and here is not None:
        name = None if _NO_AUTHORITY.search(host) else _name(f"//{host}")
        if not (name and (_is_local(name, here, bound) or name in allowed)):
            return (
                "Host: expected localhost, a loopback address or the address that is listened on, "
                f"got {excerpt(host)}; if the name is yours: --allow-host NAME"
            )
    origins = [value for key, value in fields if key == b"origin"]
    if origins and all(_name(origin) in allowed for origin in origins):
        return None
    for origin in origins:
        if _origin(origin) is None or _origin(origin) != _origin(f"{scheme}://{host or ''}"):
            return (
                "Origin: expected no web page, or one of the relay's own origin, "
                f"got {excerpt(origin)}; if the page is yours: --allow-host NAME"
            )
    for key, site in fields:
        if key == b"sec-fetch-site" and site.lower() not in _SAFE_SITES:
            return f"Sec-Fetch-Site: expected same-origin or none, got {excerpt(site)}"
    return None


def host_name(text: str) -> str:
    """A name or IP address for `allowed`, without a port. Raises `InvalidRequestError`."""
    inner = f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text
    name = _name(f"//{inner}")
    if name is None or _NO_AUTHORITY.search(inner) or urllib.parse.urlsplit(f"//{inner}").port is not None:
        raise InvalidRequestError("an allowed host must be a name or an IP address, without scheme and port")
    return name


def _is_local(name: str, here: str, bound: str) -> bool:
    if name in ("localhost", bound.lower().rstrip(".")):
        return True
    address = _address(name)
    return address is not None and (address.is_loopback or address == _address(here))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _name(url: str) -> str | None:
    """The host of a URL, in lower case and without a dot at its end; None where it has none, or user information."""
    if not _port_is_right(url):
        return None
    parts = urllib.parse.urlsplit(url)
    return None if parts.username is not None else (parts.hostname or "").rstrip(".") or None


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port (RFC 6454 §4); None for `null` and for what is no origin."""
    name = _name(url)
    parts = urllib.parse.urlsplit(url) if name else None
    if name is None or parts is None or parts.scheme not in _DEFAULT_PORTS:
        return None
    return parts.scheme, name, parts.port or _DEFAULT_PORTS[parts.scheme]


def _port_is_right(url: str) -> bool:
    try:
        return urllib.parse.urlsplit(url).port != 0
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of peers. Raises `InvalidRequestError` for impossible ones.

    request:     seconds from the first byte of a request to its last one, the TLS handshake before it included.
    idle:        seconds without a request, from the connection or from the end of the last answer.
    unread:      seconds in which a peer must take something of an answer that waits for it.
    connections: open at the same time; one more is closed at once.
    held:        bytes of requests that are not complete, of all connections together; beyond it the answer is 503.
    """

    request: float = 20.0
    idle: float = 60.0
    unread: float = 60.0
    connections: int = 4096
    held: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("request", "idle", "unread"):
            seconds = getattr(self, name)
            if not (math.isfinite(seconds) and seconds > 0):
                raise InvalidRequestError(f"the {name} timeout must be a number of seconds above 0")
        if self.connections < 1 or self.held < 1:
            raise InvalidRequestError("the number of connections and of bytes held must be above 0")


class Rules:
    """Shared by all connections of a relay: `limits`, the `allowed` names, and a count of the bytes held."""

    __slots__ = ("_total", "allowed", "limits")

    def __init__(self, limits: Limits, allowed: frozenset[str]) -> None:
        self.limits = limits
        self.allowed = allowed
        self._total = 0

    def hold(self, before: int, now: int) -> bool:
        """A connection holds `now` bytes of an incomplete request, and held `before`. False: too much, not counted."""
        if now > before and self._total + now - before > self.limits.held:
            return False
        self._total += now - before
        return True
