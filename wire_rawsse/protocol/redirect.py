"""Where a redirect leads (RFC 9110 §15.4), and what of the request may go there."""

from __future__ import annotations

from typing import Final, NamedTuple

from wire_rawsse.errors import InvalidRequest, RedirectError
from wire_rawsse.protocol.http import Response
from wire_rawsse.protocol.request import HeaderList
from wire_rawsse.protocol.url import Url, resolve
from wire_rawsse.redact import Secrets

REDIRECTS: Final = (301, 302, 303, 307, 308)
"""RFC 9110 §15.4, without 300 (a choice for a person) and 304 (nothing was conditional)."""


class Hop(NamedTuple):
    """Where a redirect leads and what is left of the request."""

    url: Url
    method: bytes
    body: bytes | None
    credentials: bool
    """False once the origin has changed: the caller's credentials are not sent on."""
    secrets: Secrets | None = None
    """Set once the URL is a peer's text, which may echo any secret of the requests before this one."""

    def shown(self, text: str) -> str:
        """A piece of the URL for logs and errors. What came in a Location is a peer's text."""
        return text if self.secrets is None else self.secrets.quote(text)

    @property
    def place(self) -> str:
        return self.shown(self.url.shown)


def follow(response: Response, hop: Hop, secrets: Secrets | None = None) -> Hop:
    """The next hop of a redirect (RFC 9110 §15.4). `secrets` are those of the stream. Raises `RedirectError`.

    POST becomes GET on 301, 302 and 303, as every browser has it; 307 and 308 keep method and body.
    """
    location = response.get("location")
    if location is None:
        raise RedirectError(f"{hop.place} answered {response.status} without a Location")
    try:
        # Field values are Latin-1 for us, but a Location is most often raw UTF-8 where it is not ASCII.
        url = resolve(hop.url, location.encode("latin-1").decode("utf-8", "replace"))
    except InvalidRequest as error:
        raise RedirectError(f"{hop.place} answered {response.status} with a bad Location: {error}") from None
    same = url.origin == hop.url.origin
    if same and url.authorization is None:
        url = url._replace(authorization=hop.url.authorization)
    became_get = response.status == 303 or (response.status in (301, 302) and hop.method == b"POST")
    method, body = (b"GET", None) if became_get else (hop.method, hop.body)
    following = Hop(url, method, body, hop.credentials and same, secrets)
    if hop.url.scheme == "https" and url.scheme == "http":
        raise RedirectError(f"{hop.place} redirects from https to http ({following.place}); refused", permanent=True)
    if "unix" in (hop.url.scheme, url.scheme) and not same:
        raise RedirectError(f"{hop.place} redirects on or off a Unix-domain socket; refused", permanent=True)
    return following


CREDENTIALS: Final = (b"authorization", b"cookie", b"proxy-authorization", b"host")
"""The fields that are the origin's own: dropped when a redirect changes it (RFC 9110 §15.4)."""

CONTENT: Final = (b"content-type", b"content-encoding", b"content-language", b"content-location")
"""The fields about a body: dropped with it, when a redirect makes a GET of a POST (RFC 9110 §15.4)."""


def without(headers: HeaderList, names: tuple[bytes, ...]) -> HeaderList:
    return [(name, value) for name, value in headers if name.lower() not in names]
