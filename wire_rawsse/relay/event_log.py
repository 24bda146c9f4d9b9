"""A log of events with their times: the evidence of the control report. Knows no socket and no HTTP.

A test that injects a fault must be able to prove that the fault happened before it judges anybody by it. So each
connection has a record: who, when, how many bytes, and a log of what was done on it, each line with its moment on
CLOCK_MONOTONIC. On Linux that clock is the same for every process of the machine, so a reader elsewhere may compare.

Everything here is bounded: each log keeps its newest `LOG_LINES`, and of closed connections the newest `CLOSED_KEPT`
stay. No token and no body ever gets in; an event is known by its id.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import Any, Final

LOG_LINES: Final = 512
CLOSED_KEPT: Final = 256
_DETAIL_CHARACTERS: Final = 100


class ConnectionLog:
    """One connection. Times are seconds on CLOCK_MONOTONIC."""

    __slots__ = (
        "accepted_at",
        "closed_at",
        "listener",
        "log",
        "number",
        "peer",
        "received",
        "requests",
        "sent",
        "slot_id",
    )

    def __init__(self, number: int, listener: str, peer: str) -> None:
        self.number = number
        self.listener = listener
        self.peer = peer
        self.accepted_at = time.monotonic()
        self.closed_at: float | None = None
        self.slot_id: str | None = None
        self.requests = 0
        self.received = 0
        self.sent = 0
        self.log: collections.deque[tuple[float, str, str]] = collections.deque(maxlen=LOG_LINES)

    def note(self, what: str, detail: str = "") -> None:
        self.log.append((time.monotonic(), what, detail[:_DETAIL_CHARACTERS]))

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "log"} | {"log": list(self.log)}


class EventLog:
    """Counters and records of one relay. `watchers` are called after each change of a counter."""

    def __init__(self) -> None:
        self.accepted = 0
        self.requests = 0
        self.injected = 0
        self.open: dict[int, ConnectionLog] = {}
        self.closed: collections.deque[ConnectionLog] = collections.deque(maxlen=CLOSED_KEPT)
        self.streams: dict[str, int] = {}
        self.watchers: list[Callable[[], None]] = []

    def connected(self, listener: str, peer: str) -> ConnectionLog:
        self.accepted += 1
        record = self.open[self.accepted] = ConnectionLog(self.accepted, listener, peer)
        self.changed()
        return record

    def requested(self, record: ConnectionLog, what: str) -> None:
        self.requests += 1
        record.requests += 1
        record.note("request", what)
        self.changed()

    def injected_fault(self, record: ConnectionLog | None, what: str) -> None:
        """A fault happened: to this connection, or (None) to the listening sockets."""
        self.injected += 1
        if record is not None:
            record.note("fault", what)
        self.changed()

    def stream_opened(self, record: ConnectionLog, slot_id: str) -> None:
        self.streams[slot_id] = self.streams.get(slot_id, 0) + 1
        record.slot_id = slot_id
        record.note("stream")
        self.changed()

    def stream_closed(self, record: ConnectionLog, slot_id: str) -> None:
        left = self.streams.pop(slot_id) - 1
        if left:
            self.streams[slot_id] = left
        record.note("stream closed")
        self.changed()

    def disconnected(self, record: ConnectionLog) -> None:
        record.closed_at = time.monotonic()
        self.closed.append(self.open.pop(record.number))
        self.changed()

    def changed(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()

    def count(self, name: str, slot_id: str | None = None) -> int:
        """The counter `name` (accepted, requests, injected, open, streams). Raises ValueError for any other name."""
        if name == "streams":
            return self.streams.get(slot_id, 0) if slot_id is not None else sum(self.streams.values())
        if name == "open":
            return len(self.open)
        if name == "accepted":
            return self.accepted
        if name == "requests":
            return self.requests
        if name == "injected":
            return self.injected
        raise ValueError("a counter is one of accepted, requests, injected, open, streams")

    def as_json(self) -> dict[str, Any]:
        return {
            "now": time.monotonic(),
            "accepted": self.accepted,
            "open": len(self.open),
            "requests": self.requests,
            "injected": self.injected,
            "streams": dict(self.streams),
            "connections": [record.as_json() for record in (*self.closed, *self.open.values())],
        }
