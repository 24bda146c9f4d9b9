"""A descriptor that any thread, or a signal handler, may make readable: how a waiting host is interrupted.

An eventfd where there is one (eventfd(2), Linux), else a socket pair (Windows can wait for nothing but sockets).

The difficulty is not ringing but closing. A descriptor's number is given away again the moment it is closed, so a ring
that comes too late would write into somebody else's file. A lock would settle it, but a signal handler that interrupts
the thread that holds the lock would wait for ever. So nobody here waits for the lock: whoever does not get it leaves a
note, and whoever holds it looks for notes after letting it go.
"""

from __future__ import annotations

import _thread
import os
import socket
from collections.abc import Callable
from typing import Final

_AT_ONCE: Final = (False,)


def take(lock: _thread.LockType, taken: list[bool]) -> None:
    """Acquire `lock` if it is free, and note in `taken` that it must be released.

    Both are one call into C. A signal handler of the host's may raise between two calls, and then the lock would be
    held for ever. Use it inside the `try` whose `finally` releases.
    """
    taken.extend(filter(None, map(lock.acquire, _AT_ONCE)))


class Bell:
    """`ring` and `close` from anywhere, any number of times; `silence` from whoever waits on `fileno()`."""

    __slots__ = ("__weakref__", "_busy", "_closing", "_event", "_pair", "_rung")

    _add: Callable[[int, int], object] = staticmethod(getattr(os, "eventfd_write", max))
    _close = staticmethod(os.close)  # At the interpreter's exit the globals of this module are gone before the object.

    def __init__(self) -> None:
        self._busy = _thread.allocate_lock()
        self._rung = False
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
        """Readable after `ring`, until `silence`; -1 once closed."""
        return self._event if self._pair is None else self._pair[0].fileno()

    def ring(self) -> None:
        self._rung = True
        self._settle()

    def close(self) -> None:
        self._closing = True
        self._settle()

    def silence(self) -> None:
        """Make it unreadable again. What was rung for has to be looked for after this, not before."""
        try:
            if self._pair is None:
                os.eventfd_read(self._event)
            else:
                self._pair[0].recv(4096)
        except BlockingIOError:
            pass

    def _settle(self) -> None:
        while self._rung or self._closing:
            taken: list[bool] = []
            try:
                take(self._busy, taken)
                if not taken:
                    return
                if self._rung:
                    # One step to a signal handler, which must not come between: another thread may rely on this ring.
                    self._rung = False
                    if self._event >= 0:
                        self._add(self._event, 1)
                    elif self._pair is not None:
                        self._pair[1].send(b"\0")
                if self._closing:
                    self._closing = False
                    self._shut()
            except BlockingIOError:
                pass  # Full of rings: readable is all it needs to be.
            except OSError:
                if self._pair is None or self._pair[1].fileno() >= 0:
                    raise
            finally:
                if taken:
                    self._busy.release()

    def _shut(self) -> None:
        if self._pair is not None:
            for end in self._pair:
                end.close()
        elif self._event >= 0:
            event, self._event = self._event, -1
            self._close(event)

    def abandon(self) -> None:
        """In a forked child, where whoever held the lock does not exist: close our copies."""
        self._busy = _thread.allocate_lock()
        self._rung = self._closing = False
        self._shut()

    def __del__(self) -> None:
        if hasattr(self, "_pair"):  # Otherwise a signal handler raised before there was anything to close.
            self._shut()
