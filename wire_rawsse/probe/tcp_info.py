"""The kernel's view of a connection: struct tcp_info (linux/tcp.h), as far as it tells of loss and of size.

The struct only ever grows at its end, so each field is read if the kernel has sent enough of it.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

from wire_rawsse.probe.measurements import Tcp

_LONGEST: Final = 256
_UNACKED, _LAST_ACK, _SND_MSS, _RCV_MSS, _PMTU, _RTT, _TOTAL_RETRANS, _SEGS_OUT, _OUT_OF_ORDER = (
    24,
    56,
    16,
    20,
    60,
    68,
    100,
    136,
    224,
)
"""Offsets in bytes; each field has four."""


def tcp_info(sock: socket.socket) -> Tcp | None:
    """None where there is none: another system, another kind of socket, a closed one."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LONGEST)
    except OSError:
        return None

    def number(offset: int) -> int:
        if len(data) < offset + 4:
            return 0
        found: int = struct.unpack_from("=I", data, offset)[0]
        return found

    return Tcp(
        rtt=number(_RTT) / 1e6,
        mss_sent=number(_SND_MSS),
        mss_received=number(_RCV_MSS),
        path_mtu=number(_PMTU),
        unacknowledged=number(_UNACKED),
        retransmissions=number(_TOTAL_RETRANS),
        segments_sent=number(_SEGS_OUT),
        out_of_order=number(_OUT_OF_ORDER),
        since_acknowledgement=number(_LAST_ACK) / 1000,
    )


def probe_peer(sock: socket.socket) -> bool:
    """Have the kernel send a keepalive probe (RFC 9293 section 3.8.4) soon. False where that is not possible."""
    if not hasattr(socket, "TCP_KEEPIDLE") or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    except OSError:
        return False
    return True
