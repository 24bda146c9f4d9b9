"""`WakeChannel`: from the thread that hears something to the thread that sleeps. Wakes coalesce to one.

A raw lock is the fastest thing in CPython that one thread can wait on with a time-out and another can set: held means
nothing has come, free means a wake is pending. Releasing a free lock raises, which *is* the coalescing.

For hosts that sleep in a select loop there is a descriptor as well, made when it is first asked for. Whoever waits
takes the descriptor's state before the lock's; whoever sets does it the other way round. So the descriptor may be
readable once for nothing, but a pending wake is never left behind an unreadable one.
"""

from __future__ import annotations

import _thread
import time

from wire_rawsse.hosts.bell import Bell

_LONGEST = _thread.TIMEOUT_MAX


class WakeChannel:
    """One pending wake at the most, whatever the rate. Any thread may set it, any number may wait.

    It outlives every subscriber that sets it, and says nothing about them: only a wake ends `wait` early.
    """

    __slots__ = ("__weakref__", "_bell", "_pending")

    def __init__(self) -> None:
        self._pending = _thread.allocate_lock()
        self._pending.acquire()
        self._bell: Bell | None = None

    def set(self) -> None:
        """Make one wake pending. Safe from any thread and from a signal handler; never blocks."""
        try:
            self._pending.release()
        except RuntimeError:
            return  # One is pending already, and the descriptor with it.
        if self._bell is not None:
            self._bell.ring()

    def wait(self, timeout: float | None = None) -> bool:
        """Take the pending wake, waiting for it at most `timeout` seconds (None: for ever). True if there was one."""
        bell = self._bell
        if bell is not None:
            bell.silence()
        if timeout is None:
            return self._pending.acquire()
        if timeout <= 0:
            return self._pending.acquire(False)
        if timeout <= _LONGEST:
            return self._pending.acquire(True, timeout)
        until = time.monotonic() + timeout
        while not self._pending.acquire(True, min(_LONGEST, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                return False
        return True

    def fileno(self) -> int:
        """A descriptor that is readable while a wake is pending: poll it, then call `wait(0)`. Works on every platform.

        It may be readable once when there is nothing (`wait(0)` says so). It lives as long as the channel.
        """
        if self._bell is None:
            bell = Bell()
            self._bell = bell
            if not self._pending.locked():
                bell.ring()  # The wake came before anybody asked for a descriptor.
        return self._bell.fileno()
