"""What the loop does between two sleeps: hand over what tasks were given, and give them what has come.

The rules that hold here, each of which has cost somebody a wedge:

* What a task has been given is handed to it before anything is waited for; until then `deadline()` lies in the past.
* Before a socket under TLS is waited for, its channel is asked for what it still holds: readiness tells only of the
  socket. One reception takes one bounded piece, so that a flood leaves everybody a turn.
* A deadline is judged only after a poll that *began* after it has found nothing.
"""

from __future__ import annotations

import math
from typing import Final

from wire_rawsse.hosts.bell import Bell
from wire_rawsse.hosts.poller import FEW_EVENTS, Watch
from wire_rawsse.hosts.task import NO_DOUBT, Chore, OsServices, Task
from wire_rawsse.waits import FEW_BYTES, READ, WAKE, WRITE, Receive, Step, Wait, WriteToo

RECEIVE_BYTES: Final = 16 * 1024
"""The largest reception, so that no peer makes a step long: 16 KiB of the costliest bytes take a few milliseconds."""

PAST: Final = 0.0
_LONGEST_POLL: Final = 86400.0
"""Seconds; epoll counts milliseconds in 31 bits."""


class Turns:
    """The half of a `Loop` that never sleeps. Its methods are called by the thread that is in `run`."""

    def __init__(self, system: OsServices) -> None:
        self.system = system
        self._monotonic = system.monotonic
        self._tasks: list[Task] = []
        self._watch: Watch[Task] = Watch()
        self._bell: Bell | None = None
        self.chore: Chore | None = None
        self._looked = 0.0
        """When the last poll returned, or began, where the host was stopped in it. That of the poll before, while
        something is `_caught`."""
        self._began = self._ends = self._soonest = self._until = 0.0
        """When this poll or the last one began and was to end, the deadline that comes first, and when `run` is to
        return."""
        self._woken = self._last = False
        """Somebody has signalled. There is no time for another poll."""
        self._sole: Task | None = None
        self._expected: Receive | None = None
        """The only task that there is, and its wait, where the next event is most likely to be the bytes for it."""
        # These four one after the other: a wake touches them all, and mostly they share a line of the cache.
        self._caught: bytes | None = None
        """What was received for it, of which neither its clock nor its coroutine knows yet."""
        self._caught_at = 0.0
        self._in_hand = False
        """A run holds what nobody else knows of. Where a signal handler's exception ends it then, between a `recv` and
        the use of what it gave for instance, all tasks begin anew; where it strikes in the sleep, nothing happens."""
        self.closing = False

    def _nearest(self) -> float:
        nearest = math.inf
        for task in self._tasks:
            if task.due or task.throw is not None:
                return PAST
            nearest = min(nearest, task.deadline())
        if self.chore is not None:
            nearest = min(nearest, self.chore.due())
        return nearest

    def _hand_over(self, data: bytes) -> None:
        """Give the task that was alone what was caught for it, with the clock of that moment."""
        self._caught = None
        task = self._sole
        assert task is not None
        task.found(self._caught_at, self._looked)
        task.given = data
        task.due = True
        self._have_looked(self._caught_at)

    def _before_sleep(self) -> float | None:
        """Everything that can be done before the next sleep; the longest that it may take, or None where there is none.

        What a task has been given is handed over one step at a time, so that a stream that never stops can keep neither
        the caller nor the other streams from their turn.
        """
        if self.closing:
            self._woken = False
            return None
        if self._caught is not None:
            self._hand_over(self._caught)
        for task in self._tasks:
            if (task.due or task.throw is not None) and self._step(task):
                self._woken = True
        alone = len(self._tasks) == 1
        if self._last or (self._woken and self.chore is None and alone):
            return None  # With nobody else to be attended to there is no reason to look around first.
        began = self._began = self._ends = self._monotonic()
        if self.chore is not None and self.chore.wanted() <= began:
            self.chore.run(began)
        self._soonest = soonest = self._nearest()
        self._expected = None
        if self._woken:
            return 0
        if soonest > began and len(self._tasks) == 1:  # Asked again: the chore may have ended a task.
            receive = self._tasks[0].receive
            if receive is not None and receive.is_wake is not None:
                self._sole, self._expected = self._tasks[0], receive
        limit = max(0, min(soonest - began, self._until - began, _LONGEST_POLL))
        self._ends = began + limit
        return limit

    def _after_sleep(self, events: list[tuple[int, int]]) -> bool:
        """Find an owner for each event, and who is overdue. True: somebody signals.

        Whoever has signalled is resumed when the caller is back.
        """
        if len(events) == FEW_EVENTS:
            events = self._watch.all_events()
        real = self._monotonic()
        overdue = self._overdue(self._began, real) if self._soonest <= self._began else []
        for fd, _ in events:
            owner = self._watch.owners.get(fd)
            if owner is None:
                self._answer_bell(real)
            elif owner.throw is not None:
                continue  # It has other things to do first.
            elif owner.due:
                if type(owner.given) is tuple:
                    owner.given += (fd,)  # Another descriptor of the same wait.
            elif owner.receive is None:
                owner.found(real, self._looked)
                owner.given = (fd,)
                owner.due = True
            elif self._take(owner, real):
                self._woken = True
            elif not owner.due and owner in overdue and owner.found_nothing():
                overdue.remove(owner)
        for task in overdue:
            if not task.due and task.throw is None:
                task.expired(real)
        self._have_looked(real)
        if not events and real > self._ends + NO_DOUBT:
            # Stopped in its sleep, as like as not: CPython's poll, its time being over, gives nothing then, and has
            # looked at its beginning only. And so were the threads that look names up.
            self._looked = self._began
            for task in self._tasks:
                if task.wait is not None and task.wait.future is not None and not task.due:
                    task.spare(real, self._began)
        return self._woken

    def _have_looked(self, real: float) -> None:
        self._looked = real
        self._last = real >= self._until

    def _overdue(self, began: float, real: float) -> list[Task]:
        """Whose deadline had passed when the poll began. Who has had all benefit of the doubt is judged unheard."""
        overdue = [task for task in self._tasks if not task.due and task.throw is None and task.deadline() <= began]
        for task in overdue:
            if task.beyond_doubt:
                task.expired(real)
        return overdue

    def _take(self, task: Task, real: float) -> bool:
        """Receive for a task; True where its bytes hold a wake. Afterwards the task is due, unless nothing came."""
        receive = task.receive
        assert receive is not None
        try:
            data = receive.recv(receive.bufsize)
            if len(data) == receive.bufsize:
                data = self._with_rest(receive, data)
        except OSError as error:
            self._refused(receive, error, real)
            return False
        task.found(real, self._looked)
        task.given = data
        task.due = True
        if receive.is_wake is not None and receive.is_wake(data):
            receive.woke_early = True
            return True
        return False

    def _with_rest(self, receive: Receive, data: bytes) -> bytes:
        """`data`, which filled the room that it had, and what else there is of the same reception."""
        try:
            if len(data) < RECEIVE_BYTES:
                data += receive.recv(RECEIVE_BYTES - len(data))
        except BlockingIOError:
            pass
        except OSError as error:
            # It comes behind what was received, which may end the stream by itself: then it is nobody's trouble.
            self._watch.owners[receive.fd].behind = receive.sock, error
        return data

    def _refused(self, receive: Receive, error: OSError, real: float) -> None:
        """A `recv` failed at `real`: there was nothing to receive, or the connection is over."""
        task = self._watch.owners[receive.fd]
        if isinstance(error, BlockingIOError):
            interest = READ | WRITE if isinstance(error, WriteToo) else READ
            if self._watch.interest.get(receive.fd) != interest:
                self._watch.arm(task, {receive.fd: interest})
            return
        task.found(real, self._looked)
        task.throw = task.throw or error  # An interruption comes first: it is somebody's wish.

    def _step(self, task: Task) -> bool:
        """Resume a task once; True where it signals, or where what it waits for holds a wake already."""
        receive = task.receive
        if receive is None or not receive.restarts or task.given is None or task.throw is not None:
            task.resumed(self._monotonic(), self._looked)
        if receive is not None and task.given is not None:
            # The next reception will be much like this one.
            receive.bufsize = FEW_BYTES if len(task.given) < FEW_BYTES else RECEIVE_BYTES
        step = self._resume(task)
        if step is None:
            return False
        if step is WAKE:
            task.wait = task.receive = None
            task.due = True
            return True
        assert isinstance(step, Wait)
        task.due = False
        if task.behind is not None:
            (sock, error), task.behind = task.behind, None
            if isinstance(step, Receive) and step.sock is sock:
                task.throw = task.throw or error
        try:
            if step is not task.wait:
                task.wait = step
                task.receive = step if isinstance(step, Receive) else None
                self._watch.arm(task, step.interest)
        except OSError as error:  # The system has no room for one more descriptor to watch.
            task.throw = task.throw or error
            return False
        if step.future is not None and step.future.done:
            task.given = ()
            task.due = True
        elif task.throw is None and (receive := task.receive) is not None and receive.pending and receive.pending():
            return self._take(task, self._monotonic())
        return False

    def _resume(self, task: Task) -> Step | None:
        """One step of a coroutine; None where it has ended. A fault of its own is kept in `task.error`."""
        given, task.given = task.given, None
        # What has been received is news that nobody may ever send again: it is handed over before anything is thrown.
        reason = task.throw if given is None else None
        if reason is not None:
            task.throw = None  # Only here: `interrupt` may set it at any moment, and must not be overlooked.
        coroutine = task.coroutine
        assert coroutine is not None
        try:
            task.started = True
            return coroutine.send(given) if reason is None else coroutine.throw(reason)
        except StopIteration:
            pass
        except Exception as error:
            task.error = error
        self._tasks = [other for other in self._tasks if other is not task]
        self._end(task)
        return None

    def _answer_bell(self, real: float) -> None:
        assert self._bell is not None
        self._bell.silence()
        for task in self._tasks:
            wait = task.wait
            if wait is not None and wait.future is not None and wait.future.done and not task.due:
                task.found(real, self._looked)
                task.given = ()
                task.due = True

    def _end(self, task: Task) -> None:
        coroutine = task.coroutine
        task.due = False
        task.throw = task.behind = task.given = task.wait = task.receive = None
        if task is self._sole:
            self._sole = self._expected = self._caught = None
        if coroutine is not None:
            try:
                coroutine.close()
            except ValueError:
                pass  # It is running: the fork that brought us here was made from inside it.
            task.coroutine = None  # After it was closed: a signal handler may raise before that.
        self._watch.forget_all(task)
