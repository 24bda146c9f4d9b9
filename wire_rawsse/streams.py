"""Several streams in one loop that bring nothing but wakes: what a subscriber is made of, whoever fills it.

A wake is a hint to pull the truth, so one pending wake is as good as many; what was posted between two connections is
never replayed, so every connection that comes about is a wake.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.hosts.inline import Loop
from wire_rawsse.hosts.task import Task
from wire_rawsse.protocol.http import Response
from wire_rawsse.protocol.sse import WakeParser, holds_data_line
from wire_rawsse.record import Record
from wire_rawsse.source import Restart, keep_alive
from wire_rawsse.state import EndpointState
from wire_rawsse.stream import Plan


class WakeSink:
    """Keeps no bodies: only whether there was a `data` line, and the fields that outlive a connection."""

    def __init__(self, last_event_id: str = "") -> None:
        self.hint: Callable[[bytes], bool] | None = holds_data_line
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._parser = WakeParser(last_event_id=last_event_id)

    @property
    def line_open(self) -> bool:
        return self._parser.line_open

    def opened(self, response: Response, id_left_out: bool) -> bool:
        self._parser = WakeParser(last_event_id=self.last_event_id)
        return True  # What was posted meanwhile is never replayed: go and look.

    def feed(self, piece: bytes) -> bool:
        parser = self._parser
        news = parser.feed(piece)
        self.last_event_id = parser.last_event_id
        if parser.retry_ms is not None:
            self.retry_ms = parser.retry_ms
        return news

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        return False


class Streams:
    """Streams by the task that runs each. `add` and `remove` are for the thread that runs the loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        # Replaced, never changed: another thread may be reading.
        self._records: dict[Task, Record] = {}

    def add(self, plan: Plan, *, last_event_id: str = "", changed: Callable[[], None] = lambda: None) -> Task:
        """Begin a stream, which never gives up; `changed` is called whenever its phase does."""
        sink = WakeSink(last_event_id)
        record = Record(plan.url.shown, plan.backoff, changed)
        task = self.loop.add(lambda world: keep_alive(world, plan, record, sink, persistent=True))
        self._records = {**self._records, task: record}
        return task

    def remove(self, task: Task) -> EndpointState:
        """End a stream; what it last knew of itself."""
        self.loop.remove(task)
        record = self._records[task]
        self._records = {other: kept for other, kept in self._records.items() if other is not task}
        return record.snapshot(time.time())

    def restart(self) -> None:
        """Drop every connection and make new ones at once. From any thread."""
        for task in self._records:
            self.loop.interrupt(task, Restart())

    def snapshots(self) -> list[EndpointState]:
        """The state of each, in the order they were added. From any thread."""
        wall = time.time()
        return [record.snapshot(wall) for record in self._records.values()]
