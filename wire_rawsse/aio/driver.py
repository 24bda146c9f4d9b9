"""Runs a `Loop` on an asyncio event loop: its descriptor under `add_reader`, and one timer for its deadline.

Nothing here is a task. The event loop calls `_ready` when the descriptor is readable or a deadline has come, whether
or not somebody waits, so that a stream that has wedged is found while the program does other things. A task that waits
is suspended on a future of its own; its cancellation changes nothing here.

The descriptor is that of the loop's own poller and not of a socket, for two reasons. A socket must leave its poller
before it is closed, and uvloop removes readers late. And a deadline is judged only by a poll that began after it.

The one timer serves the deadlines of the streams and the time limit of the waiter. It is lazy: if its moment moves
later, nothing is done, and the timer that fires too early is set again. So an event costs no timer.

A future resumes its task by `call_soon`: a handle more, a pass of the event loop and a call of its selector lie between
the wake and the task, which is half of the cost of a wake in asyncio. So `_let_go` runs what the task has added to the
future at once, in the callback in which the wake was found.

With an event loop that has no `add_reader` (Windows' Proactor), or a poller that has no descriptor, a thread runs the
loop instead: see `thread`.
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
    """Attends one `Loop`, and suspends the task that waits on it. `close` and `look_soon` are for any thread, all else
    for the thread of the event loop.
    """

    def __init__(self, loop: Loop, consumer: Consumer, note_wake: Callable[[], object] | None = None) -> None:
        """note_wake: called on each wake before anything else, while `loop.woken()` is valid; it may be in a thread."""
        self.woken = False
        """There was a wake. The consumer sets it back."""
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
        """The descriptor is not watched: the consumer is full, or an internal error is some time ago."""
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
        """Have the event loop watch our descriptor, or else have a thread run the loop. True: it watches.

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
        """The start of a wait of so many seconds (None: for ever); returns the moment at which it is over.

        With 0 it looks once, as such a wait never gives the event loop a chance to. Raises as `attach`, and `BusyError`
        if another task waits.
        """
        self.attach()
        if self.waiter is not None and not self.waiter.done():
            raise BusyError("another task waits on this stream; give each its own")
        if seconds is None:
            return math.inf
        if seconds == 0 and not self.paused:
            self._look()
        return self._monotonic() + seconds

    def is_over(self, until: float) -> bool:
        return until < math.inf and self._monotonic() >= until

    def wait(self, until: float) -> asyncio.Future[None]:
        """To be awaited at once: ends by a wake, at `until`, by `close`, or for no reason."""
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
        """End the streams and give everything back; the task that waits returns. From any thread.

        From another thread the connections are closed at once, even if the event loop is busy or about to stop. It lets
        the waiting task go and forgets the descriptor when it has its turn.
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
        """It is closed, or it is the parent's and this is a forked child."""
        return self._process != os.getpid() or events.is_closed()

    def _ready(self) -> None:
        """The descriptor is readable, or a deadline has come. The work before the program runs is a wake's cost."""
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
                # The program has run until it waits again: time to parse what it was woken for.
                if self.events is not None and (due := settle(loop)) is None:
                    ours = False
                    self._give()
        except Exception as error:
            if ours:
                self._failed(error)
            else:
                self._let_go_soon()
                raise
        except BaseException:  # A signal handler raised. The place is unknown, so a wake may be lost.
            loop.start_over()
            raise
        finally:
            self._arm(due)

    def _failed(self, error: Exception) -> None:
        """The loop has raised. `ClosedError`: it was closed, which `_arm` sees."""
        if not isinstance(error, ClosedError):
            self._retry_at = self._monotonic() + self._consumer.on_failure(error)
            self._let_go_soon()

    def _give(self) -> None:
        """There is a wake, or an item."""
        self.woken = True
        try:
            if self.on_wake is not None:
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
        except BaseException:  # A signal handler raised, and nothing else would ever resume the task.
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
        """See to it that all is done in time. `deadline`: that of the loop, if it is known."""
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
        """After the end: take the descriptor out of the event loop, and only then give it back. Let the waiter go."""
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
    """A program that is over has not closed what it cancelled, and the interpreter would warn of each socket."""
    for loop in list(_attended):
        loop.close()
