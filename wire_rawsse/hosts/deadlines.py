"""The earliest of many deadlines, in O(1) a reception. Loaded with the second stream of a loop.

It is a lazy heap. Each reception moves a deadline later, which changes nothing in the heap: the old entry is corrected
when it reaches the top. It relies on one invariant: a deadline moves earlier only in a step of its task, and `enter` is
called after each step. So no entry is ever later than its task's deadline.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from wire_rawsse.hosts.task import Task

_SPARE: Final = 64
"""Obsolete entries that are kept beyond one for each valid entry, so that a small heap is seldom compacted."""


class DeadlineHeap:
    """Times are on the system's monotonic clock."""

    __slots__ = ("_count", "_heap", "_live")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Task]] = []
        self._count = 0
        """Orders entries of equal time, because tasks cannot be compared."""
        self._live = 0

    def __len__(self) -> int:
        """Entries, obsolete ones included."""
        return len(self._heap)

    def enter(self, task: Task) -> None:
        """`task` has a deadline, perhaps an earlier one than before."""
        deadline = task.deadline()
        if deadline < task.entered:
            self._live += task.entered == math.inf
            task.entered = deadline
            self._count += 1
            heappush(self._heap, (deadline, self._count, task))
            if len(self._heap) > 2 * self._live + _SPARE:
                self._compact()

    def discard(self, task: Task) -> None:
        """`task` has no deadline any more."""
        if task.entered < math.inf:
            self._live -= 1
            task.entered = math.inf
            if len(self._heap) > 2 * self._live + _SPARE:
                self._compact()

    def earliest(self) -> float:
        """The earliest deadline of all; infinity if there is none."""
        heap = self._heap
        while heap:
            entered, _, task = heap[0]
            if entered != task.entered:  # Obsolete: the task has gone, or has entered again.
                heappop(heap)
                continue
            deadline = task.deadline()
            if deadline <= entered:
                return deadline
            if deadline == math.inf:
                heappop(heap)
                self._live -= 1
            else:
                self._count += 1
                heapreplace(heap, (deadline, self._count, task))
            task.entered = deadline
        return math.inf

    def take_due(self, until: float) -> list[Task]:
        """Take out the tasks whose deadline is not after `until`."""
        due = []
        while self.earliest() <= until:
            task = heappop(self._heap)[2]
            task.entered = math.inf
            self._live -= 1
            due.append(task)
        return due

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if entry[0] == entry[2].entered]
        heapify(self._heap)
