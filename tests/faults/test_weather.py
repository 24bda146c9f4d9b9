"""The dice of a bad link, without a link: what happens to the n-th packet, and how often each thing happens."""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct
from typing import Any

import pytest

from tests.faults.flows import Flows
from tests.faults.weather import Arrival, Channel, Weather

PACKET = bytes([0x45, 0, *struct.pack("!H", 100), 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]) + b"\x55" * 80
PACKET6 = bytes([0x60]) + bytes(39) + b"\x55" * 60


def channel(seed: int = 1, name: str = "up", **weather: Any) -> Channel:
    made = Channel(seed, name)
    made.weather = Weather(**weather)
    return made


def offered(one: Channel, packets: int, gap: float = 0.01, packet: bytes = PACKET) -> list[tuple[Arrival, ...]]:
    return [one.offer(packet, number * gap) for number in range(packets)]


MIXED: dict[str, Any] = {
    "delay": 0.05, "jitter": 0.02, "loss": 0.1, "burst": (0.02, 0.3), "reorder": 0.1, "duplicate": 0.1, "corrupt": 0.1,
}  # fmt: skip


def test_a_clear_link_changes_nothing() -> None:
    one = channel()
    assert offered(one, 50) == [(Arrival(number * 0.01, PACKET, False),) for number in range(50)]
    assert one.counts.packets == one.counts.delivered == 50
    assert dataclasses.asdict(one.counts) | {"packets": 0, "delivered": 0, "bytes": 0} == dict.fromkeys(
        dataclasses.asdict(one.counts), 0
    )


def test_the_same_seed_gives_the_same_fates_and_another_does_not() -> None:
    fates = offered(channel(7, **MIXED), 2000)
    assert fates == offered(channel(7, **MIXED), 2000)
    assert fates != offered(channel(8, **MIXED), 2000)
    assert fates != offered(channel(7, "down", **MIXED), 2000)


def test_what_was_changed_before_does_not_change_later_dice() -> None:
    """The n-th packet meets the same dice whether or not they were needed before."""
    early, late = channel(3, loss=0.5), channel(3)
    offered(early, 100)
    offered(late, 100)
    late.weather = early.weather
    assert [bool(one) for one in offered(early, 300)] == [bool(one) for one in offered(late, 300)]


def test_new_dice_are_those_of_their_seed() -> None:
    one = channel(3, **MIXED)
    offered(one, 100)
    one.seed(7)
    one.weather = Weather(**MIXED)
    assert offered(one, 300) == offered(channel(7, **MIXED), 300)


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.3])
def test_loss_is_as_frequent_as_asked_for(chance: float) -> None:
    one = channel(loss=chance)
    arrived = sum(map(len, offered(one, 20_000)))
    deviation = math.sqrt(20_000 * chance * (1 - chance))
    assert abs(one.counts.lost - 20_000 * chance) < 5 * deviation
    assert arrived == one.counts.delivered == 20_000 - one.counts.lost


def test_bursts_lose_packets_in_a_row() -> None:
    one = channel(burst=(0.02, 0.25))
    fates = [bool(fate) for fate in offered(one, 20_000)]
    runs = [len(list(group)) for arrived, group in itertools.groupby(fates) if not arrived]
    assert len(runs) == one.counts.bursts and sum(runs) == one.counts.lost_in_bursts == 20_000 - one.counts.delivered
    assert 3.5 < sum(runs) / len(runs) < 4.5  # 1 / 0.25
    assert 40 < (20_000 - sum(runs)) / len(runs) < 60  # 1 / 0.02


def test_delay_with_jitter_keeps_the_order() -> None:
    fates = offered(channel(delay=0.2, jitter=0.2), 1000)
    arrivals = [fate[0].when for fate in fates]
    assert arrivals == sorted(arrivals)
    delays = [when - number * 0.01 for number, when in enumerate(arrivals)]
    assert min(delays) >= 0 and max(delays) <= 0.4 and max(delays) - min(delays) > 0.15


def test_reordering_lets_others_overtake() -> None:
    one = channel(reorder=0.2, held=0.05)
    order = sorted((fate[0].when, number) for number, fate in enumerate(offered(one, 500)))
    numbers = [number for _, number in order]
    assert numbers != sorted(numbers) and one.counts.overtaken > 50
    assert sum(late > early for early, late in itertools.pairwise(numbers)) > 250, "most of them stay in order"


def test_duplicates_are_the_same_packet_twice() -> None:
    one = channel(duplicate=0.3)
    fates = offered(one, 1000)
    doubled = [fate for fate in fates if len(fate) == 2]
    assert len(doubled) == one.counts.duplicated > 200
    assert all(first == second for first, second in doubled)


@pytest.mark.parametrize(("packet", "header"), [(PACKET, 20), (PACKET6, 40)], ids=["IPv4", "IPv6"])
def test_damage_is_one_bit_behind_the_header(packet: bytes, header: int) -> None:
    one = channel(corrupt=0.5)
    places = set()
    for [arrival] in offered(one, 2000, packet=packet):
        difference = int.from_bytes(arrival.packet, "big") ^ int.from_bytes(packet, "big")
        assert difference.bit_count() == arrival.damaged
        assert arrival.packet[:header] == packet[:header]
        places.add(difference)
    assert one.counts.corrupted > 800
    assert len(places) > (len(packet) - header) * 8 * 0.7, "anywhere"


def test_bandwidth_spreads_packets_out_and_the_queue_is_finite() -> None:
    one = channel(rate=16_000, queue=1000)
    fates = [one.offer(PACKET, 0.0) for _ in range(20)]  # 100 bytes each: 50 ms
    assert [fate[0].when for fate in fates[:10]] == pytest.approx([0.05 * (1 + n) for n in range(10)])
    assert fates[10:] == [()] * 10 and one.counts.queue_full == 10
    [later] = one.offer(PACKET, 0.26)
    assert later.when == pytest.approx(0.55)


def test_a_change_lets_the_queue_go() -> None:
    one = channel(rate=16_000)
    for _ in range(10):
        one.offer(PACKET, 0.0)
    one.weather = Weather()
    [arrival] = one.offer(PACKET, 0.01)
    assert arrival.when == 0.01


@pytest.mark.parametrize(
    "wrong",
    [{"loss": 1.1}, {"burst": [0.1]}, {"jitter": 0.1}, {"rate": 0}, {"queue": -1}, {"held": -1}, {"wind": 3}],
    ids=str,
)
def test_impossible_weather_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Weather.of(wrong)


def test_weather_survives_its_json() -> None:
    weather = Weather(**MIXED)
    assert Weather.of({**dataclasses.asdict(weather), "burst": list(MIXED["burst"])}) == weather


# How far a connection has come.


def segment(sequence: int, size: int, *, flags: int = 0x10) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 8443, 40000, sequence % (1 << 32), 0, 5 << 4, flags, 0, 0, 0)
    return PACKET[:20] + tcp + bytes(size)


def back(flags: int) -> bytes:
    """From the other end."""
    tcp = struct.pack("!HHIIBBHHH", 40000, 8443, 0, 0, 5 << 4, flags, 0, 0, 0)
    return PACKET[:12] + PACKET[16:20] + PACKET[12:16] + tcp


def test_only_bytes_in_order_are_life() -> None:
    flows = Flows()
    start = (1 << 32) - 150  # The numbers wrap.
    flows.deliver(segment(start - 1, 0, flags=0x02), 0.0)
    flows.deliver(segment(start, 100), 1.0)
    flows.deliver(segment(start + 200, 100), 2.0)  # A hole before it.
    flows.deliver(segment(start, 100), 3.0)  # Seen already.
    flows.deliver(segment(start + 100, 0), 3.5)  # A bare acknowledgement.
    [flow] = flows.as_json(4.0)
    assert (flow["bytes"], flow["longest_silence"]) == (100, 3.0)
    flows.deliver(segment(start + 50, 150), 5.0)  # Fills the hole.
    [flow] = flows.as_json(5.0)
    assert flow == {"from": "10.0.0.1:8443", "to": "10.0.0.2:40000", "bytes": 300, "longest_silence": 4.0}


@pytest.mark.parametrize("flag", [0x01, 0x04], ids=["FIN", "RST"])
def test_silence_ends_when_nobody_waits_any_more(flag: int) -> None:
    flows = Flows()
    flows.deliver(segment(1, 10), 1.0)
    flows.sent(back(0x10), 2.0)
    flows.sent(back(0x10 | flag), 3.5)
    flows.sent(back(0x10 | flag), 9.0)  # Again, as it was lost.
    assert flows.as_json(20.0)[0]["longest_silence"] == 2.5


def test_a_connection_is_followed_from_where_it_is_first_seen() -> None:
    flows = Flows()
    flows.deliver(segment(5000, 10), 1.0)
    flows.deliver(segment(5010, 10), 1.5)
    [flow] = flows.as_json(1.75)
    assert (flow["bytes"], flow["longest_silence"]) == (20, 0.5)


def test_what_is_no_tcp_tells_nothing() -> None:
    flows = Flows()
    flows.deliver(PACKET[:9] + b"\x11" + PACKET[10:], 1.0)
    flows.deliver(PACKET[:6] + b"\x00\x10" + PACKET[8:], 1.0)  # A later fragment.
    assert flows.as_json(1.0) == []
