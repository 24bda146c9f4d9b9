"""`WakeChannel`: from the thread that hears something to the thread that sleeps. Wakes coalesce to one.

A raw lock is the fastest thing in CPython that one thread can wait on with a time-out and another can set: held means
nothing has come, free means a wake is pending. Releasing a free lock raises, which *is* the coalescing.

For hosts that sleep in a select loop there is a descriptor as well, made when it is first asked for. A waiter
takes the descriptor's state before the lock's; a setter does it the other way round. So the descriptor may be
readable once for nothing, but a pending wake is never left behind an unreadable one.
"""

from __future__ import annotations

import _thread

from wire_rawsse import checks
from wire_rawsse.wakeup import WakeupFd

_LONGEST = _thread.TIMEOUT_MAX


class WakeChannel:
    """One pending wake at the most, whatever the rate. Any thread may set it, any number may wait.

    It outlives every subscriber that sets it, and says nothing about them: only a wake ends `wait` early.
    """

    __slots__ = ("__weakref__", "_latest", "_made", "_pending", "_wakeup")

    def __init__(self) -> None:
        self._pending = _thread.allocate_lock()
        self._pending.acquire()
        self._latest: list[None] = []
        """Another object with each `set`, so that an interrupted waiter can tell whether there was one."""
        self._wakeup: WakeupFd | None = None
        self._made: dict[str, WakeupFd] = {}

    def set(self) -> None:
        """Make one wake pending. Safe from any thread and from a signal handler; never blocks."""
        self._latest = []  # First: the waiter that takes the wake finds it changed.
        try:
            self._pending.release()
        except RuntimeError:
            return  # One is pending already, and the descriptor with it.
        if self._wakeup is not None:
            self._wakeup.notify()

    def wait(self, timeout: float | None = None) -> bool:
        """Take the pending wake, waiting for it at most `timeout` seconds (None: for ever). True if there was one.

        0 or less looks and does not wait. Raises `InvalidRequestError` for a timeout that is no number.
        An exception of a signal handler passes through, and takes no wake with it.
        """
        timeout = checks.seconds(timeout)
        wakeup, latest = self._wakeup, self._latest
        acquire = self._pending.acquire
        there = not self._pending.locked()
        try:
            if wakeup is not None:
                wakeup.drain()
            if timeout is None or 0 < timeout <= _LONGEST:
                return acquire(True, -1 if timeout is None else timeout)
            if timeout <= 0:
                return acquire(False)
            while timeout > _LONGEST:  # Seconds that no lock of this platform can wait for at once.
                if acquire(True, _LONGEST):
                    return True
                timeout -= _LONGEST
            return acquire(True, timeout)
        except BaseException:
            # A signal handler of the host's has raised, perhaps between the taking and the return, so that nobody has
            # the wake that was taken. It is given back; if several wait and another has it, that is one wake too many.
            # And the descriptor that was drained must be looked at once more.
            if there or self._latest is not latest:
                self.set()
            if wakeup is not None:
                wakeup.notify()
            raise

    def fileno(self) -> int:
        """A descriptor that is readable while a wake is pending: poll it, then call `wait(0)`. Works on every platform.

        It may be readable once when there is nothing (`wait(0)` says so). It lives as long as the channel.
        """
        if self._wakeup is None:
            # Atomic: of several threads that ask for the first time, all get the same.
            wakeup = self._wakeup = self._made.setdefault("wakeup", WakeupFd())
            if not self._pending.locked():
                wakeup.notify()  # The wake came before anybody asked for a descriptor.
        return self._wakeup.fileno()
