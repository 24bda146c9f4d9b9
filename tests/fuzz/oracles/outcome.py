"""The result of an `Exchange` for some reads, fed as the stream feeds it."""

from __future__ import annotations

from tests.fuzz.oracles import secrets
from wire_rawsse.errors import MalformedResponseError, TruncatedError, WireRawSSEError
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response


class Outcome:
    """The result of the bytes: a head or none, its body or a tunnel's bytes, and how they ended."""

    __slots__ = ("body", "ended", "error", "response", "tunnel")

    def __init__(self) -> None:
        self.response: Response | None = None
        self.body = b""
        self.ended = False
        self.tunnel = b""
        self.error: WireRawSSEError | None = None

    def facts(self) -> tuple[object, ...]:
        """The part that must not depend on how the bytes were cut. An error's text may: it quotes the bytes so far."""
        return (self.response, self.body, self.ended, self.tunnel, type(self.error))


def receive(request: Request, reads: list[bytes], closes: bool) -> Outcome:
    """The outcome of `reads`, behind which the peer closes or stays silent. Raises what is no documented error."""
    found = Outcome()
    exchange = Exchange(request)
    # An empty read is the end of the connection; a peer cannot send one otherwise.
    left = [read for read in reads if read]
    try:
        while left and found.response is None:
            found.response = exchange.head(left.pop(0))
        if found.response is None:
            if closes:
                exchange.head(b"")
        elif opens_tunnel(request, found.response.status):
            found.tunnel = exchange.rest() + b"".join(left)
        else:
            _receive_body(exchange, [None, *left, *([b""] if closes else [])], found)
    except (MalformedResponseError, TruncatedError) as error:
        secrets.check_error(error)
        found.error = error
    return found


def _receive_body(exchange: Exchange, reads: list[bytes | None], found: Outcome) -> None:
    for read in reads:
        if exchange.ended:
            break
        for piece in exchange.body(read):
            assert piece, "an empty piece of a body"
            found.body += piece
    found.ended = exchange.ended


def opens_tunnel(request: Request, status: int) -> bool:
    """RFC 9110 §9.3.6."""
    return request.method == b"CONNECT" and 200 <= status < 300
