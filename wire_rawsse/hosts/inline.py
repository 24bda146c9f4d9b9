"""The inline host: one poller, in whichever thread calls `run`.

`run` is the sleep of whoever embeds us, so it is written around one path: a descriptor is ready, its bytes are
received, one search says that they hold news, and the caller is on its way. Everything else (parsing, clocks, timers,
files) happens before the next sleep, when nobody is waiting for it. A daemon wakes cold: while it slept its code and
data have left the processor's caches, and what a wake costs is how many different pieces of memory it must fetch, far
more than how many instructions it runs. So between `poll` and `return` there are few lines, few calls and few objects,
and what can be looked up before the sleep is.

What happens before the next sleep is in `turns`; here are the sleep, the beginning and the end. The rules:

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
from typing import Final

from wire_rawsse.errors import BusyError, ClosedError
from wire_rawsse.hosts.bell import take
from wire_rawsse.hosts.poller import FEW_EVENTS, Poller
from wire_rawsse.hosts.task import OS_SERVICES, OsServices, Task
from wire_rawsse.hosts.turns import PAST, Turns
from wire_rawsse.transport.resolve import Resolver
from wire_rawsse.waits import READ, Coroutine

_OPEN_AGAIN: Final = 0.05
"""Seconds between two attempts to get a poller from a system that has no descriptor left."""


class Loop(Turns):
    """Runs tasks in the thread that calls `run`; nothing runs, and nothing is opened, before that."""

    def __init__(self, system: OsServices = OS_SERVICES) -> None:
        super().__init__(system)
        self._poller: Poller | None = None
        self._busy = _thread.allocate_lock()
        self._handed_out = False
        self._closed = False
        self._forked = False
        self._started = False
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

    def start_over(self) -> None:
        """The next `run` begins every task with a new coroutine. From the thread that runs the loop."""
        self._in_hand = True

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
        """The poller's own descriptor: readable when `run(0)` has something to do. -1: it has none (poll, select)."""
        if not self._handed_out or self._poller is None:
            self._check_open()
        fd = (self._poller or self._open()).fileno()
        self._handed_out = fd >= 0
        if fd < 0 and not self._started:
            self._put_back()  # Another thread may run the loop: gevent's pollers belong to the thread they are made in.
        return fd

    def descriptor(self) -> int:
        """`fileno()` for a select loop of the host's own. Raises `OSError` if there is none."""
        fd = self.fileno()
        if fd < 0:
            raise OSError("this platform has neither epoll nor kqueue; use a WakeChannel and its fileno()")
        return fd

    def release_descriptor(self) -> None:
        """After `close`, and on the host's last call: the descriptor that was handed out is needed no more."""
        self._handed_out = False
        self._tear_down_if_idle()

    def deadline(self) -> float:
        """The system's monotonic time at which `run(0)` is due; in the past where there is something to do."""
        if not self._started or self.closing or self._in_hand or self._caught is not None:
            return PAST
        return self._nearest()

    def run(self, timeout: float | None = None, tell: Callable[[], object] | None = None) -> bool:
        """Run the tasks until one signals (True), `timeout` seconds pass or `close` is called (False).

        `tell` is called once where this gives True: before it returns, and where there is one stream, nearly always at
        the moment of the wake, before anything is tidied up. Raises `BusyError` where another thread is in here,
        `ClosedError` after `close`; nothing else.
        """
        if self.closing:
            self._check_open()
        monotonic, length = self._monotonic, len
        busy = self._busy  # Ours to let go of, where a signal handler forks and the child gets another.
        taken: list[bool] = []
        woken = False
        try:
            take(busy, taken)
            if not taken:
                if self.closing:
                    self._check_open()  # Whoever has the lock is tearing down.
                raise BusyError("another thread is waiting on this stream; give each its own, or share a WakeChannel")
            poller = self._begin(timeout)
            while not woken and poller is not None and (limit := self._before_sleep()) is not None:
                receive = self._expected
                if receive is not None:
                    recv, bufsize, marker, is_wake = receive.recv, receive.bufsize, receive.wake_marker, receive.is_wake
                self._in_hand = self._woken
                events = poller.poll(limit, FEW_EVENTS)
                # What runs from here to the return is what a wake costs.
                self._in_hand = True
                if receive is not None:
                    # Whether it is in `events` is not asked: nearly always it is, and else there is nothing to receive.
                    try:
                        data = recv(bufsize)
                        if length(data) == bufsize:
                            data = self._with_rest(receive, data)
                    except OSError as error:
                        if not isinstance(error, BlockingIOError):
                            self._refused(receive, error, monotonic())
                            continue
                    else:
                        if (marker is not None and data.find(marker) >= 0) or (is_wake is not None and is_wake(data)):
                            woken = True
                            if tell is not None:
                                tell()
                                tell = None
                        self._caught_at = monotonic()
                        self._caught = data
                        if woken:
                            break
                        continue
                # No `if` may end this loop: the jump back from it is outside of this `try` on CPython 3.14.
                woken = self._after_sleep(events)
            else:
                woken = self._woken
        except BaseException as error:
            if taken:
                busy.release()
                if self.closing:
                    self._tear_down_if_idle()
            if self._forked and isinstance(error, Exception):
                self._check_open()  # While it ran, and this is the child: there is neither poller nor socket any more.
            raise
        busy.release()
        if self.closing:
            self._tear_down_if_idle()
        self._in_hand = False
        if woken and tell is not None:
            tell()
        return woken

    def _begin(self, timeout: float | None) -> Poller | None:
        """The start of a `run`; None where the system had no room for a poller in all that time."""
        if self._in_hand:
            for task in self._tasks:
                self._end(task)
                task.begin()
        self._until = math.inf if timeout is None else self._monotonic() + timeout
        poller = self._poller or self._open_patiently(self._until)
        if poller is not None:
            self._started = self._in_hand = True
            if self._caught is not None and self._sole is not None:
                # What the last `run` was ended by: so its waiter has been let go.
                assert self._sole.receive is not None
                self._sole.receive.woke_early = True
                self._hand_over(self._caught)
        self._woken = self._last = False
        return poller

    def slept_until(self, moment: float) -> bool:
        """Whether somebody was waiting when that moment came: in here, or in a loop of the host's own."""
        return self._handed_out or self._began < moment

    def forget(self, fd: int) -> None:
        """Take a descriptor out of the poller, if it is in there. Never raises."""
        self._watch.forget(fd)

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
        bell = self.system.bell()
        poller: Poller | None = None
        try:
            poller = self.system.poller()
            poller.register(bell.fileno(), READ)
        except BaseException:  # Its traceback, which may be kept, must keep no descriptor open.
            if poller is not None:
                poller.close()
            bell.close()
            raise
        self._bell = bell
        self._poller = self._watch.poller = poller
        _live.add(self)
        if self.closing:
            bell.ring()
        return poller

    def _put_back(self) -> None:
        """Undo `_open`."""
        _live.discard(self)
        if self._poller is not None:
            self._poller.close()
        if self._bell is not None:
            self._bell.close()
        self._poller = self._watch.poller = self._bell = None

    def _check_open(self) -> None:
        if self._forked:
            raise ClosedError("this stream was opened before a fork and lives on in the parent; make another one here")
        if self.closing:
            self.release_descriptor()
            raise ClosedError("this stream is closed; make another one")

    def _tear_down_if_idle(self) -> None:
        """Give everything back, unless a `run` is under way, which does so itself when it returns."""
        while not self._closed:
            busy = self._busy
            taken: list[bool] = []
            try:
                take(busy, taken)
                if not taken:
                    return
                for task in self._tasks:
                    self._end(task)
                self._tasks = []
                self.resolver = None  # It knows us, and a loop that is let go of shall not wait for the collector.
                chore, self.chore = self.chore, None
                if chore is not None:
                    chore.close()
                if self._handed_out:
                    # Open and readable until the host looks once more, or its loop would poll a stranger. Rung again,
                    # as a `run` under way has silenced what `close` rang.
                    self.announce()
                    return
                self._put_back()
                self._closed = True  # Last: whatever a signal handler interrupts here is done by the next `close`.
            finally:
                if taken:
                    busy.release()

    def _abandon(self) -> None:
        """In a forked child: close our copies of the descriptors, and leave everything else to the parent.

        The sockets belong to objects that would close their number once more, when it may be somebody else's. So each
        number is given to an empty pipe first, which closes the copy and leaves the object something harmless to close.
        """
        self._busy = _thread.allocate_lock()
        poller, self._poller, self._watch.poller = self._poller, None, None
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
            nowhere, writer = os.pipe()  # Not /dev/null, which a chroot may lack.
            os.close(writer)
        except OSError:  # No descriptor is left. A pending goodbye must still not be sent: see `Connection.end`.
            for fd in self._watch.interest:
                os.close(fd)
        else:
            for fd in self._watch.interest:
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
