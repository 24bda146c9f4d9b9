"""One connection to the relay: HTTP/1 by h11 on an asyncio transport. Knows no route and no fault.

A `Handler` answers the requests. The bytes on the wire pass through this class, TLS records included (see `tls`), so
the transport is always a plain socket. asyncio itself sets TCP_NODELAY on it. `wire_rawsse.testing.connection` derives
a connection from this one that can be held, cut or reset at any byte; its places to do so are `held`, `_send_flight`
and `_send_head`.

`cut` shuts the sending side and goes on reading for a while, since a socket that is closed over unread bytes sends RST
instead of FIN (RFC 9112 §9.6). `send` frames nothing: its bytes go out as they are, in one write, at once.

Each connection is timed (`guard.Limits`) while its peer owes a request or the rest of one, unless it is held. The bytes
of incomplete requests are counted over all connections. Requests of foreign web pages are refused (`guard.refusal`).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import Final, Protocol

import h11

from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.guard import Rules, refusal
from wire_rawsse.relay.messages import (
    BODY_BYTES,
    BODY_PIECES,
    HEAD_BYTES,
    REASONS,
    REFUSALS,
    Body,
    Reply,
    ServerRequest,
)
from wire_rawsse.relay.tls import ServerTls

_STASH_BYTES: Final = 1024 * 1024
_WRITE_BUFFER_BYTES: Final = 64 * 1024
_LINGER_SECONDS: Final = 2.0


class Handler(Protocol):
    """Serves the connections of a listener."""

    def accepted(self, connection: ServerConnection) -> None: ...

    def requested(self, connection: ServerConnection, request: ServerRequest) -> None:
        """Must lead to one `connection.answer` or one `connection.begin`, now or later, unless the connection is
        ended."""

    def gone(self, connection: ServerConnection) -> None: ...


class ServerConnection(asyncio.Protocol):
    """The server's side of one accepted connection; it keeps itself in `connections` as long as it is open."""

    held = False
    """True while nothing is served and nothing is read: only a subclass sets it."""

    def __init__(
        self,
        handler: Handler,
        log: EventLog,
        connections: set[ServerConnection],
        rules: Rules,
        listener: str,
        bound: str,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`listener` is its URL, `bound` the host that it was asked to listen on."""
        self._handler = handler
        self._log = log
        self._connections = connections
        self._rules = rules
        self._listener = listener
        self._bound = bound
        self.tls = None if context is None else ServerTls(context)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._pieces = 0
        self._answering = False
        self._begun = False
        """A part of the next request is here."""
        self._counted = 0
        """The bytes of an incomplete request, as `Rules` knows of them."""
        self._timed: tuple[str, int] | None = None
        """The thing that is timed: `idle` or `request`, and the number of requests before it."""
        self._clock: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._going = False
        self._last = False
        self.body: Body | None = None
        self.chunked = False
        self.ended = False
        self._writable = True
        self._stash = bytearray()
        self._linger: asyncio.TimerHandle | None = None

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)
        transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        peer = transport.get_extra_info("peername")
        shown = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"
        self.record = self._log.connected(self._listener, shown)
        if len(self._log.open) > self._rules.limits.connections:
            self.record.note("too many connections")
            self.abort()
            return
        self._handler.accepted(self)
        self._set_clock()

    def data_received(self, data: bytes) -> None:
        self.record.received += len(data)
        if self.ended:
            return
        if (self.held or self._answering) and self.body is None:
            self._stash += data
            if len(self._stash) > _STASH_BYTES:
                self._transport.pause_reading()
            return
        self._take(data)
        self._set_clock()

    def eof_received(self) -> None:
        """Returning None lets the transport close, once it has sent what it holds."""
        self.record.note("peer closed")
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.record.note("lost", type(exc).__name__)
        self._end()
        for timer in (self._linger, self._unread):
            if timer is not None:
                timer.cancel()
        self._connections.discard(self)
        self._handler.gone(self)
        self._log.disconnected(self.record)

    def pause_writing(self) -> None:
        self._writable = False
        if self.body is None:
            self._transport.pause_reading()  # A peer that takes no answers may send no further requests.
            self._await_reader(0)

    def resume_writing(self) -> None:
        self._writable = True
        if self._unread is not None:
            self._unread.cancel()
        self._transport.resume_reading()
        self._go_on()

    # Called by a handler.

    @property
    def ready(self) -> bool:
        """True while a body may send more."""
        return self._writable and not self.held and not self.ended

    def answer(self, answer: Reply) -> None:
        """Send a whole response in one write, and go on with the next request if the connection lives."""
        fields = list(answer.fields)
        if answer.measured and answer.status not in (204, 304):
            fields.append(("content-length", str(len(answer.body))))
        data = self._head(answer.status, fields)
        if answer.body and not (self._request is not None and self._request.method == b"HEAD"):
            data += self._framed(h11.Data(data=answer.body))
        data += self._framed(h11.EndOfMessage())
        self.record.note("answer", str(answer.status))
        self._send_head(data)
        self._answering = False
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._request = None
            self._begun = bool(self._http.trailing_data[0])
            self._take_stash()
        else:
            self._last = True
        self._go_on()

    def begin(self, body: Body, fields: Sequence[tuple[str, str]]) -> None:
        """Send the head of a 200 that has no end, and let `body` write what follows."""
        assert self._request is not None
        self.chunked = self._request.http_version == b"1.1"
        self.body = body
        self.record.note("answer", "200")
        self._send_head(self._head(200, fields))

    def frame(self, data: bytes) -> bytes:
        """`data` as one chunk, or as it is where the peer speaks HTTP/1.0."""
        return self._framed(h11.Data(data=data))

    def last_chunk(self) -> bytes:
        return self._framed(h11.EndOfMessage())

    def send(self, data: bytes) -> None:
        """Write `data` at once and as it is, held or not: look at `ready` first."""
        if not self.ended:
            self.send_wire(self.seal(data))

    def seal(self, data: bytes) -> bytes:
        """`data` as it goes onto the wire: TLS records, or unchanged without TLS."""
        return data if self.tls is None else self.tls.seal(data)

    def send_wire(self, data: bytes) -> None:
        """Write `data` below TLS."""
        if data and not self._transport.is_closing():
            self.record.sent += len(data)
            self._transport.write(data)

    def cut(self, *, goodbye: bool = False) -> None:
        """FIN after what was written; with `goodbye` and TLS a close_notify before it."""
        if self.ended:
            return
        if goodbye and self.tls is not None:
            self.send_wire(self.tls.goodbye())
        self.record.note("FIN")
        self._end()
        if not self._transport.is_closing():
            try:
                self._transport.write_eof()
            except OSError:  # The peer reset it, and nobody has read that yet.
                self._transport.abort()
                return
            self._linger = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """The relay ends: close at once."""
        self._end()
        self._transport.abort()

    # Our own.

    def _end(self) -> None:
        self.ended = True
        self._body = self._stash = bytearray()
        self._count(0)
        self._set_clock()
        if self.body is not None:
            self.body.close()

    def _take_stash(self) -> None:
        if self._stash and not (self.held or self._answering or self.ended):
            stash, self._stash = bytes(self._stash), bytearray()
            self._transport.resume_reading()
            self._take(stash)

    def _take(self, data: bytes) -> None:
        plain = data
        self._begun = True
        if self.tls is not None:
            shaking = not self.tls.established
            try:
                plain = self.tls.receive(data)
            except ssl.SSLError as error:
                self.record.note("TLS failed", error.reason or "")
                self.send_wire(self.tls.take())
                self.cut()
                return
            out = self.tls.take()
            if out and shaking:
                self._send_flight(out)
            else:
                self.send_wire(out)
        if plain and self.body is None and not self.ended:
            if self._request is None and not self._count(self._counted + len(plain)):
                self._refuse(503)
                return
            self._http.receive_data(plain)
            self._go_on()

    def _go_on(self) -> None:
        """Do whatever neither a hold nor a full write buffer forbids now."""
        if self.body is not None:
            self.body.pump()
        elif not self._going:  # An answer given at once calls this from within; the loop below goes on by itself.
            self._going = True
            self._advance()
            self._going = False
            if self._last and not self.held:
                self.cut(goodbye=True)
        self._set_clock()

    def _advance(self) -> None:
        while self.ready and not self._answering and not self._last and self.body is None:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                self._request, self._body, self._pieces = event, bytearray(), 0
                self._count(0)
                reason = self._foreign(event)
                if reason is not None:
                    self._refuse(403, f"{reason}\n")
                    return
                if any(name == b"content-length" and int(value) > BODY_BYTES for name, value in event.headers):
                    self._refuse(413)
                    return
            elif isinstance(event, h11.Data):
                self._body += event.data
                self._pieces += 1
                too_long = len(self._body) > BODY_BYTES or self._pieces > BODY_PIECES
                if too_long or not self._count(len(self._body)):
                    self._refuse(413 if too_long else 503)
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._dispatch()
            elif event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self.send(self._framed(h11.InformationalResponse(status_code=100, headers=[])))
                return
            else:
                return

    def _dispatch(self) -> None:
        assert self._request is not None
        fields: dict[str, str] = {}
        for name, value in self._request.headers:
            fields.setdefault(name.decode("ascii"), value.decode("latin-1"))
        path, _, query = self._request.target.decode("ascii").partition("?")
        request = ServerRequest(self._request.method.decode("ascii"), path, query, fields, bytes(self._body))
        self._body = bytearray()
        self._count(0)
        self._begun = False
        self._answering = True
        self._log.requested(self.record, f"{request.method} {path}")
        self._handler.requested(self, request)

    def _foreign(self, request: h11.Request) -> str | None:
        here = self._transport.get_extra_info("sockname")
        scheme = self._listener.partition(":")[0]
        return refusal(request, scheme, here[0] if isinstance(here, tuple) else None, self._bound, self._rules.allowed)

    def _count(self, held: int) -> bool:
        """This connection holds so many bytes of an incomplete request; False where that is too much for the relay."""
        if not self._rules.hold(self._counted, held):
            return False
        self._counted = held
        return True

    def _set_clock(self) -> None:
        """Time what the peer owes: a request, or the rest of one. Nothing while it waits for us, and while held."""
        owing = not (self.ended or self.held or self._answering or self._last) and self.body is None
        timed = ("request" if self._begun else "idle", self.record.requests) if owing else None
        if timed == self._timed:
            return
        self._timed = timed
        if self._clock is not None:
            self._clock.cancel()
        if timed is not None:
            limits = self._rules.limits
            seconds = limits.request if self._begun else limits.idle
            self._clock = asyncio.get_running_loop().call_later(seconds, self._run_out)

    def _run_out(self) -> None:
        if self._begun and (self.tls is None or self.tls.established):
            self._refuse(408)
        else:
            self.record.note("idle")
            self.cut(goodbye=True)

    def _await_reader(self, before: int) -> None:
        """End the connection of a peer that takes nothing of an answer. `before`: bytes that waited for it then."""
        left = self._transport.get_write_buffer_size()
        if left == before:
            self.record.note("unread")
            self.abort()
        elif not self._writable and not self.held:
            self._unread = asyncio.get_running_loop().call_later(self._rules.limits.unread, self._await_reader, left)

    def _refuse(self, status: int, text: str = "") -> None:
        """Reply what is no proper request, or is not wanted, and close."""
        self.record.note("refused", str(status))
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = (text or REFUSALS.get(status, "this is no HTTP/1.1 request\n")).encode()
            fields = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body)))]
            head = self._head(status, [*fields, ("connection", "close")])
            self.send(head + self._framed(h11.Data(data=body)) + self._framed(h11.EndOfMessage()))
        self.cut(goodbye=True)

    def _head(self, status: int, fields: Sequence[tuple[str, str]]) -> bytes:
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
        reason = REASONS.get(status, "")
        return self._framed(h11.Response(status_code=status, headers=[*fields, ("date", date)], reason=reason))

    def _send_flight(self, data: bytes) -> None:
        """Send one flight of the TLS handshake, as records."""
        self.send_wire(data)

    def _send_head(self, data: bytes) -> None:
        """Send the head of a response, with its body if that is here."""
        self.send(data)

    def _framed(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""
