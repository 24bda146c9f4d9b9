"""The daemons that embed the library: each sleeps in its own way, works after a wake, and is late when told to be.

`Inline`   `wait(timeout)` is its sleep.
`Select`   it has a loop of its own, with `fileno()` and `deadline()`.
`Looks`    it never sleeps in here at all: it looks in every so often.
`Thread`   the thread host's loop around `run`, a `WakeChannel`, and a daemon on the other side of it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

from tests.simulation.kernel import Kernel
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.hosts.thread import LET_GO
from wire_rawsse.wake import WakeChannel


class Struck(BaseException):
    """Raised by a signal handler of the daemon."""


class Employer(Protocol):
    """The owner of the daemon."""

    kernel: Kernel
    loop: Loop

    def woken(self) -> None:
        """A wake has reached anyone who pulls, or is pending for it."""

    def pulled(self) -> None:
        """The daemon has pulled everything there is."""

    def turn(self) -> None:
        """The host is between two sleeps."""


class Inline:
    """`interval`: the longest that it sleeps; `work`: seconds that it is busy after a wake."""

    def __init__(self, employer: Employer, interval: float, work: float) -> None:
        self.employer = employer
        self.kernel = employer.kernel
        self.loop = employer.loop
        self.interval = interval
        self.work = work
        self.absent = 0.0
        """Seconds to be elsewhere, next time."""
        self.errands: list[Callable[[], None]] = []
        """Calls to make as soon as it has been woken."""

    def run(self, until: float) -> None:
        kernel = self.kernel
        while kernel.now < until:
            try:
                woken = self.sleep(until)
            except Struck:
                kernel.tell("the host's signal handler raised")
                woken = False
            self.employer.turn()
            if woken:
                self.hear()
            if self.absent:
                absent, self.absent = self.absent, 0.0
                kernel.tell("the host is elsewhere for %.3f s", absent)
                kernel.advance(absent)

    def sleep(self, until: float) -> bool:
        return self.loop.run(min(self.interval, until - self.kernel.now))

    def hear(self) -> None:
        self.employer.woken()
        self.employer.pulled()
        self.run_errands()
        if self.work:
            self.kernel.advance(self.work)

    def run_errands(self) -> None:
        errands, self.errands = self.errands, []
        for errand in errands:
            errand()


class Select(Inline):
    def sleep(self, until: float) -> bool:
        loop, kernel = self.loop, self.kernel
        loop.fileno()
        (poller,) = kernel.pollers
        left = min(loop.deadline(), until, kernel.now + self.interval) - kernel.now
        if left > 0:
            poller.poll(left)
        return loop.run(0)


class Looks(Inline):
    """`interval`: how often. `twice`: it does so at two places of its own loop, one right behind the other."""

    twice = False
    _first = True

    def sleep(self, until: float) -> bool:
        if self.loop.deadline() > 0 or self._first:  # Else something is in hand, and not yet parsed.
            self.kernel.advance(self.interval)
            self._first = False
            if self.twice and self.loop.run(0):
                return True
        return self.loop.run(0)


class Thread(Inline):
    def __init__(self, employer: Employer, interval: float, work: float) -> None:
        super().__init__(employer, interval, work)
        self._channel = WakeChannel()
        self._busy = False
        self._wakes = self._pulls = 0

    def sleep(self, until: float) -> bool:
        return self.loop.run(min(self.interval, until - self.kernel.now), self._channel.set)

    def hear(self) -> None:
        self.employer.woken()
        self._wakes += 1
        if not self._busy:
            self._busy = True
            self.kernel.after(0.0001, self._daemon, True)
        self.run_errands()
        self.kernel.advance(LET_GO)

    def _daemon(self, woken: bool) -> None:
        """The other thread: polls the channel, pulls while there is a wake, and works after each pull."""
        fd = self._channel.fileno()  # A real one, and its only real thing: it is asked and never waited for.
        readable = bool(select.select([fd], [], [], 0)[0])
        if self._channel.wait(0):
            if not readable:
                self.kernel.fail("a wake is pending, and the channel's descriptor does not say so")
            self._pulls += 1
            if self._pulls > self._wakes:
                self.kernel.fail(f"the daemon has {self._pulls} wakes, and the subscriber has set {self._wakes}")
            self.employer.pulled()
            self.kernel.after(self.work, self._daemon, False)
        else:
            self._busy = False
            if woken:
                self.kernel.fail("the subscriber has set a wake, and the daemon finds none")
