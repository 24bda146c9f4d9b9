"""The interface of the services of a host. For type checkers only: not imported at run time."""

from __future__ import annotations

import socket
from typing import Protocol

from wire_rawsse.waits import Address, Future


class HostServices(Protocol):
    """The host's services that need no wait. Each stream has its own, because its clock is its own."""

    def now(self) -> float:
        """Seconds on the stream's clock. It is monotonic and never beyond the deadline of the last wait."""

    def unwatched(self) -> float:
        """Seconds without a poll before the last answer was found. The answer may have come that much earlier."""

    def paused(self) -> bool:
        """Whether the consumer wants nothing to be received from the stream at present."""

    def time(self) -> float:
        """Seconds since the epoch, for time stamps and HTTP dates only."""

    def random(self) -> float:
        """A random number in [0, 1)."""

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        """Start looking a name up; never blocks. The error delivered is the system's `OSError`."""

    def open(self, address: Address) -> socket.socket:
        """A new non-blocking, close-on-exec stream socket for `address`. Raises `OSError` (EMFILE, EAFNOSUPPORT, …)."""

    def release(self, sock: socket.socket) -> None:
        """Take `sock` out of the host's selector and close it. Never raises."""
