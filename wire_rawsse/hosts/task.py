"""One coroutine that a loop runs: its present wait, its clock, and the value that it is resumed with.

A task owns its state and knows no loop. The loop reports what it found (`wake_up`, `fail`, `time_out`) and resumes the
task (`step`). A task is also the `HostServices` of its coroutine.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Any

from wire_rawsse.hosts.clock import StreamClock
from wire_rawsse.hosts.handle import Handle
from wire_rawsse.log import warn
from wire_rawsse.waits import WAKE, Address, Coroutine, Future, Receive, Step, Wait


class Task:
    """`real` times are on the system's monotonic clock."""

    __slots__ = (
        "__weakref__",
        "_handle",
        "_start",
        "armed",
        "clock",
        "coroutine",
        "entered",
        "exception",
        "paused_at",
        "queued",
        "receive",
        "resumes",
        "runnable",
        "send_value",
        "started",
        "time",
        "wait",
    )

    def __init__(self, start: Callable[[Task], Coroutine[None]], handle: Handle) -> None:
        self._start = start
        self._handle = handle
        self.time = handle.system.time
        """See `HostServices`. It is the system's function itself, which saves a Python frame at each call."""
        self.clock = StreamClock(handle.system.monotonic())
        self.wait: Wait | None = None
        """None at the start, and after a wake until it is resumed."""
        self.receive: Receive | None = None
        """The present wait, if it is a `Receive` and receiving is not paused."""
        self.send_value: Any = None
        """The value that it is resumed with: received bytes, ready descriptors, () for a future, None for a timeout."""
        self.exception: BaseException | None = None
        """The exception that is thrown into it instead. Another thread may set it at any moment."""
        self.runnable = True
        """True if it can be resumed; at first, to start it."""
        self.started = False
        self.coroutine: Coroutine[None] | None = start(self)
        self.resumes = 0
        """How many suspends of the machine had been noticed when it last opened a socket: see `hosts.surroundings`."""
        self.paused_at: float | None = None
        """When receiving was paused on request (flow control); None if it is not paused."""
        # The loop, its schedule and its watch keep these three.
        self.queued = False
        """Whether it is in the list of ready tasks."""
        self.entered = math.inf
        """The time of its valid entry in the heap of deadlines; infinity if it has none."""
        self.armed: tuple[int, ...] = ()
        """The descriptors that it was last armed for. Some may be forgotten or belong to another task by now."""

    # For the coroutine: see `HostServices`.

    def now(self) -> float:
        return self.clock.now

    def random(self) -> float:
        return self._handle.system.random()

    def unwatched(self) -> float:
        return self.clock.unwatched

    def paused(self) -> bool:
        return self.paused_at is not None

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        return self._handle.resolve(host, port)

    def open(self, address: Address) -> socket.socket:
        sock = self._handle.system.open(address)
        if self._handle.opened is not None:
            self._handle.opened(self)
        return sock

    def release(self, sock: socket.socket) -> None:
        self._handle.watch.forget(sock.fileno())
        try:
            sock.close()
        except OSError:
            pass  # close(2) frees the descriptor whatever it reports.

    # For the loop.

    def deadline(self) -> float:
        """The real time at which the present wait ends; infinity if it is paused."""
        wait = self.wait
        if wait is None:
            return self.clock.now
        if self.paused_at is not None and self.held_up:
            return math.inf
        return wait.deadline + self.clock.lag

    def wake_up(self, value: Any, real: float) -> None:
        """Its wait was answered at `real`: see `StreamClock.on_data`."""
        handle, wait = self._handle, self.wait
        deadline = math.inf if wait is None else wait.deadline
        self.clock.on_data(real, deadline, handle.polled_at, handle.slept_from)
        self.send_value = value
        self.runnable = True

    def also_ready(self, fd: int) -> None:
        """Another descriptor of the same wait is ready."""
        if type(self.send_value) is tuple and fd not in self.send_value:
            self.send_value += (fd,)

    def fail(self, error: BaseException, real: float) -> None:
        """Its socket has failed. An interruption that was requested takes precedence."""
        self._set_clock(real)
        self.exception = self.exception or error

    def time_out(self, real: float) -> None:
        """Its deadline has passed, and nothing was found."""
        assert self.wait is not None
        self.clock.on_timeout(real, self.wait.deadline)
        self.send_value = None
        self.runnable = True

    @property
    def out_of_grace(self) -> bool:
        """Its deadline counts even if something has been found."""
        return self.wait is not None and self.clock.out_of_grace(self.wait.deadline)

    def reprieve(self, real: float, polled_at: float) -> None:
        """The process was stopped while it waited for another thread: see `StreamClock.reprieve`."""
        assert self.wait is not None
        self.clock.reprieve(real, self.wait.deadline, polled_at)

    def step(self) -> Step | None:
        """Resume the coroutine once. Returns the step that it yields, or None if it has ended."""
        receive, wait = self.receive, self.wait
        if receive is None or not receive.restarts or self.send_value is None or self.exception is not None:
            # In the usual step, for bytes of an open stream, `wake_up` has set the clock already.
            real = self._handle.system.monotonic()
            if wait is None or self.exception is not None:
                self._set_clock(real)
            elif self.send_value is None and self._may_be_answered(wait, real):
                self.runnable = False
                return wait
            else:
                self.clock.on_resume(real, wait.deadline, answered=self.send_value is not None)
        value, self.send_value = self.send_value, None
        # The server may not send these bytes again, so they are delivered before an exception is thrown.
        exception = self.exception if value is None else None
        if exception is not None:
            self.exception = None  # Not earlier: `interrupt` may set it at any moment, and that must not be lost.
        coroutine = self.coroutine
        assert coroutine is not None
        try:
            self.started = True
            step = coroutine.send(value) if exception is None else coroutine.throw(exception)
        except StopIteration:
            return None
        except Exception as error:
            warn(f"internal error ({type(error).__name__}) has ended a stream; please report it")
            return None
        if step is WAKE:
            self.wait = self.receive = None
            self.runnable = True
            return step
        self.runnable = False
        if step is not wait:
            assert isinstance(step, Wait)
            self.wait = wait = step
            self.receive = step if isinstance(step, Receive) else None
            if self.paused_at is not None and is_stream(step):
                self.paused_at = self._handle.system.monotonic()
                self.receive = None
        assert wait is not None
        if wait.renewed:
            wait.renewed = False
            self.clock.graces = 0
        return wait

    def begin(self) -> None:
        """Start over with a new coroutine, which begins at the next step."""
        self.coroutine = self._start(self)
        self.started = False
        self.runnable = True

    def end(self) -> None:
        """Close the coroutine and forget the value that it would be resumed with."""
        self.runnable = False
        self.exception = self.send_value = self.wait = self.receive = None
        coroutine = self.coroutine
        if coroutine is not None:
            try:
                coroutine.close()
            except ValueError:
                pass  # It is running: the process forked inside it, and this is the child.
            self.coroutine = None  # After it was closed: a signal handler may raise before that.

    # Flow control.

    def pause(self) -> None:
        """Stop receiving for it now, or as soon as it reads a stream. Twice is fine."""
        if self.paused_at is None:
            self.paused_at = self._handle.system.monotonic()
            if self.receive is not None and self.receive.restarts:
                self.receive = None
                self._handle.watch.arm(self, {})

    def resume(self) -> bool:
        """Receive for it again. Returns whether its wait must be armed again."""
        held_up, since, self.paused_at = self.held_up, self.paused_at, None
        if since is None or not held_up:
            return False
        assert isinstance(self.wait, Receive)
        self.receive = self.wait
        self.clock.skip(self._handle.system.monotonic() - since)
        return True

    @property
    def held_up(self) -> bool:
        """It reads a stream and is paused."""
        return self.paused_at is not None and self.receive is None and is_stream(self.wait)

    def _may_be_answered(self, wait: Wait, real: float) -> bool:
        """Whether its wait has timed out, but the host was away since, so that the answer may be there now."""
        return bool(wait.interest or wait.future) and self.clock.looks_again(real, wait.deadline)

    def _set_clock(self, real: float) -> None:
        deadline = math.inf if self.wait is None else self.wait.deadline
        self.clock.on_data(real, deadline, self._handle.polled_at, self._handle.slept_from)


def is_stream(wait: Wait | None) -> bool:
    """Whether it is the wait of an open stream, whose deadline limits the silence."""
    return isinstance(wait, Receive) and wait.restarts
