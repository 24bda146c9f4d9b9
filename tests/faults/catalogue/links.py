"""A link that loses, delays, mixes up, damages or throttles packets: faults that a stream must survive.

The link is there from the start and clear; the fault changes its weather. Its dice are those of the cell's seed, or of
the next one after it by which what was asked for happens within the first dozen packets: otherwise a cell with a loss
of 1 % would have to run for minutes before there is anything to survive.

The promise depends on what the network did, so the lab asks the network. A live stream must not reconnect as long as
the longest pause between its in-order bytes is below 0.8 × `read`. That pause is measured on the wire. An attempt that
is still under way may be given up by the clock that covers it: where the SYN is lost once, a second of it has gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.counters import counter
from tests.faults.link import Link, why_not
from tests.faults.tools import Missing
from tests.faults.weather import CLEAR, Channel, Counts, Weather
from tests.faults.world import CLIENT, TO_CLIENT, TO_RELAY

if TYPE_CHECKING:
    from tests.faults.cell import Cell

SOON: Final = 12
"""Packets within which it is to happen."""
_PACKET: Final = bytes([0x45]) + bytes(99)
_COVERED: Final = ("connect", "response")


class BadLink(Fault):
    """`up` and `down`: its weather. `shows`: the counter that must move for it to have been what it says."""

    group = "link"
    needs = ("ip",)
    up: ClassVar[Weather] = CLEAR
    down: ClassVar[Weather]
    shows: ClassVar[str]
    lasts = 3.0

    def __init__(self) -> None:
        self.link: Link | None = None

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.SURVIVED, setup.strikes_in, () if setup.live else _COVERED)

    def prepare(self, cell: Cell) -> None:
        why = why_not()
        if why:
            raise Missing(why)
        self.link = Link(cell.world.middle, left=TO_CLIENT, right=TO_RELAY, seed=cell.setup.seed)

    def inject(self, cell: Cell) -> None:
        assert self.link is not None
        seed = seed_that_shows(cell.setup.seed, self.down, self.shows)
        cell.note(dice=seed)
        self.link.weather(up=self.up, down=self.down, seed=seed)

    def done(self, cell: Cell) -> bool:
        return self._count() > 0

    def proof(self, cell: Cell) -> dict[str, Any]:
        assert self.link is not None
        if not self._count():
            raise Unproven(f"the link counted no packet as {self.shows}")
        return {"link": self.link.report()}

    def lift(self, cell: Cell) -> None:
        assert self.link is not None
        self.link.weather(up=CLEAR, down=CLEAR)

    def close(self, cell: Cell) -> None:
        if self.link is not None:
            self.link.close()

    def silence(self, cell: Cell) -> float:
        """Seconds: the longest that the bytes of a connection to the client stayed away, seen on the wire."""
        assert self.link is not None
        flows = self.link.report()["flows"]
        coming = [flow["longest_silence"] for flow in flows if flow["to"].startswith(f"{CLIENT}:")]
        return float(max(coming, default=0.0))

    def _count(self) -> int:
        assert self.link is not None
        return int(self.link.report()["down"][self.shows])


def seed_that_shows(seed: int, weather: Weather, counter: str) -> int:
    """The first seed from `seed` on by which `counter` moves within `SOON` packets to the client."""
    while True:
        channel = Channel(seed, "down")
        channel.weather = weather
        for number in range(SOON):
            channel.offer(_PACKET, number * 0.05)
        if getattr(channel.counts, counter):
            return seed
        seed += 1


def _both(name: str, words: str, shows: str, **conditions: Any) -> type[BadLink]:
    """A fault whose weather is the same in both directions."""
    assert shows in Counts.__dataclass_fields__
    weather = Weather(**conditions)
    return type(name, (BadLink,), {"name": name, "words": words, "shows": shows, "up": weather, "down": weather})


class Jitter(BadLink):
    """On one way only, so that a round trip takes as long as it says."""

    name, words, shows = "delay-jitter", "delay of 200 ms with a jitter of 200 ms", "delayed"
    down = Weather(delay=0.2, jitter=0.2)


class Corrupt(BadLink):
    """Checksums must catch it: what was damaged is what the client's and the relay's TCP counted as wrong."""

    name, words, shows = "corrupt", "one bit wrong in every tenth packet", "corrupted"
    up = down = Weather(corrupt=0.1)

    def prepare(self, cell: Cell) -> None:
        super().prepare(cell)
        self._before = self._wrong(cell)

    def proof(self, cell: Cell) -> dict[str, Any]:
        found = super().proof(cell)
        caught = self._wrong(cell) - self._before
        if not caught:
            raise Unproven("no kernel saw a wrong checksum")
        return {**found, "wrong checksums": caught}

    def _wrong(self, cell: Cell) -> int:
        return sum(counter(host, "Tcp", "InCsumErrors") for host in (cell.world.client, cell.world.relay))


FAULTS: tuple[type[Fault], ...] = (
    _both("loss-1", "1 % of all packets lost", "lost", loss=0.01),
    _both("loss-10", "10 % of all packets lost", "lost", loss=0.1),
    _both("loss-30", "30 % of all packets lost", "lost", loss=0.3),
    _both("loss-bursts", "packets lost four in a row", "lost_in_bursts", burst=(0.05, 0.25)),
    Jitter,
    _both("reorder", "every fifth packet overtaken by others", "overtaken", reorder=0.2),
    _both("duplicate", "every fifth packet doubled", "duplicated", duplicate=0.2),
    Corrupt,
    _both("narrow", "a bandwidth of 16 kbit/s", "delayed", rate=16_000, queue=4096),
)
