"""What a task is suspended on while it waits for one of our streams.

An `asyncio.Future` resumes its task by `call_soon`: one more handle, one more pass of the event loop and one more call
of its selector lie between the wake and the task. They are half of what a wake costs in asyncio. A `Waiter` resumes its
task in the very callback in which the wake was found.

It implements the protocol that `asyncio.isfuture` documents for objects that are not `asyncio.Future`: a task that is
given an object with `_asyncio_future_blocking` calls `add_done_callback` with its own wake-up, and later `result`; to
cancel the task, asyncio calls `cancel`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Protocol


class WaiterHost(Protocol):
    """Whoever resumes waiters; only one waits at a time."""

    waiter: Waiter | None
    events: asyncio.AbstractEventLoop | None


class Waiter:
    """One suspension of one task: `await` it. It ends by `resume`, or by the cancellation of the task.

    until: the monotonic time at which the host is to resume it at the latest.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_host", "until")

    def __init__(self, host: WaiterHost, until: float = math.inf) -> None:
        self.until = until
        self._host = host
        self._callback: Callable[[Waiter], object] | None = None
        self._context: Context | None = None
        self._cancelled: tuple[object, ...] | None = None
        self._asyncio_future_blocking = False

    def __await__(self) -> Generator[Waiter, None, None]:
        host = self._host
        host.waiter = self
        self._asyncio_future_blocking = True
        try:
            yield self
        finally:
            if host.waiter is self:  # The task was thrown away while it waited.
                host.waiter = None

    def resume(self) -> None:
        """Run the task until it waits again. Not from inside a task: see `resume_soon`."""
        self._host.waiter = None
        callback, context = self._callback, self._context
        if callback is not None and context is not None:
            self._callback = None
            context.run(callback, self)

    def resume_soon(self) -> None:
        """Have the event loop run the task. For callers that are tasks themselves, which cannot run another inside."""
        self._host.waiter = None
        callback, events = self._callback, self._host.events
        if callback is not None and events is not None and not events.is_closed():
            self._callback = None
            events.call_soon(callback, self, context=self._context)

    # What `asyncio.Task` asks of a future.

    def get_loop(self) -> asyncio.AbstractEventLoop | None:
        return self._host.events

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        self._callback = callback
        self._context = context

    def cancel(self, msg: object = None) -> bool:
        """The task is cancelled. From now on another may wait, and gets a wake that comes before this one has ended."""
        if self._callback is None:
            return False
        self._cancelled = () if msg is None else (msg,)
        self.resume_soon()
        return True

    def result(self) -> None:
        if self._cancelled is not None:
            raise asyncio.CancelledError(*self._cancelled)
