"""A loop's view of its machine: changes of the network, and suspends. The module itself is a `Machine`.

A loop loads this when it runs for the first time. The parser of the messages and the questions to the kernel are loaded
when the first message comes. There are few functions here, because each takes about 1.5 KiB on CPython 3.14.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Routes
    from wire_rawsse.transport.netlink import Messages, NetworkChange

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE."""
_NEVER: Final = 2.0**33
"""Seconds since the epoch: the year 2242."""


class NetworkSocket(socket.socket):
    """The kernel's announcements. Raises `OSError` if the platform has none, or if a sandbox forbids them."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        # FreeBSD has AF_NETLINK too, but with other values in its messages. There route(4) is used.
        linux = sys.platform in ("linux", "android")
        family = getattr(socket, "AF_NETLINK" if linux else "AF_ROUTE", None)
        if family is None:
            raise OSError(errno.EAFNOSUPPORT, "this platform does not announce network changes")
        super().__init__(family, socket.SOCK_RAW, 0)  # 0 is NETLINK_ROUTE.
        self._messages: Messages | None = None
        try:
            self.setblocking(False)
            if linux:
                self.bind((0, _GROUPS))
        except BaseException:
            self.close()
            raise

    def read(self, change: NetworkChange) -> None:
        """See `netlink.read_announcements`, which is loaded when there is something to read."""
        from wire_rawsse.transport.netlink import Messages, read_announcements

        if self._messages is None and self.family == getattr(socket, "AF_NETLINK", None):
            self._messages = Messages()
        read_announcements(self, self._messages, change)

    def __del__(self) -> None:
        if hasattr(self, "_messages"):
            self.close()


network = NetworkSocket


def boottime() -> Callable[[], float] | None:
    """CLOCK_BOOTTIME in seconds, or None where the system has none (it is Linux's)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return None
    gettime = time.clock_gettime
    try:
        gettime(clock)
    except OSError:
        return None
    return partial(gettime, clock)


class ResumeTimer(FileIO):
    """A descriptor that becomes readable when the machine resumes, or when the wall clock is set.

    The kernel cancels a timer on CLOCK_REALTIME that was set with TFD_TIMER_CANCEL_ON_SET at each of these
    (timerfd_create(2)). It is used for nothing else.
    """

    __del__ = FileIO.close

    def rearm(self) -> None:
        """Make it unreadable again: setting it forgets that it was cancelled. Raises `OSError`."""
        system: Any = os
        flags = system.TFD_TIMER_ABSTIME | system.TFD_TIMER_CANCEL_ON_SET
        system.timerfd_settime(self.fileno(), flags=flags, initial=_NEVER)


def resume_timer() -> ResumeTimer:
    system: Any = os
    if not hasattr(os, "timerfd_create"):
        raise OSError("os.timerfd_create needs CPython 3.13 and Linux")
    create = partial(system.timerfd_create, flags=system.TFD_NONBLOCK | system.TFD_CLOEXEC)
    (timer,) = map(ResumeTimer, map(create, (time.CLOCK_REALTIME,)))  # One step to a signal handler: nothing is lost.
    timer.rearm()
    return timer


def routes() -> Routes:
    from wire_rawsse.transport import routes

    return routes
