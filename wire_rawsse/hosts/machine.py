"""The machine as its own loops may ask it: about its network, and about its sleep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wire_rawsse.hosts.suspend import ResumeTimer, boottime_clock
from wire_rawsse.transport.netlink import NetworkSocket
from wire_rawsse.transport.routes import address_is_gone, source_towards


class RealMachine:
    """See `system.Machine`."""

    def network(self) -> NetworkSocket:
        return NetworkSocket()

    def resume_timer(self) -> ResumeTimer:
        return ResumeTimer()

    def boottime(self) -> Callable[[], float] | None:
        return boottime_clock()

    def address_is_gone(self, family: int, local: tuple[Any, ...]) -> bool:
        return address_is_gone(family, local)

    def source_towards(self, family: int, peer: tuple[Any, ...]) -> str | None:
        return source_towards(family, peer)
