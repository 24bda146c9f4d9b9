"""The effect on the streams when the network changes or the machine was suspended.

A stream that knows only its socket finds out by a clock that its address is gone or that the machine was suspended. The
kernel knows at once. `surroundings` notices a change, and loads this module when the first one comes.

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
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.errors import StaleConnectionError
from wire_rawsse.hosts.clock import ON_TIME_WITHIN
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.task import Task, is_stream
from wire_rawsse.transport.netlink import FAMILIES, NetworkChange
from wire_rawsse.transport.routes import same_network
from wire_rawsse.waits import Pause, Receive

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Machine

DOUBT: Final = 10.0
"""Seconds that a connection in doubt may be silent."""
MOST_PASSES: Final = 16
"""Looks that a stream which will be dropped still gets, so that neither a peer nor a late host puts off its end for
ever."""
SPREAD: Final = 1.0
"""Seconds within which the streams of a machine that has slept connect again."""
_MOST_SOURCES: Final = 1024


class _Drop:
    """A stream that ends with `error` at `due`, once a poll that began after that has found nothing more for it.

    `final`: what is received until then is handed over and changes nothing. Otherwise any reception ends the doubt.
    """

    __slots__ = ("due", "error", "final", "looked_at", "passes", "receive", "set_at")

    def __init__(self, task: Task, receive: Receive, due: float, error: StaleConnectionError, *, final: bool) -> None:
        self.receive = receive
        self.set_at = task.clock.set_at
        self.due = due
        self.error = error
        self.final = final
        self.looked_at = -math.inf
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
            self.set_at, self.looked_at = task.clock.set_at, -math.inf
        if self.due > now:
            return False
        last, self.looked_at = self.looked_at, now
        if now - last <= ON_TIME_WITHIN:
            return True  # The poll in between found nothing, and the host was not away since.
        self.passes -= 1
        return self.passes <= 0


class Consequences:
    """The checks and drops of one loop, in its thread."""

    __slots__ = ("_checks", "_drops", "_loop", "_machine", "_monotonic", "_next_drop", "_sources")

    def __init__(self, loop: Loop, machine: Machine) -> None:
        self._loop = loop  # A weak proxy.
        self._machine = machine
        self._monotonic = loop.system.monotonic
        self._checks: list[tuple[Task, Callable[[Task], None]]] = []
        """Tasks that had something else to do first."""
        self._drops: dict[Task, _Drop] = {}
        self._next_drop = math.inf
        self._sources: dict[tuple[int, str], str] = {}
        """The address from which new connections to a peer leave, as last seen."""

    def deadline(self) -> float:
        """The system's monotonic time at which `run` is due."""
        return PAST if self._checks else self._next_drop

    def run(self, now: float) -> None:
        if self._checks:
            self._check_all()
        if self._next_drop <= now:
            self._judge(now)

    def resume(self, seconds: float) -> None:
        """The machine was suspended for so many seconds."""
        self._later(partial(self._renew, f"the machine was suspended for {seconds:.0f} s"))

    def look(self, change: NetworkChange) -> None:
        """The network has changed."""
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
        elif (sock := getattr(wait, "sock", None)) is not None and sock.family in FAMILIES:
            family = int(sock.family)  # That of a stream, also while it is being renewed (see `renewal.Both`).
            try:
                local, peer = sock.getsockname(), sock.getpeername()
            except OSError:
                return  # It is over, and is about to be told.
            own = local[0].partition("%")[0]
            if (change.everything or own in change.gone) and answers.gone(family, local):
                self._drop(task, StaleConnectionError(f"its local address {own} is gone"))
            elif change.everything or family in change.routes:
                source = answers.source(family, peer)
                if isinstance(wait, Receive) and self._is_news(family, own, peer[0], source):
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
