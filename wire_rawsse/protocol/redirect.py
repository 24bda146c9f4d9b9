"""The target of a redirect (RFC 9110 §15.4), and the parts of the request that may go there."""

from __future__ import annotations

from typing import Final, NamedTuple

from wire_rawsse.errors import InvalidRequestError, RedirectError
from wire_rawsse.protocol.request import HeaderList
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import Url, resolve
from wire_rawsse.redact import Secrets

REDIRECTS: Final = (301, 302, 303, 307, 308)
"""RFC 9110 §15.4, without 300 (a choice for a person) and 304 (nothing was conditional)."""


class Hop(NamedTuple):
    """The target of a redirect, and the request that is left for it."""

    url: Url
    method: bytes
    body: bytes | None
    credentials: bool
    """False once the origin has changed: the caller's credentials are not sent on."""
    secrets: Secrets | None = None
    """Set if the URL is a peer's text, which may echo secrets of the earlier requests in this chain."""
    left_at: str = ""
    """The place of the redirect that changed the origin, at which the caller's fields were left out."""

    def __repr__(self) -> str:
        return f"<Hop {self.method.decode()} {self.place}>"

    def shown(self, text: str) -> str:
        """A piece of the URL for logs and errors. A Location is a peer's text."""
        return text if self.secrets is None else self.secrets.quote(text)

    @property
    def place(self) -> str:
        return self.shown(self.url.redacted)


def follow(response: Response, hop: Hop, secrets: Secrets | None = None) -> Hop:
    """The next hop of a redirect (RFC 9110 §15.4). `secrets` are those of the stream. Raises `RedirectError`.

    POST becomes GET on 301, 302 and 303, as in every browser. 307 and 308 keep method and body. With a body they are
    refused if they lead to another origin: a body may hold secrets, and a POST without it means something else.
    """
    location = _location(response, hop)
    try:
        # We decode field values as Latin-1, but a Location beyond ASCII is usually UTF-8.
        url = resolve(hop.url, location.encode("latin-1").decode("utf-8", "replace"))
    except InvalidRequestError as error:
        text = f"{hop.place} answered {response.status} with a bad Location: {error}"
        raise RedirectError(text, permanent=True) from None
    became_get = response.status == 303 or (response.status in (301, 302) and hop.method == b"POST")
    method, body = (b"GET", None) if became_get else (hop.method, hop.body)
    if method == hop.method and not location.partition("#")[0].strip(" "):
        # A reference to the requested URL itself (RFC 3986 §4.4), so the same request would be sent again for ever.
        text = f"{hop.place} answered {response.status} with a Location that is empty or only a fragment"
        raise RedirectError(text, permanent=True)
    same = url.origin == hop.url.origin
    if same and url.authorization is None:
        url = url._replace(authorization=hop.url.authorization)
    following = Hop(url, method, body, hop.credentials and same, secrets)
    following = following._replace(left_at=hop.left_at if same else hop.left_at or hop.place)
    if hop.url.scheme == "https" and url.scheme == "http":
        raise RedirectError(f"{hop.place} redirects from https to http ({following.place}); refused", permanent=True)
    if "unix" in (hop.url.scheme, url.scheme) and not same:
        raise RedirectError(f"{hop.place} redirects on or off a Unix-domain socket; refused", permanent=True)
    if body is not None and not same:
        raise RedirectError(
            f"{hop.place} answered {response.status}, which sends the body to another origin ({following.place}); "
            "refused: give that URL if you trust it",
            permanent=True,
        )
    return following


def _location(response: Response, hop: Hop) -> str:
    """The one value of Location (RFC 9110 §10.2.2); the same value twice counts once. Raises `RedirectError`."""
    values = {value for name, value in response.headers if name == "location"}
    if len(values) != 1:
        what = "with several Locations" if values else "without a Location"
        raise RedirectError(f"{hop.place} answered {response.status} {what}", permanent=True)
    return values.pop()


CROSSES: Final = (b"accept", b"accept-language", b"user-agent", b"cache-control")
"""The only fields that are sent on when a redirect changes the origin (RFC 9110 §15.4). They are not for one server.

Other fields cannot be judged by their names: tokens are sent in fields of any name, and a last event id may identify a
session.
"""

CONTENT: Final = (b"content-type", b"content-encoding", b"content-language", b"content-location")
"""The fields about a body: dropped with it, when a redirect makes a GET of a POST (RFC 9110 §15.4)."""


def fields_for(hop: Hop, given: HeaderList, first_method: bytes) -> HeaderList:
    """The caller's fields that this hop may see. `first_method` is the method before any redirect."""
    return [
        (name, value)
        for name, value in given
        if (hop.credentials or name.lower() in CROSSES) and (hop.method == first_method or name.lower() not in CONTENT)
    ]
