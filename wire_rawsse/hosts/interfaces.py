"""The interfaces of a poller, of housekeeping and of a machine. For type checkers only: not imported at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from wire_rawsse.transport.netlink import NetworkChange


class Poller(Protocol):
    """`poll` waits for `timeout` seconds, None for ever. It gives pairs of a descriptor and a mask, which is not used.

    If there are `maxevents` or more pairs, more descriptors may be ready than were reported.
    """

    def register(self, fd: int, interest: int) -> None: ...
    def modify(self, fd: int, interest: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def poll(self, timeout: float | None, maxevents: int) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...


class Housekeeping(Protocol):
    """Work that belongs to no stream. It is done between a wake and the next sleep."""

    def deadline(self) -> float:
        """The system's monotonic time at which `run` is due, and the loop wakes up for it; may lie in the past."""

    def due_if_awake(self) -> float:
        """The same for a loop that is awake anyway. It is asked before each sleep, so it must be cheap."""

    def run(self, now: float) -> None:
        """Do it. May add, remove and interrupt tasks. Must not raise, and must not block for long."""

    def close(self) -> None:
        """The last call."""


class Announcements(Protocol):
    """Tells of changes of the network: see `hosts.machine.NetworkSocket`."""

    def fileno(self) -> int: ...
    def read(self, change: NetworkChange) -> None: ...
    def close(self) -> None: ...


class Timer(Protocol):
    """Tells of resumes: see `hosts.machine.ResumeTimer`."""

    def fileno(self) -> int: ...
    def rearm(self) -> None: ...
    def close(self) -> None: ...


class Routes(Protocol):
    """Two questions to the kernel: see `transport.routes`."""

    def address_is_gone(self, family: int, local: tuple[Any, ...]) -> bool: ...
    def source_towards(self, family: int, peer: tuple[Any, ...]) -> str | None: ...


class Machine(Protocol):
    """The questions of a loop about the network and the sleep of the machine: see `hosts.surroundings`."""

    def network(self) -> Announcements:
        """Raises `OSError` if the system has none."""

    def resume_timer(self) -> Timer:
        """Raises `OSError` if the system has none."""

    def boottime(self) -> Callable[[], float] | None:
        """A clock in seconds that counts suspends; None if the system has none."""

    def routes(self) -> Routes:
        """Asked at the first change."""
