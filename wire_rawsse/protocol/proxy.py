"""Which proxy a URL goes through, by the environment, read the way reqwest reads it.

`HTTP_PROXY` for http, `HTTPS_PROXY` for https, `ALL_PROXY` for whichever of the two has none; upper case before lower
case; the first that is set counts, even if it is empty (which means: none). `NO_PROXY` is a list of host names (each
with its subdomains, a leading dot or not), addresses, networks in CIDR form, or `*`.

Two differences from reqwest, both on purpose. A proxy of a kind that we do not speak (SOCKS, https) or a malformed one
is a clear error; a direct connection would bypass a proxy that somebody set on purpose. And if `REQUEST_METHOD` is set
(a CGI program), only `HTTP_PROXY` in upper case is ignored, which is the one that a request's `Proxy:` field could set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from wire_rawsse.errors import InvalidRequestError, ProxyError
from wire_rawsse.protocol.url import Url, parse_url

# Compiled by the first proxy setting, not by each import.
_SCHEME: Final = r"([A-Za-z][A-Za-z0-9+.-]*)://"
_ADDRESS: Final = r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"


class Proxy(NamedTuple):
    """An http proxy. Its credentials are in `url.authorization`, in neither its text nor its repr."""

    url: Url

    def __str__(self) -> str:
        return self.url.authority

    def __repr__(self) -> str:
        return f"<Proxy {self.url.authority}>"


class Choice(NamedTuple):
    """The proxy for a URL, and why."""

    proxy: Proxy | None = None
    variable: str = ""
    """The variable that decided, or "" if none is set."""
    excepted_by: str = ""
    """The variable in whose list of exceptions the host is, or ""."""


def proxy_for(url: Url, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for `url`, or None for a direct connection. Raises as `choose` does."""
    return choose(url, environ).proxy


def choose(url: Url, environ: Mapping[str, str]) -> Choice:
    """Which proxy `url` goes through, and which variable says so.

    Raises `ProxyError`, which is never for good: the setting may be corrected while a daemon runs.
    """
    if url.scheme == "unix":
        return Choice()
    names = _names(url.scheme, environ)
    for name in names:
        value = environ.get(name, "").strip()
        if value:
            if _excepted(url.host, environ):
                return Choice(None, name, _exceptions(environ))
            return Choice(_parse(name, value), name)
    return Choice(None, names[0] if names else "")


def _names(scheme: str, environ: Mapping[str, str]) -> list[str]:
    """The variables to look at: of each pair the first that is set, which counts even if it is empty."""
    chosen = []
    for upper in (f"{scheme.upper()}_PROXY", "ALL_PROXY"):
        pair = [upper, upper.lower()]
        if upper == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            pair = [upper.lower()]
        chosen += [name for name in pair if name in environ][:1]
    return chosen


def _parse(name: str, value: str) -> Proxy:
    scheme = re.match(_SCHEME, value)
    if scheme is not None and scheme[1].lower() != "http":
        # A text longer than any kind of proxy may be something that should not be shown.
        kind = f"the kind {scheme[1].lower()}://" if len(scheme[1]) <= len("socks5h") else "an unknown kind"
        raise ProxyError(
            f"{name} names a proxy of {kind}, expected http://; set it to an http proxy, or list the host in NO_PROXY"
        )
    try:
        return Proxy(parse_url(value if scheme else f"http://{value}", name))
    except InvalidRequestError as error:
        raise ProxyError(f"{error}; it is expected to be http://[user:password@]host:port") from None


def _exceptions(environ: Mapping[str, str]) -> str:
    """The variable that lists them."""
    return "NO_PROXY" if "NO_PROXY" in environ else "no_proxy"


def _excepted(host: str, environ: Mapping[str, str]) -> bool:
    value = environ.get(_exceptions(environ), "")
    entries = [entry.strip().lower() for entry in value.split(",")]
    if "*" in entries:
        return True
    if re.fullmatch(_ADDRESS, host):
        return _address_in(host, entries)
    host = host.rstrip(".")
    return any(host == name or host.endswith("." + name) for name in (entry.lstrip(".") for entry in entries) if name)


def _address_in(host: str, entries: list[str]) -> bool:
    from ipaddress import ip_address, ip_network  # Loaded only for an address behind a proxy setting: 0.3 MiB.

    try:
        address = ip_address(host)
    except ValueError:
        return False
    for entry in entries:
        try:
            if address in ip_network(entry.strip("[]"), strict=False):
                return True
        except ValueError:
            continue  # A name, not an address.
    return False
