"""The effect on the streams when the network changes or the machine was suspended.

A stream that knows only its socket finds out by a clock that its address is gone or that the machine was suspended. The
kernel knows at once. `surroundings` notices a change, and loads this module when the first one comes.

| what happened                          | what follows                                                              |
|----------------------------------------|---------------------------------------------------------------------------|
| a local address was removed            | its connections are dropped, once the kernel says that it is gone         |
| routes changed                         | a connection that would now leave from another address is in doubt        |
| it is in doubt and silent for 10 s     | it is renewed: another is made beside it (see `renewal`)                  |
| an address, a link or a route came up  | pauses end within a second, if the pace allows                            |
| the machine was suspended              | all connections are dropped, and pauses end                               |

In all cases the next connection is made at once, as far as the pace allows (see `policy`), so that a network that comes
and goes ten times a minute costs no more than the pace. Changes that come fast are looked at four times a second.

A connection that is in doubt may live on: both networks may be there. So one sign of life ends the doubt, and a source
address that has been seen before raises none (multipath routes choose by the port, and would raise one each time).

A loop may have thousands of streams, so one iteration looks at 16 of them at most. The wake of another stream does not
wait for the rest.
"""

from __future__ import annotations

import math
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.errors import StaleConnectionError
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.task import Task, is_stream
from wire_rawsse.transport.netlink import FAMILIES, NetworkChange
from wire_rawsse.transport.routes import same_network
from wire_rawsse.waits import Pause, Receive

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Routes

DOUBT: Final = 10.0
"""Seconds that a connection in doubt may be silent."""
MOST_PASSES: Final = 16
"""Receptions that a stream which will be dropped still gets, so that a peer cannot put off its end for ever."""
MOST_AT_ONCE: Final = 16
"""Streams that are checked in one iteration of the loop, and streams that are dropped."""
SPREAD: Final = 1.0
"""Seconds within which the streams of a machine that has slept connect again."""
_MOST_SOURCES: Final = 1024


class _Drop:
    """A stream that ends with `error` at `due`, as soon as no received bytes wait for it.

    `final`: what is received until then is handed over and changes nothing. Otherwise any reception ends the doubt.
    """

    __slots__ = ("_set_at", "due", "error", "final", "passes", "receive", "task")

    def __init__(self, task: Task, receive: Receive, due: float, error: StaleConnectionError, *, final: bool) -> None:
        self.task = task
        self.receive = receive
        self._set_at = task.clock.set_at
        self.due = due
        self.error = error
        self.final = final
        self.passes = MOST_PASSES

    def is_over(self) -> bool:
        """There is nothing to drop any more, or no reason to."""
        task = self.task
        if task.coroutine is None or (task.wait is not None and task.wait is not self.receive):
            return True
        if task.paused_at is not None:
            return True  # Data that a paused stream has not received would be lost.
        return not (self.final or task.runnable or task.clock.set_at == self._set_at)


class Consequences:
    """The checks and drops of one loop, in its thread."""

    __slots__ = ("_checks", "_doubts", "_drops", "_due", "_loop", "_monotonic", "_routes", "_sources")

    def __init__(self, loop: Loop, routes: Routes) -> None:
        self._loop = loop  # A weak proxy.
        self._routes = routes
        self._monotonic = loop.system.monotonic
        self._checks: deque[tuple[Callable[[Task], None], list[Task]]] = deque()
        """Checks, and the tasks that they have yet to be made of."""
        self._drops: dict[Task, _Drop] = {}
        """The present drop of each task. Those in the queues that are not in here are obsolete."""
        self._due: deque[_Drop] = deque()
        self._doubts: deque[_Drop] = deque()
        """Those that are not due yet, in the order in which they will be."""
        self._sources: dict[tuple[int, str], str] = {}
        """The address from which new connections to a peer leave, as last seen."""

    def deadline(self) -> float:
        """The system's monotonic time at which `run` is due."""
        if self._checks or self._due:
            return PAST
        return self._doubts[0].due if self._doubts else math.inf

    def run(self, now: float) -> None:
        """Do a part of the work."""
        if self._checks:
            self._check_some()
        doubts, due = self._doubts, self._due
        while doubts and doubts[0].due <= now and len(due) < MOST_AT_ONCE:
            due.append(doubts.popleft())
        for _ in range(min(len(due), MOST_AT_ONCE)):
            drop = due.popleft()
            if self._drops.get(drop.task) is drop:
                if not drop.is_over() and not self._judge(drop, now):
                    due.append(drop)
                else:
                    del self._drops[drop.task]

    def _check_some(self) -> None:
        check, tasks = self._checks[0]
        some, busy = tasks[-MOST_AT_ONCE:], []
        del tasks[-MOST_AT_ONCE:]
        for task in some:
            if task.coroutine is not None:
                if task.runnable or task.exception is not None:
                    busy.append(task)
                else:
                    check(task)
        if not tasks:
            self._checks.popleft()
        if busy:
            self._checks.append((check, busy))

    def resume(self, seconds: float, resumes: int) -> None:
        """The machine was suspended for so many seconds. `resumes`: see `Task.resumes`."""
        self._check_all(partial(self._renew, f"the machine was suspended for {seconds:.0f} s", resumes))

    def look(self, change: NetworkChange) -> None:
        """The network has changed."""
        if change:
            self._check_all(partial(self._examine, change, _Answers(self._routes)))

    def _check_all(self, check: Callable[[Task], None]) -> None:
        if tasks := list(self._loop.schedule.tasks):
            self._checks.append((check, tasks))

    def _end_pause(self, task: Task) -> None:
        self._loop.schedule.wake_up(task, (), self._monotonic())

    def _renew(self, text: str, resumes: int, task: Task) -> None:
        """The machine was suspended. A connection that was begun after that is no affair of it."""
        wait = task.wait
        if isinstance(wait, Pause):
            self._end_pause(task)
        elif wait is not None and wait.interest and task.resumes < resumes:
            self._drop(task, StaleConnectionError(text, spread=SPREAD))

    def _examine(self, change: NetworkChange, answers: _Answers, task: Task) -> None:
        """The network has changed."""
        wait = task.wait
        if isinstance(wait, Pause):
            if wait.concerns(FAMILIES if change.everything else change.up):
                self._end_pause(task)
        elif (sock := getattr(wait, "sock", None)) is not None and sock.family in FAMILIES:
            family = int(sock.family)  # That of a stream, also while it is being renewed (see `halves.Both`).
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
            drop = self._drops[task] = _Drop(task, wait, self._monotonic(), error, final=True)
            self._due.append(drop)
        else:
            self._loop.interrupt(task, error)

    def _doubt(self, task: Task, receive: Receive, text: str) -> None:
        known = self._drops.get(task)
        if known is None or known.is_over():
            error = StaleConnectionError(f"it was silent for {DOUBT:g} s, and {text}", in_doubt=True)
            drop = self._drops[task] = _Drop(task, receive, self._monotonic() + DOUBT, error, final=False)
            self._doubts.append(drop)

    def _judge(self, drop: _Drop, now: float) -> bool:
        """Whether the matter is settled: the stream is dropped now, or has ended."""
        task = drop.task
        if task.runnable or task.exception is not None:
            return False
        try:
            drop.receive.sock.recv(1, socket.MSG_PEEK)
            drop.passes -= 1
            if drop.passes:
                return False  # The loop receives it first.
        except BlockingIOError:
            pass  # Nothing is there.
        except OSError as error:  # It is told only once.
            self._loop.schedule.fail(task, error, now)
            return True
        self._loop.interrupt(task, drop.error)
        return True


class _Answers:
    """The kernel's answers during one look, so that thousands of streams to one relay ask once."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._gone: dict[tuple[Any, ...], bool] = {}
        self._sources: dict[tuple[Any, ...], str | None] = {}

    def gone(self, family: int, local: tuple[Any, ...]) -> bool:
        key = (family, local[0], *local[2:])
        if key not in self._gone:
            self._gone[key] = self._routes.address_is_gone(family, local)
        return self._gone[key]

    def source(self, family: int, peer: tuple[Any, ...]) -> str | None:
        key = (family, *peer)
        if key not in self._sources:
            self._sources[key] = self._routes.source_towards(family, peer)
        return self._sources[key]
