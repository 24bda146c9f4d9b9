"""One HTTP/1.1 exchange: the bytes of a request, and the response as values. h11 does all but the chunked coding.

This module adds to h11 the needs of an event stream:

* A head may have 64 KiB, interim responses included, however it is split into receptions. An endless head is refused
  exactly at this limit.
* Body bytes are passed on as they come, before their chunk is complete, so a large chunk costs no latency.
* Bytes that are not an HTTP/1.1 response (HTTP/2, SSH, a web page) are quoted in the error, printable and masked.

It knows no socket and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import h11

from wire_rawsse.errors import (
    InvalidRequestError,
    MalformedResponseError,
    NotAnEventStreamError,
    TruncatedError,
)
from wire_rawsse.protocol.chunked import BadChunk, ChunkedBody
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response, compression

if TYPE_CHECKING:
    from wire_rawsse.protocol.tunnel import TunnelHead

HEAD_BYTES: Final = 64 * 1024
"""The largest response head, interim responses included. (curl takes 300 KiB; nginx sends 4 or 8 KiB a line.)"""
HEAD_LINES: Final = 4000
"""Lines of the largest response head, interim responses included: h11 looks at each line by itself, all at once."""
# One element of a list (RFC 9110 §5.6.1), with the commas in its quoted strings. Both are compiled by the first head.
_ELEMENT: Final = r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+'
_ESSENCE: Final = r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+"


class Exchange:
    """One request and its response. Feed `head` until it returns a `Response`, then `body`.

    `to_send` has the bytes of the request. The caller sets `sent` once they have been sent. `ended` turns True at the
    end of the response.
    """

    def __init__(self, request: Request) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._secrets = request.secrets
        self._first = b""
        self._head_bytes = self._head_lines = 0
        self._head = bytearray()
        """The bytes of the head so far, for the text of an error."""
        self._chunked: ChunkedBody | None = None
        self._behind_head = b""
        self._tunnel_head = _tunnel_head() if request.method == b"CONNECT" else None
        self.sent = False
        self.ended = False
        try:
            sent = [
                self._h11.send(h11.Request(method=request.method, target=request.target, headers=request.headers)),
                self._h11.send(h11.Data(data=request.body)) if request.body else b"",
                self._h11.send(h11.EndOfMessage()),
            ]
        except h11.LocalProtocolError:
            # Not chained, because h11 quotes the offending value, which may be a token.
            raise InvalidRequestError("the header fields contradict each other (two Host fields?)") from None
        self.to_send = b"".join(part or b"" for part in sent)

    def head(self, data: bytes) -> Response | None:
        """Take more bytes (b"" is the end of the connection). Returns the head of the final response once complete.

        Interim responses (RFC 9110 §15.2) are skipped, but count towards the 64 KiB. Bytes after the head are kept for
        `body(None)`. Raises `MalformedResponseError`, or `TruncatedError` if the peer closed.
        """
        if len(self._first) < 128:
            self._first = (self._first + data)[:128]
        if not self._first.startswith(b"HTTP/1."[: len(self._first)]):
            from wire_rawsse.protocol.diagnosis import speaks  # Loaded by the first malformed head.

            protocol = speaks(self._first)
            if protocol:
                text = (
                    f": {self._secrets.quote(self._first)}"
                    if self._first[:1].isascii() and self._first[0] >= 32
                    else ""
                )
                raise MalformedResponseError(f"expected an HTTP/1 response, got {protocol}{text}")
            raise MalformedResponseError(f"expected an HTTP/1 response, got: {self._secrets.quote(self._first)}")
        if not data:
            got = f"only: {self._secrets.quote(self._first)}" if self._first else "nothing"
            raise TruncatedError(f"the peer closed the connection before the response head was complete; it sent {got}")
        # Cut at the limit, so that it does not depend on the split whether a head is too long.
        allowed = data[: HEAD_BYTES - self._head_bytes]
        self._head_bytes += len(allowed)
        self._head += allowed
        ready = allowed if self._tunnel_head is None else self._tunnel_head.feed(allowed)
        response = self._next_head(ready) if ready else None  # (To h11, b"" is the end.)
        self._head_lines += allowed.count(b"\n") if response is None else len(response.headers)
        if self._head_lines > HEAD_LINES:
            raise MalformedResponseError(f"the response head has more than {HEAD_LINES} lines")
        if response is not None:
            self._head.clear()
            if self._chunked is not None:
                self._behind_head = self.rest() + data[len(allowed) :]
                del self._h11  # It has nothing more to do, and takes a sixth of the memory of an idle stream.
            elif len(data) > len(allowed):
                self._h11.receive_data(data[len(allowed) :])
        elif self._head_bytes >= HEAD_BYTES:
            raise MalformedResponseError(f"the response head is longer than {HEAD_BYTES} bytes")
        return response

    def _next_head(self, data: bytes) -> Response | None:
        try:
            self._h11.receive_data(data)
            while True:
                event = self._h11.next_event()
                if isinstance(event, (h11.InformationalResponse, h11.Response)) and event.http_version[:1] != b"1":
                    # After an interim response h11 would accept any version.
                    raise h11.RemoteProtocolError("not HTTP/1")
                if isinstance(event, h11.InformationalResponse):
                    continue
                if not isinstance(event, h11.Response):
                    return None
                fields = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
                # h11 accepts no coding but chunked. In a 204, a 304 and a tunnel it has no meaning (RFC 9112 §6.3).
                has_body = self._h11.their_state is h11.SEND_BODY and event.status_code not in (204, 304)
                if has_body and any(name == "transfer-encoding" for name, _ in fields):
                    self._chunked = ChunkedBody()
                return Response(event.status_code, event.reason.decode("latin-1"), fields)
        except (h11.RemoteProtocolError, ValueError):
            # h11's own text may quote a header line, which may echo a secret of ours. h11 before 0.16 raises ValueError
            # for a Content-Length of thousands of digits.
            from wire_rawsse.protocol.diagnosis import broken_rule

            rule = broken_rule(bytes(self._head), self._secrets) or self._secrets.quote(self._first)
            raise MalformedResponseError(f"the response head breaks HTTP/1.1: {rule}") from None

    def rest(self) -> bytes:
        """The bytes received after the head of a response that switched to a tunnel (RFC 9110 §9.3.6)."""
        return bytes(self._h11.trailing_data[0])

    @property
    def whole_chunk(self) -> Callable[[bytes], bytes | None] | None:
        """`ChunkedBody.whole` of this body, once `body(None)` has been asked; None if it is not chunked."""
        return None if self._chunked is None else self._chunked.whole

    def body(self, data: bytes | None) -> Iterator[bytes]:
        """The body bytes in `data`, without chunk framing.

        None asks for the bytes that came with the head, and b"" stands for the end of the connection. Raises
        `TruncatedError` or `MalformedResponseError`, after the pieces before the fault.
        """
        if self._chunked is None:
            yield from self._plain_body(data)
            return
        read = data or b""
        if self._behind_head:
            read, self._behind_head = self._behind_head + read, b""
        try:
            yield from self._chunked.feed(read)
        except BadChunk as error:
            shown = self._secrets.quote(read)
            raise MalformedResponseError(f"{error} (chunked coding, RFC 9112 §7.1), near: {shown}") from None
        self.ended = self._chunked.ended
        if data == b"" and not self.ended:
            raise TruncatedError(_CUT_SHORT)

    def _plain_body(self, data: bytes | None) -> Iterator[bytes]:
        """A body that ends with its Content-Length or with the connection (RFC 9112 §6.3)."""
        try:
            if data is not None:
                self._h11.receive_data(data)
            while not self.ended:
                event = self._h11.next_event()
                if isinstance(event, h11.Data):
                    yield event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.ended = True
                else:
                    return
        except h11.RemoteProtocolError:
            raise TruncatedError(_CUT_SHORT) from None


def _tunnel_head() -> TunnelHead:
    from wire_rawsse.protocol.tunnel import TunnelHead  # Loaded by the first tunnel.

    return TunnelHead()


_CUT_SHORT: Final = "the peer closed the connection in the middle of the response body"


def check_event_stream(response: Response, request: Request, place: str, body: bytes = b"", left_at: str = "") -> None:
    """Accept a 200 whose content is an event stream, or raise `StatusError` or `NotAnEventStreamError`.

    `body` and `left_at` are for the text of a refusal: see `refusal.refused`.

    The type is compared by its essence, without case and parameters (MIME Sniffing §4.2; WHATWG HTML, section
    "server-sent events"); charset is ignored, as an event stream is always UTF-8.
    """
    if response.status != 200 or not is_event_stream(response):
        from wire_rawsse.protocol.refusal import not_a_stream, refused  # Loaded by the first refusal.

        if response.status != 200:
            raise refused(response, request, place, body, left_at)
        raise not_a_stream(response, request, place, body)
    coding = compression(response)
    if coding is not None:
        asked = any(name.lower() == b"accept-encoding" and value != b"identity" for name, value in request.headers)
        advice = "; leave Accept-Encoding out" if asked else ", nor was it asked for"
        raise NotAnEventStreamError(
            f"{place} sent Content-Encoding {coding}, and compression is not spoken here{advice}"
        )


def is_event_stream(response: Response) -> bool:
    """Whether its Content-Type is that of an event stream."""
    return _essence(response.get("content-type") or "") == "text/event-stream"


def _essence(content_type: str) -> str:
    """The media type in a Content-Type field: of several the last valid one (Fetch, "extract a MIME type"), or ""."""
    found = ""
    for element in re.findall(_ELEMENT, content_type):
        essence = element.partition(";")[0].strip(" \t").lower()
        if re.fullmatch(_ESSENCE, essence) and essence != "*/*":
            found = essence
    return found
