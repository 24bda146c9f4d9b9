"""Several streams in one loop: what `Streams`, `EventStreams` and every `StreamSubscriber` are made of.

A set knows its streams by their handles. What outlives a stream is kept here: a stream that is added after one to the
same origin was removed goes on with that one's pace, since a slot that is rotated again and again must not have the
relay hammered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

from wire_rawsse.errors import BusyError, WireRawSSEError
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.hosts.system import OS_SERVICES, OsServices
from wire_rawsse.hosts.task import Task
from wire_rawsse.log import warn
from wire_rawsse.plan import Plan
from wire_rawsse.policy import TokenBucket
from wire_rawsse.reconnect import Restart, internal_error, reconnect_forever
from wire_rawsse.record import Origin, Record
from wire_rawsse.state import EndpointState

if TYPE_CHECKING:
    from wire_rawsse.gate import Gate


class StreamHandle:
    """One stream of a set. `tag` is what `add` was given. Everything here is for any thread."""

    __slots__ = ("__weakref__", "_record", "_removed", "_set", "_sink", "_task", "tag")

    _record: Record
    _task: Task

    def __init__(self, streams: StreamSet, sink: Any, tag: Any = None) -> None:
        """`StreamSet.start` begins the stream."""
        self._set = ref(streams)  # A set that is let go of must not wait for the garbage collector.
        self._sink = sink
        self._removed = False
        self.tag = tag

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._record.url} {self._record.phase}>"

    @property
    def state(self) -> EndpointState:
        """A frozen value: phase, since when, last byte, last error, next attempt. It stays after the end."""
        return self._record.snapshot(self._task.time())

    def restart(self) -> None:
        """Drop the connection and make a new one at once, in any phase. Without effect on a stream that has ended."""
        streams = self._set()
        if streams is not None:
            streams.restart_one(self)

    def remove(self) -> None:
        """End the stream and take it out of its set. Twice is fine."""
        streams = self._set()
        if streams is not None:
            streams.remove(self)


class StreamSet:
    """The streams of one loop, in the order they were added. What is public of it may be called from any thread.

    `max_connecting` bounds how many of them connect at a time (see `gate`); None: no bound, for a set of one.
    """

    def __init__(self, system: OsServices = OS_SERVICES, max_connecting: int | None = None) -> None:
        self.loop = Loop(system)
        self.new_record: Callable[..., Record] = Record  # The simulation replaces it, to observe it.
        self._gate = None if max_connecting is None else self._new_gate(max_connecting)
        self._handles: dict[Task, StreamHandle] = {}
        """Other threads iterate over `list(…)` of it, which is one call into C."""
        self._paces: dict[Origin, list[TokenBucket]] = {}
        """Of streams that are gone."""
        self._forget_paces_at = 0.0
        self._connections = [0]

    def _new_gate(self, max_connecting: int) -> Gate:
        from wire_rawsse.gate import Gate  # A set of one has none.

        loop = self.loop
        return Gate(
            max_connecting, lambda task: loop.interrupt(task, Restart()), loop.system.monotonic, loop.system.random
        )

    def __len__(self) -> int:
        return len(self._handles)

    def start(
        self,
        handle: StreamHandle,
        plan: Plan,
        *,
        persistent: bool = True,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """Begin the stream of `handle`. `changed` is called by the thread that runs the loop when its phase changes."""
        record = self.new_record(plan.url.redacted, plan.backoff, changed, self.loop.system.time, plan.timeouts)
        origin = record.origin = plan.url.origin
        record.gate = self._gate
        record.connections = self._connections
        if self._paces.get(origin):
            record.pace = self._paces[origin].pop()
        sink = handle._sink
        handle._record = record
        handle._task = task = self.loop.add(
            lambda services: reconnect_forever(services, plan, record, sink, persistent=persistent)
        )
        self._handles[task] = handle

    def remove(self, handle: StreamHandle) -> EndpointState:
        """End a stream; what it last knew of itself."""
        handle._removed = True
        task, record = handle._task, handle._record
        if self._handles.pop(task, None) is None:
            return handle.state
        self.loop.remove(task)
        record.leave_gate()
        now = self.loop.system.monotonic()
        if record.origin is not None and record.pace.hand_over(task.now() + now - task.clock.set_at, now):
            self._paces.setdefault(record.origin, []).append(record.pace)
        self._forget_paces(now)
        return handle.state

    def forget(self, handle: StreamHandle) -> None:
        """A stream has ended by itself."""
        self._handles.pop(handle._task, None)

    def _forget_paces(self, now: float) -> None:
        """Those that have rested for so long that a new one would be no different. Looks at them once a minute."""
        if now < self._forget_paces_at:
            return
        self._forget_paces_at = now + 60
        kept = {origin: [pace for pace in paces if pace.hand_over(now, now)] for origin, paces in self._paces.items()}
        self._paces = {origin: paces for origin, paces in kept.items() if paces}

    def restart(self) -> None:
        """Drop every connection and make new ones at once."""
        for handle in list(self._handles.values()):
            self.restart_one(handle)

    def restart_one(self, handle: StreamHandle) -> None:
        self.loop.interrupt(handle._task, Restart())

    def failed(self, error: Exception, pause: float) -> None:
        """Record an error that `Loop.run` has raised. All streams start over when it is called in `pause` seconds."""
        told = error if isinstance(error, WireRawSSEError) else internal_error(error)
        if not isinstance(error, BusyError):  # Then another thread runs the streams.
            self.loop.start_over()
            for handle in list(self._handles.values()):
                handle._record.ended(told, pause, self.loop.system.time())
        warn(f"{told}; trying again in {pause:.1f} s")

    @property
    def connections(self) -> int:
        """How many connections have been accepted so far, by streams that were removed too. It never falls."""
        return self._connections[0]

    def watch(self, changed: Callable[[], None]) -> None:
        """From now on call `changed` whenever the phase of one of the present streams changes."""
        for handle in list(self._handles.values()):
            handle._record.changed = changed

    def snapshots(self) -> list[EndpointState]:
        """The state of each, in the order they were added."""
        wall = self.loop.system.time()
        return [handle._record.snapshot(wall) for handle in list(self._handles.values())]
