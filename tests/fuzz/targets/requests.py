"""Invariant: whatever is given as a header, token, method, last event ID or body, it is refused with one line that does
not quote it, or a server reads out of the bytes that are sent exactly one request, with this method, this target, these
fields in this order, this body, and nothing behind it.

Layout: a byte of options, then texts with 0xFF between them: a token, the name and the value of a header, those of
another, a last event ID, a method, a body, a URL's query.
"""

from __future__ import annotations

import re
from typing import Any, Final

import h11

from wire_rawsse.errors import MOST_CHARACTERS, CredentialsError, InvalidRequestError, WireRawSSEError
from wire_rawsse.protocol import http
from wire_rawsse.protocol import request as requests
from wire_rawsse.protocol.url import parse_url

CALLABLE, BODY, ABSOLUTE, MAPPING, PROXY = 1, 2, 4, 8, 16
"""Bits of the options."""

LONGEST: Final = 384
WORDS: Final = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b"\x7f",
        b" ",
        b"\t",
        b":",
        b"\r\nX: y",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xc3\xa9",
    ),
    *(
        b"Host",
        b"host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"chunked",
        b"Connection",
        b"Expect",
        b"Upgrade",
        b"TE",
    ),
    *(
        b"Authorization",
        b"Accept",
        b"Last-Event-ID",
        b"User-Agent",
        b"POST",
        b"HEAD",
        b"CONNECT",
        b"get",
        b"\xed\xa0\x80",
    ),
    *(b"\xff", b"\xff\xff", b"Content-Type", b"Cookie", b"100-continue", b"close"),
)
SEEDS: Final = (
    b"\x00Qx7Zk9Vw2Jp5\xffX-Fine\xff1\xffAccept\xff*/*\xff17\xffGET",
    b"\x02t\n\xffContent-Type\xfftext/plain\xffX\xffy z\xff\xe2\x82\xac\xffPOST\xffbody\xffq=1",
    b"\x05a b\xffX\xff\xffY\xff\xff\n\xffPUT\xff",
    b"\x1e\xffHost\xffother\xffhost\xffthird\xff \xffCONNECT\xffx",
    b"\x09t\r\nX: y\xffX\r\nY\xff1\xffTransfer-Encoding\xffchunked\xff\x00\xffGET /",
    b"\x00\xc3\xa9\xffX\xff\xc3\xa9\xff\xc3\xa9\xffy\xffa\tb\xffpatch",
)

_PROSE: Final = ("character", "connection", "last-event-id", "non-empty", "something", "surrogate")
"""Long words of the refusals themselves, parts of which a value may be."""
_AUTHORIZATION: Final = "Basic dTpw"


def check(data: bytes) -> None:
    if not data:
        return
    options = data[0]
    parts = (data[1:].split(b"\xff") + [b""] * 9)[:9]
    token, name, value, other, another, event_id, method, _, query = (
        part.decode("utf-8", "surrogateescape") for part in parts
    )
    given: Any = [(name, value), (other, another)] if other else [(name, value)] if name else []
    if options & MAPPING:
        given = dict(given)
    try:
        fields = requests.ask_headers((lambda: given) if options & CALLABLE else given)
        bearer = requests.ask_bearer((lambda: token) if options & CALLABLE else token) if token else []
        url = parse_url("http://example.com/?" + query) if query.isprintable() else parse_url("http://example.com/")
        checked = requests.check_method(method) if method else b"GET"
    except (InvalidRequestError, CredentialsError) as error:
        _check_refusal(error, [token, value, another], name + other)
        return
    if bearer:
        assert bearer == [(b"Authorization", f"Bearer {token.removesuffix(chr(10)).removesuffix(chr(13))}".encode())]
    assert fields == [(key.encode(), text.encode()) for key, text in (given.items() if options & MAPPING else given)]
    body = parts[7] if options & BODY else None
    request = requests.compose(
        url,
        method=checked,
        body=body,
        headers=fields + bearer,
        last_event_id=event_id,
        absolute_form=bool(options & ABSOLUTE),
        proxy_authorization=_AUTHORIZATION if options & PROXY else None,
    )
    for secret in (token, value, another):
        assert len(secret) < 8 or secret in method or secret not in repr(request), "a secret in a repr"
    try:
        sent = http.Exchange(request).to_send
    except InvalidRequestError as error:
        hosts = [key for key, _ in request.headers if key.lower() == b"host"]
        assert len(hosts) != 1, "a request that is fine was refused"
        _check_refusal(error, [token, value, another], name + other)
        return
    target = ("http://example.com" if options & ABSOLUTE else "") + url.target
    _check_sent(sent, request, body, target, fields + bearer, event_id)


def _check_refusal(error: WireRawSSEError, secrets: list[str], names: str) -> None:
    text = str(error)
    assert text.isprintable() and len(text) <= MOST_CHARACTERS, "a refusal that is no single line"
    for secret in secrets:
        for word in re.findall(r"[!-~]{9,}", secret):
            ours = any(word in prose for prose in _PROSE)
            assert word not in text or word in names or ours, "a value is quoted"  # A field is named.
    assert error.__suppress_context__ or error.__context__ is None, "a context that quotes"


def _check_sent(
    sent: bytes, request: requests.Request, body: bytes | None, target: str, given: requests.HeaderList, event_id: str
) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    head = server.next_event()
    assert isinstance(head, h11.Request), "no request"
    assert head.method == request.method, "another method"
    assert head.target == target.encode(), "another target"
    # h11 puts Host first, as RFC 9110 §7.2 wants it.
    wanted = [(key.lower(), text) for key, text in request.headers]
    wanted.sort(key=lambda field: field[0] != b"host")
    assert list(head.headers) == wanted, "other fields"
    ids = [text for key, text in head.headers if key == b"last-event-id"]
    if not any(key.lower() == b"last-event-id" for key, _ in given):
        assert ids == ([event_id.encode()] if event_id and requests.can_carry(event_id) else []), "another id"
    for key in {key for key, _ in head.headers}:
        wished = [text for other, text in given if other.lower() == key]
        sent_as = [text for other, text in head.headers if other == key]
        assert sent_as == wished or (len(sent_as) == 1 and not wished), "a field of ours beside the caller's"
    content = b""
    while isinstance(event := server.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage), "no end"
    assert content == (body or b""), "another body"
    assert server.trailing_data == (b"", False), "something after the request"
