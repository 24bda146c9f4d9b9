"""The services of the operating system that a loop uses."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from wire_rawsse.hosts.poller import new_poller
from wire_rawsse.transport.dial import open_socket
from wire_rawsse.transport.resolve import Resolver
from wire_rawsse.waits import Address, Future
from wire_rawsse.wakeup import WakeupFd

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Machine, Poller


def _random() -> float:
    """A random number in [0, 1). The module `random` would load four more, and copy its state into forked children."""
    return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)


def _real_monotonic() -> Callable[[], float]:
    """The `time.monotonic` that is written in C.

    A library that freezes time (freezegun) may have replaced it before our import. With a clock that stands still, a
    loop would never return.
    """
    clock: Any = time.monotonic
    if isinstance(clock, type(len)):
        return time.monotonic
    loader: Any = time.__loader__
    original = loader.create_module(time.__spec__)
    loader.exec_module(original)
    return cast("Callable[[], float]", original.monotonic)


def _machine() -> Machine:
    from wire_rawsse.hosts import machine  # Loaded by the first loop that runs.

    return machine


class OsServices(NamedTuple):
    """The services of the operating system that a loop and its tasks use. The simulation replaces them.

    `monotonic` (seconds) is the only clock by which a timeout is computed.
    """

    monotonic: Callable[[], float] = _real_monotonic()
    sleep: Callable[[float], None] = time.sleep
    time: Callable[[], float] = time.time  # The name hides the module from here on.
    random: Callable[[], float] = _random
    wakeup_fd: Callable[[], WakeupFd] = WakeupFd
    poller: Callable[[], Poller] = new_poller
    resolver: Callable[[Callable[[Future[list[Address]]], None]], Resolver] = Resolver
    open: Callable[[Address], socket.socket] = open_socket
    machine: Callable[[], Machine] = _machine


OS_SERVICES: Final = OsServices()
