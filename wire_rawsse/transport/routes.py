"""Two questions to the kernel about a connection, each answered by a datagram socket that sends nothing.

Does the machine still have this local address? bind(2) knows: EADDRNOTAVAIL says no. (With `ip_nonlocal_bind` it never
says no. Then a lost address is left to the other clocks.)

From which address would a new connection to this peer leave? connect(2) on a datagram socket chooses a route and a
source address, and getsockname(2) tells which.

Whatever else goes wrong, a sandbox that forbids datagram sockets for instance, means "not known", and nothing follows
from it.
"""

from __future__ import annotations

import errno
import socket
from typing import Any


def address_is_gone(family: int, local: tuple[Any, ...]) -> bool:
    """Whether no interface has the address of `local`, which getsockname(2) gave for a connection."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((local[0], 0, *local[2:]))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False


def source_towards(family: int, peer: tuple[Any, ...]) -> str | None:
    """The address that a new connection to `peer` would leave from. None: there is no route, or it is not known."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)
            source: str = probe.getsockname()[0]
            return source
    except OSError:
        return None


def same_network(family: int, one: str, other: str) -> bool:
    """Whether two addresses of this machine belong to one link, as far as the addresses themselves say.

    An IPv6 address is 64 bits of a link's prefix and 64 of a host that may have many, and change them (RFC 8981): a
    connection that leaves from a deprecated one works on. An IPv4 address says nothing of its link.
    """
    if one == other:
        return True
    if family != socket.AF_INET6:
        return False
    try:
        first, second = (socket.inet_pton(family, address.partition("%")[0]) for address in (one, other))
    except OSError:
        return False
    return first[:8] == second[:8]
