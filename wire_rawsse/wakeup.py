"""A descriptor that any thread, or a signal handler, can make readable: how a waiting loop is interrupted.

It is an eventfd (eventfd(2)) on Linux, otherwise a socket pair (Windows can only wait for sockets).

Closing is the difficult part. The system reuses a descriptor's number as soon as it is closed, so a late `notify` could
write into another file. A lock prevents that, but a signal handler that interrupts the holder of the lock would wait
for it for ever. So nothing here waits for the lock: a caller that does not get it sets a flag, and the holder checks
the flags after it has released the lock.
"""

from __future__ import annotations

import _thread
import os
import socket
from collections.abc import Callable
from typing import Final

_NON_BLOCKING: Final = (False,)


def try_acquire(lock: _thread.LockType, held: list[bool]) -> None:
    """Acquire `lock` if it is free, and append True to `held` if it must be released.

    Both happen in one call into C, because a signal handler may raise between two calls, and the lock would then be
    held for ever. Call it inside the `try` whose `finally` releases.
    """
    held.extend(filter(None, map(lock.acquire, _NON_BLOCKING)))


class WakeupFd:
    """`notify` and `close` from anywhere, any number of times; `drain` from the thread that waits on `fileno()`."""

    __slots__ = ("__weakref__", "_busy", "_closing", "_event", "_notified", "_pair")

    _add: Callable[[int, int], object] = staticmethod(getattr(os, "eventfd_write", max))
    _close = staticmethod(os.close)  # At the interpreter's exit this module's globals are gone before the object.

    def __init__(self) -> None:
        self._busy = _thread.allocate_lock()
        self._notified = False
        self._closing = False
        self._event = -1
        self._pair: tuple[socket.socket, socket.socket] | None = None
        if hasattr(os, "eventfd"):
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self._pair = socket.socketpair()
            for end in self._pair:
                end.setblocking(False)

    def fileno(self) -> int:
        """Readable after `notify`, until `drain`; -1 once closed."""
        return self._event if self._pair is None else self._pair[0].fileno()

    def notify(self) -> None:
        """Make `fileno()` readable."""
        self._notified = True
        self._settle()

    def close(self) -> None:
        """Close the descriptor. Twice is fine."""
        self._closing = True
        self._settle()

    def drain(self) -> None:
        """Make `fileno()` unreadable again. Look for the reason of the `notify` after this call, not before."""
        try:
            if self._pair is None:
                os.eventfd_read(self._event)
            else:
                self._pair[0].recv(4096)
        except BlockingIOError:
            pass

    def _settle(self) -> None:
        while self._notified or self._closing:
            held: list[bool] = []
            try:
                try_acquire(self._busy, held)
                if not held:
                    return
                if self._notified:
                    # No signal handler can run between these two lines: another thread may rely on this notification.
                    self._notified = False
                    if self._event >= 0:
                        self._add(self._event, 1)
                    elif self._pair is not None:
                        self._pair[1].send(b"\0")
                if self._closing:
                    self._closing = False
                    self._shut()
            except BlockingIOError:
                pass  # It is full of notifications, so it is readable, which is all that is needed.
            except OSError:
                if self._pair is None or self._pair[1].fileno() >= 0:
                    raise
            finally:
                if held:
                    self._busy.release()

    def _shut(self) -> None:
        if self._pair is not None:
            for end in self._pair:
                end.close()
        elif self._event >= 0:
            event, self._event = self._event, -1
            self._close(event)

    def abandon(self) -> None:
        """Close our copies in a forked child, where the thread that may have held the lock does not exist."""
        self._busy = _thread.allocate_lock()
        self._notified = self._closing = False
        self._shut()

    def __del__(self) -> None:
        if hasattr(self, "_pair"):  # Otherwise a signal handler raised before there was anything to close.
            self._shut()
