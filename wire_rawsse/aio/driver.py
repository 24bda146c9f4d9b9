"""Runs a `Loop` on an asyncio event loop: its descriptor under `add_reader`, and one timer for its deadline.

There is no task of ours. The event loop calls `_ready` when the descriptor is readable or a deadline has come, even if
no task waits, so that a wedged stream is found while the program does other things. A task that waits is suspended on a
future made for that wait. If it is cancelled, nothing changes here.

The descriptor is that of the loop's poller and not that of a socket, for two reasons. A socket must leave its poller
before it is closed, and uvloop removes readers late. Also, a deadline is judged only by a poll that began after it.

The one timer serves the deadlines of the streams and the time limit of the waiter. It is lazy: if its moment moves
later, nothing is done, and when it fires too early it is set again. So an event needs no timer.

A future resumes its task by `call_soon`, so between the wake and the task there are another handle, an iteration of the
event loop and a call of its selector. That is half of the cost of a wake in asyncio. So `_let_go` itself runs the
callback that the task has added to the future, at once when the wake is found.

If the event loop has no `add_reader` (Windows' Proactor), or the poller has no descriptor, a thread runs the loop
instead: see `thread`.
"""

from __future__ import annotations

import asyncio
import atexit
import math
import os
import weakref
from collections.abc import Callable
from typing import Final

from wire_rawsse.aio.thread import Consumer, LoopThread
from wire_rawsse.errors import BusyError, ClosedError
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.ready import attend, leave, receive_ready, settle

_LONGEST_TIMER: Final = 86400.0
"""Seconds: the longest wait of asyncio's selectors."""
_SHORTEST_TIMER: Final = 0.001
"""Seconds; uvloop counts milliseconds, and would fire too early again and again."""
_OPEN_AGAIN: Final = 0.05
"""Seconds between two attempts to open our poller on a system that has no descriptor left."""


class Driver:
    """Attends one `Loop`, and suspends the task that waits on it.

    `close` and `look_soon` are for any thread, everything else for the thread of the event loop.
    """

    def __init__(self, loop: Loop, consumer: Consumer, note_wake: Callable[[], object] | None = None) -> None:
        """note_wake: called on each wake before anything else, while `loop.woken()` is valid, perhaps in a thread."""
        self.woken = False
        """There was a wake. The consumer resets it."""
        self.on_wake = note_wake
        """Called on each wake. Its exceptions go to the event loop's exception handler."""
        self._note_wake = note_wake
        self.events: asyncio.AbstractEventLoop | None = None
        """The event loop that attends ours."""
        self.waiter: asyncio.Future[None] | None = None
        """The future of the task that waits, or of the last one."""
        self._until = math.inf
        """The latest moment at which the waiting task is resumed."""
        self.paused = False
        """The descriptor is not watched: the consumer is full, or the pause after an error is not over."""
        self._loop = loop
        self._monotonic = loop.system.monotonic
        self._consumer = consumer
        self._process = 0
        self._fd = -1
        self._thread: LoopThread | None = None
        self._retry_at = 0.0
        """When to run the loop again after an internal error; 0: there was none."""
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def attach(self) -> None:
        """Have the running event loop attend ours, until `close`.

        Another event loop that has been closed is replaced. Raises `BusyError` if it has not, and `RuntimeError`
        without a running event loop. Does nothing after `close` and in a forked child.
        """
        running = asyncio.get_running_loop()
        if self.events is running or self._loop.closing:
            return
        if self.events is not None:
            if not self._is_foreign(self.events):
                raise BusyError("another event loop attends this stream; make one for each event loop")
            self._forget_events()
        self.events, self._process = running, os.getpid()
        _attended.add(self._loop)
        self._watch(running)
        self._arm()

    def _watch(self, events: asyncio.AbstractEventLoop) -> bool:
        """Have the event loop watch our descriptor (True), or have a thread run the loop (False).

        If the system has no descriptor left, `_arm` tries again.
        """
        try:
            self._fd = attend(self._loop)
            if self._fd >= 0:
                events.add_reader(self._fd, self._ready)
        except NotImplementedError:
            self._fd = -1
        except (OSError, ClosedError):
            self.paused, self._retry_at = True, self._monotonic() + _OPEN_AGAIN
            return False
        self.paused = False
        if self._fd < 0:
            self._run_in_thread(events)
        return self._fd >= 0

    def begin(self, seconds: float | None) -> float:
        """Begin a wait of so many seconds (None: for ever). Returns the moment at which it is over.

        With 0 it looks once, because such a wait never lets the event loop do so. Raises as `attach`, and `BusyError`
        if another task waits.
        """
        self.attach()
        if self.waiter is not None and not self.waiter.done():
            raise BusyError("another task waits on this stream; give each its own")
        if seconds is None:
            return math.inf
        if seconds == 0 and not self.paused:
            try:
                self._look()
            except Exception as error:  # Of `on_wake`, as if the event loop had called it.
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "on_wake raised an exception", "exception": error}
                )
        return self._monotonic() + seconds

    def is_over(self, until: float) -> bool:
        return until < math.inf and self._monotonic() >= until

    def wait(self, until: float) -> asyncio.Future[None]:
        """The future to await at once. It is done after a wake, at `until`, after `close`, and sometimes too early."""
        if self.waiter is not None and not self.waiter.done():
            raise BusyError("another task waits on this stream; give each its own")
        assert self.events is not None
        waiter = self.waiter = self.events.create_future()
        self._until = until
        if until < self._timer_at:
            self._set_timer(until)
        return waiter

    def resume(self) -> None:
        """The consumer has room again."""
        if self._thread is not None:
            self._thread.go_on()
        self._arm()

    def check_open(self) -> None:
        """Raise `ClosedError` after `close`, and in a forked child, with the reason."""
        if self._loop.closing:
            self.close()
            self._loop.run(0)

    def look_soon(self) -> None:
        """Have the event loop look at what another thread has changed."""
        events = self.events
        if events is not None and self._process == os.getpid():
            try:
                events.call_soon_threadsafe(self._look)
            except RuntimeError:
                pass  # It is closed.

    def close(self) -> None:
        """End the streams and close everything; the task that waits returns. From any thread.

        If another thread calls it, the connections are closed at once, even if the event loop is busy or about to stop.
        The event loop resumes the waiting task and forgets the descriptor in its next iteration.
        """
        self._loop.close()
        events = self.events
        if events is None or self._is_foreign(events) or not events.is_running() or _running() is events:
            self._detach()
            return
        try:
            events.call_soon_threadsafe(self._detach)
        except RuntimeError:  # It has been closed meanwhile.
            self._detach()

    def _is_foreign(self, events: asyncio.AbstractEventLoop) -> bool:
        """Whether the event loop is closed, or belongs to the parent of this forked child."""
        return self._process != os.getpid() or events.is_closed()

    def _ready(self) -> None:
        """The descriptor is readable, or a deadline has come. A wake pays for all work before the program runs."""
        loop = self._loop
        ours, due = True, None
        try:
            woken = receive_ready(loop)
            if woken is None:
                woken = loop.run(0)
            if not woken and loop.schedule.only is not None:
                due = settle(loop)  # Afterwards `receive_ready` can receive.
                woken = due is None
            if woken:
                self.woken = True
                ours = False
                if self.on_wake is not None:
                    self.on_wake()
                if self.waiter is not None:
                    self._let_go()
                ours = True
                # The program waits again. Now parse the bytes that it was woken for.
                if self.events is not None and (due := settle(loop)) is None:
                    ours = False
                    self._give()
        except Exception as error:
            if ours:
                self._failed(error)
            else:
                self._let_go_soon()
                raise
        except BaseException:  # A signal handler raised, at an unknown place, so a wake may be lost.
            loop.start_over()
            raise
        finally:
            self._arm(due)

    def _failed(self, error: Exception) -> None:
        """The loop has raised `error`. If it is a `ClosedError`, `_arm` does what is needed."""
        if not isinstance(error, ClosedError):
            self._retry_at = self._monotonic() + self._consumer.on_failure(error)
            self._let_go_soon()

    def _give(self) -> None:
        """There is a wake, or an item."""
        self.woken = True
        try:
            if self.on_wake is not None and not self._loop.closing:
                self.on_wake()
        finally:
            self._let_go_soon()

    def _let_go(self) -> None:
        """Run the task that waits, if there is one, until it waits again. Not from inside a task."""
        waiter = self.waiter
        if waiter is None or waiter.done():
            return
        callbacks = getattr(waiter, "_callbacks", None)  # Not public: without it, a wake takes as long as usual.
        if not callbacks or len(callbacks) != 1:
            waiter.set_result(None)
            return
        [(callback, context)] = callbacks
        try:
            waiter.remove_done_callback(callback)
            waiter.set_result(None)
        except BaseException:  # A signal handler raised, and nothing would resume the task otherwise.
            if self.events is not None:
                waiter.remove_done_callback(callback)
                self._let_go_soon()
                self.events.call_soon(callback, waiter, context=context)
            raise
        context.run(callback, waiter)

    def _let_go_soon(self) -> None:
        """Have the event loop run the task that waits."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _look(self) -> None:
        if self._thread is None and self.events is not None and not self._loop.closing:
            self._ready()
        else:
            self._arm()

    def _arm(self, deadline: float | None = None) -> None:
        """Set the reader, the timer and `call_soon` for the next deadline. `deadline`: the loop's, if it is known."""
        events = self.events
        if events is None:
            return
        if self._loop.closing:
            self._detach()
            return
        moment = self._moment()
        if self._thread is None:
            paused = self._retry_at > 0 or self._consumer.is_full()
            if paused and not self.paused:
                self.paused = True
                events.remove_reader(self._fd)
            elif self.paused and not paused:
                paused = not self._watch(events)
            if self._retry_at > 0:
                moment = min(moment, self._retry_at)
            elif not paused:
                if deadline is None:
                    deadline = self._loop.deadline()
                if deadline <= PAST:
                    if self._soon is None:
                        self._soon = events.call_soon(self._on_soon)
                elif deadline < moment:
                    moment = deadline
        if moment < self._timer_at:
            self._set_timer(moment)

    def _moment(self) -> float:
        """The latest moment at which the waiting task is resumed."""
        return math.inf if self.waiter is None or self.waiter.done() else self._until

    def _set_timer(self, moment: float) -> None:
        assert self.events is not None
        if self._timer is not None:
            self._timer.cancel()
        delay = min(max(moment - self._monotonic(), _SHORTEST_TIMER), _LONGEST_TIMER)
        self._timer_at = moment
        self._timer = self.events.call_later(delay, self._on_timer)

    def _on_soon(self) -> None:
        self._soon = None
        if not self.paused:
            self._ready()

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        now = self._monotonic()
        if self._retry_at <= now:
            self._retry_at = 0.0
        if self._thread is None and not self.paused:
            self._ready()
        if self._moment() <= now:
            self._let_go()
        self._arm()

    def _run_in_thread(self, running: asyncio.AbstractEventLoop) -> None:
        if self._thread is None:
            self._thread = LoopThread(self._loop, running, self._consumer, self._note_wake, self._give, self._arm)
            if self._note_wake is not None:
                self.on_wake = None
            self._thread.start()
        else:
            self._thread.move_to(running)

    def _detach(self) -> None:
        """After the end: resume the waiter, and take the descriptor out of the event loop before it is closed."""
        events, thread = self.events, self._thread
        if events is not None and not self._is_foreign(events):
            if self._fd >= 0 and not self.paused:
                events.remove_reader(self._fd)
            self._let_go_soon()
        self._forget_events()
        if thread is not None:
            thread.end()
        leave(self._loop)

    def _forget_events(self) -> None:
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = self.events = self.waiter = None
        self._timer_at = math.inf


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_attended: weakref.WeakSet[Loop] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A program that ends may have left streams open, and the interpreter would warn of each socket."""
    for loop in list(_attended):
        loop.close()
