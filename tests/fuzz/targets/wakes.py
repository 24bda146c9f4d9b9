"""Invariant: whatever a peer streams, in whatever framing and reads, the shipped reading loop lets its host go in the
very turn in which a read completes the name of a data line, by the hint on the raw bytes or by the parser behind it:
never a wake too late, none but by the hint where nothing came, and none after the end. It ends as an `Exchange` by
itself does, and its sink knows the last event ID that the standard knows.

Layout: a byte of options, a way to cut, the body, which is framed as the options say (or is taken for chunks as it is).
"""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.pieces import cut
from tests.protocol.sse_reference import interpret
from wire_rawsse import connection as reading
from wire_rawsse import wake_streams
from wire_rawsse.errors import MalformedResponseError, TruncatedError, WireRawSSEError
from wire_rawsse.plan import Plan
from wire_rawsse.policy import Backoff
from wire_rawsse.protocol import http
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.read_clocks import ReadClocks
from wire_rawsse.record import Record
from wire_rawsse.redact import Secrets
from wire_rawsse.transport.channel import Channel
from wire_rawsse.waits import WAKE, Receive

FRAMING, CLOSES = 3, 4
"""Bits of the options: chunked, as it is and taken for chunks, with a length, until the end; whether the peer closes.
The high bits are the size of the chunks."""

LONGEST: Final = 384
WORDS: Final = (
    *(
        b"data",
        b"data:",
        b"data: x\n\n",
        b"\ndata\n",
        b"\rdata\r",
        b"database: 1\n",
        b": c\n\n",
        b"id: 7\n\n",
        b"event: t\n",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xef\xbb\xbfdata",
        b"\r\n",
        b"5\r\n",
        b"0\r\n\r\n",
        b"4\r\ndata\r\n",
        b"1\r\n\n\r\n",
        b"a;\ndata\r\n",
    ),
)
SEEDS: Final = (
    b"\x84\x21data: x\n\n: c\n\ndata: y\n\n",
    b"\x14\x03id: 7\rdata\r\rdata: y",
    b"\x05\x42a\r\ndata: x\n\n!\r\n0\r\n\r\n",
    b"\x06\x64\xef\xbb\xbfdata: x\n\n",
    b"\x07\x65\xef\xbb\xbf: c\ndata",
)

_URL: Final = parse_url("http://h/")
_REQUEST: Final = Request(b"GET", b"/", [(b"Host", b"h")], b"", Secrets())
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
_PLAN: Final = Plan(_URL)
_BACKOFF: Final = Backoff()


class _Socket:
    def fileno(self) -> int:
        return 7

    def recv(self, size: int) -> bytes:
        raise AssertionError("the host reads, not the coroutine")


class _World:
    """A clock that stands: no deadline is what this is about."""

    def now(self) -> float:
        return 1.0

    def time(self) -> float:
        return 1.0


def check(data: bytes) -> None:
    if len(data) < 2:
        return
    options, rule, stream = data[0], data[1], data[2:]
    head, framed = _framed(stream, options)
    reads = [read for read in cut(framed, rule) if read]
    if options & CLOSES:
        reads.append(b"")
    bodies, ended, error = _by_itself(head, reads)
    whole = b"".join(bodies)
    facts = interpret(whole)
    data_at = [fact.at for fact in facts if fact.what == "data"]

    sink = wake_streams.WakeSink()
    sink.resume_from("")  # As the sink of a caller who gave an id: it keeps the ids that come.
    exchange = http.Exchange(_REQUEST)
    response = exchange.head(head)
    assert response is not None
    sink.opened(response, False)
    record, channel = Record("http://h/", _BACKOFF), Channel(_Socket())  # type: ignore[arg-type]
    reader = reading._body_reader(record, sink, channel, exchange, "place")
    clocks = ReadClocks(1.0, _PLAN.timeouts, "place")
    loop = reading.read(_World(), record, reading.Live(channel, reader, clocks))  # type: ignore[arg-type]
    assert next(loop) is WAKE, "a connection came about and nobody was told"
    at = 0
    step: Any
    try:
        step = next(loop)
        for read, body in zip(reads, bodies, strict=False):
            assert isinstance(step, Receive) and step.is_wake is not None
            hinted = step.is_wake(read)
            step.woke_early = hinted
            due = any(at <= place < at + len(body) for place in data_at)
            at += len(body)
            step, signalled, over = _resume(loop, read)
            assert (hinted or signalled) or not due, "a wake is missing in the turn that owes it"
            assert hinted or signalled == due, "a wake for nothing"
            assert not (hinted and signalled), "one wake twice"
            if over is not None:
                raise over
    except StopIteration:
        assert ended, "the loop ended and the body did not"
        assert error is None
    except WireRawSSEError as raised:
        assert type(raised) is error, "another end"
        assert str(raised).startswith("place") and str(raised).isprintable(), "an end that does not say where"
    else:
        assert not ended and error is None, "the loop did not see the end"
        loop.close()
    ids = [fact.value for fact in facts if fact.what == "id"]
    assert sink.last_event_id == (ids[-1] if ids else ""), "another last event ID"


def _resume(loop: Any, read: bytes) -> tuple[Any, bool, BaseException | None]:
    """The next item other than a wake, whether it woke, and how it ended."""
    signalled = False
    try:
        step = loop.send(read)
        while step is WAKE:
            assert not signalled, "one wake twice"
            signalled = True
            step = loop.send(None)
    except (StopIteration, WireRawSSEError) as over:
        return None, signalled, over
    return step, signalled, None


def _framed(stream: bytes, options: int) -> tuple[bytes, bytes]:
    framing = options & FRAMING
    if framing == 3:
        return _OK + b"\r\n", stream
    if framing == 2:
        return _OK + b"Content-Length: %d\r\n\r\n" % len(stream), stream
    head = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
    if framing == 1:
        return head, stream
    size = 1 + (options >> 3)
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    return head, b"".join([b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""]])


def _by_itself(head: bytes, reads: list[bytes]) -> tuple[list[bytes], bool, type[WireRawSSEError] | None]:
    """The result of an exchange alone for each read, until its end."""
    exchange = http.Exchange(_REQUEST)
    exchange.head(head)
    bodies: list[bytes] = []
    assert not list(exchange.body(None)), "a body out of nothing"
    for read in reads:
        body = b""
        try:
            for piece in exchange.body(read):
                body += piece
        except (MalformedResponseError, TruncatedError) as error:
            return [*bodies, body], False, type(error)
        bodies.append(body)
        if exchange.ended:
            return bodies, True, None
    return bodies, exchange.ended, None
