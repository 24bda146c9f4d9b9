"""A world made of memory, with an exact clock: names, addresses and peers are data, and time is a number.

It runs the shipped coroutines. Where one waits, the clock moves to the first thing that happens, or to the deadline, so
tests compare readings of the clock with `==`, and a wait of an hour costs nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from wire_rawsse.waits import READ, WRITE, Address, Coroutine, Future, Receive, Step, Wake

T = TypeVar("T")
NEVER = float("inf")


@dataclass(frozen=True)
class Place:
    """How an address behaves. `after`: seconds until connect is answered, with `code` (0: connected).

    `answers`: for each time that something is sent to it, pairs of seconds after that and bytes; b"" closes.
    """

    after: float = 0.0
    code: int = 0
    answers: Sequence[Sequence[tuple[float, bytes]]] = ()


@dataclass(frozen=True)
class Name:
    """What a look-up gives, after how many seconds."""

    after: float
    found: Sequence[Address] | OSError


class VirtualSocket:
    """As much of a non-blocking socket as the shipped code uses."""

    def __init__(self, world: VirtualWorld, address: Address, number: int) -> None:
        self.world = world
        self.address = address
        self.family = address.family
        self.sent = b""
        self.closed = False
        self._number = number
        self._connected_at = NEVER
        self._incoming: list[tuple[float, bytes]] = []
        self._sends = 0

    @property
    def place(self) -> Place:
        return self.world.places[str(self.address)]

    def fileno(self) -> int:
        return -1 if self.closed else self._number

    def setsockopt(self, level: int, option: int, value: int) -> None:
        pass

    def connect_ex(self, sockaddr: Any) -> int:
        self.world.dialled.append((self.world.clock, str(self.address)))
        self._connected_at = self.world.clock + self.place.after
        if self.place.after > 0:
            return errno.EINPROGRESS
        return self.place.code

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        return self.place.code

    def send(self, data: bytes | memoryview) -> int:
        self.sent += bytes(data)
        if self._sends < len(self.place.answers):
            self._incoming += [(self.world.clock + after, data) for after, data in self.place.answers[self._sends]]
        self._sends += 1
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self._incoming or self._incoming[0][0] > self.world.clock:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._incoming.pop(0)[1]

    def close(self) -> None:
        self.closed = True

    def ready_at(self, interest: int) -> float:
        moments = [NEVER]
        if interest & WRITE:
            moments.append(self._connected_at)
        if interest & READ and self._incoming:
            moments.append(self._incoming[0][0])
        return min(moments)


class VirtualWorld:
    """A `HostServices`, and the host that runs one coroutine in it."""

    def __init__(self, places: Mapping[str, Place] | None = None, names: Mapping[str, Name] | None = None) -> None:
        self.places = places or {}
        self.names = names or {}
        self.clock = 1000.0
        self.dialled: list[tuple[float, str]] = []
        """When which address was tried."""
        self.signals: list[float] = []
        self.sockets: list[VirtualSocket] = []
        self._answers: dict[Future[Any], float] = {}

    def now(self) -> float:
        return self.clock

    def time(self) -> float:
        return self.clock

    def random(self) -> float:
        return 0.5

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        name = self.names[host]
        answer: Future[list[Address]] = Future(lambda: None)
        if isinstance(name.found, OSError):
            answer.value, answer.error = None, name.found
        else:
            answer.value = list(name.found)
        self._answers[answer] = self.clock + name.after
        return answer

    def open(self, address: Address) -> socket.socket:
        made = VirtualSocket(self, address, 1000 + len(self.sockets))
        self.sockets.append(made)
        return cast(socket.socket, made)

    def release(self, sock: socket.socket) -> None:
        sock.close()

    def held(self) -> list[str]:
        """The addresses of the sockets that nobody has given back."""
        return [str(sock.address) for sock in self.sockets if not sock.closed]

    def run(self, start: Callable[[VirtualWorld], Coroutine[T]]) -> T:
        """The coroutine's value, or what it raises; `clock` says when."""
        coroutine = start(self)
        given: Any = None
        try:
            while True:
                step = coroutine.send(given)
                given = self._wait(step)
        except StopIteration as end:
            return cast(T, end.value)

    def _wait(self, step: Step) -> Any:
        if isinstance(step, Wake):
            self.signals.append(self.clock)
            return None
        known = {sock.fileno(): sock for sock in self.sockets}
        moments = {fd: known[fd].ready_at(interest) for fd, interest in step.interest.items()}
        answered = NEVER if step.future is None else self._answers[step.future]
        first = min([answered, *moments.values()])
        if first > step.deadline:
            assert step.deadline < NEVER, "a wait without a deadline"
            self.clock = max(self.clock, step.deadline)
            return None
        self.clock = max(self.clock, first)
        if isinstance(step, Receive):
            return step.sock.recv(65536)
        return tuple(fd for fd, moment in moments.items() if moment <= self.clock)
