"""The loop: runs tasks in whichever thread calls `run`.

`run` is the sleep of the program that embeds us, so it is written around one path: a descriptor is ready, its bytes are
received, one search says that they hold a wake, and `run` returns. Everything else (parsing, clocks, files) happens
before the next sleep, when nobody is waiting for it. A daemon wakes cold: while it slept, its code and data have left
the processor's caches. So the time of a wake depends less on the instructions that it runs than on the memory that it
must fetch. That is why there are few lines, calls and objects between `poll` and `return`.

The file reads in the order of one iteration: `run` (the sleep and the fast path), before the sleep, after the sleep.
These rules hold. Each was found by a wedge:

* A task is resumed with the data received for it before the loop sleeps; until then `deadline()` lies in the past.
* One reception is bounded, so that a flood does not starve the other tasks.
* A deadline is judged only by a poll that *began* after it and reported everything that was ready.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from wire_rawsse.errors import BusyError
from wire_rawsse.hosts.clock import ON_TIME_WITHIN
from wire_rawsse.hosts.handle import Handle
from wire_rawsse.hosts.poller import MAX_EVENTS
from wire_rawsse.hosts.schedule import MAX_STEPS, Schedule
from wire_rawsse.hosts.system import OS_SERVICES, OsServices
from wire_rawsse.hosts.task import Task
from wire_rawsse.waits import WAKE, Coroutine, Receive
from wire_rawsse.wakeup import try_acquire

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Housekeeping, Poller

MAX_PARTIAL_LOOKS: Final = 64
"""How many iterations in a row may put off judging deadlines because more was ready than one poll reported."""

PAST: Final = 0.0
_LONGEST_POLL: Final = 86400.0
"""Seconds; epoll counts milliseconds in 31 bits."""


class Loop:
    """Nothing runs, and nothing is opened, before the first `run`. Tasks and housekeeping may be added before that."""

    def __init__(self, system: OsServices = OS_SERVICES) -> None:
        self.system = system
        self._monotonic = system.monotonic
        self._handle = Handle(system, self._give_back)
        self.schedule = Schedule()
        self._housekeeping: tuple[Housekeeping, ...] = ()
        self._poll_started = self._poll_deadline = self._next_deadline = self._run_deadline = 0.0
        """When the present poll began, its latest end, the earliest deadline of all, and the deadline of `run`."""
        self._partial_looks = 0
        self._woken_tasks: dict[Task, None] = {}
        self._woken = self._final_pass = False
        """Whether a wake is due, and whether `run` returns without another poll."""
        self._fast_receive: Receive | None = None
        """The only task's wait, if the next event is most likely to be the bytes for it. Nothing else is due then."""
        # The fast path uses the next four attributes, which usually share a cache line.
        self._pending_data: bytes | None = None
        """Data that was received at `_pending_at` and has not been delivered to the only task yet."""
        self._pending_at = 0.0
        self._received: list[tuple[Task, bytes]] = []
        """The same for several tasks."""
        self._uncommitted = False
        """True while received data exists only in local state. If a signal handler raises now, the data is lost, so all
        tasks start over."""
        # These are the handle's. The first two lines are for any thread.
        self.close, self.notify, self.request = self._handle.close, self._handle.notify, self._handle.request
        self.announce, self.make_requests_if_idle = self._handle.announce, self._handle.make_requests_if_idle
        self.fileno, self.descriptor = self._handle.fileno, self._handle.descriptor
        self.release_descriptor = self._handle.release_descriptor
        self.watch_descriptor, self.forget_descriptor = self._handle.watch.call, self._handle.watch.forget

    @property
    def closing(self) -> bool:
        """`close` has been called."""
        return self._handle.closing

    def interrupt(self, task: Task, reason: BaseException) -> None:
        """Throw `reason` into a task at its next step, without a wake. From any thread."""
        if task.started:  # A task that has not started has no connection to give up.
            task.exception = reason
            self.request(partial(self.schedule.enter, task))

    # From the thread that runs the loop, or before it runs.

    def add(self, start: Callable[[Task], Coroutine[None]]) -> Task:
        """A new task, which starts in the next iteration."""
        if self._pending_data is not None:
            self._deliver_pending(woke=True)
        self._fast_receive = None
        task = Task(start, self._handle)
        self.schedule.add(task)
        return task

    def remove(self, task: Task) -> None:
        """End a task now, unless it has ended."""
        if task in self.schedule.tasks:
            if task is self.schedule.only:
                self._fast_receive = self._pending_data = None
            self._end(task)
            self.schedule.remove(task)

    def pause(self, task: Task) -> None:
        """Do not receive for `task` while it reads a stream; its silence is not judged meanwhile. Twice is fine."""
        self._fast_receive = None
        task.pause()

    def resume(self, task: Task) -> None:
        """Receive for `task` again, from the next iteration on."""
        if task.resume():
            self.request(partial(self._wait_for, task, True))

    def add_housekeeping(self, work: Housekeeping) -> None:
        self._housekeeping += (work,)

    def start_over(self) -> None:
        """The next `run` begins every task with a new coroutine."""
        self._uncommitted = True

    def woken(self) -> list[Task]:
        """The tasks that gave a wake in the last `run`, each once."""
        only = self.schedule.only
        # The fast path notes a wake by its data only.
        return [only] if self._pending_data is not None and only is not None else list(self._woken_tasks)

    def deadline(self) -> float:
        """The system's monotonic time at which `run(0)` is due; in the past if there is something to do."""
        handle = self._handle
        if handle.closing or self._uncommitted or self._pending_data is not None or self._received:
            return PAST
        return self._nearest() if handle.started else handle.opens_at

    # The sleep.

    def run(self, timeout: float | None = None, on_wake: Callable[[], object] | None = None) -> bool:
        """Run the tasks until one gives a wake (True), `timeout` seconds pass or `close` is called (False).

        If the result is True, `on_wake` is called once before `run` returns. With one stream this is nearly always at
        the moment of the wake, before anything else is done. `woken()` tells which tasks woke. Raises `BusyError` if
        another thread is in `run`, and `ClosedError` after `close`; nothing else.
        """
        handle, monotonic = self._handle, self._monotonic
        if handle.closing:
            handle.check_open()
        busy = handle.busy  # Kept, as a signal handler may fork, and the child replaces `handle.busy`.
        held: list[bool] = []
        woken = False
        try:
            try_acquire(busy, held)
            if not held:
                if handle.closing:
                    handle.check_open()  # The thread that has the lock is tearing down.
                raise BusyError("another thread is waiting on this stream; give each its own, or share a WakeChannel")
            poller = self._begin(timeout)
            while not woken and poller is not None and (limit := self._before_sleep()) is not None:
                receive = self._fast_receive
                if receive is not None:
                    recv, bufsize, marker, is_wake = receive.recv, receive.bufsize, receive.wake_marker, receive.is_wake
                # Nothing is lost if a signal handler raises during the sleep, unless a wake is due already.
                self._uncommitted = self._woken
                events = poller.poll(limit, MAX_EVENTS)
                # A wake pays for each line from here to the return.
                self._uncommitted = True
                if receive is not None:
                    # This is `_attend`, inlined for cold caches and one stream. It does not ask whether the socket is
                    # in `events`: nearly always it is, and if not, there is nothing to receive.
                    try:
                        data = recv(bufsize)
                    except BlockingIOError:
                        pass  # The event is that of another descriptor, or there is none.
                    except OSError as error:
                        self.schedule.fail(self.schedule.only, error, monotonic())
                        continue  # The task is resumed with the error before the next sleep.
                    else:
                        if (marker is not None and data.find(marker) >= 0) or (is_wake is not None and is_wake(data)):
                            woken = True
                            if on_wake is not None:
                                on_wake()
                                on_wake = None
                        self._pending_at = monotonic()
                        self._pending_data = data
                        if woken:
                            break
                        continue
                # Do not end this loop with an `if`: on CPython 3.14 its jump back would be outside of this `try`.
                woken = self._after_sleep(events)
            else:
                woken = self._woken
        except BaseException as error:
            if held:
                busy.release()
                if handle.closing:
                    handle.tear_down_if_idle()
            if handle.forked and isinstance(error, Exception):
                handle.check_open()  # The process forked meanwhile. This is the child, which has no poller any more.
            raise
        busy.release()
        if handle.closing:
            handle.tear_down_if_idle()
        self._uncommitted = False
        if woken and on_wake is not None:
            on_wake()
        return woken

    def _begin(self, timeout: float | None) -> Poller | None:
        """Prepare a `run`. Returns None if no poller could be opened before its timeout."""
        handle = self._handle
        if self._uncommitted:  # A signal handler raised in the last `run`, after data was received.
            self._begin_all_again()
        self._run_deadline = math.inf if timeout is None else self._monotonic() + timeout
        poller = handle.watch.poller or handle.open_patiently(self._run_deadline)
        if poller is not None:
            handle.started = self._uncommitted = True
            if self._pending_data is not None:
                self._deliver_pending(woke=True)  # These bytes ended the last `run`.
            if self._received:
                self._deliver_received(self._pending_at)
        self._woken = self._final_pass = False
        if self._woken_tasks:
            self._woken_tasks = {}
        return poller

    def _deliver_pending(self, woke: bool) -> None:
        """Give the only task the data of the fast path and the time of its reception. `woke`: `run` returned for it."""
        data, self._pending_data = self._pending_data, None
        task, real = self.schedule.only, self._pending_at
        assert task is not None and isinstance(task.wait, Receive)
        task.wait.woke_early = woke
        task.wake_up(data, real)
        if not task.queued:
            task.queued = True
            self.schedule.ready.append(task)
        self._handle.polled_at = real
        self._final_pass = real >= self._run_deadline

    def _deliver_received(self, polled_at: float) -> None:
        """Give several tasks what was received for them. `polled_at`: see `Handle.polled_at`."""
        received, self._received = self._received, []
        ready, real = self.schedule.ready, self._pending_at
        for task, data in received:
            if task.coroutine is not None:  # It was not removed meanwhile.
                task.wake_up(data, real)
                if not task.queued:
                    task.queued = True
                    ready.append(task)
        self._handle.polled_at = polled_at
        self._final_pass = real >= self._run_deadline

    # Before the sleep.

    def _before_sleep(self) -> float | None:
        """Do all pending work. Returns how long the next sleep may take, or None if `run` must return instead."""
        handle, schedule, self._fast_receive = self._handle, self.schedule, None
        if handle.closing:  # `close` was called: `run` returns False.
            self._woken = False
            return None
        if self._pending_data is not None:
            self._deliver_pending(woke=False)
        if handle.requests:
            handle.make_requested_calls()
        # One step each, so that a stream that never stops cannot keep the caller or the other streams waiting.
        ready, schedule.ready = schedule.ready, []
        if len(ready) > MAX_STEPS:
            ready, schedule.ready = ready[:MAX_STEPS], ready[MAX_STEPS:]
        for task in ready:
            task.queued = False
            if task.coroutine is not None and (task.runnable or task.exception is not None):
                self._step(task)  # Otherwise it has ended, or has been resumed since it became ready.
        only = schedule.only
        if self._final_pass or (self._woken and only is not None and not self._housekeeping):
            return None  # With nothing else to attend to, there is no reason to poll before the return.
        began = self._poll_started = self._poll_deadline = self._monotonic()
        handle.slept_from = -math.inf if handle.handed_out else began
        for work in self._housekeeping:
            if work.due_if_awake() <= began:  # Often before its deadline, to save a wake-up of its own.
                work.run(began)
        self._next_deadline = soonest = self._nearest()
        if self._woken:
            return 0  # Look at the other tasks once, without delaying the wake.
        only = schedule.only  # Housekeeping may have added and removed tasks.
        if only is not None and soonest > began:  # No deadline has passed, so the next poll judges none.
            receive = only.receive
            if receive is not None and receive.is_wake is not None:
                self._fast_receive = receive
        limit = (soonest if soonest < self._run_deadline else self._run_deadline) - began
        if not 0 < limit < _LONGEST_POLL:  # Asked first, because `min` and `max` are slow.
            limit = max(0, min(limit, _LONGEST_POLL))
        self._poll_deadline = began + limit
        return limit

    def _step(self, task: Task) -> None:
        """Resume a task once, and wait for what it yields."""
        before = task.wait
        if before is not None and before.future is not None:
            self.schedule.forget_future(task)
        step = task.step()
        if step is None:
            self.remove(task)
        elif step is WAKE:
            self._woken = True
            self._woken_tasks[task] = None
            self.schedule.enter(task)  # It is resumed by the next call of `run`.
        elif step is before and task.exception is None and before.future is None:
            if before.deadline + task.clock.lag < task.entered:  # Rare: a step usually moves the deadline later.
                self.schedule.enter_deadline(task)
        else:
            self._wait_for(task, step is not before)

    def _wait_for(self, task: Task, arm: bool) -> None:
        """Watch the descriptors of a task. If its future is set already, make the task ready."""
        if (wait := task.wait) is None:
            return
        if arm:
            try:
                self._handle.watch.arm(task, {} if task.held_up else wait.interest)
            except OSError as error:  # The system has no room to watch one more descriptor.
                task.exception = task.exception or error
        if wait.future is not None:
            self.schedule.waiting[wait.future] = task  # Before the check, as another thread may set it at any moment.
            if wait.future.done:
                task.send_value = ()
                task.runnable = True
        if task.runnable or task.exception is not None:
            self.schedule.enter(task)
        self.schedule.enter_deadline(task)

    def _nearest(self) -> float:
        """The time at which the next work is due."""
        if self.schedule.ready or self._handle.requests:
            return PAST
        nearest = self.schedule.earliest()
        for work in self._housekeeping:
            if (due := work.deadline()) < nearest:
                nearest = due
        return nearest

    # After the sleep.

    def _after_sleep(self, events: list[tuple[int, int]]) -> bool:
        """Receive for the tasks whose descriptors are ready. True: a wake is due. The rest follows after it."""
        self._pending_at = real = self._monotonic()
        if not events or len(events) >= MAX_EVENTS or self._next_deadline <= self._poll_started:
            return self._judge(events, real)
        self._attend(events, real)
        if not (self._woken and self._received):
            self._deliver_received(real)
        return self._woken

    def _judge(self, events: list[tuple[int, int]], real: float) -> bool:
        """As `_after_sleep`, if a deadline has passed, nothing was ready, or more was ready than one poll reports."""
        schedule, began = self.schedule, self._poll_started
        # A deadline is judged only by a poll that began after it.
        overdue = schedule.take_overdue(began, real) if self._next_deadline <= began else {}
        self._attend(events, real)
        self._deliver_received(self._handle.polled_at)
        if len(events) >= MAX_EVENTS and not self._look_at_the_rest(bool(overdue), real):
            # A stream that was not looked at would be taken for silent, so no deadline is judged now.
            for task in overdue:
                schedule.enter_deadline(task)
            return self._woken
        for task in overdue:
            schedule.time_out(task, real)
        self._handle.polled_at = real
        if not events and real > self._poll_deadline + ON_TIME_WITHIN and self._fast_receive is None:
            # The process was probably stopped (SIGSTOP) during the poll. When its timeout has elapsed, CPython's poll
            # returns an empty list without checking again, so the last real check was when it began.
            self._handle.polled_at = began
            schedule.reprieve(real, began)
        return self._woken

    def _look_at_the_rest(self, judging: bool, real: float) -> bool:
        """More was ready than one poll reports: look at all of it, unless that can wait. Returns whether it looked.

        A wake that was found is given first, so that the first of many comes soon. But a flood of wakes must not put
        off the judging of deadlines for ever.
        """
        if (self._woken and self._partial_looks < MAX_PARTIAL_LOOKS) or (not judging and real < self._run_deadline):
            self._partial_looks += 1
            return False
        self._partial_looks = 0
        self._attend(self._handle.watch.all_events(), real)
        self._deliver_received(self._handle.polled_at)
        return True

    def _attend(self, events: list[tuple[int, int]], real: float) -> None:
        """Give each event to its owner. `_deliver_received` delivers the received bytes."""
        owners, received = self._handle.watch.owners, self._received
        for fd, _ in events:
            task: Task | None = owners.get(fd)
            if task is None:
                self._attend_to_others(fd, real)
            elif task.runnable:
                task.also_ready(fd)  # Its wait was answered already.
            elif task.exception is not None:
                continue  # Its exception is thrown first.
            elif (receive := task.receive) is None:  # It does not wait for the bytes of one socket.
                self.schedule.wake_up(task, (fd,), real)
            else:
                try:
                    data = receive.recv(receive.bufsize)
                except BlockingIOError:
                    continue
                except OSError as error:
                    self.schedule.fail(task, error, real)
                    continue
                received.append((task, data))
                marker, is_wake = receive.wake_marker, receive.is_wake
                if (marker is not None and data.find(marker) >= 0) or (is_wake is not None and is_wake(data)):
                    receive.woke_early = self._woken = True
                    self._woken_tasks[task] = None

    def _attend_to_others(self, fd: int, real: float) -> None:
        """A descriptor that belongs to no task is ready: one with a callback, or the wake-up descriptor."""
        if (callback := self._handle.watch.callbacks.get(fd)) is not None:
            callback()
            return
        for future in self._handle.take_answered():
            self.schedule.answer(future, real)

    # Ending.

    def _end(self, task: Task) -> None:
        self.schedule.forget_future(task)
        task.end()
        self._handle.watch.forget_all(task)

    def _begin_all_again(self) -> None:
        """Received data may have been lost, so every stream makes a new connection."""
        self._fast_receive = self._pending_data = None
        self._received = []
        for task in self.schedule.tasks:
            self._end(task)
            task.begin()
        self.schedule.enter_all()

    def _give_back(self) -> None:
        """End all tasks, after `close` or in a forked child. The child leaves the housekeeping to its parent."""
        self._fast_receive = None
        for task in self.schedule.tasks:
            self._end(task)
        self.schedule.clear()
        housekeeping, self._housekeeping = self._housekeeping, ()
        for work in () if self._handle.forked else housekeeping:
            work.close()
