"""The machine: virtual time, descriptors, a poller, with stricter checks than the real ones.

Time is a heap of scheduled calls. It moves only in `MemoryPoller.poll`, or in `advance`, which stands for a busy host.
A poll that finds nothing jumps to the next scheduled call, so an idle hour costs nothing.

Some things that a real kernel tolerates are errors here: closing a descriptor that a poller still watches, and polling
again and again while neither time nor bytes move. The invariants are checked in `before_sleep`: the host is about to
wait, so all work must have been done.

Some details are as in a real kernel: a descriptor is the lowest free number (so a stale one is soon reused), a poll's
time-out is rounded up to `granularity` (epoll: 1 ms), and `tick` lets every reading of the clock be later than the
last. Tests of exact times turn the last two off.
"""

from __future__ import annotations

import errno
import heapq
import math
import os
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

from wire_rawsse.waits import READ
from wire_rawsse.wakeup import WakeupFd

FIRST_DESCRIPTOR: Final = 3
MOST_IDLE_TURNS: Final = 12
"""Polls in a row that moved nothing. A deadline costs two (it is judged by a poll of its own), a signal one."""
ENOUGH: Final = 1 << 16
"""Descriptors, where they are not scarce."""
SHORTEST_ABSENCE: Final = 0.01
"""Seconds; shorter absences are not recorded."""
_SAME_TIME: Final = 1e-4
_LINES_KEPT: Final = 400


class Violation(BaseException):
    """A promise was broken. No `Exception`: what keeps a stream alive for ever must not swallow it."""


class Descriptor(Protocol):
    """The object to which a descriptor refers."""

    def mask(self) -> int:
        """READ and WRITE, as they are now."""


def trouble(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class Kernel:
    """`start`: what the monotonic clock shows at first; `wall`: the same for the other one."""

    def __init__(
        self, seed: str, *, start: float = 1000.0, wall: float = 1.8e9, granularity: float = 0.0, tick: float = 0.0
    ) -> None:
        self.seed = seed
        self.random = random.Random(f"{seed}/world")
        self.dice = random.Random(f"{seed}/dice").random
        self.now = self.start = start
        self.wall_ahead = wall - start
        self.granularity = granularity
        self.tick = tick
        self.drift = 0.0
        """Seconds that have passed only because the clock was read."""
        self.moved = 0
        """Bytes and other effects, counted, so that a turn without any can be told."""
        self.polls = 0
        self.dirty = True
        """Something may be ready."""
        self.most_descriptors = ENOUGH
        self.most_watched = 1 << 16
        self.descriptors: dict[int, Descriptor] = {}
        self.pollers: list[MemoryPoller] = []
        self.threads = 0
        self.absences: deque[tuple[float, float]] = deque(maxlen=2000)
        """When the host came back from elsewhere, after how many seconds."""
        self.stops = 0
        """How often a sleeper was stopped past its time-out (SIGSTOP)."""
        self.stopped = False
        self.sleeping = False
        self._slept_at = start
        self._struck_since: float | None = None
        """When the sleep began that a signal handler's exception has ended: the loop has not looked since then."""
        self.sleeps = 0
        self.before_sleep: list[Callable[[], None]] = []
        self.lines: deque[tuple[float, str, tuple[object, ...]]] = deque(maxlen=_LINES_KEPT)
        self.violation: Violation | None = None
        """The first one; later ones are consequences of it."""
        self.listener: Callable[[str], None] | None = None
        self.before_ring: list[Callable[[], object]] = []
        self.behind_ring: list[Callable[[], object]] = []
        """Run once, as other threads, while a thread is in the system call that writes to a wake-up descriptor: before
        the call takes effect, and after that, before its own thread continues.
        """
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._free: list[int] = []
        self._next = FIRST_DESCRIPTOR

    # Clocks, and what is to happen.

    def monotonic(self) -> float:
        self.now += self.tick
        self.drift += self.tick
        return self.now

    def wall(self) -> float:
        return self.now + self.wall_ahead

    def at(self, when: float, call: Callable[..., object], *args: Any) -> None:
        """`call(*args)` at `when`, or at once if that has passed; in the order of asking where two are equal."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, call, args))

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        self.at(self.now + seconds, call, *args)

    def advance(self, seconds: float) -> None:
        """The host is elsewhere: the world goes on without it. A sleep that was struck before counts as absence too."""
        since = self.now if self._struck_since is None else self._struck_since
        self.run_until(self.now + seconds)
        if seconds >= SHORTEST_ABSENCE:
            self.absences.append((self.now, self.now - since))

    def run_until(self, until: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, call, args = heapq.heappop(heap)
            if when > self.now:
                self.now = when
            call(*args)
        self.now = max(self.now, until)

    def stop(self, seconds: float) -> None:
        """SIGSTOP for so long: anyone who sleeps goes on sleeping, whatever its time-out says."""
        self.stops += 1
        self.stopped = True
        since = self._slept_at if self.sleeping else self.now
        self.run_until(self.now + seconds)
        self.absences.append((self.now, self.now - since))  # It has not looked since it fell asleep.
        self.stopped = False

    def sleep(self, until: float, poller: MemoryPoller) -> list[tuple[int, int]]:
        """Let time pass until something in `poller` is ready, or `until`."""
        self.sleeping = True
        self._slept_at = self.now
        self.sleeps += 1
        try:
            events = self._sleep(until, poller)
        except BaseException:
            if self._struck_since is None:
                self._struck_since = self._slept_at
            raise
        finally:
            self.sleeping = False
        self.looked()
        return events

    def looked(self) -> None:
        """A poll has returned."""
        self._struck_since = None

    def _sleep(self, until: float, poller: MemoryPoller) -> list[tuple[int, int]]:
        heap, stops = self._heap, self.stops
        while True:
            if not heap or heap[0][0] > until:
                if until == math.inf:
                    self.fail("the host sleeps for ever: nothing will ever happen again")
                self.now = max(self.now, until)
                return []
            when, _, call, args = heapq.heappop(heap)
            if when > self.now:
                self.now = when
            call(*args)
            if stops != self.stops and self.now >= until and self.random.random() < 0.5:
                return []  # It timed out while we were stopped; later events are for the next poll.
            if self.dirty:
                events = poller.ready()
                if events:
                    return events
                self.dirty = False

    # Descriptors.

    def allocate(self, what: Descriptor) -> int:
        if len(self.descriptors) >= self.most_descriptors:
            raise trouble(errno.EMFILE)
        if self._free:
            fd = heapq.heappop(self._free)
        else:
            fd = self._next
            self._next += 1
        self.descriptors[fd] = what
        self.moved += 1
        return fd

    def close(self, fd: int) -> None:
        for poller in self.pollers:
            if fd in poller.interest:
                self.fail(f"descriptor {fd} was closed while a poller still watches it")
        del self.descriptors[fd]
        heapq.heappush(self._free, fd)
        self.moved += 1

    # Events.

    def tell(self, text: str, *args: object) -> None:
        """One line of the trace, made only if there is a listener."""
        self.lines.append((self.now, text, args))
        if self.listener is not None:
            self.listener(self.line(self.now, text, args))

    def line(self, now: float, text: str, args: tuple[object, ...]) -> str:
        passed = now - self.start
        minutes, seconds = divmod(passed, 60)
        hours, minutes = divmod(int(minutes), 60)
        days, hours = divmod(hours, 24)
        return f"{days:3}d {hours:02}:{minutes:02}:{seconds:09.6f}  {text % args if args else text}"

    def fail(self, text: str) -> NoReturn:
        if self.violation is None:
            self.tell("VIOLATION: %s", text)
            self.violation = Violation(text)
        raise self.violation


class MemoryPoller:
    """Level-triggered, like all of ours, and as strict as epoll(7) about what it knows."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.interest: dict[int, int] = {}
        self._fd = kernel.allocate(self)
        self._idle_turns = 0
        self._last = (0.0, 0)
        kernel.pollers.append(self)

    def register(self, fd: int, interest: int) -> None:
        if fd not in self.kernel.descriptors:
            raise trouble(errno.EBADF)
        if fd in self.interest:
            raise trouble(errno.EEXIST)
        if len(self.interest) >= self.kernel.most_watched:
            raise trouble(errno.ENOSPC)
        self.interest[fd] = interest
        self.kernel.dirty = True

    def modify(self, fd: int, interest: int) -> None:
        if fd not in self.interest:
            raise trouble(errno.ENOENT)
        self.interest[fd] = interest
        self.kernel.dirty = True

    def unregister(self, fd: int) -> None:
        if self.interest.pop(fd, None) is None:
            raise trouble(errno.ENOENT)

    def mask(self) -> int:
        return READ if self.ready() else 0

    def ready(self) -> list[tuple[int, int]]:
        descriptors = self.kernel.descriptors
        events = []
        for fd, interest in self.interest.items():
            mask = descriptors[fd].mask() & interest
            if mask:
                events.append((fd, mask))
        return events

    def poll(self, timeout: float | None, room: int = 1 << 20) -> list[tuple[int, int]]:
        kernel = self.kernel
        self._count_turn()
        kernel.polls += 1
        kernel.monotonic()
        if kernel.dirty:
            events = self.ready()
            if events:
                kernel.looked()
                return events  # And what is left unread will be reported again.
            kernel.dirty = False
        if timeout == 0:
            kernel.looked()
            return []
        if timeout is None:
            until = math.inf
        else:
            if kernel.granularity:
                timeout = math.ceil(timeout / kernel.granularity) * kernel.granularity
            until = max(kernel.now + timeout, math.nextafter(kernel.now, math.inf))
        for check in kernel.before_sleep:
            check()
        return kernel.sleep(until, self)

    def _count_turn(self) -> None:
        kernel = self.kernel
        then, moved = self._last
        # Without what passes by looking at the clock: a loop that does nothing else is as busy as any.
        now = kernel.now - kernel.drift
        self._last = now, kernel.moved
        if moved != kernel.moved or now - then > _SAME_TIME:
            self._idle_turns = 0
            return
        self._idle_turns += 1
        if self._idle_turns > MOST_IDLE_TURNS:
            kernel.fail(f"busy loop: {self._idle_turns} polls in a row moved neither time nor bytes")

    def close(self) -> None:
        self.kernel.pollers.remove(self)
        self.kernel.close(self._fd)

    def fileno(self) -> int:
        return self._fd


def let_run(others: list[Callable[[], object]]) -> None:
    """A system call lets other threads run: these, once."""
    run = others[:]
    others.clear()
    for one in run:
        one()


class Eventfd:
    """eventfd(2): readable or not."""

    def __init__(self) -> None:
        self.readable = False

    def mask(self) -> int:
        return READ if self.readable else 0


class MemoryWakeupFd(WakeupFd):
    """The shipped class, with its rules for notifying and closing, around a descriptor in memory."""

    __slots__ = ("_kernel", "_line")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel  # First: `__del__` needs it, whatever is raised here.
        super().__init__()
        super()._shut()  # Its own descriptor is a real one.
        self._line = Eventfd()
        self._event = kernel.allocate(self._line)

    def fileno(self) -> int:
        return self._event

    def drain(self) -> None:
        self._kernel.moved += self._line.readable
        self._line.readable = False

    def _add(self, event: int, count: int) -> None:
        kernel = self._kernel
        let_run(kernel.before_ring)
        self._line.readable = kernel.dirty = True
        let_run(kernel.behind_ring)

    def _shut(self) -> None:
        event, self._event = self._event, -1
        if event >= 0:
            self._kernel.close(event)

    def __del__(self) -> None:
        if not any(self._event in poller.interest for poller in self._kernel.pollers):
            self._shut()  # Else the whole machine is thrown away.
