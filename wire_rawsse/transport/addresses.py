"""Which addresses of a name to try, in which order, and which of them have failed before.

RFC 8305 orders addresses by what is known before they are tried. An address can also accept TCP and then be dead: TLS
never answers, the head never comes, a router drops large packets. The race of connections cannot see that, and would
choose the same address each time. So each endpoint remembers the addresses whose connections failed, and tries them
after the others. If all have failed, the one whose failure is the oldest comes first, so they take turns.

A connection that worked clears its address, and every failure is forgotten after an hour: the order of getaddrinfo(3)
is the better one in the long run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from wire_rawsse.waits import Address, SocketAddress

MOST_ATTEMPTS: Final = 32
"""Addresses that one connection tries. A name may have thousands; within a budget of 10 s, 40 could be started."""
FORGOTTEN_AFTER: Final = 3600.0
"""Seconds for which a failure counts."""
MOST_REMEMBERED: Final = 8192
"""More than an answer of DNS can hold (64 KiB: 4,096 of IPv4 at 16 bytes, 2,340 of IPv6 at 28). With fewer, the first
addresses of a name would be forgotten and tried again before the last ones have been tried at all."""


_FAMILIES: Final[dict[frozenset[int], frozenset[int]]] = {}
"""The few sets that there are, so that thousands of streams share them."""


class AddressMemory:
    """The failed addresses of one endpoint, over its connections. Times are on the stream's clock."""

    __slots__ = ("_chain", "_failed", "current", "families")

    def __init__(self) -> None:
        self.current: Address | None = None
        """The address of the present connection, or of the last one until the next is dialled."""
        self.families: frozenset[int] = frozenset()
        """The address families that the name of the present or last attempt has, once it has been looked up."""
        self._chain: list[tuple[Address, float]] = []
        """The addresses that this attempt has connected to, one for each redirect, and when."""
        self._failed: dict[SocketAddress, float] = {}
        """When each was connected to or tried, in the order of their failures."""

    def order(self, addresses: Sequence[Address], now: float) -> tuple[list[Address], list[Address]]:
        """At most `MOST_ATTEMPTS` addresses: those to try first, with families in turn, and those that have failed."""
        families = frozenset(int(one.family) for one in addresses)
        self.families = _FAMILIES.setdefault(families, families)
        self._failed = {place: when for place, when in self._failed.items() if now - when < FORGOTTEN_AFTER}
        rank = {place: number for number, place in enumerate(self._failed)}
        first = interleaved([one for one in addresses if one.sockaddr not in rank])[:MOST_ATTEMPTS]
        failed = sorted((one for one in addresses if one.sockaddr in rank), key=lambda one: rank[one.sockaddr])
        return first, failed[: MOST_ATTEMPTS - len(first)]

    def begin(self) -> None:
        """A new attempt."""
        self.current = None
        self.families = frozenset()
        self._chain = []

    def connected(self, address: Address, now: float) -> None:
        self.current = address
        self._chain.append((address, now))

    def settle(self) -> None:
        """The present attempt has been judged. No later verdict concerns its addresses."""
        self._chain = []

    def learn_from(self, other: AddressMemory) -> None:
        """Remember the same failures as another memory of this endpoint."""
        self._failed = dict(other._failed)

    def worked(self) -> None:
        """The attempt led to a stream."""
        for address, _ in self._chain:
            self._failed.pop(address.sockaddr, None)

    def failed(self) -> None:
        """The attempt failed after a connection came about. A redirect that led to nothing counts too."""
        for address, now in self._chain:
            self.set_back([address], now)

    def set_back(self, addresses: Iterable[Address], now: float) -> None:
        """Try these after all others from now on."""
        for address in addresses:
            self._failed.pop(address.sockaddr, None)
            self._failed[address.sockaddr] = now
        while len(self._failed) > MOST_REMEMBERED:
            del self._failed[next(iter(self._failed))]


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """RFC 8305 §4: families in turn, the first address first, each family in its own order."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    queues = list(families.values())
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
