"""The allowed targets of a redirect (RFC 9110 §15.4), and resolution of relative references (RFC 3986 §5.2)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from tests.fuzz.oracles import secrets
from wire_rawsse.errors import RedirectError
from wire_rawsse.protocol import redirect
from wire_rawsse.protocol.redirect import Hop
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import Url

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_NAMES_AN_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//")


def check(response: Response, request: Request, base: Url) -> None:
    hop = Hop(base, request.method, request.body or None, credentials=True)
    try:
        new = redirect.follow(response, hop, request.secrets)
    except RedirectError as error:
        secrets.check_error(error)
        return
    _check_hop(new, base, response.status, request)
    _check_place(new.url, base, response)


def _check_hop(new: Hop, base: Url, status: int, request: Request) -> None:
    url = new.url
    assert not secrets.shows_secret(new.place), "a secret in a place"
    assert new.credentials == (url.origin == base.origin), "credentials for another origin, or lost on the way"
    assert not (base.scheme == "https" and url.scheme == "http"), "out of TLS"
    assert (base.scheme == "unix") == (url.scheme == "unix"), "on or off a socket"
    assert base.scheme != "unix" or url.socket_path == base.socket_path, "another socket"
    crossed = url.origin != base.origin
    assert not (crossed and new.body is not None), "a body for another origin"
    assert bool(new.left_at) == crossed, "where the origin changed is not known"
    given = [(b"X-Api-Key", b"1"), (b"Authorization", b"2"), (b"Host", b"3"), (b"Accept", b"4")]
    sent = redirect.fields_for(new, given, request.method)
    assert sent == (given[3:] if crossed else given), "a field for another origin, or one lost"
    if new.method == b"POST":
        assert status in (307, 308) and new.body == request.body, "a POST that should be a GET, or has another body"


def _check_place(url: Url, base: Url, response: Response) -> None:
    assert url.target.startswith("/") and _VISIBLE.fullmatch(url.target) and "#" not in url.target, "no target"
    locations = {value for name, value in response.headers if name == "location"}
    assert len(locations) == 1, "a redirect to nowhere, or to several places, was followed"
    [location] = locations
    reference = location.encode("latin-1").decode("utf-8", "replace").strip(" ").partition("#")[0]
    if not _NAMES_AN_ORIGIN.match(reference):
        wanted = _resolved(base.target, reference)
        assert unquote_to_bytes(url.target) == unquote_to_bytes(wanted), "another place than RFC 3986 §5.2 says"


def _resolved(base: str, reference: str) -> str:
    """§5.2.2, in the RFC's own steps, for a reference without scheme and authority."""
    base_path, _, base_query = base.partition("?")
    path, mark, query = reference.partition("?")
    if not path:
        path = base_path
        if not mark:
            mark, query = ("?", base_query) if base_query else ("", "")
    elif not path.startswith("/"):
        path = base_path[: base_path.rindex("/") + 1] + path
    return _without_dots(path) + mark + query


def _without_dots(path: str) -> str:
    """§5.2.4, in the RFC's own steps."""
    source, out = path, ""
    while source:
        if source.startswith("/./"):
            source = source[2:]
        elif source == "/.":
            source = "/"
        elif source.startswith("/../"):
            source, out = source[3:], _without_last_segment(out)
        elif source == "/..":
            source, out = "/", _without_last_segment(out)
        else:
            end = source.find("/", 1)
            end = len(source) if end < 0 else end
            out, source = out + source[:end], source[end:]
    return out


def _without_last_segment(path: str) -> str:
    return path[: path.rindex("/")] if "/" in path else ""
