"""Invariant: whatever bytes answer a request, however they are cut, and whether the peer closes afterwards or not, an
`Exchange` makes the same facts of them: a head, the body's bytes, whether it ended, or one error of a documented class
that names no secret of the request. Heads and bodies are those that a reading of RFC 9112 by hand gives; a 200 is
accepted or refused with a reason; a redirect leads where RFC 3986 says, and takes credentials to no other origin.

Layout: a byte of options, a way to cut, the bytes that the peer sends.
"""

from __future__ import annotations

from typing import Final

from tests.fuzz.oracles import meaning, redirects, response
from tests.fuzz.oracles.outcome import receive
from tests.fuzz.oracles.secrets import SECRET, SECRETS
from tests.fuzz.pieces import cut
from wire_rawsse.protocol import http
from wire_rawsse.protocol.redirect import REDIRECTS
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.url import parse_url

CLOSES, SMALL, CONNECT, POST = 1, 2, 4, 8
"""Bits of the options: the peer closes at the end; a head may have 120 bytes only; the kind of request. The four high
bits choose the requested URL.
"""

LONGEST: Final = 768

_LINES: Final = (
    b"HTTP/1.1 200 OK\r\n",
    b"Content-Type: text/event-stream\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 3, 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Upgrade: x\r\n",
    b"Retry-After: 5\r\n",
)
_BEGINNINGS: Final = (
    b"HTTP/1.0 ",
    b"HTTP/1.1 ",
    b"content-type:",
    b"Content-Encoding: ",
    b"Transfer-Encoding: ",
    b"Location: ",
    b"Proxy-Authenticate: Basic realm=x, ",
    b"Set-Cookie: ",
    b"HTTP/2 ",
)
_BODIES: Final = (b"5\r\nabcde\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"data: x\n\n", b'{"detail": "', b"<title>")
_BETWEEN: Final = (b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b": ", b"\x00", b"\xff", b'"', b"\\", b",")
_SECRETS: Final = (SECRET, SECRET.lower(), SECRET.upper(), SECRET[:4], SECRET[3:8])
WORDS: Final = (
    *_LINES,
    *_BEGINNINGS,
    *_BODIES,
    *_BETWEEN,
    *(secret.encode() for secret in _SECRETS),
    *b"100 101 103 200 204 302 304 307 401 429 503".split(),
    *b"text/html text/event-stream;charset=utf-8 */* gzip identity".split(),
    *b"http:// https:// //other unix:///s /a/../b ?q #f @".split(),
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
    b'\x05\x47HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm="a, b", Basic\r\nContent-Length: 0\r\n\r\n',
    b"\x04\x47HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n y\r\nContent-Length: z\r\n\r\n",
    b'\x01\x47HTTP/1.1 403 No\r\nSet-Cookie: a=b\r\nLink: <//u:p@h/?q>\r\n\r\n{"detail": "no '
    + SECRET.encode()
    + b'"}',
    b"\x01\x47HTTP/1.1 500 E\r\n\r\n<html><title>Broken</title>",
    b"\x01\x47HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\x01\x47HTTP/1.1 200 OK\r\nA : " + SECRET.encode() + b"\r\n\r\n",
    b"\x01\x47HTTP/2 200\r\n\r\n",
    b"\x01\x47\x00\x00\x06\x04\x00\x00\x00\x00\x00",
    b"\x00\x47HTTP/1.1 204 No\r\n\r\n",
    b"\x01\x47HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz",
    b"\x01\x47HTTP/1.0 200 OK\r\nContent-Type: text/plain, text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
)


_PLACES: Final = tuple(map(parse_url, ("http://example.com/a/b?c", "https://example.com/a/b?c", "unix:///s?path=/a/b")))
_FIELDS: Final = [(b"Host", b"example.com"), (b"Authorization", SECRET.encode())]
_GET: Final = Request(b"GET", b"/a/b?c", _FIELDS, b"", SECRETS)
_TUNNEL: Final = Request(b"CONNECT", b"example.com:80", _FIELDS, b"", SECRETS)
_POST: Final = Request(b"POST", b"/a/b?c", [*_FIELDS, (b"Content-Length", b"1")], b"x", SECRETS)
_SMALL_HEAD: Final = 120


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    options, rule, stream = data[0], data[1], data[2:]
    request = _TUNNEL if options & CONNECT else _POST if options & POST else _GET
    closes = bool(options & CLOSES)
    limit = http.HEAD_BYTES
    if options & SMALL:
        http.HEAD_BYTES = _SMALL_HEAD  # type: ignore[misc]
    try:
        found = receive(request, [stream], closes)
        feeds = cut(stream, rule)
        if len(feeds) > 1:
            assert receive(request, feeds, closes).facts() == found.facts(), "other facts when cut"
        response.check(found, stream, request, closes)
    finally:
        http.HEAD_BYTES = limit  # type: ignore[misc]
    if found.response is None:
        return
    if request is _TUNNEL:
        if not 200 <= found.response.status < 300:
            meaning.check_proxy(found.response, request)
        return
    if found.response.status in REDIRECTS:
        redirects.check(found.response, request, _PLACES[(options >> 4) % 3])
    else:
        meaning.check(found.response, request, found.body[:1024])
