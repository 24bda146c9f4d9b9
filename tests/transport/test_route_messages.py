"""Messages of route(4), packed as the headers of macOS and the BSDs declare them, and damaged ones.

None of these systems is tested: this shows that their documented messages are read, and no more.
"""

from __future__ import annotations

import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_rawsse.hosts.machine import NetworkSocket
from wire_rawsse.transport.netlink import NetworkChange, read_announcements, route_has_changed

V4 = bytes([16, 2, 0, 0, 10, 9, 0, 1]) + bytes(8)
"""struct sockaddr_in of the BSDs: length, family, port, address."""
MASK = bytes([16, 2, 0, 0, 255, 255, 255, 0]) + bytes(8)
LINK = bytes([20, 18, 4, 0, 6, 3, 6, 0]) + b"en0" + bytes(9)
"""struct sockaddr_dl: length, family, index, type and the lengths of the name, the address and the selector."""


def with_length(kind: int, version: int, rest: bytes) -> bytes:
    return struct.pack("=HBB", 4 + len(rest), version, kind) + rest


def darwin_route(kind: int) -> bytes:
    """struct rt_msghdr: index, (padding), flags, addrs, pid, seq, errno, use, inits, 14 metrics of 32 bits."""
    return with_length(kind, 5, struct.pack("=HxxiiiiiiI14I", 4, 0x803, 7, 99, 1, 0, 0, 0, *[0] * 14) + V4 + V4 + MASK)


def darwin_link(kind: int) -> bytes:
    """struct if_msghdr: addrs, flags, index, (padding), struct if_data of 96 bytes."""
    return with_length(kind, 5, struct.pack("=iiHxx", 0x10, 0x8863, 4) + bytes(96) + LINK)


def darwin_address(kind: int) -> bytes:
    """struct ifa_msghdr: addrs, flags, index, (padding), metric."""
    return with_length(kind, 5, struct.pack("=iiHxxi", 0x34, 0, 4, 0) + MASK + LINK + V4)


def freebsd_route(kind: int) -> bytes:
    """struct rt_msghdr of 64 bits: index, spare, flags, addrs, pid, seq, errno, fmask, inits, 14 metrics."""
    return with_length(kind, 5, struct.pack("=HHiiiiiiQ14Q", 4, 0, 0x803, 7, 99, 1, 0, 0, 0, *[0] * 14) + V4 + V4)


def freebsd_link(kind: int) -> bytes:
    """struct if_msghdr: addrs, flags, index, spare, struct if_data of 152 bytes."""
    return with_length(kind, 5, struct.pack("=iiHH", 0, 0x8843, 4, 0) + bytes(152))


def openbsd_any(kind: int) -> bytes:
    """The common beginning of OpenBSD's messages: the length of the header, index and table."""
    return with_length(kind, 5, struct.pack("=HHH", 24, 4, 0) + bytes(14))


def netbsd_address(kind: int) -> bytes:
    """struct ifa_msghdr since NetBSD 8: index, flags, addrs, pid, address flags, metric."""
    return with_length(kind, 4, struct.pack("=HxxiiiiI", 4, 0, 0x34, 0, 0, 0) + MASK + LINK + V4)


@pytest.mark.parametrize(
    ("platform", "message", "changed"),
    [
        *[("darwin", darwin_route(kind), True) for kind in (1, 2, 3)],
        *[("darwin", darwin_route(kind), False) for kind in (4, 5, 7, 8, 0xB)],  # GET, LOSING, MISS, LOCK, RESOLVE
        *[("darwin", darwin_address(kind), True) for kind in (0xC, 0xD)],
        *[("darwin", darwin_address(kind), False) for kind in (0xF, 0x10)],  # NEWMADDR, DELMADDR
        ("darwin", darwin_link(0xE), True),
        *[("freebsd14", freebsd_route(kind), True) for kind in (1, 2, 3)],
        ("freebsd14", freebsd_route(7), False),
        ("freebsd14", freebsd_link(0xE), True),
        ("freebsd14", with_length(0x11, 5, bytes(20)), True),  # IFANNOUNCE
        ("freebsd14", with_length(0x12, 5, bytes(20)), False),  # IEEE80211
        *[("openbsd7", openbsd_any(kind), True) for kind in (1, 2, 3, 0xC, 0xD, 0xE, 0xF, 0x10, 0x14)],
        *[("openbsd7", openbsd_any(kind), False) for kind in (7, 0x11, 0x13, 0x15)],
        *[("netbsd10", netbsd_address(kind), True) for kind in (0x16, 0x17, 0x18)],
        *[("netbsd10", with_length(kind, 4, bytes(148)), True) for kind in (0x10, 0x14)],
        *[("netbsd10", with_length(kind, 4, bytes(148)), False) for kind in (0x11, 0x13)],  # IEEE80211, LLINFO_UPD
    ],
)
def test_a_message_as_the_system_declares_it(platform: str, message: bytes, changed: bool) -> None:
    assert len(message) == struct.unpack_from("=H", message)[0]
    assert route_has_changed(message, platform) is changed


def test_the_layouts_have_their_documented_sizes() -> None:
    sizes = [len(darwin_route(1)) - 48, len(darwin_link(14)) - 20, len(darwin_address(12)) - 52]
    assert sizes == [92, 112, 20]
    assert [len(freebsd_route(1)) - 32, len(freebsd_link(14))] == [152, 168]
    assert len(netbsd_address(0x16)) - 52 == 28


@pytest.mark.parametrize("message", [darwin_route(7), freebsd_link(0x12), openbsd_any(7), netbsd_address(0x13)])
def test_a_message_that_is_cut_off_means_that_something_may_have_changed(message: bytes) -> None:
    assert not route_has_changed(message, "darwin")
    assert all(route_has_changed(message[:size], "darwin") for size in range(len(message)))
    assert route_has_changed(struct.pack("=H", 3) + message[2:], "darwin"), "shorter than its own head"
    assert not route_has_changed(message + bytes(9), "darwin"), "a system may pad"


@given(st.binary(max_size=300), st.sampled_from(["darwin", "freebsd14", "openbsd7", "netbsd10", "dragonfly6", ""]))
def test_any_bytes_are_read_without_an_error(message: bytes, platform: str) -> None:
    route_has_changed(message, platform)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs datagram sockets in pairs")
def test_a_socket_of_such_messages_is_read_to_its_end() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.setblocking(False)
    with near, far:
        for messages, everything in (([7, 4], False), ([7, 1, 7], True), ([], False)):
            for kind in messages:
                far.send(darwin_route(kind))
            change = NetworkChange()
            read_announcements(near, None, change)
            assert change.everything is everything
            with pytest.raises(BlockingIOError):
                near.recv(1)


@pytest.mark.skipif(sys.platform == "linux" or not hasattr(socket, "AF_ROUTE"), reason="needs route(4)")
def test_a_real_socket_can_be_opened_and_read() -> None:
    kernel = NetworkSocket()
    try:
        kernel.read(NetworkChange())
    finally:
        kernel.close()
