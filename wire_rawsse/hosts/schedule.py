"""The tasks of a loop: which are ready, which wait for a future, and which deadline comes first.

Each step is O(1), for one task and for thousands. A single task does not need the heap of deadlines, so its module is
loaded with the second task.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from wire_rawsse.hosts.task import Task
from wire_rawsse.waits import Future

if TYPE_CHECKING:
    from wire_rawsse.hosts.deadlines import DeadlineHeap

MAX_STEPS: Final = 64
"""The most tasks that are resumed in one iteration, so that a restart of thousands does not hold up the caller."""


def _never() -> float:
    return math.inf


class Schedule:
    """For the thread that runs the loop."""

    __slots__ = ("_deadlines", "earliest", "only", "ready", "tasks", "waiting")

    def __init__(self) -> None:
        self.tasks: dict[Task, None] = {}
        """In the order in which they were added."""
        self.only: Task | None = None
        """The task, if there is exactly one."""
        self.ready: list[Task] = []
        """The tasks to resume in the next iteration, each once (`Task.queued`)."""
        self.waiting: dict[Future[Any], Task] = {}
        """The tasks that wait for a future, which another thread may set at any moment."""
        self._deadlines: DeadlineHeap | None = None
        """The deadlines of all tasks; None if there are fewer than two tasks."""
        self.earliest: Callable[[], float] = _never
        """The earliest deadline of the tasks that wait; infinity if none has any. One attribute, because another thread
        may close the loop meanwhile."""

    def add(self, task: Task) -> None:
        self.tasks[task] = None
        self._count()
        self.enter(task)

    def remove(self, task: Task) -> None:
        """`task` has ended."""
        if self._deadlines is not None:
            self._deadlines.discard(task)
        del self.tasks[task]
        self._count()

    def clear(self) -> None:
        """There are no tasks any more."""
        self.tasks, self.ready, self.waiting = {}, [], {}
        self._count()

    def _count(self) -> None:
        """Keep a heap of deadlines only while there are several tasks."""
        tasks = self.tasks
        self.only = next(iter(tasks)) if len(tasks) == 1 else None
        if len(tasks) < 2:
            self._deadlines, self.earliest = None, _never
            for task in tasks:
                task.entered = -math.inf  # It needs no entry.
                self.earliest = task.deadline
        elif self._deadlines is None:
            from wire_rawsse.hosts.deadlines import DeadlineHeap

            self._deadlines = DeadlineHeap()
            self.earliest = self._deadlines.earliest
            for task in tasks:
                task.entered = math.inf
                self.enter_deadline(task)

    # Ready tasks.

    def enter(self, task: Task) -> None:
        """`task` can be resumed."""
        if not task.queued:
            self.ready.append(task)  # First, as a signal handler may raise in between, and two entries do no harm.
            task.queued = True

    def enter_all(self) -> None:
        """All tasks have begun again, and wait for nothing."""
        self.ready, self.waiting = [], {}
        for task in self.tasks:
            task.queued = False
            self.enter(task)

    # Deadlines, in the system's monotonic time.

    def enter_deadline(self, task: Task) -> None:
        """Note the deadline of a waiting task, which may be earlier than before."""
        if self._deadlines is not None and task.wait is not None:
            self._deadlines.enter(task)

    def take_overdue(self, until: float, real: float) -> dict[Task, None]:
        """Take the waiting tasks whose deadline is not after `until`.

        The caller times each of them out, or enters its deadline again. A task that is out of grace times out here, at
        `real`, even if data is ready for it.
        """
        if self.only is not None:
            due = [self.only] if self.only.deadline() <= until else []
        else:
            due = [] if self._deadlines is None else self._deadlines.take_due(until)
        overdue = {task: None for task in due if not task.runnable and task.exception is None}
        for task in overdue:
            if task.out_of_grace:
                self.time_out(task, real)
        return overdue

    def time_out(self, task: Task, real: float) -> None:
        """Time `task` out, unless something was found for it."""
        if not task.runnable and task.exception is None:
            task.time_out(real)
            self.enter(task)

    def fail(self, task: Task | None, error: OSError, real: float) -> None:
        """The socket of `task` has failed."""
        assert task is not None
        task.fail(error, real)
        self.enter(task)

    # Futures.

    def forget_future(self, task: Task) -> None:
        """`task` waits for no future any more."""
        if task.wait is not None and task.wait.future is not None:
            self.waiting.pop(task.wait.future, None)

    def answer(self, future: Future[Any], real: float) -> None:
        """`future` was set."""
        task = self.waiting.get(future)
        if task is not None and not task.runnable:
            self.wake_up(task, (), real)

    def reprieve(self, real: float, polled_at: float) -> None:
        """The process was stopped until `real`, and with it the threads that look names up."""
        for task in self.waiting.values():
            if not task.runnable:
                task.reprieve(real, polled_at)

    # Answers.

    def wake_up(self, task: Task, value: Any, real: float) -> None:
        """The wait of `task` was answered at `real`."""
        task.wake_up(value, real)
        if not task.queued:  # As `enter` does.
            task.queued = True
            self.ready.append(task)
