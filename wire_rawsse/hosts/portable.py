"""The pollers of platforms without epoll, and of a Linux whose `select` module is patched: kqueue, poll and select."""

from __future__ import annotations

import errno
import os
import select
import sys
from typing import TYPE_CHECKING

from wire_rawsse.waits import READ, WRITE

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Poller


if sys.platform != "linux" and sys.platform != "win32":  # macOS and the BSDs

    class KqueuePoller:
        """kqueue(2). Readability and writability are two filters, so the interest is remembered here."""

        def __init__(self) -> None:
            self._kqueue = select.kqueue()
            self._interest: dict[int, int] = {}
            self.close = self._kqueue.close
            self.fileno = self._kqueue.fileno

        def register(self, fd: int, interest: int) -> None:
            self._interest[fd] = 0
            self.modify(fd, interest)

        def modify(self, fd: int, interest: int) -> None:
            before = self._interest[fd]
            changes = [
                select.kevent(fd, kind, select.KQ_EV_ADD if interest & bit else select.KQ_EV_DELETE)
                for bit, kind in ((READ, select.KQ_FILTER_READ), (WRITE, select.KQ_FILTER_WRITE))
                if (before ^ interest) & bit
            ]
            if changes:
                self._kqueue.control(changes, 0)
            self._interest[fd] = interest

        def unregister(self, fd: int) -> None:
            self.modify(fd, 0)
            del self._interest[fd]

        def poll(self, timeout: float | None, maxevents: int) -> list[tuple[int, int]]:
            return [(event.ident, event.filter) for event in self._kqueue.control(None, maxevents, timeout)]


if sys.platform != "win32":

    class PollPoller:
        """poll(2). It has no descriptor, so a host's own loop cannot wait on it."""

        def __init__(self) -> None:
            self._poll = select.poll()
            self.register = self._poll.register
            self.modify = self._poll.modify

        def unregister(self, fd: int) -> None:
            try:
                self._poll.unregister(fd)
            except KeyError:
                pass  # It is not registered. Other pollers raise an `OSError` then, which callers ignore.

        def poll(self, timeout: float | None, maxevents: int) -> list[tuple[int, int]]:
            return self._poll.poll(None if timeout is None else timeout * 1000)

        def close(self) -> None:
            pass

        def fileno(self) -> int:
            return -1


class SelectPoller:
    """select(2). It has no descriptor, so a host's own loop cannot wait on it."""

    def __init__(self) -> None:
        self._interest: dict[int, int] = {}

    def register(self, fd: int, interest: int) -> None:
        """Raises `OSError` (EMFILE) for a descriptor that is too large for select(2)."""
        try:
            select.select([fd], [], [], 0)
        except ValueError as error:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
        self._interest[fd] = interest

    def modify(self, fd: int, interest: int) -> None:
        self._interest[fd] = interest

    def unregister(self, fd: int) -> None:
        del self._interest[fd]

    def poll(self, timeout: float | None, maxevents: int) -> list[tuple[int, int]]:
        reading = [fd for fd, interest in self._interest.items() if interest & READ]
        writing = [fd for fd, interest in self._interest.items() if interest & WRITE]
        try:
            # A connection that failed shows up as exceptional on Windows, and only there.
            readable, writable, failed = select.select(reading, writing, writing, timeout)
        except (OSError, ValueError):
            # Other code has closed a descriptor. Its owner finds out by its next call, as with poll(2).
            closed = [(fd, 0) for fd in self._interest if not _is_open(fd)]
            if not closed:
                raise
            return closed
        return [(fd, 0) for fd in {*readable, *writable, *failed}]

    def close(self) -> None:
        self._interest.clear()

    def fileno(self) -> int:
        return -1


def _is_open(fd: int) -> bool:
    try:
        select.select([fd], [], [], 0)
    except (OSError, ValueError):
        return False
    return True


def best_poller() -> Poller:
    """The best that the module `select` has now."""
    best: type[Poller] = SelectPoller
    if sys.platform not in ("linux", "win32") and hasattr(select, "kqueue"):
        best = KqueuePoller
    elif sys.platform != "win32" and hasattr(select, "poll"):
        best = PollPoller
    return best()
