"""The machine around a loop: its network and its sleep, and their consequences for the streams.

A stream that knows only its socket finds out by a clock that its address is gone or that the machine has slept. The
kernel knows at once, so a loop watches one descriptor for network changes, and compares two clocks before each sleep.
While nothing happens this wakes nobody and costs one reading of a clock for each time the loop sleeps.

| what happened                          | what follows                                                              |
|----------------------------------------|---------------------------------------------------------------------------|
| a local address was removed            | its connections are dropped, once the kernel says that it is gone         |
| routes changed                         | a connection that would now leave from another address is in doubt        |
| it is in doubt and silent for 10 s     | it is dropped                                                             |
| an address, a link or a route came up  | pauses end within a second, if the pace allows                            |
| the machine was suspended              | all connections are dropped, and pauses end                               |

In all cases the next connection is made at once, as far as the pace allows (see `policy`), so that a network that comes
and goes ten times a minute costs no more than the pace. Changes that come fast are looked at four times a second.

A connection that is in doubt may live on: both networks may be there. So one sign of life ends the doubt, and a source
address that has been seen before raises none (multipath routes choose by the port, and would raise one each time).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.errors import StaleConnectionError
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.suspend import LEAST, SuspendClock
from wire_rawsse.hosts.task import Task, is_stream
from wire_rawsse.log import info_once
from wire_rawsse.transport.netlink import FAMILIES, NetworkChange
from wire_rawsse.transport.routes import same_network
from wire_rawsse.waits import Pause, Receive

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Announcements, Machine, Timer

EVERY: Final = 0.25
"""Seconds between two looks at network changes, at least."""
DOUBT: Final = 10.0
"""Seconds that a connection in doubt may be silent."""
MOST_PASSES: Final = 16
"""Receptions for which a stream that will be dropped is still read, so that no peer can put off its end for ever."""
SPREAD: Final = 1.0
"""Seconds within which the streams of a machine that has slept connect again."""
_MOST_SOURCES: Final = 1024


class _Drop:
    """A stream that ends with `error` at `due`, once a poll that began after that has found nothing more for it.

    `final`: what is received until then is handed over and changes nothing. Otherwise any reception ends the doubt.
    """

    __slots__ = ("due", "error", "final", "passes", "polled", "receive", "set_at")

    def __init__(self, task: Task, receive: Receive, due: float, error: StaleConnectionError, *, final: bool) -> None:
        self.receive = receive
        self.set_at = task.clock.set_at
        self.due = due
        self.error = error
        self.final = final
        self.polled = False
        self.passes = MOST_PASSES

    def judge(self, task: Task, now: float) -> bool | None:
        """True: drop it now. None: there is nothing to drop any more. False: not yet."""
        if task.paused_at is not None or (task.wait is not None and task.wait is not self.receive):
            return None  # Data that a paused stream has not received would be lost.
        if task.runnable or task.exception is not None:
            return False
        if task.clock.set_at != self.set_at:
            if not self.final:
                return None
            self.set_at, self.polled = task.clock.set_at, False
            self.passes -= 1
        if self.due > now:
            return False
        polled, self.polled = self.polled, True
        return polled or not self.passes


class Surroundings:
    """`Housekeeping` of one loop, in its thread. `listens`: open the descriptors; without, it is only told."""

    def __init__(self, loop: Loop, *, listens: bool) -> None:
        self._loop: Loop = weakref.proxy(loop)  # So that a discarded loop is freed without the collector.
        self._machine = loop.system.machine()
        self._monotonic = loop.system.monotonic
        self._network: Announcements | None = None
        self._network_watched = False
        self._timer: Timer | None = None
        self._suspend: SuspendClock | None = None
        self._change = NetworkChange()
        """Changes that were read or told, and not yet looked at."""
        self._look_at = math.inf
        """When to look at network changes."""
        self._looked_at = -math.inf
        self._suspended = 0.0
        """Seconds; not yet told to the streams."""
        self._checks: list[tuple[Task, Callable[[Task], None]]] = []
        """Tasks that had something else to do first."""
        self._drops: dict[Task, _Drop] = {}
        self._next_drop = math.inf
        self._sources: dict[tuple[int, str], str] = {}
        """The address from which new connections to a peer leave, as last seen."""
        if listens:
            self._listen()

    def _listen(self) -> None:
        boottime = self._machine.boottime()
        if boottime is not None:
            self._suspend = SuspendClock(boottime, self._monotonic)
            try:
                self._timer = timer = self._machine.resume_timer()
                self._loop.watch_descriptor(timer.fileno(), self._clock_jumped)
            except OSError:
                self._close_timer()  # The next iteration notices it, whenever that is.
        try:
            self._network = self._machine.network()
            self._watch_network()
        except OSError as error:
            self._close_network()
            info_once(f"network changes are not announced here ({error.strerror or error}); clocks notice them")

    # Housekeeping.

    def deadline(self) -> float:
        if self._checks or self._suspended:
            return PAST
        return self._look_at if self._look_at < self._next_drop else self._next_drop

    def due_if_awake(self) -> float:
        suspend = self._suspend
        if suspend is not None:
            # `SuspendClock.suspended`, inlined: this is asked before each sleep.
            now = self._monotonic()
            ahead = suspend.boottime() - now
            if ahead - suspend.ahead > LEAST:
                self._suspended += suspend.suspended(now)
            else:
                suspend.ahead = ahead
        if self._checks or self._suspended:
            return PAST
        return self._look_at if self._look_at < self._next_drop else self._next_drop

    def run(self, now: float) -> None:
        if self._suspended:
            self._resume()
        if self._look_at <= now:
            self._look(now)
        if self._checks:
            self._check_all()
        if self._next_drop <= now:
            self._judge(now)

    def close(self) -> None:
        self._close_network()
        self._close_timer()
        self._checks, self._drops = [], {}

    # Causes.

    def look_at_everything(self) -> None:
        """Somebody knows of a change of the network. In the loop's thread."""
        self._change.everything = True
        self._look_soon()

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, max(self._monotonic(), self._looked_at + EVERY))

    def _announced(self) -> None:
        """The socket is readable. If it was read only just now, it is not watched until it is read again."""
        self._look_soon()
        if self._look_at > self._monotonic():
            self._forget_network()

    def _clock_jumped(self) -> None:
        """The machine has resumed, or the wall clock was set. `due_if_awake` knows which."""
        assert self._timer is not None
        try:
            self._timer.rearm()
        except OSError:
            self._close_timer()

    # Consequences.

    def _resume(self) -> None:
        text = f"the machine was suspended for {self._suspended:.0f} s"
        self._suspended = 0.0
        self._later(partial(self._renew, text))

    def _look(self, now: float) -> None:
        self._looked_at, self._look_at = now, math.inf
        change, self._change = self._change, NetworkChange()
        if self._network is not None:
            try:
                self._network.read(change)
                if not self._network_watched:
                    self._watch_network()
            except OSError as error:
                self._close_network()
                info_once(f"network changes are no longer announced ({error.strerror or error}); clocks notice them")
        if change:
            self._later(partial(self._examine, change, _Answers(self._machine)))

    def _later(self, check: Callable[[Task], None]) -> None:
        self._checks += [(task, check) for task in self._loop.schedule.tasks]

    def _check_all(self) -> None:
        checks, self._checks = self._checks, []
        for task, check in checks:
            if task.coroutine is None:
                continue
            if task.runnable or task.exception is not None:
                self._checks.append((task, check))
            else:
                check(task)

    def _end_pause(self, task: Task) -> None:
        self._loop.schedule.wake_up(task, (), self._monotonic())

    def _renew(self, text: str, task: Task) -> None:
        """The machine was suspended."""
        wait = task.wait
        if isinstance(wait, Pause):
            self._end_pause(task)
        elif wait is not None and wait.interest:
            self._drop(task, StaleConnectionError(text, spread=SPREAD))

    def _examine(self, change: NetworkChange, answers: _Answers, task: Task) -> None:
        """The network has changed."""
        wait = task.wait
        if isinstance(wait, Pause):
            if wait.concerns(FAMILIES if change.everything else change.up):
                self._end_pause(task)
        elif isinstance(wait, Receive) and wait.sock.family in FAMILIES:
            family = int(wait.sock.family)
            try:
                local, peer = wait.sock.getsockname(), wait.sock.getpeername()
            except OSError:
                return  # It is over, and is about to be told.
            own = local[0].partition("%")[0]
            if (change.everything or own in change.gone) and answers.gone(family, local):
                self._drop(task, StaleConnectionError(f"its local address {own} is gone"))
            elif change.everything or family in change.routes:
                source = answers.source(family, peer)
                if self._is_news(family, own, peer[0], source):
                    self._doubt(task, wait, f"new connections to {peer[0]} leave from {source}, this one from {own}")

    def _is_news(self, family: int, own: str, peer: str, source: str | None) -> bool:
        """Whether new connections to `peer` leave from another network since the last look."""
        if source is None:
            return False
        if len(self._sources) >= _MOST_SOURCES:
            self._sources.clear()
        before, self._sources[family, peer] = self._sources.get((family, peer)), source
        return before != source and not same_network(family, own, source)

    # Dropping connections.

    def _drop(self, task: Task, error: StaleConnectionError) -> None:
        """Drop the connection of a task, a stream only after all that has been received for it."""
        wait = task.wait
        if isinstance(wait, Receive) and is_stream(wait):
            self._drop_later(task, wait, error, self._monotonic(), final=True)
        else:
            self._loop.interrupt(task, error)

    def _doubt(self, task: Task, receive: Receive, text: str) -> None:
        if task not in self._drops:
            error = StaleConnectionError(f"it was silent for {DOUBT:g} s, and {text}")
            self._drop_later(task, receive, error, self._monotonic() + DOUBT, final=False)

    def _drop_later(self, task: Task, wait: Receive, error: StaleConnectionError, due: float, *, final: bool) -> None:
        self._drops[task] = _Drop(task, wait, due, error, final=final)
        self._next_drop = min(self._next_drop, due)

    def _judge(self, now: float) -> None:
        for task, drop in list(self._drops.items()):
            verdict = drop.judge(task, now) if task.coroutine is not None else None
            if verdict is not False:
                del self._drops[task]
            if verdict:
                self._loop.interrupt(task, drop.error)
        self._next_drop = min((drop.due for drop in self._drops.values()), default=math.inf)

    # Descriptors.

    def _watch_network(self) -> None:
        assert self._network is not None
        self._loop.watch_descriptor(self._network.fileno(), self._announced)
        self._network_watched = True

    def _forget_network(self) -> None:
        if self._network is not None and self._network_watched:
            self._loop.forget_descriptor(self._network.fileno())
        self._network_watched = False

    def _close_network(self) -> None:
        self._forget_network()
        network, self._network = self._network, None
        if network is not None:
            network.close()

    def _close_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._loop.forget_descriptor(timer.fileno())
            timer.close()


class _Answers:
    """The kernel's answers during one look, so that thousands of streams to one relay ask once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._gone: dict[tuple[Any, ...], bool] = {}
        self._sources: dict[tuple[Any, ...], str | None] = {}

    def gone(self, family: int, local: tuple[Any, ...]) -> bool:
        key = (family, local[0], *local[2:])
        if key not in self._gone:
            self._gone[key] = self._machine.address_is_gone(family, local)
        return self._gone[key]

    def source(self, family: int, peer: tuple[Any, ...]) -> str | None:
        key = (family, *peer)
        if key not in self._sources:
            self._sources[key] = self._machine.source_towards(family, peer)
        return self._sources[key]
