"""How far each TCP connection has come, as seen from the wire: the judge of whether a silence was a silence.

A receiver's program gets its bytes in order. So what counts as a sign of life is not a packet but the moment at which
the next byte in order arrives: with a hole before it, nothing does. `Flows` follows the sequence numbers of what a link
delivered undamaged (RFC 9293 §3.4), and says for each direction of each connection how long the longest such silence
was. That is evidence from outside of the daemon under test, whose own clock must be judged by it.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Any, Final

_TCP: Final = 6
_FIN: Final = 0x01
_SYN: Final = 0x02
_RST: Final = 0x04
_WRAP: Final = 1 << 32


class Flow:
    """One direction of one connection. Times on the clock that `deliver` is given."""

    __slots__ = ("ahead", "bytes", "following", "last", "longest", "over")

    def __init__(self, following: int, now: float) -> None:
        self.following = following
        self.ahead: dict[int, int] = {}
        """Segments that arrived out of order: first byte to length."""
        self.bytes = 0
        self.last = now
        self.longest = 0.0
        self.over = False

    def end(self, now: float) -> None:
        """The receiver no longer waits for these bytes."""
        if not self.over:
            self.over = True
            self.longest = max(self.longest, now - self.last)

    def deliver(self, sequence: int, size: int, now: float) -> None:
        early = (sequence - self.following) % _WRAP
        if early and early < _WRAP // 2:
            self.ahead[sequence] = max(size, self.ahead.get(sequence, 0))
            return
        before = self.following
        self._extend(sequence, size)
        while late := [start for start in self.ahead if (self.following - start) % _WRAP < _WRAP // 2]:
            for start in late:
                self._extend(start, self.ahead.pop(start))
        if self.following != before:
            self.bytes += (self.following - before) % _WRAP
            self.longest = max(self.longest, now - self.last)
            self.last = now

    def _extend(self, sequence: int, size: int) -> None:
        beyond = (sequence + size - self.following) % _WRAP
        if 0 < beyond < _WRAP // 2:
            self.following = (self.following + beyond) % _WRAP


class Flows:
    """All connections that a link has carried, both directions, by who sends to whom."""

    def __init__(self) -> None:
        self._flows: dict[bytes, Flow] = {}

    def deliver(self, packet: bytes, now: float) -> None:
        """A packet has arrived. Ignores packets other than TCP, and later fragments."""
        found = _read(packet)
        if found is None:
            return
        name, sequence, size, flags = found
        if flags & _SYN:
            self._flows[name] = Flow((sequence + 1) % _WRAP, now)
            return
        flow = self._flows.get(name)
        if flow is None:  # The link was put in when the connection was there already.
            flow = self._flows[name] = Flow(sequence, now)
        if size > 0:
            flow.deliver(sequence, size, now)

    def sent(self, packet: bytes, now: float) -> None:
        """A packet was sent, whether or not it will arrive: with FIN or RST its sender waits for no more bytes."""
        found = _read(packet)
        if found is not None and found[3] & (_FIN | _RST):
            name = found[0]
            middle = len(name) // 2 - 2
            back = self._flows.get(name[middle:-4] + name[:middle] + name[-2:] + name[-4:-2])
            if back is not None:
                back.end(now)

    def as_json(self, now: float) -> list[dict[str, Any]]:
        """`longest_silence`: seconds between two bytes in order, or from the last until now or until nobody waited."""
        return [
            {
                "from": _place(name[: len(name) // 2 - 2], name[-4:-2]),
                "to": _place(name[len(name) // 2 - 2 : -4], name[-2:]),
                "bytes": flow.bytes,
                "longest_silence": round(flow.longest if flow.over else max(flow.longest, now - flow.last), 3),
            }
            for name, flow in self._flows.items()
        ]


def _read(packet: bytes) -> tuple[bytes, int, int, int] | None:
    """Of a TCP segment: who sends to whom, the number of its first byte, how many bytes, and the flags."""
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        if packet[9] != _TCP or struct.unpack_from("!H", packet, 6)[0] & 0x1FFF:
            return None
        ends = packet[12:20]
    else:
        header = 40
        if packet[6] != _TCP:
            return None
        ends = packet[8:40]
    if len(packet) < header + 20:
        return None
    sequence: int = struct.unpack_from("!I", packet, header + 4)[0]
    size = len(packet) - header - (packet[header + 12] >> 4) * 4
    return ends + packet[header : header + 4], sequence, size, packet[header + 13]


def _place(address: bytes, port: bytes) -> str:
    shown = ipaddress.ip_address(address)
    host = f"[{shown}]" if shown.version == 6 else str(shown)
    return f"{host}:{int.from_bytes(port, 'big')}"
