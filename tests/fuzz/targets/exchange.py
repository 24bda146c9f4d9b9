"""Invariant: whatever bytes answer a request, however they are cut, and whether the peer closes afterwards or not, an
`Exchange` makes the same facts of them: a head, the body's bytes, whether it ended, or one error of a documented class
that names no secret of the request. Heads and bodies are those that a reading of RFC 9112 by hand gives; a 200 is
accepted or refused with a reason; a redirect leads where RFC 3986 says, and takes credentials to no other origin.

Layout: a byte of options, a way to cut, the bytes that the peer sends.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from tests.fuzz.pieces import cut
from wire_rawsse.errors import (
    MalformedResponse,
    NotAnEventStream,
    RedirectError,
    StatusError,
    Truncated,
    WireRawSSEError,
)
from wire_rawsse.protocol import http, redirect
from wire_rawsse.protocol.http import Response
from wire_rawsse.protocol.request import Request, every_form
from wire_rawsse.protocol.url import Url, parse_url

CLOSES, SMALL, CONNECT, POST = 1, 2, 4, 8
"""Bits of the options: the peer closes at the end; a head may have 120 bytes only; what was asked."""

SECRET: Final = "Qx7Zk9Vw2Jp5"
LONGEST: Final = 768
WORDS: Final = (
    *(
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 ",
        b"HTTP/1.1 ",
        b"100",
        b"101",
        b"103",
        b"200",
        b"204",
        b"302",
        b"304",
        b"307",
    ),
    *(b"401", b"429", b"503", b"\r\n\r\n", b"\n\n", b"\r\n", b"\r\n ", b": ", b"Content-Type: text/event-stream\r\n"),
    *(
        b"content-type:",
        b"text/html",
        b"text/event-stream;charset=utf-8",
        b",",
        b'"',
        b"\\",
        b"*/*",
        b"Content-Encoding: ",
    ),
    *(b"gzip", b"identity", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Content-Length: 3, 3\r\n"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: ",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
    ),
    *(
        b"Upgrade: x\r\n",
        b"Location: ",
        b"http://",
        b"https://",
        b"//other",
        b"unix:///s",
        b"/a/../b",
        b"?q",
        b"#f",
        b"@",
    ),
    *(b"Retry-After: 5\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"data: x\n\n", SECRET.encode()),
    *(SECRET.lower().encode(), SECRET.upper().encode(), SECRET[:4].encode(), SECRET[3:8].encode(), b"\x00", b"\xff"),
)
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
SEEDS: Final = (
    b"\x01\x21" + _OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n0\r\n\r\n",
    b"\x00\x61" + _OK + b"Transfer-Encoding: chunked\r\n\r\n9;a=b\r\ndata: x\n\n\r\n0\r\nA: b\r\n\r\nmore",
    b"\x01\x90" + _OK + b"Content-Length: 9\r\n\r\ndata: x\n\n",
    b"\x01\xd0" + _OK + b"\r\ndata: x\n\n",
    b"\x01\x00HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + _OK + b"\r\ndata: x",
    b"\x02\x44" + _OK + b"X: " + b"y" * 80 + b"\r\n\r\n",
    b"\x00\x35HTTP/1.1 302 Found\r\nLocation: http://other/a/../b?c#d\r\nContent-Length: 0\r\n\r\n",
    b"\x08\x35HTTP/1.1 307 T\r\nLocation: ../x?y\r\nContent-Length: 0\r\n\r\n",
    b"\x18\x35HTTP/1.1 303 S\r\nLocation: //u:p@Example.com:80/x\r\nContent-Length: 0\r\n\r\n",
    b"\x10\x35HTTP/1.1 301 M\r\nLocation: unix:///s?path=/" + SECRET.encode() + b"\r\nContent-Length: 0\r\n\r\n",
    b"\x04\x47HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0",
    b"\x05\x47HTTP/1.1 407 " + SECRET.encode() + b"\r\nContent-Length: 2\r\n\r\nno",
    b'\x01\x47HTTP/1.1 200 OK\nContent-Type: text/html; x="' + SECRET.lower().encode() + b'"\n\n<p>',
    b"\x01\x47HTTP/1.1 503 Down\r\nRetry-After: 5\r\nConnection: close\r\n\r\n",
    b"\x01\x47SSH-2.0-" + SECRET.encode() + b"\r\n",
    b"\x00\x47HTTP/1.1 204 No\r\n\r\n",
    b"\x01\x47HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz",
    b"\x01\x47HTTP/1.0 200 OK\r\nContent-Type: text/plain, text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
)

_BASES: Final = tuple(map(parse_url, ("http://example.com/a/b?c", "https://example.com/a/b?c", "unix:///s?path=/a/b")))
_SECRETS: Final = every_form([SECRET])
_FIELDS: Final = [(b"Host", b"example.com"), (b"Authorization", SECRET.encode())]
_REQUESTS: Final = (
    Request(b"GET", b"/a/b?c", _FIELDS, b"", _SECRETS),
    Request(b"CONNECT", b"example.com:80", _FIELDS, b"", _SECRETS),
    Request(b"POST", b"/a/b?c", [*_FIELDS, (b"Content-Length", b"1")], b"x", _SECRETS),
)
_SECRET_PIECES: Final = tuple({form[at : at + 4] for form in _SECRETS for at in range(len(form) - 3)})
_SMALL_HEAD: Final = 120


class Outcome:
    """What became of the bytes. Two are equal where the facts are; texts may quote what had come by then."""

    __slots__ = ("body", "ended", "error", "response", "rest")

    def __init__(self) -> None:
        self.response: Response | None = None
        self.body = b""
        self.ended = False
        self.rest = b""
        self.error: WireRawSSEError | None = None

    def facts(self) -> tuple[object, ...]:
        # tuple(), as a response equals by its fields and shows only its status.
        return (self.response, self.body, self.ended, self.rest, type(self.error))


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    options, rule, stream = data[0], data[1], data[2:]
    request = _REQUESTS[1 if options & CONNECT else 2 if options & POST else 0]
    limit = http.HEAD_BYTES
    if options & SMALL:
        http.HEAD_BYTES = _SMALL_HEAD  # type: ignore[misc]
    try:
        found = _receive(request, [stream], bool(options & CLOSES))
        feeds = cut(stream, rule)
        if len(feeds) > 1:
            other = _receive(request, feeds, bool(options & CLOSES))
            assert found.facts() == other.facts(), "other facts when cut"
        _check_by_hand(stream, request, options, found)
    finally:
        http.HEAD_BYTES = limit  # type: ignore[misc]
    if found.response is not None and not options & CONNECT:
        _check_meaning(found.response, request, _BASES[(options >> 4) % 3])


def _receive(request: Request, reads: list[bytes], closes: bool) -> Outcome:
    """Feed an exchange as `stream` does."""
    found = Outcome()
    exchange = http.Exchange(request)
    try:
        at = 0
        while found.response is None and at < len(reads):
            # An empty read means the end of the connection; a peer cannot send one otherwise.
            read, at = reads[at], at + 1
            found.response = exchange.head(read) if read else None
        if found.response is None:
            if closes:
                exchange.head(b"")
            return found
        if request.method == b"CONNECT" and 200 <= found.response.status < 300:
            found.rest = exchange.rest() + b"".join(reads[at:])
            return found
        left = [None, *filter(None, reads[at:]), *([b""] if closes else [])]
        for read_or_none in left:
            if exchange.ended:
                break
            for piece in exchange.body(read_or_none):
                assert piece, "an empty piece of a body"
                found.body += piece
        found.ended = exchange.ended
    except (MalformedResponse, Truncated) as error:
        _check_text(error)
        found.error = error
    return found


def _check_text(error: WireRawSSEError) -> None:
    text = str(error)
    assert text.isprintable() and len(text) < 400, "an error that is no single line"
    assert not any(piece in text for piece in _SECRET_PIECES), "a secret in an error"
    assert not error.permanent or not isinstance(error, (MalformedResponse, Truncated)), "what a peer sent ends all"
    # h11's own error quotes what it was given.
    assert error.__cause__ is None and (error.__suppress_context__ or error.__context__ is None), "a cause that quotes"


# --- by hand ---------------------------------------------------------------------------------------------------------

_HEAD_END: Final = re.compile(rb"\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: ([^\r\n]*))?\r?\n")


def _check_by_hand(stream: bytes, request: Request, options: int, found: Outcome) -> None:
    start = 0
    status = 0
    while (end := _HEAD_END.search(stream, start)) is not None:
        line = _STATUS.match(stream, start)
        if line is None:
            status = -1
            break
        status = int(line[1])
        head, start = stream[start : end.end()], end.end()
        if status >= 200 or status == 101:
            break
        status = 0
    response = found.response
    if response is None:
        assert status < 200 or found.error is not None, "a whole head was overlooked"
        assert found.error is not None or not options & CLOSES, "nothing was made of a head that broke off"
        assert found.error is not None or len(stream) < http.HEAD_BYTES, "a head without end"
        return
    assert response.status == status, "another status"
    assert start <= http.HEAD_BYTES, "a head over the limit"
    if b"\n " not in head and b"\n\t" not in head:
        _check_fields(head, response)
    behind = stream[start:]
    if request.method == b"CONNECT" and 200 <= status < 300:
        assert found.rest == behind, "something of the tunnel was lost"
        return
    names = [name for name, _ in response.headers]
    if status in (204, 304):
        assert found.ended and not found.body, "a body where there is none"
    elif "transfer-encoding" in names:
        assert len(found.body) <= len(behind), "a body out of nothing"  # `chunks` looks closer.
    elif "content-length" in names:
        length = int(response.get("content-length").split(",")[0])  # type: ignore[union-attr]
        assert found.body == behind[:length], "another body"
        assert found.ended == (len(behind) >= length), "another end"
    else:
        assert found.body == behind, "another body"
        assert found.ended == bool(options & CLOSES), "another end"
    if "transfer-encoding" not in names:
        assert (found.error is None) == (found.ended or not options & CLOSES), "an end that is none"


def _check_fields(head: bytes, response: Response) -> None:
    by_hand: list[tuple[str, str]] = []
    for line in head.replace(b"\r\n", b"\n").decode("latin-1").split("\n")[1:-2]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t\r")
        # h11 makes one of several equal Content-Lengths, in a line or in many.
        if name != "content-length" or name not in [known for known, _ in by_hand]:
            by_hand.append((name, value.split(",")[0].strip() if name == "content-length" else value))
    told = [(name, value.lower() if name == "transfer-encoding" else value) for name, value in by_hand]
    assert told == list(response.headers), "other fields"


# --- what it means ---------------------------------------------------------------------------------------------------


def _check_meaning(response: Response, request: Request, base: Url) -> None:
    if response.status in redirect.REDIRECTS:
        _check_redirect(response, request, base)
        return
    kinds = (response.get("content-type") or "").lower()
    try:
        http.check_event_stream(response, request, "place")
    except StatusError as error:
        _check_text(error)
        assert error.status == response.status != 200
        assert error.retry_after == response.get("retry-after")
    except NotAnEventStream as error:
        _check_text(error)
        plain = re.fullmatch(r"text/event-stream *(;[^,\"]*)?", kinds)
        coded = response.get("content-encoding") or "identity"
        assert not plain or coded.strip().lower() != "identity", "an event stream was refused"
    else:
        assert response.status == 200 and "text/event-stream" in kinds, "no event stream was accepted"
        coded = response.get("content-encoding") or "identity"
        assert coded.strip().lower() == "identity", "what is coded was accepted"
        # The last one counts; of several kinds this sees only the plain ones.
        last = kinds.rpartition(",")[2].strip(" \t")
        assert '"' in kinds or last.startswith("text/event-stream") or not re.fullmatch(r"[a-z]+/[a-z]+", last)


def _check_redirect(response: Response, request: Request, base: Url) -> None:
    hop = redirect.Hop(base, request.method, request.body or None, credentials=True)
    try:
        new = redirect.follow(response, hop, request.secrets)
    except RedirectError as error:
        _check_text(error)
        return
    url, place = new.url, new.place
    assert not any(piece in place for piece in _SECRET_PIECES), "a secret in a place"
    assert new.credentials == (url.origin == base.origin), "credentials for another origin, or lost on the way"
    assert not (base.scheme == "https" and url.scheme == "http"), "out of TLS"
    assert (base.scheme == "unix") == (url.scheme == "unix"), "on or off a socket"
    assert base.scheme != "unix" or url.socket_path == base.socket_path, "another socket"
    assert url.target.startswith("/") and re.fullmatch(r"[\x21-\x7e]+", url.target) and "#" not in url.target
    if new.method == b"POST":
        assert response.status in (307, 308) and new.body == request.body
    location = response.get("location")
    assert location is not None
    reference = location.encode("latin-1").decode("utf-8", "replace").strip(" ").partition("#")[0]
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", reference):
        wanted = _resolved(base.target, reference)
        assert unquote_to_bytes(url.target) == unquote_to_bytes(wanted), "another place than RFC 3986 §5.2 says"


def _resolved(base: str, reference: str) -> str:
    """RFC 3986 §5.2.2 and §5.2.4, in the RFC's own steps, for a reference without scheme and authority."""
    base_path, _, base_query = base.partition("?")
    path, mark, query = reference.partition("?")
    if not path:
        path = base_path
        if not mark:
            mark, query = ("?", base_query) if base_query else ("", "")
    elif not path.startswith("/"):
        path = base_path[: base_path.rindex("/") + 1] + path
    source, out = path, ""
    while source:
        if source.startswith("/./"):
            source = source[2:]
        elif source == "/.":
            source = "/"
        elif source.startswith("/../"):
            source, out = source[3:], out[: out.rindex("/")] if "/" in out else ""
        elif source == "/..":
            source, out = "/", out[: out.rindex("/")] if "/" in out else ""
        else:
            end = source.find("/", 1)
            end = len(source) if end < 0 else end
            out, source = out + source[:end], source[end:]
    return out + mark + query
