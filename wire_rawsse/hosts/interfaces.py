"""What a poller and housekeeping must offer. For type checkers only: nothing imports this module when it runs."""

from __future__ import annotations

from typing import Protocol


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
