"""Notices changes of the machine: of its network, and that it was suspended.

A loop watches one descriptor for network changes, and compares two clocks before each sleep. While nothing happens this
causes no wake-up and costs one reading of a clock for each sleep. Changes that come fast are looked at four times a
second.

A suspend makes CLOCK_BOOTTIME run ahead of CLOCK_MONOTONIC, and nothing else does: no SIGSTOP, and no setting of the
wall clock (clock_gettime(2)). It is noticed before the first sleep after it, and before each connection, so that a new
one is not dropped for an earlier suspend. On CPython 3.13 and newer a timer ends the present sleep.

If a descriptor cannot be opened because the process has none left, that is tried again at each connection.

The effect of a change on the streams is in `consequences`, which is loaded when the first change comes. If it cannot be
loaded, the streams live on: a lack of descriptors or of memory passes, so that is tried again; a missing file does not,
so the watch ends.
"""

from __future__ import annotations

import errno
import math
import weakref
from typing import TYPE_CHECKING, Final

from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.log import info_once, warn_once

if TYPE_CHECKING:
    from wire_rawsse.hosts.consequences import Consequences
    from wire_rawsse.hosts.interfaces import Announcements, Timer
    from wire_rawsse.hosts.task import Task

LEAST: Final = 5.0
"""Seconds; shorter suspends are not noticed. Connections outlive them."""
EVERY: Final = 0.25
"""Seconds between two looks at network changes, at least."""
RETRY: Final = 1.0
"""Seconds until the next attempt when a change could not be looked at for lack of descriptors or memory."""

_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC)
"""ENOSPC is epoll_ctl(2)'s: the system has no room to watch one more descriptor."""


class Surroundings:
    """`Housekeeping` of one loop, in its thread. `listens`: open the descriptors; without, it is only told."""

    __slots__ = (
        *("_ahead", "_boottime", "_consequences", "_everything", "_incomplete", "_look_at", "_looked_at", "_loop"),
        *("_machine", "_monotonic", "_network", "_network_watched", "_resumes", "_suspended", "_timer"),
    )

    def __init__(self, loop: Loop, *, listens: bool) -> None:
        self._loop: Loop = weakref.proxy(loop)  # So that a discarded loop is freed without the collector.
        self._machine = loop.system.machine()
        self._monotonic = loop.system.monotonic
        self._network: Announcements | None = None
        self._network_watched = False
        self._timer: Timer | None = None
        self._boottime = self._machine.boottime() if listens else None
        """A clock in seconds that counts suspends."""
        self._ahead = 0.0 if self._boottime is None else -self._monotonic() + self._boottime()
        """By how much it is ahead of `_monotonic`, or more: the process may have been stopped between two readings."""
        self._everything = False
        """True if all connections have to be checked in the next look."""
        self._look_at = math.inf
        """When to look at changes."""
        self._looked_at = -math.inf
        self._suspended = 0.0
        """Seconds; not yet told to the streams."""
        self._resumes = 0
        """How many suspends have been noticed."""
        self._consequences: Consequences | None = None
        self._incomplete = False
        """A descriptor could not be opened, but perhaps later."""
        if listens:
            self._listen()
            loop._handle.opened = self._opened

    def _listen(self) -> None:
        """Open what is not open yet."""
        self._incomplete = False
        if self._boottime is not None and self._timer is None:
            try:
                self._timer = timer = self._machine.resume_timer()
                self._loop.watch_descriptor(timer.fileno(), self._clock_jumped)
            except OSError as error:  # The next iteration notices a suspend, whenever that is.
                self._close_timer()
                self._incomplete = error.errno in _PASSING
        if self._network is None:
            try:
                self._network = self._machine.network()
                self._watch_network()
            except OSError as error:
                self._close_network()
                self._incomplete |= error.errno in _PASSING
                info_once(f"network changes are not announced here ({error.strerror or error}); clocks notice them")

    def _opened(self, task: Task) -> None:
        """`task` has opened a socket and is about to connect."""
        self.due_if_awake()
        task.resumes = self._resumes
        if self._incomplete:
            try:
                self._listen()
            except Exception as error:
                self._failed(error, self._monotonic())
            if self._network is not None:
                self.look_at_everything()  # Some changes have not been announced.

    # Housekeeping.

    def deadline(self) -> float:
        if self._consequences is None:
            return self._look_at
        due = self._consequences.deadline()
        return due if due < self._look_at else self._look_at

    def due_if_awake(self) -> float:
        boottime = self._boottime
        if boottime is not None:
            now = self._monotonic()
            ahead = boottime() - now
            if ahead - self._ahead <= LEAST:
                self._ahead = ahead
            elif (suspended := boottime() - self._monotonic() - self._ahead) > LEAST:
                # Read in both orders: if the process was stopped between two readings, one of them is small.
                self._resumes += 1
                self._suspended += suspended
                self._ahead = ahead
                self._look_at = PAST
        return self._look_at if self._consequences is None else self.deadline()

    def run(self, now: float) -> None:
        try:
            if self._look_at <= now:
                self._look(now)
            if self._consequences is not None:
                self._consequences.run(now)
        except Exception as error:
            self._failed(error, now)

    def close(self) -> None:
        self._close_network()
        self._close_timer()
        self._loop._handle.opened = self._boottime = self._consequences = None
        self._suspended, self._everything, self._look_at = 0.0, False, math.inf

    # Causes.

    def look_at_everything(self) -> None:
        """The program says that the network has changed. In the loop's thread."""
        self._everything = True
        self._look_soon()

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, max(self._monotonic(), self._looked_at + EVERY))

    def _announced(self) -> None:
        """The socket is readable. If it was read only just now, it is not watched until it is read again."""
        self._look_soon()
        if self._network is not None and self._look_at > self._monotonic():
            self._loop.forget_descriptor(self._network.fileno())
            self._network_watched = False

    def _clock_jumped(self) -> None:
        """The machine has resumed, or the wall clock was set. `due_if_awake` knows which."""
        assert self._timer is not None
        try:
            self._timer.rearm()
        except OSError:
            self._close_timer()

    def _look(self, now: float) -> None:
        from wire_rawsse.hosts.consequences import Consequences
        from wire_rawsse.transport.netlink import NetworkChange

        consequences = self._consequences or Consequences(self._loop, self._machine.routes())
        self._consequences = consequences
        self._looked_at, self._look_at = now, math.inf
        suspended, self._suspended = self._suspended, 0.0
        change = NetworkChange(everything=self._everything)
        self._everything = False
        if suspended:
            consequences.resume(suspended, self._resumes)
        if self._network is not None:
            try:
                self._network.read(change)
            except OSError as error:
                self._close_network()
                info_once(f"network changes are no longer announced ({error.strerror or error}); clocks notice them")
            else:
                try:
                    self._watch_network()
                except OSError:  # The system has no room to watch one more descriptor.
                    self._look_at = now + RETRY
        consequences.look(change)

    def _failed(self, error: Exception, now: float) -> None:
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _PASSING):
            info_once(f"a change of the machine cannot be looked at yet ({text})")
            self._everything = True  # Messages that were read may be lost.
            self._look_at = now + RETRY
            if self._network is not None:
                self._loop.forget_descriptor(self._network.fileno())
                self._network_watched = False
        else:  # A file of ours is missing, or belongs to another version.
            warn_once(f"the machine is not watched any more ({text}); clocks notice its changes")
            self.close()

    # Descriptors.

    def _watch_network(self) -> None:
        if self._network is not None and not self._network_watched:
            self._loop.watch_descriptor(self._network.fileno(), self._announced)
            self._network_watched = True

    def _close_network(self) -> None:
        network, self._network, self._network_watched = self._network, None, False
        if network is not None:
            self._loop.forget_descriptor(network.fileno())
            network.close()

    def _close_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._loop.forget_descriptor(timer.fileno())
            timer.close()
