"""How each fault is injected into a connection. Knows HTTP, chunks and event streams; knows no route.

`FaultInjector` holds the faults in force. It is called at each step of a connection's life: when it is accepted, when a
request has been read, when a stream has opened. A fault that applies is injected at once, or by a hook
(`before_flight`, `before_head`, `before_event`) just before the bytes in question are sent.

Two rules keep the bytes true to life. A fault inside an event cuts the bytes of a real event, the next one posted, and
never makes one up: a test that wants half an event posts one. And a fault that can be undone is undone: back to normal,
a silenced connection sends the bytes that it withheld, in order, and a drip ends its line, extension or head properly,
and the stream goes on. Only a connection whose framing cannot be completed (garbage, a trailer) is closed then.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.messages import Reply
from wire_rawsse.relay.stream import RelayStream
from wire_rawsse.testing.connection import FaultyConnection
from wire_rawsse.testing.faults import IN_EVENT, ON_CONNECTION, ON_REQUEST, Fault

_GARBAGE: Final = "\x00\xff\xfe this is no HTTP \x16\x03\r\n\r\n"


class FaultyStream(RelayStream):
    """A stream with one more place to inject a fault: before its next event."""

    connection: FaultyConnection
    before_event: Callable[[bytes], None] | None = None
    """Called with the bytes of the next event, unframed, in place of sending them; back to None when used."""

    def _send_event(self, event: bytes, number: int) -> None:
        replacement, self.before_event = self.before_event, None
        if replacement is None:
            super()._send_event(event, number)
        else:
            self.slot.stamp(number - 1, time.monotonic())
            replacement(event)


class FaultInjector:
    """The faults in force. `refuse` and `reopen` close and open the listening sockets."""

    def __init__(self, log: EventLog, refuse: Callable[[], None], reopen: Callable[[], Awaitable[None]]) -> None:
        self._log = log
        self._refuse = refuse
        self._reopen = reopen
        self._faults: list[tuple[Fault, list[int]]] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._connections: dict[FaultyConnection, None] = {}
        self._halved: set[FaultyConnection] = set()
        """Those that were silenced inside an event, at the end of a chunk."""

    async def misbehave(self, faults: Sequence[Fault]) -> None:
        """From now on these faults and no others. The effects of earlier ones on live connections stay."""
        self._faults = []
        if all(fault.action != "refuse" for fault in faults):
            await self._reopen()
        for fault in faults:
            if fault.action == "refuse":
                self._refuse()
                self._log.injected_fault(None, "refuse")
            elif fault.applies_to_new:
                self._faults.append((fault, [fault.count or 0]))
            if fault.applies_to_live:
                for connection in tuple(self._connections):
                    if isinstance(connection.body, FaultyStream) and not connection.ended:
                        self._inject_stream(connection.body, fault)

    async def normal(self) -> None:
        """No fault any more: listeners open, silence ends, drips finish what they began."""
        self._faults = []
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for connection in tuple(self._connections):
            if isinstance(connection.body, FaultyStream):
                connection.body.before_event = None
            connection.release()
        await self._reopen()

    def release_held(self) -> None:
        """Release the connections that are silenced or drip now. The faults in force stay in force."""
        for connection in tuple(self._connections):
            if connection.held:
                connection.release()

    def as_json(self) -> list[dict[str, Any]]:
        """The faults that apply to new connections or requests, each with the rest of its `count`."""
        return [fault.as_json() | ({"count": left[0]} if fault.count else {}) for fault, left in self._faults]

    # The steps of a connection's life.

    def accepted(self, connection: FaultyConnection) -> None:
        self._connections[connection] = None
        fault = self._take(
            lambda fault: fault.place in ON_CONNECTION and (fault.place == "accept" or connection.tls is not None)
        )
        if fault is None:
            return
        if fault.place == "accept":
            self._inject(connection, fault)
            return
        flights = itertools.count()

        def before_flight(flight: bytes) -> None:
            if next(flights) < fault.flights:
                connection.send_wire(flight)
            else:
                connection.before_flight = None
                self._inject(connection, fault, wire=flight)

        connection.before_flight = before_flight

    def requested(self, connection: FaultyConnection, is_stream: bool, serve: Callable[[], None]) -> None:
        """`serve` answers the request as usual; it is called now, later, or never."""
        fault = self._take(lambda fault: fault.place in ON_REQUEST and (is_stream or fault.only == "all"))
        if fault is None:
            serve()
        elif fault.action == "answer":
            self._log_fault(connection, fault)
            connection.answer(_answer(fault))
        elif fault.place == "request":
            self._inject(connection, fault, then=serve)
        else:
            connection.before_head = lambda head: self._inject_head(connection, fault, head)
            serve()

    def opened(self, stream: FaultyStream) -> None:
        fault = self._take(lambda fault: fault.place not in ON_CONNECTION and fault.place not in ON_REQUEST)
        if fault is not None:
            self._inject_stream(stream, fault)

    def gone(self, connection: FaultyConnection) -> None:
        self._connections.pop(connection, None)
        self._halved.discard(connection)

    # Injection.

    def _take(self, applies: Callable[[Fault], bool]) -> Fault | None:
        """The first fault in force that applies, counted."""
        for position, (fault, left) in enumerate(self._faults):
            if applies(fault):
                if left[0] == 1:
                    del self._faults[position]
                left[0] -= 1
                return fault
        return None

    def _log_fault(self, connection: FaultyConnection, fault: Fault) -> None:
        self._log.injected_fault(connection.record, f"{fault.action} at {fault.place}")

    def _inject(
        self,
        connection: FaultyConnection,
        fault: Fault,
        *,
        then: Callable[[], None] | None = None,
        wire: bytes = b"",
    ) -> None:
        """Do it now. Back to normal, a silenced connection sends `wire` (below TLS) and goes on with `then`."""
        self._log_fault(connection, fault)
        self._halved.discard(connection)
        if fault.action == "silent":
            connection.hold(then, wire=wire)
        elif fault.action == "cut":
            connection.cut(goodbye=fault.place == "end")
        elif fault.action == "reset":
            connection.reset()
        else:
            text = (fault.text or _GARBAGE).encode("latin-1")
            if fault.place == "accept":
                connection.send_wire(text)
            else:
                connection.send(text)
            connection.hold(connection.cut)

    def _inject_head(self, connection: FaultyConnection, fault: Fault, head: bytes) -> None:
        """`head` is a whole response's bytes, or a stream's head."""
        if fault.action == "drip":
            status_line, _, rest = head.partition(b"\r\n")
            opening = status_line + b"\r\nx-drip: "
            filler = itertools.repeat(b"." * fault.size)
            self._drip(connection, fault, opening, filler, b"\r\n" + rest)
            return
        middle = head.index(b"\r\n\r\n") // 2
        connection.send(head[:middle])
        self._inject(connection, fault, then=lambda: connection.send(head[middle:]))

    def _inject_stream(self, stream: FaultyStream, fault: Fault) -> None:
        """At a place on a stream: when the next event comes, or after `fault.after` seconds, or now."""
        if fault.place in IN_EVENT:
            stream.before_event = lambda event: self._inject_event(stream, fault, event)
        elif fault.after:
            timers = self._timers

            def due() -> None:
                timers.discard(timer)
                self._inject_between(stream, fault)

            timer = asyncio.get_running_loop().call_later(fault.after, due)
            timers.add(timer)
        else:
            self._inject_between(stream, fault)

    def _inject_between(self, stream: FaultyStream, fault: Fault) -> None:
        connection = stream.connection
        if connection.ended or (connection.held and not self._even_if_held(connection, fault)):
            return
        if fault.action == "drip":
            self._drip_between(connection, fault)
            return
        if fault.place == "end":
            connection.send(connection.last_chunk())
        self._inject(connection, fault)

    def _even_if_held(self, connection: FaultyConnection, fault: Fault) -> bool:
        """A silent connection can still be killed, but not made to speak, unless between two chunks and with garbage.

        The line end with which a chunk extension ends goes into the event that it stands in, then.
        """
        if fault.action in ("cut", "reset"):
            return True
        return connection in self._halved and (fault.action == "garbage" or fault.place == "extension")

    def _inject_event(self, stream: FaultyStream, fault: Fault, event: bytes) -> None:
        connection = stream.connection
        if fault.action == "drip":
            pieces = (event[i : i + fault.size] for i in range(0, len(event), fault.size))
            self._drip(connection, fault, b"", map(connection.frame, pieces), endless=False)
            return
        middle = len(event) // 2
        if fault.place == "event":
            connection.send(connection.frame(event[:middle]))
            self._inject(connection, fault, then=lambda: connection.send(connection.frame(event[middle:])))
            if connection.held:
                self._halved.add(connection)
            return
        chunk = connection.frame(event)
        middle = len(chunk) // 2
        if fault.place == "record" and connection.tls is not None:
            sealed = connection.seal(chunk)
            middle = len(sealed) // 2
            connection.send_wire(sealed[:middle])
            self._inject(connection, fault, wire=sealed[middle:])
        else:
            connection.send(chunk[:middle])
            self._inject(connection, fault, then=lambda: connection.send(chunk[middle:]))

    def _drip_between(self, connection: FaultyConnection, fault: Fault) -> None:
        frame = connection.frame
        filler = itertools.repeat(b"." * fault.size)
        if fault.place == "extension" and connection.chunked:
            # The chunk whose extension it is holds one line end: a body byte, but no event.
            self._drip(connection, fault, b"1;drip=", filler, b"\r\n\n\r\n", then=connection.owed)
        elif fault.place == "trailer" and connection.chunked:
            self._drip(connection, fault, b"0\r\nx-drip: ", filler, b"\r\n\r\n", then=connection.cut)
        else:
            text = (fault.text or ":").encode("latin-1")
            start = (text[i : i + fault.size] for i in range(0, len(text), fault.size))
            self._drip(connection, fault, b"", map(frame, itertools.chain(start, filler)), frame(b"\n\n"))

    def _drip(
        self,
        connection: FaultyConnection,
        fault: Fault,
        opening: bytes,
        drops: Iterator[bytes],
        closing: bytes = b"",
        *,
        endless: bool = True,
        then: Callable[[], None] | None = None,
    ) -> None:
        """`opening` now, then one of `drops` every `fault.seconds`; at their end or back at normal `closing` and
        `then`."""
        loop = asyncio.get_running_loop()
        timer: asyncio.Handle

        def finish() -> None:
            timer.cancel()
            connection.send((b"" if endless else b"".join(drops)) + closing)
            if then is not None:
                then()

        def drip() -> None:
            nonlocal timer
            if connection.ended:
                return
            drop = next(drops, None)
            if drop is None:
                connection.release()
            else:
                connection.send(drop)
                timer = loop.call_later(fault.seconds, drip)

        self._log_fault(connection, fault)
        connection.hold(finish)
        connection.send(opening)
        timer = loop.call_soon(drip)


def _answer(fault: Fault) -> Reply:
    given = (
        ("content-type", fault.content_type),
        ("retry-after", fault.retry_after),
        ("location", fault.location),
    )
    fields = tuple((name, value) for name, value in given if value is not None)
    body = b"" if fault.status in (204, 304) else fault.text.encode("latin-1")
    return Reply(fault.status, fields, body)
