"""`WakeChannel`: wakes from the thread that receives to the thread that sleeps. Wakes coalesce to one.

A raw lock is the fastest object in CPython on which one thread can wait with a time-out and which another can set. Held
means that nothing has come, free that a wake is pending. Releasing a free lock raises, and that *is* the coalescing.

For hosts that sleep in a select loop there is a descriptor as well, made when it is first asked for. A waiter drains
the descriptor first and then takes the lock; a setter releases the lock first and then makes the descriptor readable.
So the descriptor may be readable without a wake, but it is never unreadable while a wake is pending.
"""

from __future__ import annotations

import _thread

from wire_rawsse import checks
from wire_rawsse.wakeup import WakeupFd

_LONGEST = _thread.TIMEOUT_MAX


class WakeChannel:
    """At most one pending wake, at any rate of wakes. Any thread may set it, and any number of threads may wait.

    It outlives the subscribers that set it. Their end does not end a `wait`: only a wake does.
    """

    __slots__ = ("__weakref__", "_latest", "_made", "_pending", "_wakeup")

    def __init__(self) -> None:
        self._pending = _thread.allocate_lock()
        self._pending.acquire()
        self._latest: list[None] = []
        """A new object at each `set`, so that an interrupted waiter can tell whether there was one."""
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
            # A signal handler of the host's has raised, perhaps after the wake was taken and before the return. So the
            # wake is given back. (If another waiter has taken it, that is one wake too many.) The descriptor was
            # drained, so it is made readable again.
            if there or self._latest is not latest:
                self.set()
            if wakeup is not None:
                wakeup.notify()
            raise

    def fileno(self) -> int:
        """A descriptor that is readable while a wake is pending: poll it, then call `wait(0)`. Works on every platform.

        It may be readable once without a wake (then `wait(0)` returns False). It lives as long as the channel.
        """
        if self._wakeup is None:
            # Atomic: several threads that ask for the first time all get the same one.
            wakeup = self._wakeup = self._made.setdefault("wakeup", WakeupFd())
            if not self._pending.locked():
                wakeup.notify()  # The wake came before anybody asked for a descriptor.
        return self._wakeup.fileno()
