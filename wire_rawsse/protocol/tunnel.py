"""A proxy's answer to CONNECT: its head, and the reason of a refusal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wire_rawsse.errors import ProxyError
from wire_rawsse.protocol.proxy import Proxy
from wire_rawsse.redact import Secrets

if TYPE_CHECKING:
    from wire_rawsse.protocol.response import Response

# Compiled by the first proxy, not by each import.
_END: Final = rb"\r?\n\r?\n"
_STATUS: Final = rb"HTTP/1\.[0-9] +([0-9]{3})"
_FRAMING: Final = rb"(?im)^(?:transfer-encoding|content-length)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*"
"""A field line with the lines that continue it (RFC 9112 §5.2)."""
_MOST_SCHEMES: Final = 5
_LONGEST_CHALLENGES: Final = 16384
"""Characters of Proxy-Authenticate that are looked at: 64 KiB of the shortest elements take 15 ms."""


class TunnelHead:
    """Takes the framing fields out of a 2xx to CONNECT.

    "A client MUST ignore any Content-Length or Transfer-Encoding header fields received in a successful response to
    CONNECT" (RFC 9110 §9.3.6), whatever is in them; a parser of HTTP would refuse some of them. All other fields stay.
    """

    __slots__ = ("_held", "_over")

    def __init__(self) -> None:
        self._held = b""
        self._over = False
        """The final head has been passed on."""

    def feed(self, data: bytes) -> bytes:
        """Takes received bytes; returns the bytes that can be passed on, in whole heads."""
        if self._over:
            return data
        searched = max(0, len(self._held) - 3)  # A line end may have been cut.
        self._held += data
        ready = b""
        while not self._over and (end := re.compile(_END).search(self._held, searched)):
            head, self._held, searched = self._held[: end.end()], self._held[end.end() :], 0
            status = re.match(_STATUS, head)
            self._over = status is None or status[1][:1] != b"1"
            if status is not None and status[1][:1] == b"2":
                head = re.sub(_FRAMING, b"", head)
            ready += head
        if self._over:
            ready, self._held = ready + self._held, b""
        return ready


def refusal(proxy: Proxy, response: Response, wanted: str, secrets: Secrets) -> ProxyError:
    """The error for a proxy that refused `wanted`. Never for good: its settings, or ours, may change."""
    reason = secrets.quote(response.reason)
    text = f"the proxy {proxy} refused {wanted}: {response.status}{' ' + reason if reason else ''}"
    if response.status == 407:
        schemes = ", ".join(secrets.quote(one, 20) for one in offered(response.get("proxy-authenticate") or ""))
        text += f"; it offers {schemes or 'no authentication scheme'}"
        if proxy.url.authorization is not None:
            text += ", and the credentials that were sent (Basic) were refused"
        else:
            text += ", and no credentials were sent: give them as http://user:password@proxy (Basic)"
    return ProxyError(text, status=response.status)


def offered(challenges: str) -> list[str]:
    """The authentication schemes in a Proxy-Authenticate value (RFC 9110 §11.7.1), each once, at most five."""
    found: dict[str, None] = {}
    for element in re.findall(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+', challenges[:_LONGEST_CHALLENGES]):
        # An element begins with a scheme, or is one more parameter of the scheme before: name = value.
        scheme = re.match(r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?![ \t]*=(?!=*$)|[!#$%&'*+.^_`|~0-9A-Za-z-])", element)
        if scheme is not None:
            found.setdefault(scheme[1])
    return list(found)[:_MOST_SCHEMES]
