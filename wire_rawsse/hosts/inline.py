"""The inline host: one poller, in whichever thread calls `run`.

`run` is the sleep of whoever embeds us, so it is written around one path: a descriptor is ready, its bytes are
received, one search says that they hold news, and the caller is on its way. Everything else (parsing, timers, files)
happens before the next sleep, when nobody is waiting for it.

The rules that hold here, each of which has cost somebody a wedge:

* What a task has been given is handed to it before anything is waited for; until then `deadline()` lies in the past.
* A socket behind TLS is received from until it would block before it is waited for: readiness tells of the socket,
  not of what the TLS layer has taken out of it already.
* A deadline is judged only after a poll that *began* after it has found nothing.
* A descriptor leaves the poller before it is closed. A copy of it may live on in a forked child, and a closed
  descriptor whose file lives on is reported for ever.
* After a fork the child closes its copies and touches nothing else: the epoll is shared with the parent, so an
  `unregister` in the child would deafen the parent.
"""

from __future__ import annotations

import _thread
import math
import os
import weakref
from collections.abc import Callable
from typing import Any, Final

from wire_rawsse.errors import BusyError, ClosedError
from wire_rawsse.hosts.bell import Bell
from wire_rawsse.hosts.poller import Poller
from wire_rawsse.hosts.task import SYSTEM, Chore, System, Task
from wire_rawsse.transport.resolve import Resolver
from wire_rawsse.waits import READ, SIGNAL, WRITE, Coroutine, Receive, Step, Wait

RECEIVE_BYTES: Final = 64 * 1024
"""Bytes asked of one `recv`."""

_PAST: Final = 0.0
_AT_ONCE: Final = (False,)
_LONGEST_POLL: Final = 86400.0
"""Seconds; epoll counts milliseconds in 31 bits."""
_OPEN_AGAIN: Final = 0.05
"""Seconds between two attempts to get a poller from a system that has no descriptor left."""


class Loop:
    """Runs tasks in the thread that calls `run`; nothing runs, and nothing is opened, before that."""

    def __init__(self, system: System = SYSTEM) -> None:
        self.system = system
        self._monotonic = system.monotonic
        self._tasks: list[Task] = []
        self._owners: dict[int, Task] = {}
        self._interest: dict[int, int] = {}
        """What the poller knows."""
        self._poller: Poller | None = None
        self._bell: Bell | None = None
        self._looked = self._began = 0.0
        """When the last poll ended, and when the present one, or that, began."""
        self._busy = _thread.allocate_lock()
        self._handed_out = False
        self.closing = False
        self._closed = False
        self._forked = False
        self._started = False
        self._in_hand = False
        """A run holds what nobody else knows of. Where a signal handler's exception ends it then, between a `recv` and
        the use of what it gave for instance, all tasks begin anew; where it strikes in the sleep, nothing happens."""
        self.chore: Chore | None = None
        self.resolver: Resolver | None = None
        """All tasks' one; made when the first name is looked up."""

    # From any thread, and from signal handlers.

    def close(self) -> None:
        """End every task and give everything back; a `run` under way returns False at once. Twice is fine."""
        self.closing = True
        self.announce()
        self._tear_down_if_idle()

    def announce(self) -> None:
        """Make a `run` under way, or a host that polls `fileno()`, look at what has changed."""
        bell = self._bell
        if bell is not None:
            bell.ring()

    def interrupt(self, task: Task, reason: BaseException) -> None:
        """Throw `reason` into a task at its next turn, without waking whoever waits."""
        if task.started:  # What has not begun needs no new beginning.
            task.throw = reason
            self.announce()

    # From the thread that runs the loop, or before it runs.

    def add(self, start: Callable[[Task], Coroutine[None]], name: str = "") -> Task:
        """A new task, which starts at the next turn."""
        task = Task(self, start, name)
        self._tasks.append(task)
        return task

    def remove(self, task: Task) -> None:
        """End a task now."""
        if task in self._tasks:
            self._tasks.remove(task)
            self._end(task)

    def fileno(self) -> int:
        """The poller's own descriptor: readable when `run(0)` has something to do. -1 where there is none (Windows)."""
        if not self._handed_out or self._poller is None:
            self._check_open()
            self._handed_out = True
        return (self._poller or self._open()).fileno()

    def deadline(self) -> float:
        """The system's monotonic time at which `run(0)` is due; in the past where there is something to do."""
        return self._nearest() if self._started and not (self.closing or self._in_hand) else _PAST

    def _nearest(self) -> float:
        nearest = math.inf
        for task in self._tasks:
            if task.due or task.throw is not None:
                return _PAST
            nearest = min(nearest, task.deadline())
        if self.chore is not None:
            nearest = min(nearest, self.chore.due())
        return nearest

    def run(self, timeout: float | None = None) -> bool:
        """Run the tasks until one signals (True), `timeout` seconds pass or `close` is called (False).

        Raises `BusyError` where another thread is in here, `ClosedError` after `close`; nothing else.
        """
        if self.closing:
            self._check_open()
        busy = self._busy  # Ours to let go of, where a signal handler forks and the child gets another.
        taken: list[bool] = []
        try:
            # Taken and noted in one call into C: between two, a signal handler of the host's may raise.
            taken.extend(map(busy.acquire, _AT_ONCE))
            if not taken[0]:
                if self.closing:
                    self._check_open()  # Whoever has the lock is tearing down.
                raise BusyError("another thread is waiting on this stream; give each its own, or share a WakeChannel")
            if self._in_hand:
                for task in self._tasks:
                    self._end(task)
                    task.begin()
            woken = self._run(timeout)
        except (OSError, ValueError):
            if self._forked:  # In its sleep, and this is the child: there is no poller any more.
                self._check_open()
            raise
        finally:
            if True in taken:
                busy.release()
                if self.closing:
                    self._tear_down_if_idle()
        self._in_hand = False
        return woken

    def _run(self, timeout: float | None) -> bool:
        monotonic = self._monotonic
        until = math.inf if timeout is None else monotonic() + timeout
        poller = self._poller or self._open_patiently(until)
        if poller is None:
            return False
        self._started = self._in_hand = True
        signalled = last = False
        while not self.closing:
            # What a task has been given is handed over before the next sleep, one step at a time, so that a stream
            # that never stops can keep neither the caller nor the other streams from their turn.
            for task in self._tasks:
                if (task.due or task.throw is not None) and self._step(task):
                    signalled = True
            if last or (signalled and self.chore is None and len(self._tasks) == 1):
                return signalled  # With nobody else to be attended to there is no reason to look around first.
            began = self._began = monotonic()
            if self.chore is not None and self.chore.wanted() <= began:
                self.chore.run(began)
            nearest = self._nearest()
            limit = 0 if signalled else min(nearest - began, until - began, _LONGEST_POLL)
            self._in_hand = signalled
            events = poller.poll(limit if limit > 0 else 0)
            self._in_hand = True
            real = monotonic()
            overdue = self._overdue(began, real) if nearest <= began else ()
            for fd, _ in events:
                owner = self._owners.get(fd)
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
                    signalled = True
            for task in overdue:
                if not task.due and task.throw is None:
                    task.expired(real)
            self._looked = real
            if signalled:
                return True  # Whoever has signalled is resumed when the caller is back.
            last = real >= until
        return False

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
            data = receive.receive(RECEIVE_BYTES)
        except receive.again as reason:
            interest = WRITE if isinstance(reason, receive.again_write) else READ
            if self._interest.get(receive.fd) != interest:
                self._arm(task, {receive.fd: interest})
            return False
        except OSError as error:
            task.found(real, self._looked)
            task.throw = task.throw or error  # An interruption comes first: it is somebody's wish.
            return False
        task.found(real, self._looked)
        task.given = data
        task.due = True
        hint = receive.hint
        if hint is not None and hint(data):
            receive.hinted = True
            return True
        return False

    def _step(self, task: Task) -> bool:
        """Resume a task once; True where it signals, or where what it waits for holds a wake already."""
        receive = task.receive
        if receive is None or not receive.restarts or task.given is None or task.throw is not None:
            task.resumed(self._monotonic(), self._looked)
        step = self._resume(task)
        if step is None:
            return False
        if step is SIGNAL:
            task.wait = task.receive = None
            task.due = True
            return True
        assert isinstance(step, Wait)
        task.due = False
        try:
            if step is not task.wait:
                task.wait = step
                task.receive = step if isinstance(step, Receive) else None
                self._arm(task, step.interest)
        except OSError as error:  # The system has no room for one more descriptor to watch.
            task.throw = error
            return False
        if step.answer is not None and step.answer.done:
            task.given = ()
            task.due = True
        elif task.receive is not None and task.receive.drain and task.throw is None:
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
            if wait is not None and wait.answer is not None and wait.answer.done and not task.due:
                task.found(real, self._looked)
                task.given = ()
                task.due = True

    def _arm(self, task: Task, interest: Any) -> None:
        """Make the poller know exactly `interest` for this task."""
        assert self._poller is not None
        for fd, owner in list(self._owners.items()):
            if owner is task and fd not in interest:
                self.forget(fd)
        for fd, mask in interest.items():
            known = self._interest.get(fd)
            try:
                if known is None:
                    self._poller.register(fd, mask)
                elif known != mask:
                    self._poller.modify(fd, mask)
            except FileNotFoundError:  # `ssl` closed it when it could not be wrapped, and the number is in use again.
                self._poller.register(fd, mask)
            self._interest[fd] = mask
            self._owners[fd] = task

    def slept_until(self, moment: float) -> bool:
        """Whether somebody was waiting when that moment came: in here, or in a loop of the host's own."""
        return self._handed_out or self._began < moment

    def forget(self, fd: int) -> None:
        """Take a descriptor out of the poller, if it is in there. Never raises."""
        if self._interest.pop(fd, None) is None:
            return
        del self._owners[fd]
        if self._poller is not None:
            try:
                self._poller.unregister(fd)
            except OSError:
                pass  # Somebody closed it behind our back, which took it out as well.

    def _open_patiently(self, until: float) -> Poller | None:
        """Open the poller; where the system has no descriptor left, try again until `until`, and then give None."""
        while not self.closing:
            try:
                return self._open()
            except OSError:
                pause = min(_OPEN_AGAIN, until - self._monotonic())
                if pause <= 0:
                    break
                self.system.sleep(pause)
        return None

    def _open(self) -> Poller:
        bell = self._bell = self.system.bell()
        poller = self.system.poller()
        poller.register(bell.fileno(), READ)
        self._poller = poller
        _live.add(self)
        if self.closing:
            bell.ring()
        return poller

    def _end(self, task: Task) -> None:
        coroutine, task.coroutine = task.coroutine, None
        task.due = False
        task.throw = task.given = task.wait = task.receive = None
        if coroutine is not None:
            try:
                coroutine.close()
            except ValueError:
                pass  # It is running: the fork that brought us here was made from inside it.
        for fd, owner in list(self._owners.items()):
            if owner is task:
                self.forget(fd)

    def _check_open(self) -> None:
        if self._forked:
            raise ClosedError("this stream was opened before a fork and lives on in the parent; make another one here")
        if self.closing:
            self._handed_out = False
            self._tear_down_if_idle()
            raise ClosedError("this stream is closed; make another one")

    def _tear_down_if_idle(self) -> None:
        """Give everything back, unless a `run` is under way, which does so itself when it returns."""
        while not self._closed and self._busy.acquire(False):
            try:
                tasks, self._tasks = self._tasks, []
                for task in tasks:
                    self._end(task)
                chore, self.chore = self.chore, None
                if chore is not None:
                    chore.close()
                if self._handed_out:
                    # Open and readable until the host looks once more, or its loop would poll a stranger. Rung again,
                    # as a `run` under way has silenced what `close` rang.
                    self.announce()
                    return
                _live.discard(self)
                if self._poller is not None:
                    self._poller.close()
                if self._bell is not None:
                    self._bell.close()
                self._closed = True  # Last: whatever a signal handler interrupts here is done by the next `close`.
            finally:
                self._busy.release()

    def _abandon(self) -> None:
        """In a forked child: close our copies of the descriptors, and leave everything else to the parent.

        The sockets belong to objects that would close their number once more, when it may be somebody else's. So each
        number is given to /dev/null first, which closes the copy and leaves the object something harmless to close.
        """
        self._busy = _thread.allocate_lock()
        poller, self._poller = self._poller, None
        bell, self._bell = self._bell, None
        try:
            if poller is not None:
                poller.close()
            if bell is not None:
                bell.abandon()
        except OSError:
            pass  # A kqueue is not inherited.
        self._handed_out = False
        if not self._started:
            return  # Nothing of the parent's is in here: the child may use it.
        self._forked = self.closing = self._closed = True
        try:
            nowhere = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError:  # No descriptor is left. A pending goodbye must still not be sent: see `Connection.end`.
            for fd in self._interest:
                os.close(fd)
        else:
            for fd in self._interest:
                os.dup2(nowhere, fd, inheritable=False)
            os.close(nowhere)
        self.chore = None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            self._end(task)


_live: weakref.WeakSet[Loop] = weakref.WeakSet()


def _abandon_all() -> None:
    for loop in list(_live):
        loop._abandon()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
