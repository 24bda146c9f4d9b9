"""A loop's view of its machine: changes of the network, and suspends.

A loop loads this when it runs for the first time. The parser of the messages and the questions to the kernel are loaded
when the first message comes.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Timer
    from wire_rawsse.transport.netlink import Messages, NetworkChange

_GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and RTMGRP_IPV6_ROUTE."""


class NetworkSocket:
    """The kernel's announcements. Raises `OSError` if the platform has none, or if a sandbox forbids them."""

    __slots__ = ("_kernel_is_linux", "_messages", "_sock")

    def __init__(self) -> None:
        # FreeBSD has this family too, but with other values in its messages. There route(4) is used.
        netlink = getattr(socket, "AF_NETLINK", None) if sys.platform in ("linux", "android") else None
        self._kernel_is_linux = netlink is not None
        self._messages: Messages | None = None
        if netlink is not None:
            self._sock = socket.socket(netlink, socket.SOCK_RAW, 0)  # NETLINK_ROUTE
        elif hasattr(socket, "AF_ROUTE"):
            self._sock = socket.socket(socket.AF_ROUTE, socket.SOCK_RAW, 0)
        else:
            raise OSError(errno.EAFNOSUPPORT, "this platform does not announce network changes")
        try:
            self._sock.setblocking(False)
            if netlink is not None:
                self._sock.bind((0, _GROUPS))
        except BaseException:
            self._sock.close()
            raise

    def fileno(self) -> int:
        """Readable when there is something to `read`."""
        return self._sock.fileno()

    def read(self, change: NetworkChange) -> None:
        """See `netlink.read_announcements`, which is loaded when there is something to read."""
        from wire_rawsse.transport.netlink import Messages, read_announcements

        if self._messages is None and self._kernel_is_linux:
            self._messages = Messages()
        read_announcements(self._sock, self._messages, change)

    def close(self) -> None:
        self._sock.close()

    def __del__(self) -> None:
        if hasattr(self, "_sock"):
            self._sock.close()


def boottime_clock() -> Callable[[], float] | None:
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


class RealMachine:
    """See `system.Machine`."""

    __slots__ = ()

    network = NetworkSocket
    boottime = staticmethod(boottime_clock)

    def resume_timer(self) -> Timer:
        if not hasattr(os, "timerfd_create"):
            raise OSError("os.timerfd_create needs CPython 3.13 and Linux")
        from wire_rawsse.hosts.suspend import ResumeTimer

        return ResumeTimer()

    def address_is_gone(self, family: int, local: tuple[Any, ...]) -> bool:
        from wire_rawsse.transport.routes import address_is_gone

        return address_is_gone(family, local)

    def source_towards(self, family: int, peer: tuple[Any, ...]) -> str | None:
        from wire_rawsse.transport.routes import source_towards

        return source_towards(family, peer)
