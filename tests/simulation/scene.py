"""A machine with a network, names and one shipped `Loop`: the stage on which tests and simulated years play.

Nothing of the library is replaced but what `OsServices` names. A stream is put together as `StreamSet.start` and
`EventSource` do it: a plan, a record, a sink, and `reconnect_forever` in a task of the loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tests.simulation.kernel import Kernel, MemoryPoller, MemoryWakeupFd
from tests.simulation.machine import MemoryMachine
from tests.simulation.names import Name, Names
from tests.simulation.network import Network, Place, Program
from tests.simulation.paths import Path
from wire_rawsse import second
from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.gate import MAX_CONNECTING
from wire_rawsse.hosts.system import OsServices
from wire_rawsse.hosts.task import Task
from wire_rawsse.phases import PhaseName
from wire_rawsse.plan import Plan, make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.reconnect import Restart, reconnect_forever
from wire_rawsse.record import Record
from wire_rawsse.sink import OwnedSink
from wire_rawsse.state import EndpointState
from wire_rawsse.stream_set import StreamHandle
from wire_rawsse.wake_streams import WakeSink, WakeStreams


class Journal(Record):
    """A record that is overheard. The functions are called after the fact."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.on_enter: Callable[[str, str], None] = lambda before, phase: None
        self.on_begin: Callable[[], None] = lambda: None
        self.on_end: Callable[[WireRawSSEError | None, float | None], None] = lambda error, delay: None
        self.on_doubt: Callable[[WireRawSSEError, float], None] = lambda error, delay: None
        # The same of a connection that is made beside the present one, and when it has taken over.
        self.second: SecondJournal | None = None
        self.on_second_enter: Callable[[str, str], None] = lambda before, phase: None
        self.on_second_begin: Callable[[], None] = lambda: None
        self.on_second_end: Callable[[WireRawSSEError | None, float | None], None] = lambda error, delay: None
        self.on_renewed: Callable[[], None] = lambda: None
        self.on_given_up: Callable[[str], None] = lambda phase: None

    def enter(self, phase: PhaseName, wall: float) -> None:
        before = self.phase
        super().enter(phase, wall)
        self.on_enter(before, phase)

    def start_over(self, wall: float) -> None:
        before = self.phase
        super().start_over(wall)
        if before != self.phase:
            self.on_enter(before, self.phase)

    def begin(self, now: float) -> None:
        super().begin(now)
        self.on_begin()

    def ended(self, error: WireRawSSEError | None, delay: float | None, wall: float, cause: str = "end") -> None:
        super().ended(error, delay, wall, cause)
        self.on_end(error, delay)
        self.second = None

    def doubted(self, error: WireRawSSEError, delay: float) -> None:
        super().doubted(error, delay)
        self.on_doubt(error, delay)


class SecondJournal(second.SecondRecord):
    """That of a connection which is made beside the present one. It is overheard through the journal of the first."""

    def __init__(self, first: Journal) -> None:
        super().__init__(first)
        self.first = first
        first.second = self

    def enter(self, phase: PhaseName, wall: float) -> None:
        before = self.phase
        super().enter(phase, wall)
        self.first.on_second_enter(before, phase)

    def begin(self, now: float) -> None:
        super().begin(now)
        self.first.on_second_begin()

    def ended(self, error: WireRawSSEError | None, delay: float | None, wall: float, cause: str = "end") -> None:
        super().ended(error, delay, wall, cause)
        self.first.on_second_end(error, delay)

    def given_up(self) -> None:
        super().given_up()
        self.first.second = None
        self.first.on_given_up(self.phase)

    def take_over(self, first: Record, now: float, doubt: WireRawSSEError | None) -> None:
        super().take_over(first, now, doubt)
        self.first.second = None
        self.first.on_renewed()


def _second_record(first: Record) -> second.SecondRecord:
    return SecondJournal(first) if isinstance(first, Journal) else second.SecondRecord(first)


second.new_record = _second_record


class Watched(Protocol):
    """A stream, however it was put together."""

    @property
    def plan(self) -> Plan: ...
    @property
    def sink(self) -> OwnedSink: ...
    @property
    def record(self) -> Journal: ...
    @property
    def task(self) -> Task: ...


class Joined(NamedTuple):
    """One that the shipped `WakeStreams` put together."""

    plan: Plan
    sink: WakeSink
    record: Journal
    task: Task


class MemoryStreams(WakeStreams):
    """The shipped `WakeStreams`, as `from_wire` makes it.

    `joined` is called after a stream is added, and `leaves` before one is removed.
    """

    def __init__(self, system: OsServices) -> None:
        super().__init__(system, MAX_CONNECTING)
        self.joined: Callable[[Joined], None] = lambda joined: None
        self.leaves: Callable[[Task], None] = lambda task: None
        self.new_record = self._make_record
        self.new_sink = self._make_sink

    def start(self, handle: StreamHandle, plan: Plan, *, persistent: bool = True) -> None:
        super().start(handle, plan, persistent=persistent)
        assert handle._task is not None
        self.joined(Joined(plan, self._sink, self._record, handle._task))

    def remove(self, handle: StreamHandle) -> EndpointState:
        assert handle._task is not None
        self.leaves(handle._task)
        return super().remove(handle)

    def _make_record(self, *args: Any) -> Journal:
        self._record = Journal(*args)
        return self._record

    def _make_sink(self, last_event_id: str) -> WakeSink:
        self._sink = WakeSink(last_event_id)
        return self._sink


class Stream:
    """A stream in a scene.

    `phases`: when which began; `ends`: when, why, and how long until the next; `doubts`: the same of connections that
    were not closed; `renewals`: when another connection took over.
    """

    def __init__(self, scene: Scene, plan: Plan, sink: OwnedSink, persistent: bool) -> None:
        self.scene = scene
        self.plan = plan
        self.sink = sink
        self.persistent = persistent
        self.record = Journal(plan.url.redacted, plan.backoff, lambda: None, scene.kernel.wall, plan.timeouts)
        self.phases: list[tuple[float, str]] = []
        self.ends: list[tuple[float, WireRawSSEError | None, float | None]] = []
        self.doubts: list[tuple[float, WireRawSSEError, float]] = []
        self.renewals: list[float] = []
        self.task: Task = scene.loop.add(self._begin)

    def keep_journal(self) -> None:
        """For a scene that is short: `phases` and `ends` are kept from now on."""
        kernel = self.scene.kernel
        self.record.on_enter = lambda before, phase: self.phases.append((kernel.now, phase))
        self.record.on_end = lambda error, delay: self.ends.append((kernel.now, error, delay))
        self.record.on_doubt = lambda error, delay: self.doubts.append((kernel.now, error, delay))
        self.record.on_renewed = lambda: self.renewals.append(kernel.now)

    def restart(self) -> None:
        self.scene.loop.interrupt(self.task, Restart())

    @property
    def phase(self) -> str:
        return self.record.phase

    def _begin(self, world: Task) -> Any:
        return reconnect_forever(world, self.plan, self.record, self.sink, persistent=self.persistent)


class Scene:
    """`settings` are the kernel's."""

    def __init__(self, seed: str = "0", **settings: float) -> None:
        self.kernel = kernel = Kernel(seed, **settings)
        self.network = Network(kernel)
        self.names = Names(kernel)
        self.machine = MemoryMachine(kernel)
        self.network.source = self.machine.source
        self.system = OsServices(
            monotonic=kernel.monotonic,
            time=kernel.wall,
            sleep=kernel.advance,
            random=lambda: kernel.dice(),  # Looked up at each throw, so that a test may load the dice.
            wakeup_fd=lambda: MemoryWakeupFd(kernel),
            poller=lambda: MemoryPoller(kernel),
            resolver=self.names.resolver,
            open=self.network.open,
            machine=lambda: self.machine,
        )
        self.streams = MemoryStreams(self.system)
        self.loop = self.streams.loop
        self.kernel.before_sleep.append(self.check_deadlines)

    def check_deadlines(self) -> None:
        """The loop's heap knows the earliest deadline, as a look at every task finds it. Asked before each sleep."""
        schedule = self.loop.schedule
        if not schedule.ready:
            earliest = min((task.deadline() for task in schedule.tasks), default=math.inf)
            if schedule.earliest() != earliest:
                self.kernel.fail(f"the loop would sleep until {schedule.earliest()}, and a task is due at {earliest}")

    def place(self, host: str, port: int, program: Program, latency: float = 0.0) -> Place:
        """Somebody who listens."""
        place = Place(Path(self.kernel, latency), program)
        self.network.places[host, port] = place
        return place

    def name(self, name: str, *hosts: str, delay: float = 0.0) -> Name:
        self.names.known[name] = made = Name(hosts, delay)
        return made

    def stream(
        self,
        url: str,
        sink: OwnedSink | None = None,
        *,
        persistent: bool = True,
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Stream:
        """`settings` are those of `make_plan`: timeouts, keepalive, backoff, tls, headers …"""
        defaults: dict[str, Any] = {"headers": None, "method": "GET", "body": None, "bearer_token": None, "tls": None}
        defaults |= {"timeouts": Timeouts(), "keepalive": Keepalive(), "backoff": Backoff()}
        plan = make_plan(url, **(defaults | settings))._replace(environ=environ or {})
        return Stream(self, plan, sink or WakeSink(), persistent)
