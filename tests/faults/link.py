"""A bad link between two hosts: two TUN devices and this process between them (the kernel here has no netem).

Both devices are in the router. A packet from the client's side is routed into one device, read here, treated as
`weather` says, and written to the other device. From there the kernel routes it on. The way back is the same:

    client ══ left ─(rule: came in by left)→ tun-up ~~ this process ~~ tun-down → right ══ relay

Nothing else changes: no address, no route of the hosts. So the link can be inserted into a live connection and removed
again. The router's own traffic does not pass through it.

A TUN device offers no offloading (unless asked), so the kernel cuts big segments down and computes every checksum
before we see a packet; damage done here is detected by real checksums at the other end.

The child knows two calls (see `player`): `{"do": "weather", "up": {…}, "down": {…}, "seed": N}`, where up (from left to
right) and down are the fields of `Weather`, and omitted fields keep their value; and `{"do": "report"}`.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import fcntl
import heapq
import math
import os
import select
import struct
import time
from typing import Any, Final

from tests.faults.flows import Flows
from tests.faults.player import Call, Conversation, Player
from tests.faults.tools import LabError
from tests.faults.weather import Arrival, Channel, Weather
from tests.faults.world import Host

DEVICE: Final = "/dev/net/tun"
UP_DEVICE: Final = "tun-up"
DOWN_DEVICE: Final = "tun-down"
_TABLES: Final = {UP_DEVICE: "7001", DOWN_DEVICE: "7002"}

_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TUN_NO_PI: Final = 0x1001
_MOST_BYTES: Final = 65536
_BATCH: Final = 64
_MULTICAST_V6: Final = 0xFF


def why_not() -> str | None:
    """Why no TUN device can be had, and what to do about it; None where one can."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        remedy = {
            errno.ENOENT: f"load the module (modprobe tun), or make it: mknod {DEVICE} c 10 200",
            errno.ENODEV: "the kernel needs CONFIG_TUN",
            errno.ENXIO: "the kernel needs CONFIG_TUN",
            errno.EACCES: f"be root, or let others open it: chmod 0666 {DEVICE}",
        }.get(error.errno or 0, "run it where TUN devices are allowed")
        return f"{DEVICE} does not open ({error.strerror}): {remedy}"
    return None


class Link(Player):
    """A link in the host `router`, between its devices `left` and `right`; carries all as it comes at first.

    `close` takes it out: what comes then goes straight through again. Raises `LabError`.
    """

    def __init__(self, router: Host, *, left: str, right: str, seed: int) -> None:
        self._router = router
        rules = [("iif", left, "lookup", _TABLES[UP_DEVICE]), ("iif", right, "lookup", _TABLES[DOWN_DEVICE])]
        self._rules = [" ".join(rule) for rule in rules]
        with router.entered():
            super().__init__("tests.faults.link", ["--seed", str(seed)])
        up = [f"link set {device} addrgenmode none txqueuelen 1000 up" for device in _TABLES]
        routes = [f"route add default dev {device} table {table}" for device, table in _TABLES.items()]
        rules_added = [f"rule add {rule}" for rule in self._rules]
        try:
            self._ip("-4", *up, *routes, *rules_added)
            self._ip("-6", *routes, *rules_added)
        except LabError:
            self.close()
            raise

    def weather(self, *, up: Weather | None = None, down: Weather | None = None, seed: int | None = None) -> None:
        """Change the conditions of one direction or both, from now on; `seed`: with new dice for both."""
        given = {"up": up, "down": down}
        changes: dict[str, Any] = {name: dataclasses.asdict(one) for name, one in given.items() if one is not None}
        self.ask("weather", **changes, **({} if seed is None else {"seed": seed}))

    def close(self) -> None:
        rules, self._rules = self._rules, []
        try:
            for family in ("-4", "-6"):
                self._ip(family, *(f"rule del {rule}" for rule in rules))
        except LabError:
            pass  # They were never made.
        super().close()

    def _ip(self, family: str, *lines: str) -> None:
        self._router.run("ip", family, "-force", "-batch", "-", given="\n".join(lines))


# The child.


def open_device(name: str) -> int:
    """A new TUN device, or the one of that name, as a descriptor that gives and takes bare IP packets."""
    fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return fd


class Direction:
    """From one device to the other: a channel, and what is on its way in it."""

    def __init__(self, name: str, source: int, target: int, seed: int, flows: Flows) -> None:
        self.source = source
        self.channel = Channel(seed, name)
        self.not_taken = 0
        """Packets that the other device refused. Must stay 0 for a link to be what it says."""
        self._target = target
        self._flows = flows
        self._under_way: list[tuple[float, int, Arrival]] = []
        self._number = 0

    def read(self) -> None:
        """Take what has come, up to a batch of it."""
        for _ in range(_BATCH):
            try:
                packet = os.read(self.source, _MOST_BYTES)
            except BlockingIOError:
                return
            if packet[0] >> 4 == 6 and packet[24] == _MULTICAST_V6:
                continue  # The kernel's own, to its neighbours on this device: it was never routed here.
            now = time.monotonic()
            self._flows.sent(packet, now)
            for arrival in self.channel.offer(packet, now):
                self._number += 1  # Of two that are due in the same moment, the first comes first.
                heapq.heappush(self._under_way, (arrival.when, self._number, arrival))

    def next_due(self) -> float:
        return self._under_way[0][0] if self._under_way else math.inf

    def deliver(self, until: float) -> None:
        """Write what arrives until then."""
        while self._under_way and self._under_way[0][0] <= until:
            arrival = heapq.heappop(self._under_way)[2]
            try:
                os.write(self._target, arrival.packet)
            except OSError:
                self.not_taken += 1
                continue
            if not arrival.damaged:
                self._flows.deliver(arrival.packet, time.monotonic())

    def change(self, weather: Weather) -> None:
        """Change the conditions. Packets in flight arrive now, in the order in which they would have."""
        self.deliver(math.inf)
        self.channel.weather = weather

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self.channel.counts), "not_taken": self.not_taken}


class _Carrier:
    """Both directions, and the conversation with the lab."""

    def __init__(self, seed: int) -> None:
        up, down = open_device(UP_DEVICE), open_device(DOWN_DEVICE)
        self._flows = Flows()
        self._directions = {
            "up": Direction("up", up, down, seed, self._flows),
            "down": Direction("down", down, up, seed, self._flows),
        }
        self._conversation = Conversation(self._call)

    def carry(self) -> None:
        """Until the conversation ends."""
        sources = {direction.source: direction for direction in self._directions.values()}
        poller = select.epoll()
        for fd in (*sources, Conversation.fd):
            poller.register(fd, select.EPOLLIN)
        self._conversation.say({"ready": [UP_DEVICE, DOWN_DEVICE]})
        while True:
            due = min(direction.next_due() for direction in sources.values())
            ready = poller.poll(-1 if due == math.inf else max(0.0, due - time.monotonic()))
            for fd, _ in ready:
                if fd == Conversation.fd:
                    if not self._conversation.turn():
                        return
                else:
                    sources[fd].read()
            for direction in sources.values():
                direction.deliver(time.monotonic())

    def _call(self, call: Call) -> dict[str, Any]:
        if call["do"] == "weather":
            changes = {name: Weather.of(call[name]) for name in self._directions if name in call}
            if "seed" in call:
                for direction in self._directions.values():
                    direction.channel.seed(int(call["seed"]))
            for name, weather in changes.items():
                self._directions[name].change(weather)
            return {}
        if call["do"] == "report":
            counts = {name: direction.as_json() for name, direction in self._directions.items()}
            return {**counts, "flows": self._flows.as_json(time.monotonic())}
        raise ValueError("do must be one of weather, report")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults.link", description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, required=True)
    _Carrier(arguments.parse_args().seed).carry()


if __name__ == "__main__":
    main()
