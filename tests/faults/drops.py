"""Packets dropped, and counted, where they arrive.

The rule sits in the *receiving* host's input hook (or in `middle`'s forward hook, a router that loses them). In the
sender's output hook it would be no network fault: the sender's kernel is told of the drop and keeps the segment.
Each drop is an nft table of its own, so removing one is one command and cannot miss.
"""

from __future__ import annotations

import itertools
import json
import socket
import time
from typing import Final

from tests.faults.tools import LabError
from tests.faults.world import Host

EVERYTHING: Final = 'iifname "net"'
"""All that comes over the wire."""
_DISCARD: Final = 9
_numbers = itertools.count(1)


class Drop:
    """Drops what matches in `host` from now on, until `lift`. `count` is how many packets that has been."""

    def __init__(self, host: Host, match: str = EVERYTHING, *, hook: str = "input") -> None:
        self.host = host
        self._table = f"lab{next(_numbers)}"
        self._last = 0
        self._there = True
        chain = f"type filter hook {hook} priority -300; policy accept;"
        rules = [
            f"add table inet {self._table}",
            f"add counter inet {self._table} dropped",
            f"add chain inet {self._table} it {{ {chain} }}",
            f"add rule inet {self._table} it {match} counter name dropped drop",
        ]
        host.run("nft", "-f", "-", given="\n".join(rules) + "\n")

    @property
    def count(self) -> int:
        if self._there:
            listed = json.loads(self.host.run("nft", "-j", "list", "counters", "table", "inet", self._table))
            found = [item["counter"]["packets"] for item in listed["nftables"] if "counter" in item]
            if not found:
                raise LabError(f"the counter of {self._table} in {self.host.name} is gone")
            self._last = int(found[0])
        return self._last

    def show(self, sender: Host, address: str) -> None:
        """If no packet has arrived that it could drop, send one datagram from `sender`, which it must count.

        Raises `LabError`.
        """
        if self.count:
            return
        with sender.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"is anybody there?", (address, _DISCARD))
        until = time.monotonic() + 0.5
        while not self.count:
            if time.monotonic() > until:
                raise LabError(f"what is sent to {self.host.name} is not dropped")
            time.sleep(0.01)

    def lift(self) -> None:
        """Let everything pass again. Twice is fine; the count stays."""
        if self._there:
            _ = self.count
            self._there = False
            self.host.run("nft", "delete", "table", "inet", self._table)

    def told(self) -> dict[str, object]:
        """For the report."""
        return {"host": self.host.name, "dropped": self.count}
