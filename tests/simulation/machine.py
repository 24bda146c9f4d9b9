"""The machine under the daemon, as `hosts.surroundings` asks it: addresses, routes, announcements of both, and sleep.

A suspend is one jump of the clock that counts it. The caller that makes it jump decides what happens meanwhile.
"""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.simulation.kernel import Kernel, trouble
from wire_rawsse.transport.netlink import FAMILIES, NetworkChange
from wire_rawsse.waits import READ

V4: Final = int(socket.AF_INET)
V6: Final = int(socket.AF_INET6)
FIRST: Final = {V4: "198.51.100.1", V6: "2001:db8:1::1"}
"""The addresses that the machine has at first."""


class MemoryNetworkSocket:
    """A descriptor that is readable while there is something to read."""

    def __init__(self, machine: MemoryMachine) -> None:
        self._machine = machine
        self._kernel = machine.kernel
        self._waiting: list[NetworkChange] = []
        self._fd = self._kernel.allocate(self)
        self.error = 0

    def mask(self) -> int:
        return READ if self._waiting or self.error else 0

    def fileno(self) -> int:
        return self._fd

    def put(self, change: NetworkChange) -> None:
        self._waiting.append(change)
        self._kernel.dirty = True

    def read(self, change: NetworkChange) -> None:
        self._machine.reads += 1
        if self.error:
            raise trouble(self.error)
        self._kernel.moved += len(self._waiting)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            change.everything |= one.everything
            change.gone |= one.gone
            change.up |= one.up
            change.routes |= one.routes

    def close(self) -> None:
        self._machine.sockets.remove(self)
        self._kernel.close(self._fd)


class MemoryTimer:
    """Readable from a jump of the wall clock until it is armed again."""

    def __init__(self, machine: MemoryMachine) -> None:
        self._machine = machine
        self._kernel = machine.kernel
        self._jumped = False
        self._fd = self._kernel.allocate(self)

    def mask(self) -> int:
        return READ if self._jumped else 0

    def fileno(self) -> int:
        return self._fd

    def jump(self) -> None:
        self._jumped = self._kernel.dirty = True

    def rearm(self) -> None:
        self._kernel.moved += self._jumped
        self._jumped = False

    def close(self) -> None:
        self._machine.timers.remove(self)
        self._kernel.close(self._fd)


class MemoryMachine:
    """`hosts.system.Machine`. `addresses`: of each family, that from which new connections leave first."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.addresses: dict[int, list[str]] = {family: [address] for family, address in FIRST.items()}
        self.sockets: list[MemoryNetworkSocket] = []
        self.timers: list[MemoryTimer] = []
        self.announces = True
        """Or a sandbox forbids it."""
        self.no_descriptor_is_left = False
        self.has_timer = False
        """As on CPython 3.13."""
        self.slept = 0.0
        self.suspended_at = self.changed_at = -math.inf
        """When it was suspended last, and when its addresses or routes last changed."""
        self._came_back: dict[str, float] = {}
        self.reads = self.questions = 0

    # Called by the library.

    def network(self) -> MemoryNetworkSocket:
        self._needs_descriptor()
        if not self.announces:
            raise trouble(errno.EPERM)
        made = MemoryNetworkSocket(self)
        self.sockets.append(made)
        return made

    def resume_timer(self) -> MemoryTimer:
        self._needs_descriptor()
        if not self.has_timer:
            raise trouble(errno.ENOSYS)
        made = MemoryTimer(self)
        self.timers.append(made)
        return made

    def boottime(self) -> Callable[[], float] | None:
        return lambda: self.kernel.now + self.slept

    def routes(self) -> MemoryMachine:
        return self

    def address_is_gone(self, family: int, local: tuple[Any, ...]) -> bool:
        self.questions += 1
        return local[0] not in self.addresses[family]

    def source_towards(self, family: int, peer: tuple[Any, ...]) -> str | None:
        self.questions += 1
        return self.source(family)

    def source(self, family: int) -> str | None:
        """From where a new connection leaves; None: there is no route."""
        return next(iter(self.addresses.get(family, ())), None)

    def _needs_descriptor(self) -> None:
        if self.no_descriptor_is_left:
            raise trouble(errno.EMFILE)

    # The truth.

    def lacked(self, address: str, since: float) -> bool:
        """Whether it has not had this address at some moment since then."""
        there = any(address in addresses for addresses in self.addresses.values())
        return not there or self._came_back.get(address, -math.inf) >= since

    # Events.

    def tell(
        self,
        *,
        gone: Iterable[str] = (),
        up: Iterable[int] = (),
        routes: Iterable[int] = (),
        everything: bool = False,
    ) -> None:
        """Announce a change, whether or not it has taken place."""
        change = NetworkChange(everything=everything)
        change.gone, change.up, change.routes = set(gone), set(up), set(routes)
        for sock in self.sockets:
            sock.put(change)

    def remove(self, address: str) -> None:
        for addresses in self.addresses.values():
            if address in addresses:
                addresses.remove(address)
        self.changed_at = self.kernel.now
        self.tell(gone=[address], routes=FAMILIES)

    def add(self, family: int, address: str) -> None:
        """It comes last, so nothing leaves from there while there are others."""
        self.addresses[family].append(address)
        self._came_back[address] = self.changed_at = self.kernel.now
        self.tell(up=[family])

    def route_over(self, family: int, address: str) -> None:
        """New connections leave from this address from now on."""
        addresses = self.addresses[family]
        if address in addresses:
            addresses.remove(address)
        else:
            self._came_back[address] = self.kernel.now
        addresses.insert(0, address)
        self.changed_at = self.kernel.now
        self.tell(up=[family], routes=[family])

    def suspend(self, seconds: float) -> None:
        """It was suspended for so long, and resumes now."""
        self.kernel.tell("the machine was suspended for %.0f s", seconds)
        self.slept += seconds
        self.suspended_at = self.kernel.now
        self.kernel.wall_ahead += seconds
        self.set_wall_clock(0)

    def set_wall_clock(self, ahead: float) -> None:
        self.kernel.wall_ahead += ahead
        for timer in self.timers:
            timer.jump()
