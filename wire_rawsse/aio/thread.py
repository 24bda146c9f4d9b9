"""A thread that runs a `Loop` for an event loop that cannot watch a descriptor (Windows' Proactor).

It passes each wake on by `call_soon_threadsafe`. While the program has too many unread items, it does not receive. The
caller's callables (`bearer_token`, `headers`, `url`) are called in this thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.hosts.thread import LET_GO
from wire_rawsse.wake import WakeChannel

_JOIN: Final = 0.1
"""Seconds that `close` waits for the thread, which may be held up by a callable of the caller's."""


class Consumer(Protocol):
    """One of our public objects."""

    def is_full(self) -> bool:
        """Whether to receive nothing until the program has read the unread items."""

    def on_failure(self, error: Exception) -> float:
        """`Loop.run` has raised an unexpected error. Returns the seconds until it is run again."""


class LoopThread(threading.Thread):
    """Runs the loop until it is closed. It may outlive its event loop, and goes on when another one takes over.

    note_wake: called by this thread on each wake, before `on_wake`.
    on_wake:   called by the event loop on each wake.
    on_end:    called by the event loop after the loop was closed.
    """

    def __init__(
        self,
        loop: Loop,
        events: asyncio.AbstractEventLoop,
        consumer: Consumer,
        note_wake: Callable[[], object] | None,
        on_wake: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(name="wire-stream-aio", daemon=True)
        self._loop = loop
        self._events = events
        self._consumer = consumer
        self._note_wake = note_wake
        self._on_wake = on_wake
        self._on_end = on_end
        self._unheard = False
        """There was a wake, but no event loop to pass it on to."""
        self._go_on = WakeChannel()

    def move_to(self, events: asyncio.AbstractEventLoop) -> None:
        """Another event loop takes over."""
        self._events = events
        if self._unheard:
            self._unheard = False
            self._pass_on()
        self.go_on()

    def go_on(self) -> None:
        """Look again at whether there is room, or whether the loop is closed."""
        self._go_on.set()

    def end(self) -> None:
        """The loop is closed. Give the thread a moment to end."""
        self.go_on()
        if self is not threading.current_thread():
            self.join(_JOIN)

    def run(self) -> None:
        loop, consumer = self._loop, self._consumer
        while not loop.closing:
            try:
                if self._run_loop():
                    time.sleep(LET_GO)
            except ClosedError:
                break
            except Exception as error:
                pause = consumer.on_failure(error)
                self._pass_on()
                self._go_on.wait(pause)
            while (self._unheard or consumer.is_full()) and not loop.closing:
                self._go_on.wait()
        self._say(self._on_end)

    def _run_loop(self) -> bool:
        if self._note_wake is None:
            return self._loop.run(None, self._pass_on)  # A wake is passed on before `run` returns.
        woken = self._loop.run(None)
        if woken:
            self._note_wake()
            self._pass_on()
        return woken

    def _pass_on(self) -> None:
        self._unheard = not self._say(self._on_wake)

    def _say(self, call: Callable[[], None]) -> bool:
        try:
            self._events.call_soon_threadsafe(call)
        except RuntimeError:  # The event loop is closed.
            return False
        return True
