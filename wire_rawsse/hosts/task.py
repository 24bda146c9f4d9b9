"""One coroutine in the care of a loop, and the clock that it lives by.

A stream's clock is the system's monotonic clock, less the time for which its host was away without asking. A host may
come back late, and must not take its own absence for the peer's silence. So a coroutine is resumed with:

* the moment it is, where the host was on time;
* the moment at which the host last looked, where it came after the deadline and found the answer waiting: nobody can
  know when it came, and the benefit of the doubt is the stream's;
* the deadline itself, where it came after the deadline and found nothing.

What was left out this way stays left out (`_lag`), so the clock never jumps. A host that is busy for an hour keeps a
healthy stream, drops a dead one at once, and one that looks in every 1.5 s can still connect within a budget of 1 s.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from wire_rawsse.hosts.bell import Bell
from wire_rawsse.hosts.poller import Poller, new_poller
from wire_rawsse.transport.dial import open_socket
from wire_rawsse.transport.resolve import Resolver
from wire_rawsse.waits import Address, Coroutine, Future, Receive, Wait

if TYPE_CHECKING:
    from wire_rawsse.hosts.inline import Loop


def _dice() -> float:
    """A random number in [0, 1). The module `random` would bring four more, and copies of its state into forks."""
    return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)


def _real_monotonic() -> Callable[[], float]:
    """`time.monotonic` as C made it. A library that freezes time (freezegun) may have replaced it before our import; a
    loop that asks a clock that stands still would never return."""
    clock: Any = time.monotonic
    if isinstance(clock, type(len)):
        return time.monotonic
    loader: Any = time.__loader__
    original = loader.create_module(time.__spec__)
    loader.exec_module(original)
    return cast("Callable[[], float]", original.monotonic)


class OsServices(NamedTuple):
    """What a loop and its tasks take from the operating system. A world made of memory brings its own.

    `monotonic` is the only clock by which anything here computes a time-out.
    """

    monotonic: Callable[[], float] = _real_monotonic()
    sleep: Callable[[float], None] = time.sleep
    time: Callable[[], float] = time.time
    random: Callable[[], float] = _dice
    bell: Callable[[], Bell] = Bell
    poller: Callable[[], Poller] = new_poller
    resolver: Callable[[Callable[[], None]], Resolver] = Resolver
    open: Callable[[Address], socket.socket] = open_socket


OS_SERVICES: Final = OsServices()

NO_DOUBT: Final = 0.02
"""Seconds; a host that has slept until a deadline and comes so shortly after it finds what came just then. Otherwise
a peer that drips in step with its deadline, one byte just when it passes, would push it ahead for ever. A host that was
elsewhere is late even then: one that looks in every 5 s could else not connect within 10."""
ANSWERS_WITHIN: Final = 0.125
"""Seconds: so long a thread of ours may take to go on and to pass on an answer that has come while all were stopped."""
MOST_DOUBTS: Final = 16
"""How often one deadline gives a late host's stream the benefit of the doubt: more than a connection has steps. A peer
that drips has something to be found each time, and would stop the clock for ever. Afterwards it is judged unheard."""


class Chore(Protocol):
    """Work that is no stream's: done between a wake and the next sleep, at the latest when it is due."""

    def due(self) -> float:
        """The system's monotonic time at which `run` must be called; may lie in the past."""

    def wanted(self) -> float:
        """The same for when it should be called if the host is awake anyway."""

    def run(self, now: float) -> None:
        """Do it. May add and remove tasks. Must not raise, and must not block for long."""

    def close(self) -> None:
        """The last call."""


class Task:
    """A coroutine with the wait it stands in. It is also the `HostServices` of that coroutine."""

    __slots__ = (
        "__weakref__",
        "_doubted",
        "_doubts",
        "_lag",
        "_loop",
        "_now",
        "_spared",
        "behind",
        "coroutine",
        "due",
        "error",
        "given",
        "looked",
        "name",
        "receive",
        "start",
        "started",
        "throw",
        "time",
        "wait",
    )

    def __init__(self, loop: Loop, start: Callable[[Task], Coroutine[None]], name: str = "") -> None:
        self._loop = loop
        self._lag = 0.0
        self._doubted = 0.0
        self._doubts = 0
        self._spared: tuple[float, float] | None = None
        self._now = self.looked = loop.system.monotonic()
        self.name = name
        self.time = loop.system.time
        """Of `HostServices`: the system's own function, without a frame of ours around it."""
        self.wait: Wait | None = None
        self.receive: Receive | None = None
        """The wait, where it is the common one."""
        self.given: Any = None
        """What the coroutine is resumed with once `due`."""
        self.throw: BaseException | None = None
        """What is thrown into it instead."""
        self.behind: tuple[socket.socket, OSError] | None = None
        """What a socket has said behind the bytes that are given: thrown when it is asked for more."""
        self.due = True
        """There is something to resume it with. At first: its start."""
        self.error: BaseException | None = None
        """What ended it, if it did not return."""
        self.started = False
        self.start = start
        self.coroutine: Coroutine[None] | None = start(self)

    def begin(self) -> None:
        """Start over with a new coroutine, which begins at the next step."""
        self.coroutine = self.start(self)
        self.started = False
        self.due = True

    # What the coroutine asks of its host: see `HostServices`.

    def now(self) -> float:
        return self._now

    def random(self) -> float:
        return self._loop.system.random()

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        loop = self._loop
        if loop.resolver is None:
            loop.resolver = loop.system.resolver(loop.announce)
        return loop.resolver.resolve(host, port)

    def open(self, address: Address) -> socket.socket:
        return self._loop.system.open(address)

    def release(self, sock: socket.socket) -> None:
        self._loop.forget(sock.fileno())
        try:
            sock.close()
        except OSError:
            pass  # close(2) frees the descriptor whatever it reports.

    # What the loop does with the clock; all arguments are the system's monotonic time.

    def deadline(self) -> float:
        """When the present wait ends."""
        return self._now if self.wait is None else self.wait.deadline + self._lag

    def found(self, real: float, looked: float) -> None:
        """Set the clock for an answer that was found at `real`, where the loop had last looked in vain at `looked`."""
        if self._spared is not None:
            self._lag, looked = self._spared
            self._spared = None
        now = real - self._lag
        if self.wait is not None and now >= self.wait.deadline:
            deadline = self.wait.deadline
            self._doubt()
            if now - deadline < NO_DOUBT and self._loop.slept_until(deadline + self._lag):
                now = deadline
            else:
                now = min(max(self.looked, looked) - self._lag, deadline)
            self._lag = real - now
        self._now = now
        self.looked = real

    def resumed(self, real: float, looked: float) -> None:
        """Set the clock for a step at `real` that brings no bytes of a live stream.

        That may be its start, its return from a signal, or an interruption. Or it is an answer or a deadline that the
        host has known of since before it went away (another stream had a wake for it); that was no time of this one's.
        But not again and again: something that drips has a byte there at each look, and where another stream always has
        a wake, its clock would stand still for ever.
        """
        if self.throw is not None or self.wait is None:
            self.found(real, looked)
            return
        if self.given is not None:
            if real - self.looked > NO_DOUBT and not self.beyond_doubt:
                self._doubt()
            else:
                self._now = max(self._now, min(real - self._lag, self.wait.deadline))
        self._lag = real - self._now
        self.looked = real

    def found_nothing(self) -> bool:
        """The deadline has passed and a reception brought no bytes; whether the next poll may still bring some.

        A TLS record can be larger than one reception. Only a flood of records without data has as many of them.
        """
        if self.beyond_doubt:
            return False
        self._doubt()
        return True

    def expired(self, real: float) -> None:
        """Set the clock for a deadline that has passed by `real` with no answer."""
        assert self.wait is not None
        self._spared = None
        self._now = self.wait.deadline
        self._lag = real - self._now
        self.looked = real
        self.given = None
        self.due = True

    def spare(self, real: float, looked: float) -> None:
        """Leave the thread that is to answer a moment: it may have been stopped until `real`, as its host was.

        What it says in that moment is taken as if it had been there at `real`, and nobody had looked since `looked`.
        """
        assert self.wait is not None
        latest = self.wait.deadline - ANSWERS_WITHIN
        if real - self._lag > latest and not self.beyond_doubt:
            self._doubt()
            self._spared = self._lag, looked
            self._lag = real - latest

    def _doubt(self) -> None:
        """Give the present deadline the benefit of the doubt once more; for the first time, if it has been renewed."""
        wait = self.wait
        assert wait is not None
        self._doubts = 1 if wait.renewed or wait.deadline != self._doubted else self._doubts + 1
        self._doubted = wait.deadline
        wait.renewed = False

    @property
    def beyond_doubt(self) -> bool:
        """The present deadline has been given the benefit of the doubt as often as any."""
        wait = self.wait
        return self._doubts >= MOST_DOUBTS and wait is not None and wait.deadline == self._doubted and not wait.renewed
