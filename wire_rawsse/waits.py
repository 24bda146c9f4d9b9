"""The vocabulary between a coroutine that must wait and the host that waits for it.

The life of a connection is a plain generator. It never blocks; to wait, it yields one of the objects below
and is resumed with the answer. There are four, and no more:

`Wait`     any of these descriptors, or a future that another thread sets, until a deadline on the stream's own clock.
           Resumed with a tuple of the ready descriptors (empty if the future was set), or with None when the deadline
           passed.
`Pause`    a `Wait` for nothing but time, which the host may end early.
`Receive`  the common wait: the next bytes of one socket. The host itself calls `recv`, and resumes with the bytes (b""
           at the end of the stream), with None when the deadline passed; an `OSError` of `recv` is thrown in.
`WAKE`     the host returns to its caller with a wake, and resumes the coroutine at the caller's next call.

A coroutine that yields the same object again waits for the same descriptors, so the host need not arm them again. The
deadline may have changed. To end a coroutine the host calls its `close()`; the code that this runs must neither raise
nor yield.

Time, random numbers, names and sockets come from the host too (`services`), so that a simulation in memory can run the
shipped code. This module knows no socket option, no HTTP and no selector, because every layer imports it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

READ: Final = 1
"""Readable, or at the end. The value is POLLIN of poll(2) and EPOLLIN of epoll(7), so that hosts need not translate."""
WRITE: Final = 4
"""Writable, or failed to connect. POLLOUT and EPOLLOUT."""

RECEIVE_BYTES: Final = 16 * 1024
"""The largest reception. It bounds the time of a step: 16 KiB of the costliest bytes take a few milliseconds."""
FEW_BYTES: Final = 479
"""The longest bytes object that CPython's own allocator holds, in 512 bytes. A larger buffer comes from malloc(3) and
is cut to size afterwards, which makes a cold wake 4 to 5 µs slower."""

T = TypeVar("T")


class Future(Generic[T]):
    """One value that another thread will set, once. Setting it calls `announce(future)`, which notifies the host.

    Setting it is safe from any thread, also if nobody waits for it any more.
    """

    __slots__ = ("__weakref__", "_announce", "done", "error", "value")

    def __init__(self, announce: Callable[[Future[Any]], object]) -> None:
        self._announce = announce
        self.value: T | None = None
        self.error: Exception | None = None
        self.done = False

    def set_result(self, value: T) -> None:
        self.value = value
        self._set_done()

    def set_exception(self, error: Exception) -> None:
        self.error = error
        self._set_done()

    def _set_done(self) -> None:
        self.done = True  # Last: the host reads it without a lock.
        self._announce(self)


class Wait:
    """Any of `interest` (descriptor → READ | WRITE), or `future`, by `deadline` (seconds on the stream's clock)."""

    __slots__ = ("deadline", "future", "interest", "renewed")

    def __init__(self, interest: Mapping[int, int], deadline: float, future: Future[Any] | None = None) -> None:
        self.interest = interest
        self.deadline = deadline
        self.future = future
        self.renewed = False
        """True if the deadline was restarted, even if its value is the same: the clock of a host that is always late
        stands still. The host resets it to False."""


class Pause(Wait):
    """A wait until the next attempt to connect, without descriptors. The host may end it early, with ().

    It does so when the network or the machine has changed in a way that concerns the peer. `families` are the known
    address families of the peer; if there are none, every change concerns it.
    """

    __slots__ = ("families",)

    def __init__(self, deadline: float, families: Collection[int]) -> None:
        super().__init__({}, deadline)
        self.families = families

    def concerns(self, families: Collection[int]) -> bool:
        """Whether a change of these address families concerns it."""
        return not self.families or any(family in families for family in self.families)


class Receive(Wait):
    """The next bytes of `sock`, by `deadline`, as the system gives them: under TLS they are ciphertext.

    `restarts` is True if received bytes restart the deadline, so that it limits the silence and not the whole wait.

    If `is_wake` is given, the host calls it once for each reception, before it resumes the coroutine. The call may
    parse or decrypt, and the coroutine relies on that. If it returns True, the host first returns to its caller, and
    sets `woke_early`, which the coroutine resets. If `wake_marker` is given, bytes that hold it are a wake, and the
    host need not call `is_wake`: most wakes hold it, and this search is the fastest test.

    The host receives at most `bufsize` bytes at once.
    """

    __slots__ = ("bufsize", "fd", "is_wake", "recv", "restarts", "sock", "wake_marker", "woke_early")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.fd = sock.fileno()
        super().__init__({self.fd: READ}, deadline)
        self.sock = sock
        self.recv = sock.recv
        self.bufsize = RECEIVE_BYTES
        self.restarts = False
        self.is_wake: Callable[[bytes], bool] | None = None
        self.woke_early = False
        self.wake_marker: bytes | None = None

    def expect_few(self) -> None:
        """The next receptions are probably short."""
        self.bufsize = FEW_BYTES

    def expect_many(self) -> None:
        """A reception was as long as it could be, so there may be more from now on."""
        self.bufsize = RECEIVE_BYTES


class Wake:
    """Yielded to make the host return to its caller. Wakes coalesce, so it carries no data."""

    __slots__ = ()


WAKE: Final = Wake()

Step: TypeAlias = "Wait | Wake"
Coroutine: TypeAlias = "Generator[Step, Any, T]"
"""A generator that yields waits; `yield from` composes them. The value sent back is documented at each class above."""

SocketAddress: TypeAlias = "tuple[Any, ...] | str"


class Address:
    """One place to connect to: a result of getaddrinfo(3), or a path for a Unix-domain socket."""

    __slots__ = ("family", "protocol", "sockaddr", "type")

    def __init__(self, family: int, type: int, protocol: int, sockaddr: SocketAddress) -> None:
        self.family = family
        self.type = type
        self.protocol = protocol
        self.sockaddr = sockaddr

    def __str__(self) -> str:
        if isinstance(self.sockaddr, str):
            return self.sockaddr
        host, port = self.sockaddr[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
