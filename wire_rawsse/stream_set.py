"""Several streams in one loop: the base of `Streams`, `EventStreams` and every `StreamSubscriber`.

A set knows its streams by their handles. It also keeps the pace of a stream that was removed, for the next stream to
the same origin. Otherwise a slot that is rotated again and again would flood the relay with connections.

Streams are added and removed in the thread that runs the loop (`start`, `remove`). Other threads request it
(`request_start`, `request_remove`), and it is done before the next sleep. So no other thread touches a task, a socket
or the poller.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from functools import partial
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
from wire_rawsse.waits import Coroutine

if TYPE_CHECKING:
    from wire_rawsse.gate import Gate


class StreamHandle:
    """One stream of a set. `tag` is what `add` was given. Everything here is for any thread."""

    __slots__ = ("__weakref__", "_record", "_removed", "_set", "_sink", "_task", "_time", "tag")

    def __init__(self, streams: StreamSet, record: Record, sink: Any, tag: Any = None) -> None:
        self._time = streams.loop.system.time
        self._set = ref(streams)  # A discarded set must not wait for the garbage collector.
        self._record = record
        self._sink = sink
        self._task: Task | None = None
        """None until the loop has the stream."""
        self._removed = False
        self.tag = tag

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._record.url} {self._record.phase}>"

    @property
    def state(self) -> EndpointState:
        """A frozen value: phase, since when, last byte, last error, next attempt. It stays after the end."""
        return self._record.snapshot(self._time())

    def restart(self) -> None:
        """Drop the connection and make a new one at once, in any phase. No effect on a stream that has ended."""
        streams = self._set()
        if streams is not None:
            streams.restart_one(self)

    def remove(self) -> None:
        """End the stream, in any phase, and take it out of its set. Twice is fine.

        The set returns no wake and no item of it any more. Its connection is closed at once if this thread was the last
        to wait on the set, or if a thread is waiting now; otherwise the next wait closes it.
        """
        streams = self._set()
        if streams is not None:
            streams.request_remove(self)


class StreamSet:
    """The streams of one loop, in the order they were added.

    `max_connecting` bounds how many of them connect at a time (see `gate`); None: no bound, for a set of one.
    """

    def __init__(self, system: OsServices = OS_SERVICES, max_connecting: int | None = None) -> None:
        self.loop = Loop(system)
        self.new_record: Callable[..., Record] = Record  # The simulation replaces it, to observe it.
        self._gate = None if max_connecting is None else self._new_gate(max_connecting)
        self._handles: dict[StreamHandle, None] = {}
        """Other threads iterate over a copy: `list(…)` is one call into C, so it needs no lock."""
        self._by_task: dict[Task, StreamHandle] = {}
        self._paces: dict[Origin, list[TokenBucket]] = {}
        """The paces of streams that were removed."""
        self._forget_paces_at = 0.0
        self._connections = [0]
        self.runner = 0
        """The thread that waited last; 0 if none has."""

    def _new_gate(self, max_connecting: int) -> Gate:
        from wire_rawsse.gate import Gate  # A set of one has none.

        loop = self.loop

        def give_turn(task: Task) -> None:
            if task.wait is not None and not task.runnable:  # Otherwise it sees its turn when it is resumed.
                loop.schedule.wake_up(task, (), loop.system.monotonic())

        return Gate(max_connecting, give_turn, loop.system.monotonic, loop.system.random)

    def __len__(self) -> int:
        return len(self._handles)

    def record(self, plan: Plan, changed: Callable[[], None] | None = None) -> Record:
        """The record of a new stream. When its phase changes, the thread that runs the loop calls `changed`."""
        record = self.new_record(plan.url.redacted, plan.backoff, changed, self.loop.system.time, plan.timeouts)
        record.origin, record.gate = plan.url.origin, self._gate
        record.connections = self._connections
        return record

    # In the thread that runs the loop, or before it runs.

    def start(self, handle: StreamHandle, plan: Plan, *, persistent: bool = True) -> None:
        """Start the stream of `handle`, unless it has been removed already.

        If a signal handler raises in here, this is called again, and must not start a second task.
        """
        if handle._removed:
            return
        record, sink, owner = handle._record, handle._sink, ref(handle)  # The task must not keep its own handle.

        def begin(task: Task) -> Coroutine[None]:
            known = owner()
            if known is not None:
                known._task = task  # Before the loop has it.
            return reconnect_forever(task, plan, record, sink, persistent=persistent)

        if handle._task is None:
            if self._paces.get(plan.url.origin):
                record.pace = self._paces[plan.url.origin].pop()
            self._handles[handle] = None
            self.loop.add(begin)
        else:
            self.loop.schedule.add(handle._task)
        assert handle._task is not None
        self._by_task[handle._task] = handle

    def remove(self, handle: StreamHandle) -> EndpointState:
        """End a stream. Returns its last state."""
        task, record = handle._task, handle._record
        handle._removed = True
        self._handles.pop(handle, None)
        if task is None or self._by_task.pop(task, None) is None:
            return handle.state
        self.loop.remove(task)
        record.leave_gate()
        now = self.loop.system.monotonic()
        if record.origin is not None and record.pace.hand_over(task.now() + now - task.clock.set_at, now):
            self._paces.setdefault(record.origin, []).append(record.pace)
        self._forget_paces(now)
        return handle.state

    def woken(self) -> tuple[StreamHandle, ...]:
        """The streams that gave a wake in the last `run` of the loop, each once."""
        return tuple(filter(None, map(self._by_task.get, self.loop.woken())))

    def _forget_paces(self, now: float) -> None:
        """Once a minute, drop the paces that have refilled: they are no different from new ones."""
        if now < self._forget_paces_at:
            return
        self._forget_paces_at = now + 60
        kept = {origin: [pace for pace in paces if pace.hand_over(now, now)] for origin, paces in self._paces.items()}
        self._paces = {origin: paces for origin, paces in kept.items() if paces}

    # From any thread.

    def request_start(self, handle: StreamHandle, plan: Plan, *, persistent: bool = True) -> None:
        self._handles[handle] = None
        try:
            self.loop.request(partial(self.start, handle, plan, persistent=persistent))
        except BaseException:  # A signal handler raised. The caller never gets the handle, so nothing may start.
            handle._removed = True
            self._handles.pop(handle, None)
            raise

    def request_remove(self, handle: StreamHandle) -> None:
        """The thread that waited last does it at once. Otherwise it is done before the next sleep of the loop."""
        if not handle._removed:
            handle._removed = True
            self._handles.pop(handle, None)
            self.loop.request(partial(self.remove, handle))
            if self.runner == get_ident():
                self.loop.make_requests_if_idle()

    def restart(self) -> None:
        """Drop every connection and make new ones at once."""
        for handle in list(self._handles):
            self.restart_one(handle)

    def restart_one(self, handle: StreamHandle) -> None:
        if handle._task is not None and not handle._removed:
            self.loop.interrupt(handle._task, Restart())

    def failed(self, error: Exception, pause: float) -> None:
        """Record an error that `Loop.run` has raised. All streams start over when it runs again in `pause` seconds."""
        told = error if isinstance(error, WireRawSSEError) else internal_error(error)
        if not isinstance(error, BusyError):  # Then another thread runs the streams.
            self.loop.start_over()
            wall = self.loop.system.time()
            for handle in list(self._handles):
                handle._record.start_over(wall)
                handle._record.ended(told, pause, wall)
        warn(f"{told}; trying again in {pause:.1f} s")

    @property
    def connections(self) -> int:
        """How many connections have been accepted so far, those of removed streams included. It never falls."""
        return self._connections[0]

    def watch(self, changed: Callable[[], None]) -> None:
        """From now on call `changed` whenever the phase of one of the present streams changes."""
        for handle in list(self._handles):
            handle._record.changed = changed

    def snapshots(self) -> list[EndpointState]:
        """The state of each stream, in the order they were added."""
        wall = self.loop.system.time()
        return [handle._record.snapshot(wall) for handle in list(self._handles)]
