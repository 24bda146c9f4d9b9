"""The way from here to there: how long a segment takes, whether it arrives at all, and that order is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from tests.simulation.kernel import Kernel

FIRST_RETRANSMISSION: Final = 0.2
LONGEST_RETRANSMISSION: Final = 120.0
LARGE: Final = 1400
"""Bytes of a segment that no longer fits where the path's MTU has shrunk."""


class Path:
    """The way to one address and back. The counters say how many faults block it at present."""

    def __init__(self, kernel: Kernel, latency: float = 0.01) -> None:
        self._kernel = kernel
        self.latency = latency
        """Seconds, one way."""
        self.jitter = 0.0
        self.loss = 0.0
        self.bandwidth = 0.0
        """Bytes a second; 0: no limit."""
        self.mtu_hole = 0
        """While positive, segments above 1,400 bytes vanish."""
        self.blocked = [0, 0]
        """Towards the relay, towards the client."""
        self.stalled: deque[Pipe] = deque()

    def open(self) -> bool:
        return not (self.blocked[0] or self.blocked[1])

    def block(self, direction: int) -> None:
        self.blocked[direction] += 1

    def unblock(self, direction: int) -> None:
        self.blocked[direction] -= 1
        self.resume()

    def resume(self) -> None:
        """Retransmit the dropped segments, each at its own next time."""
        for _ in range(len(self.stalled)):
            self.stalled.popleft().retransmit()

    def delay(self, size: int) -> float:
        seconds = self.latency
        if self.jitter:
            seconds += self._kernel.random.random() * self.jitter
        if self.loss:
            again = FIRST_RETRANSMISSION
            while self._kernel.random.random() < self.loss and again < LONGEST_RETRANSMISSION:
                seconds += again
                again *= 2
        if self.bandwidth:
            seconds += size / self.bandwidth
        return seconds


class Pipe:
    """One direction: bytes, b"" for FIN, None for RST, each delivered in its turn."""

    __slots__ = ("_deliver", "_direction", "_due", "_kernel", "_path", "_queue", "_since", "cut", "queued")

    def __init__(self, kernel: Kernel, path: Path, direction: int, deliver: Callable[[bytes | None], None]) -> None:
        self._kernel = kernel
        self._path = path
        self._direction = direction
        self._deliver = deliver
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._due = 0.0
        self._since: float | None = None
        self.queued = 0
        """Bytes under way."""
        self.cut = False
        """For ever: nothing arrives any more."""

    def put(self, item: bytes | None) -> None:
        kernel = self._kernel
        size = len(item) if item else 0
        due = kernel.now + self._path.delay(size)
        if due < self._due:
            due = self._due
        self._due = due
        self._queue.append((due, item))
        self.queued += size
        if len(self._queue) == 1:
            kernel.at(due, self._arrive)

    def _arrive(self) -> None:
        queue, kernel, path = self._queue, self._kernel, self._path
        while queue:
            due, item = queue[0]
            if due > kernel.now:
                kernel.at(due, self._arrive)
                return
            if self.cut:
                queue.clear()
                return
            if path.blocked[self._direction] or (path.mtu_hole and item and len(item) > LARGE):
                if self._since is None:
                    self._since = kernel.now
                path.stalled.append(self)
                return
            self._since = None
            queue.popleft()
            if item:
                self.queued -= len(item)
            self._deliver(item)

    def retransmit(self) -> None:
        """The path may be open again: at the next time that the sender tries."""
        assert self._since is not None
        step, when = FIRST_RETRANSMISSION, self._since + FIRST_RETRANSMISSION
        while when < self._kernel.now:
            step = min(step * 2, LONGEST_RETRANSMISSION)
            when += step
        self._kernel.at(when, self._arrive)
