"""Several streams in one loop that bring nothing but wakes: what a subscriber is made of, whoever fills it.

A wake is a hint to pull the truth, so one pending wake is as good as many; what was posted between two connections is
never replayed, so every connection that comes about is a wake.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from wire_rawsse.errors import BusyError, WireRawSSEError
from wire_rawsse.hosts.inline import Loop
from wire_rawsse.hosts.task import OS_SERVICES, OsServices, Task
from wire_rawsse.log import warn
from wire_rawsse.plan import Plan
from wire_rawsse.policy import TokenBucket
from wire_rawsse.protocol.http import Response
from wire_rawsse.protocol.sse import BEGINS_DATA_LINE, WakeParser, holds_data_line
from wire_rawsse.reconnect import Restart, internal_error, reconnect_forever
from wire_rawsse.record import Record
from wire_rawsse.state import EndpointState

Relay: TypeAlias = "tuple[str, str, int, str]"
"""A URL's origin."""


class WakeSink:
    """Keeps no bodies: only whether there was a `data` line, and the fields that outlive a connection.

    Every connection is a wake, so replayed events are of no use here: only a stream that the caller gave a
    `last_event_id` keeps its ids and sends them.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.wake_marker: bytes | None = BEGINS_DATA_LINE
        self.is_wake: Callable[[bytes], bool] | None = holds_data_line
        self.last_event_id = last_event_id
        self._resumes = bool(last_event_id)
        self.retry_ms: int | None = None
        self.delivered = False
        self._parser = WakeParser(last_event_id=last_event_id)

    @property
    def line_open(self) -> bool:
        return self._parser.line_open

    def resume_from(self, last_event_id: str) -> None:
        self.last_event_id = last_event_id
        self._resumes = True

    def opened(self, response: Response, id_left_out: bool) -> bool:
        self._parser = WakeParser(last_event_id=self.last_event_id)
        return True  # What was posted meanwhile is never replayed: go and look.

    def feed(self, piece: bytes) -> bool:
        parser = self._parser
        news = parser.feed(piece)
        if self._resumes:
            self.last_event_id = parser.last_event_id
        if parser.retry_ms is not None:
            self.retry_ms = parser.retry_ms
        if news:
            self.delivered = True
        return news

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        return False


class Streams:
    """Streams by the task that runs each. `add` and `remove` are for the thread that runs the loop.

    A stream that is added after one to the same relay was removed goes on with that one's pace: a slot that is rotated
    again and again must not have the relay hammered.
    """

    def __init__(self, system: OsServices = OS_SERVICES) -> None:
        self.loop = Loop(system)
        # A world made of memory overhears both.
        self.new_record: Callable[..., Record] = Record
        self.new_sink: Callable[[str], WakeSink] = WakeSink
        # Another thread may be reading: it takes `list(…)`, one call into C, and iterates over that.
        self._records: dict[Task, Record] = {}
        self._relays: dict[Task, Relay] = {}
        self._paces: dict[Relay, list[TokenBucket]] = {}
        """Of streams that are gone."""
        self._forget_paces_at = 0.0

    def add(self, plan: Plan, *, last_event_id: str = "", changed: Callable[[], None] = lambda: None) -> Task:
        """Begin a stream, which never gives up; `changed` is called whenever its phase does."""
        sink = self.new_sink(last_event_id)
        record = self.new_record(plan.url.redacted, plan.backoff, changed, self.loop.system.time, plan.timeouts)
        relay = plan.url.origin
        if self._paces.get(relay):
            record.pace = self._paces[relay].pop()
        task = self.loop.add(lambda services: reconnect_forever(services, plan, record, sink, persistent=True))
        self._records[task] = record
        self._relays[task] = relay
        return task

    def remove(self, task: Task) -> EndpointState:
        """End a stream; what it last knew of itself."""
        self.loop.remove(task)
        record = self._records[task]
        now = self.loop.system.monotonic()
        if record.pace.hand_over(task.now() + now - task.looked, now):
            self._paces.setdefault(self._relays[task], []).append(record.pace)
        del self._relays[task]
        self._forget_paces(now)
        del self._records[task]
        return record.snapshot(self.loop.system.time())

    def _forget_paces(self, now: float) -> None:
        """Those that have rested for so long that a new one would be no different. Looks at them once a minute."""
        if now < self._forget_paces_at:
            return
        self._forget_paces_at = now + 60
        kept = {relay: [pace for pace in paces if pace.hand_over(now, now)] for relay, paces in self._paces.items()}
        self._paces = {relay: paces for relay, paces in kept.items() if paces}

    def restart(self) -> None:
        """Drop every connection and make new ones at once. From any thread."""
        for task in list(self._records):
            self.loop.interrupt(task, Restart())

    def failed(self, error: Exception, pause: float) -> None:
        """Record an error that `Loop.run` has raised. All streams start over when it is called in `pause` seconds."""
        told = error if isinstance(error, WireRawSSEError) else internal_error(error)
        if not isinstance(error, BusyError):  # Then another thread runs the streams.
            self.loop.start_over()
            for record in self._records.values():
                record.ended(told, pause, self.loop.system.time())
        warn(f"{told}; trying again in {pause:.1f} s")

    def snapshots(self) -> list[EndpointState]:
        """The state of each, in the order they were added. From any thread."""
        wall = self.loop.system.time()
        return [record.snapshot(wall) for record in list(self._records.values())]
