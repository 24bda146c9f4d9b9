"""Waiting for descriptors: epoll (Linux), kqueue (macOS, BSD), poll or select (the rest) behind five methods.

Which of them exist is asked when a poller is made, not when this module is imported: gevent and eventlet remove epoll
and kqueue from `select`, and replace poll or select by versions that let other greenlets run.

The standard library's `selectors` does the same; it is not used because what a wake costs is the lines of Python
between `epoll_wait` and the return, and because it hides the epoll's own descriptor, which is what we hand out.
All are level-triggered, so whatever is left unread is reported again.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Mapping
from typing import Final, Generic, Protocol, TypeVar

from wire_rawsse.waits import READ, WRITE

FEW_EVENTS: Final = 16
"""Room for events at first, as epoll.poll would allocate it for 1023. A poll that fills it is made again with more."""

T = TypeVar("T")


class Poller(Protocol):
    """`timeout` in seconds, None for ever. Events are pairs of a descriptor and a mask that means nothing to us; of all
    that is ready, or of so many that there may be more where they fill the `room`."""

    def register(self, fd: int, interest: int) -> None: ...
    def modify(self, fd: int, interest: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float | None, room: int) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...


if sys.platform == "linux":

    class EpollPoller:
        """epoll(7). READ and WRITE are its own EPOLLIN and EPOLLOUT."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.register = self._epoll.register
            self.modify = self._epoll.modify
            self.unregister = self._epoll.unregister
            self.close = self._epoll.close
            self.fileno = self._epoll.fileno
            self.poll = self._epoll.poll


if sys.platform != "linux" and sys.platform != "win32":  # macOS and the BSDs

    class KqueuePoller:
        """kqueue(2): readability and writability are filters of their own, so the interest has to be remembered."""

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

        def poll(self, timeout: float | None, room: int) -> list[tuple[int, int]]:
            return [(event.ident, event.filter) for event in self._kqueue.control(None, room, timeout)]


if sys.platform != "win32":

    class PollPoller:
        """poll(2): it has no descriptor of its own, so a host's own loop cannot wait on it."""

        def __init__(self) -> None:
            self._poll = select.poll()
            self.register = self._poll.register
            self.modify = self._poll.modify

        def unregister(self, fd: int) -> None:
            try:
                self._poll.unregister(fd)
            except KeyError:
                pass  # As `modify` raises `OSError` for a descriptor that was never registered.

        def poll(self, timeout: float | None, room: int) -> list[tuple[int, int]]:
            return self._poll.poll(None if timeout is None else timeout * 1000)

        def close(self) -> None:
            pass

        def fileno(self) -> int:
            return -1


class SelectPoller:
    """select(2): it has no descriptor of its own, so a host's own loop cannot wait on it."""

    def __init__(self) -> None:
        self._interest: dict[int, int] = {}

    def register(self, fd: int, interest: int) -> None:
        """Raises `OSError` (EMFILE) for a descriptor that is beyond what select(2) can hold."""
        try:
            select.select([fd], [], [], 0)
        except ValueError as error:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
        self._interest[fd] = interest

    def modify(self, fd: int, interest: int) -> None:
        self._interest[fd] = interest

    def unregister(self, fd: int) -> None:
        del self._interest[fd]

    def poll(self, timeout: float | None, room: int) -> list[tuple[int, int]]:
        reading = [fd for fd, interest in self._interest.items() if interest & READ]
        writing = [fd for fd, interest in self._interest.items() if interest & WRITE]
        try:
            # A connection that failed shows up as exceptional on Windows, and only there.
            readable, writable, failed = select.select(reading, writing, writing, timeout)
        except (OSError, ValueError):
            # A descriptor was closed by someone else. Its owner learns of it by its next call, as with poll(2).
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


def new_poller() -> Poller:
    """The best that the module `select` has now."""
    best: type[Poller] = SelectPoller
    if sys.platform == "linux" and hasattr(select, "epoll"):
        best = EpollPoller
    elif sys.platform not in ("linux", "win32") and hasattr(select, "kqueue"):
        best = KqueuePoller
    elif sys.platform != "win32" and hasattr(select, "poll"):
        best = PollPoller
    return best()


class Watch(Generic[T]):
    """Which descriptors a poller knows, for what, and whose they are."""

    __slots__ = ("_descriptors", "interest", "owners", "poller")

    def __init__(self) -> None:
        self.poller: Poller | None = None
        self.owners: dict[int, T] = {}
        self.interest: dict[int, int] = {}
        self._descriptors: dict[T, tuple[int, ...]] = {}
        """Of each owner, those that it was last armed for. Some may have been forgotten, or be another's by now."""

    def all_events(self) -> list[tuple[int, int]]:
        """Of all that is ready, however much: whoever is not reported would be taken for silent."""
        assert self.poller is not None
        room = FEW_EVENTS
        while True:
            room *= 8
            events = self.poller.poll(0, room)
            if len(events) < room:
                return events

    def arm(self, owner: T, interest: Mapping[int, int]) -> None:
        """Make the poller know exactly `interest` for this owner. Raises `OSError` where the system has no room."""
        assert self.poller is not None
        for fd in self._descriptors.get(owner, ()):
            if fd not in interest and self.owners.get(fd) is owner:
                self.forget(fd)
        self._descriptors[owner] = tuple(interest)
        for fd, mask in interest.items():
            known = self.interest.get(fd)
            try:
                if known is None:
                    self.poller.register(fd, mask)
                elif known != mask:
                    self.poller.modify(fd, mask)
            except FileNotFoundError:  # `ssl` closed it when it could not be wrapped, and the number is in use again.
                self.poller.register(fd, mask)
            self.interest[fd] = mask
            self.owners[fd] = owner

    def forget(self, fd: int) -> None:
        """Take a descriptor out of the poller, if it is in there. Never raises."""
        if self.interest.pop(fd, None) is None:
            return
        del self.owners[fd]
        if self.poller is not None:
            try:
                self.poller.unregister(fd)
            except OSError:
                pass  # Somebody closed it behind our back, which took it out as well.

    def forget_all(self, owner: T) -> None:
        for fd in self._descriptors.pop(owner, ()):
            if self.owners.get(fd) is owner:
                self.forget(fd)
