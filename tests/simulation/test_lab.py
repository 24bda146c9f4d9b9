"""Two worlds, one list of what can go wrong: each fault of the lab (`tests/faults`, real packets between real hosts)
has its counterpart in the weather, or a reason why a world of memory cannot know it; and the other way round.

A fault that is added to either without a row here fails.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.faults.catalogue import FAULTS
from tests.simulation import weather

LAB: Final[dict[str, tuple[str, ...] | str]] = {
    # Packets.
    "drop-both": ("blackhole",),
    "drop-to-client": ("blackhole",),
    "drop-to-relay": ("blackhole",),
    "brief-both": ("blackhole", "bursts"),
    "brief-to-client": ("blackhole", "bursts"),
    "brief-to-relay": ("blackhole", "bursts"),
    # The link. TCP corrects reordering, duplication and damage; they only cost time.
    "loss-1": ("loss",),
    "loss-10": ("loss",),
    "loss-30": ("loss",),
    "loss-bursts": ("bursts",),
    "delay-jitter": ("jitter",),
    "reorder": ("jitter",),
    "duplicate": "there are no packets: TCP drops what it has, so nobody above it can tell",
    "corrupt": ("loss",),
    "narrow": ("narrow",),
    # The relay.
    "relay-stopped": ("hangs",),
    "relay-killed": ("power lost",),
    "relay-restarted": ("killed",),
    "syn-blackhole": ("syn blackhole",),
    "syn-refused": ("refused",),
    "accept-silent": ("other answers",),
    # The peer's doing.
    "rst": ("reset",),
    "fin-clean": ("closed cleanly",),
    "fin-mid-event": ("cut in an event",),
    "fin-mid-chunk": ("cut in a chunk",),
    "fin-mid-record": ("cut in a record",),
    "fin-mid-head": ("other answers",),
    "garbage": ("garbage", "other answers"),
    "drip-line": ("line drips",),
    "drip-extension": ("chunk extension drips",),
    "drip-head": ("head drips",),
    "tls-stall-0": ("handshake trouble",),
    "tls-stall-1": ("handshake trouble",),
    "tls-stall-1.3": ("handshake trouble",),
    "tls-reset": ("handshake trouble",),
    "tls-cut": ("handshake trouble",),
    # Names.
    "names-silent": ("silent names",),
    "names-slow": ("slow names",),
    "names-nxdomain": ("unknown name",),
    "names-wrong": ("wrong names",),
    "first-address-dead": ("one family dead",),
    "ipv6-blackholed": ("ipv6 blackholed",),
    # Addresses. That the next attempt goes to the other one is held on to in test_exact_attempts.
    "first-address-silent": ("one address dead", "handshake trouble", "other answers"),
    "first-address-resets": ("one address dead", "handshake trouble", "other answers"),
    "first-address-ends": ("one address dead", "handshake trouble", "other answers"),
    "first-address-503": ("other answers",),
    "first-address-mtu": ("mtu blackhole",),
    "key-update-flood": ("key update", "control records"),
    "ticket-flood": ("tickets", "control records"),
    # The path.
    "link-down": ("link down",),
    "link-blip": ("link down",),
    "address-changed": ("forgotten by nat", "address lost"),
    "route-replaced": ("route replaced", "routes change"),
    "nat-forgotten-silent": ("forgotten by nat",),
    "nat-forgotten-reset": ("forgotten by nat",),
    "mtu-blackhole": ("mtu blackhole",),
    # Proxies.
    "proxy-deaf": ("dead behind the proxy",),
    "proxy-buffers": ("buffering proxy",),
    "proxy-stalls": ("proxy trouble",),
    "proxy-refuses": ("proxy trouble",),
    "proxy-dies": ("reset", "refused"),
    # The machine.
    "disk-full": ("disk full",),
    "state-read-only": ("disk read only",),
    "no-descriptors": ("no descriptors",),
    "clock-forward": ("wall clock set",),
    "clock-backward": ("wall clock set",),
    "process-stopped": ("stopped",),
    "storm": ("storm", "late"),
}

NOT_IN_THE_LAB: Final[dict[str, str]] = {
    "halting": "pieces of events at chosen cuts: the parser's fuzzing and this world choose them better than a socket",
    "large event": "nothing goes wrong on the wire",
    "wish": "`retry:` and its pause are a matter of hours",
    "full records": "records are cut by the server's library",
    "no room to watch": "needs the whole machine's epoll limit",
    "no threads": "needs the whole user's process limit",
    "restarted": "the caller's doing",
    "impatient": "the caller's doing",
    "suspended": "no test suspends the machine; tests/hosts/test_suspend moves the clocks",
    "announcements": "tested with a real network namespace in tests/hosts/test_surroundings",
    "host knows better": "the caller's doing",
    "struck": "the caller's signal handler, at a chosen instruction",
    "struck in a file": "the caller's signal handler, at a chosen instruction",
    "rotated": "tested with real files and relays in tests/wire",
    "rotated again and again": "a matter of hours",
    "unnamed": "tested with real files and relays in tests/wire",
    "relay json half written": "tested with real files in tests/wire",
    "relay json spoilt": "tested with real files in tests/wire",
    "relay json unreadable": "tested with real files in tests/wire",
}

HERE: Final = {fault.name for fault in weather.EVERY}
STAND_INS: Final = {name for row in LAB.values() if not isinstance(row, str) for name in row}


def test_each_fault_of_the_lab_has_its_row() -> None:
    assert set(LAB) == set(FAULTS)


def test_each_fault_of_the_weather_stands_for_one_of_the_labs_or_has_a_reason() -> None:
    assert STAND_INS | set(NOT_IN_THE_LAB) == HERE
    assert not STAND_INS & set(NOT_IN_THE_LAB)


@pytest.mark.parametrize("name", LAB)
def test_what_stands_for_it_is_in_the_weather(name: str) -> None:
    row = LAB[name]
    assert row and (isinstance(row, str) or set(row) <= HERE)
