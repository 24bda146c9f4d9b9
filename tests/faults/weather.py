"""The effects of a bad link on packets, deterministic from a seed. Uses no socket, no device and no clock.

A `Channel` is one direction of a link. A packet is offered to it at a moment; the result is no, one or two packets,
each with its time of arrival. Effects are applied in the order of a real link: it is lost or not (by chance, or because
a burst is on), it queues for the bandwidth (a full queue drops it), it takes its time, and on the way it may be
damaged, doubled or overtaken.

**Deterministic** means: the n-th packet of a direction gets the same random numbers for the same seed, regardless of
changes in between, since each packet draws all numbers, needed or not. So two runs differ in the times of their
packets, but never in the draws.

**Bursts** are Gilbert's: a link is good or bad, goes from one to the other by a chance each packet, and loses all that
it is offered while it is bad. `burst=(0.02, 0.25)` is bad for four packets on the average, after fifty good ones.

**Damage** is one bit flipped, anywhere behind the IP header. One, as the internet checksum (RFC 1071) catches every
single flipped bit, while of several it misses one case in 65,536; behind the IP header, as IPv4's header has a checksum
of its own and the very next hop would drop it, which is mere loss, while IPv6's has none.
"""

from __future__ import annotations

import dataclasses
import random
from typing import Any, Final, NamedTuple

_IPV6_HEADER: Final = 40
BIG_QUEUE: Final = 1 << 20


@dataclasses.dataclass(frozen=True)
class Weather:
    """One direction's conditions. Raises `ValueError`.

    delay, jitter: seconds; each packet takes `delay` plus or minus up to `jitter`, and none overtakes another by that.
    loss, duplicate, corrupt, reorder: the chance of each, 0 to 1.
    burst:     (good to bad, bad to good), the chance of each at each packet; None for no bursts.
    held:      seconds for which a packet that must be overtaken is held back.
    rate:      bits a second, IP header included; None without bound.
    queue:     the most bytes that wait for the bandwidth; packets beyond are dropped.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: tuple[float, float] | None = None
    reorder: float = 0.0
    held: float = 0.05
    duplicate: float = 0.0
    corrupt: float = 0.0
    rate: float | None = None
    queue: int = BIG_QUEUE

    def __post_init__(self) -> None:
        chances = [self.loss, self.reorder, self.duplicate, self.corrupt, *(self.burst or ())]
        if not all(0 <= chance <= 1 for chance in chances) or (self.burst is not None and len(self.burst) != 2):
            raise ValueError("loss, burst (two of them), reorder, duplicate and corrupt are chances from 0 to 1")
        if not 0 <= self.jitter <= self.delay:
            raise ValueError("jitter must be from 0 to delay: no packet arrives before it was sent")
        if self.held < 0 or self.queue < 0 or (self.rate is not None and self.rate <= 0):
            raise ValueError("held and queue must be 0 or more, and rate above 0")

    @classmethod
    def of(cls, value: dict[str, Any]) -> Weather:
        """From a JSON object. Raises `ValueError` or `TypeError`."""
        given = dict(value)
        if given.get("burst") is not None:
            enter, leave = given["burst"]
            given["burst"] = (float(enter), float(leave))
        return cls(**given)


CLEAR: Final = Weather()


class Arrival(NamedTuple):
    """`when` on the clock by which the packet was offered; `damaged`: no receiver may believe it."""

    when: float
    packet: bytes
    damaged: bool


@dataclasses.dataclass
class Counts:
    """Counts of the packets of one direction. `packets` were offered, `delivered` came out, doubles not counted.

    `bytes` are those of what came out, IP headers included; `bursts` how often the link went bad.
    """

    packets: int = 0
    delivered: int = 0
    bytes: int = 0
    lost: int = 0
    lost_in_bursts: int = 0
    bursts: int = 0
    queue_full: int = 0
    delayed: int = 0
    overtaken: int = 0
    duplicated: int = 0
    corrupted: int = 0


class Channel:
    """One direction. `name` makes its dice differ from those of the other direction with the same seed."""

    def __init__(self, seed: int, name: str) -> None:
        self._weather = CLEAR
        self.counts = Counts()
        self._name = name
        self.seed(seed)
        self._sent_until = 0.0
        self._last_arrival = 0.0

    def seed(self, seed: int) -> None:
        """Use a new seed from the next packet on; the counts are kept."""
        self._dice = random.Random(f"{seed}/{self._name}")
        self._bad = False

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        """From the next packet on. Anyone who holds what is still on its way lets it go: no queue outlives a change."""
        self._weather = weather
        self._sent_until = self._last_arrival = 0.0

    def offer(self, packet: bytes, now: float) -> tuple[Arrival, ...]:
        weather, counts, dice = self._weather, self.counts, self._dice.random
        loss, turn, jitter, reorder, duplicate, corrupt, place = (dice() for _ in range(7))
        counts.packets += 1
        if self._lost(loss, turn):
            return ()
        sent = now
        if weather.rate is not None:
            start = max(now, self._sent_until)
            if (start - now) * weather.rate / 8 + len(packet) > weather.queue:
                counts.queue_full += 1
                return ()
            self._sent_until = sent = start + len(packet) * 8 / weather.rate
        when = max(sent + weather.delay + weather.jitter * (2 * jitter - 1), self._last_arrival)
        if when > now:
            counts.delayed += 1
        damaged = corrupt < weather.corrupt
        if damaged:
            packet = self._damaged(packet, place)
        if reorder < weather.reorder:
            counts.overtaken += 1
            when += weather.held
        else:
            self._last_arrival = when
        counts.delivered += 1
        counts.bytes += len(packet)
        if duplicate < weather.duplicate:
            counts.duplicated += 1
            return (Arrival(when, packet, damaged),) * 2
        return (Arrival(when, packet, damaged),)

    def _lost(self, loss: float, turn: float) -> bool:
        weather = self._weather
        if weather.burst is None:
            self._bad = False
        else:
            turned = turn < weather.burst[self._bad]
            self.counts.bursts += turned and not self._bad
            self._bad ^= turned
        if self._bad:
            self.counts.lost_in_bursts += 1
        elif loss < weather.loss:
            self.counts.lost += 1
        else:
            return False
        return True

    def _damaged(self, packet: bytes, place: float) -> bytes:
        header = _IPV6_HEADER if packet[0] >> 4 == 6 else (packet[0] & 15) * 4
        bits = (len(packet) - header) * 8
        self.counts.corrupted += 1
        bit = header * 8 + int(place * bits)  # Routed packets always hold something behind their header.
        damaged = bytearray(packet)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        return bytes(damaged)
