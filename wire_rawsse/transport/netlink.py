"""The kernel's messages about links, addresses and routes: rtnetlink(7) on Linux, route(4) on macOS and the BSDs.

Linux sends a message to every socket that has joined a multicast group: no polling, no privilege, and nothing to read
while nothing changes. `Messages` turns these messages into a `NetworkChange`. It remembers which links and addresses
work, so that a repeated message is no news: the kernel repeats an IPv6 address with each router advertisement, and a
driver repeats its link for reasons of its own.

A `NetworkChange` only says where to look. Whether a connection has lost its address or its route is asked from the
kernel afterwards (see `routes`), because messages can be lost: a full queue is reported as ENOBUFS, once, and then
everything has to be looked at.

The message layouts are those of <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_addr.h> and <linux/if_link.h>. All
numbers are in the byte order of the machine.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

_ADDRESS_BYTES: Final = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}
FAMILIES: Final = tuple(_ADDRESS_BYTES)

_NLMSG_OVERRUN, _NEW_LINK, _DEL_LINK, _NEW_ADDR, _DEL_ADDR, _NEW_ROUTE, _DEL_ROUTE = 4, 16, 17, 20, 21, 24, 25
_BODY_BYTES: Final = {_NEW_LINK: 16, _DEL_LINK: 16, _NEW_ADDR: 8, _DEL_ADDR: 8, _NEW_ROUTE: 12, _DEL_ROUTE: 12}
"""struct ifinfomsg, ifaddrmsg and rtmsg; attributes follow."""
_HEADER: Final = 16
_IFF_UP, _IFF_RUNNING, _IFF_LOWER_UP = 0x1, 0x40, 0x10000
_WORKS: Final = _IFF_UP | _IFF_RUNNING | _IFF_LOWER_UP
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_NOT_PREFERRED: Final = 0x08 | 0x20 | 0x40
"""IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE: the kernel chooses no such address for a new connection."""
_RTN_UNICAST: Final = 1
_RTA_DST: Final = 1
_LINK_LOCAL: Final = b"\xfe\x80"

_ROUTE_CHANGES: Final = frozenset({1, 2, 3, 0x0C, 0x0D, 0x0E})
"""RTM_ADD, RTM_DELETE, RTM_CHANGE, RTM_NEWADDR, RTM_DELADDR and RTM_IFINFO of route(4); on NetBSD the last three are
what they were before their layouts changed."""
_MORE_ROUTE_CHANGES: Final = {
    "freebsd": frozenset({0x11}),  # RTM_IFANNOUNCE
    "netbsd": frozenset({0x10, 0x14, 0x16, 0x17, 0x18}),  # RTM_IFANNOUNCE, _IFINFO, _NEWADDR, _DELADDR, _CHGADDR
    "openbsd": frozenset({0x0F, 0x10, 0x14}),  # RTM_IFANNOUNCE, RTM_DESYNC (messages were lost), RTM_CHGADDRATTR
}
_MOST_REMEMBERED: Final = 1024
_READ_BYTES: Final = 8192
"""A message of one link has about 1,400; one that does not fit is cut off, and then everything is looked at."""
_MOST_READS: Final = 256
"""Messages that one `read` parses, at about 10 µs each."""


class NetworkChange:
    """The things to check after some messages. Changes add up.

    gone:       local addresses that were removed, as getsockname(2) shows them (without a scope).
    up:         address families for which a link, an address or a route has come up.
    routes:     address families whose routes may have changed.
    everything: messages were lost, or somebody asks for it: look at everything.
    """

    __slots__ = ("everything", "gone", "routes", "up")

    def __init__(self, *, everything: bool = False) -> None:
        self.everything = everything
        self.gone: set[str] = set()
        self.up: set[int] = set()
        self.routes: set[int] = set()

    def __bool__(self) -> bool:
        return self.everything or bool(self.gone or self.up or self.routes)

    def __repr__(self) -> str:
        if self.everything:
            return "<NetworkChange everything>"
        return f"<NetworkChange gone={sorted(self.gone)} up={sorted(self.up)} routes={sorted(self.routes)}>"


class Messages:
    """Reads rtnetlink messages. It raises nothing, whatever the bytes are."""

    __slots__ = ("_addresses", "_links")

    def __init__(self) -> None:
        self._links: dict[int, bool] = {}
        """By index: whether it works, as far as has been said."""
        self._addresses: set[tuple[int, bytes]] = set()
        """Index of the link and address, of those that have come up."""

    def feed(self, data: bytes, change: NetworkChange) -> None:
        """Add what one datagram says to `change`."""
        while data:
            length, kind = _number(data, 0, 4), _number(data, 4, 2)
            if not _HEADER <= length <= len(data):
                change.everything = True  # It was cut off.
                return
            body, data = data[_HEADER:length], data[_aligned(length) :]
            if kind == _NLMSG_OVERRUN or len(body) < _BODY_BYTES.get(kind, 0):
                change.everything = True
            elif kind in (_NEW_LINK, _DEL_LINK):
                self._link(kind, body, change)
            elif kind in (_NEW_ADDR, _DEL_ADDR):
                self._address(kind, body, change)
            elif kind in (_NEW_ROUTE, _DEL_ROUTE):
                _route(kind, body, change)

    def _link(self, kind: int, body: bytes, change: NetworkChange) -> None:
        if body[0] != socket.AF_UNSPEC:
            return  # A bridge tells about its ports (AF_BRIDGE), IPv6 about its settings.
        index = _number(body, 4, 4)
        works = kind == _NEW_LINK and _number(body, 8, 4) & _WORKS == _WORKS
        if self._links.get(index) is works:
            return
        if kind == _DEL_LINK:
            self._links.pop(index, None)
        else:
            _make_room(self._links)
            self._links[index] = works
        # The kernel does not announce the IPv4 routes that go with a link.
        change.routes.update(FAMILIES)
        if works:
            change.up.update(FAMILIES)

    def _address(self, kind: int, body: bytes, change: NetworkChange) -> None:
        family, flags = body[0], body[2]
        if family not in _ADDRESS_BYTES:
            return
        own = b""
        for attribute, value in _attributes(body[8:]):
            # On a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL is ours.
            if attribute == _IFA_LOCAL or (attribute == _IFA_ADDRESS and not own):
                own = value
            elif attribute == _IFA_FLAGS and len(value) == 4:
                flags = _number(value, 0, 4)
        if len(own) != _ADDRESS_BYTES[family]:
            change.everything = True
            return
        known = (_number(body, 4, 4), own)
        if kind == _DEL_ADDR:
            self._addresses.discard(known)
            change.gone.add(socket.inet_ntop(family, own))
        elif flags & _NOT_PREFERRED:
            self._addresses.discard(known)
        elif known not in self._addresses:
            _make_room(self._addresses)
            self._addresses.add(known)
            if not (family == socket.AF_INET6 and own.startswith(_LINK_LOCAL)):
                change.up.add(family)


def _route(kind: int, body: bytes, change: NetworkChange) -> None:
    family = body[0]
    if family not in _ADDRESS_BYTES or body[7] != _RTN_UNICAST:
        return  # Routes to an address of this machine come and go with the address.
    if family == socket.AF_INET6 and any(
        attribute == _RTA_DST and value.startswith(_LINK_LOCAL) for attribute, value in _attributes(body[12:])
    ):
        return  # Each link has one.
    change.routes.add(family)
    if kind == _NEW_ROUTE:
        change.up.add(family)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """struct rtattr: length, type, value. Stops at one that does not fit."""
    while len(data) >= 4:
        length = _number(data, 0, 2)
        if not 4 <= length <= len(data):
            return
        yield _number(data, 2, 2), data[4:length]
        data = data[_aligned(length) :]


def _number(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], sys.byteorder)


def _aligned(length: int) -> int:
    """NLMSG_ALIGN and RTA_ALIGN."""
    return (length + 3) & ~3


def _make_room(memory: Any) -> None:
    """Something forgotten is taken for new when it is said again, which costs one look."""
    if len(memory) >= _MOST_REMEMBERED:
        memory.clear()


def route_has_changed(message: bytes, platform: str = sys.platform) -> bool:
    """Whether a message of route(4) says that a link, an address or a route has changed, or is cut off.

    The systems share only its first four bytes: length (two bytes), version and type. So nothing else is read.
    """
    if len(message) < 4 or not 4 <= _number(message, 0, 2) <= len(message):
        return True
    more = _MORE_ROUTE_CHANGES.get(platform.rstrip("0123456789."), ())
    return message[3] in _ROUTE_CHANGES or message[3] in more


def read_announcements(sock: socket.socket, messages: Messages | None, change: NetworkChange) -> None:
    """Add the changes announced since the last call. It reads 256 messages at most and leaves the rest.

    `messages`: None for route(4). Raises `OSError` if the socket cannot be read any more.
    """
    for _ in range(_MOST_READS):
        try:
            data, sender = sock.recvfrom(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            change.everything = True  # Messages were lost (netlink(7)).
            continue
        if messages is None:
            change.everything |= route_has_changed(data)
        elif sender[0] == 0:  # Port 0 is the kernel.
            messages.feed(data, change)
