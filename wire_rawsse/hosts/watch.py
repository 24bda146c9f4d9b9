"""Which descriptors a poller knows, for what, and whose they are.

Two rules:

* A descriptor leaves the poller before it is closed. A copy of it may live on in a forked child, and a closed
  descriptor whose file lives on is reported for ever.
* After a fork the child closes its copies and touches nothing else: the epoll is shared with the parent, so an
  `unregister` in the child would make the parent deaf.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wire_rawsse.hosts.poller import MAX_EVENTS
from wire_rawsse.waits import READ

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Poller


class Watch:
    """For the thread that runs the loop. An owner is a task. Each call is O(1), as a task has few descriptors."""

    __slots__ = ("callbacks", "interest", "owners", "poller")

    def __init__(self) -> None:
        self.poller: Poller | None = None
        self.owners: dict[int, Any] = {}
        self.interest: dict[int, int] = {}
        """The events that the poller watches each descriptor for. With 0 it is not in the poller: its stream is paused.
        A forked child must know it all the same.
        """
        self.callbacks: dict[int, Callable[[], object]] = {}
        """The callbacks of descriptors that belong to no task."""

    def begin(self, poller: Poller) -> None:
        """A poller has been opened. Raises `OSError`."""
        for fd in self.callbacks:
            poller.register(fd, READ)
            self.interest[fd] = READ
        self.poller = poller

    def all_events(self) -> list[tuple[int, int]]:
        """All ready descriptors, however many: a stream that is not reported would be taken for silent."""
        assert self.poller is not None
        maxevents = MAX_EVENTS
        while True:
            maxevents *= 8
            events = self.poller.poll(0, maxevents)
            if len(events) < maxevents:
                return events

    def call(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` when `fd` is readable. Raises `OSError` if the system has no room to watch it."""
        if self.poller is not None:
            self.poller.register(fd, READ)
            self.interest[fd] = READ
        self.callbacks[fd] = callback

    def arm(self, owner: Any, interest: Mapping[int, int]) -> None:
        """Watch exactly `interest` for this owner. Raises `OSError` if the system has no room to watch it."""
        for fd in owner.armed:
            if fd not in interest and self.owners.get(fd) is owner:
                self._mute(fd)
        owner.armed = tuple(interest)
        for fd, mask in interest.items():
            assert self.poller is not None
            known = self.interest.get(fd)
            try:
                if not known:
                    self.poller.register(fd, mask)
                elif known != mask:
                    self.poller.modify(fd, mask)
            except FileNotFoundError:  # `ssl` has closed it, as wrapping failed, and another file has its number.
                self.poller.register(fd, mask)
            self.interest[fd] = mask
            self.owners[fd] = owner

    def forget(self, fd: int) -> None:
        """Take a descriptor that will be closed out of the poller, if it is in there. Never raises."""
        self.callbacks.pop(fd, None)
        if fd in self.interest:
            self._mute(fd)
            del self.interest[fd]
        self.owners.pop(fd, None)

    def forget_all(self, owner: Any) -> None:
        """Take out the descriptors of this owner."""
        armed, owner.armed = owner.armed, ()
        for fd in armed:
            if self.owners.get(fd) is owner:
                self.forget(fd)

    def _mute(self, fd: int) -> None:
        mask, self.interest[fd] = self.interest.get(fd), 0
        if mask and self.poller is not None:
            try:
                self.poller.unregister(fd)
            except OSError:
                pass  # Other code has closed it, which also took it out.

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors that are known.

        They belong to objects that will close their number once more, when it may be that of another file. So each
        number is given to an empty pipe. That closes the copy, and the object then closes the pipe, which is harmless.
        """
        try:
            nowhere, writer = os.pipe()  # Not /dev/null, which a chroot may lack.
            os.close(writer)
        except OSError:  # No descriptor is left. A pending close_notify must still not be sent.
            for fd in self.interest:
                os.close(fd)
        else:
            for fd in self.interest:
                os.dup2(nowhere, fd, inheritable=False)
            os.close(nowhere)
