"""The way between the hosts changes: links, addresses, routes, translations and packet sizes.

In most of these the network is well again by itself, for anyone who starts again: another address, another route or a
translation made afresh. Only what was there before is dead, and nothing tells it so. The daemon is to find that out,
and is back before anybody has lifted anything.
"""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.base import Fault, Unproven
from tests.faults.counters import counter
from tests.faults.drops import Drop
from tests.faults.tools import LabError
from tests.faults.world import (
    CLIENT,
    CLIENT6,
    MIDDLE_CLIENT,
    MIDDLE_CLIENT6,
    TO_CLIENT,
    TO_RELAY,
    Host,
)

if TYPE_CHECKING:
    from tests.faults.cell import Cell

OTHER_CLIENT, OTHER_CLIENT6 = "10.77.1.3", "fd77:1::3"
OTHER_GATE, OTHER_PLACE, TO_OTHER = "10.77.4.1", "10.77.4.2", "to-client-2"
SMALL: Final = 600
"""Bytes: the MTU of a link that is smaller than it seems."""
BIG: Final = 4000
"""Bytes of an event that does not fit into it."""

_BEFORE_A_CONNECTION: Final = ("resolving", "connecting", "backing-off")


_COVERED: Final = ("connect", "response")
"""The clocks that may give up an attempt that is held up."""


def _resolver(setup: Setup) -> tuple[str, ...]:
    return ("peer",) if setup.phase == "resolving" else ()


class LinkDown(Fault):
    """The far end of the client's cable is pulled: its own kernel sees no carrier, and what it sends goes nowhere."""

    name, words, group, needs = "link-down", "the link goes down, and later up", "path", ("ip",)

    def expect(self, setup: Setup) -> Expectation | str:
        # A probe that cannot be sent counts for nothing, and the kernel tries again; a resolver gives up by itself.
        return Expectation(Kind.UNHEARD, setup.strikes_in, _resolver(setup))

    def inject(self, cell: Cell) -> None:
        cell.world.middle.run("ip", "link", "set", TO_CLIENT, "down")

    def proof(self, cell: Cell) -> dict[str, Any]:
        told = cell.world.client.run("ip", "-details", "link", "show", "net").strip()
        if "NO-CARRIER" not in told:
            raise Unproven(f"the client's link has a carrier: {told}")
        return {"link": " ".join(told.split())}

    def lift(self, cell: Cell) -> None:
        # IPv6 addresses do not outlive a link that goes down.
        up = f"link set {TO_CLIENT} up\naddr replace {MIDDLE_CLIENT6}/64 dev {TO_CLIENT} nodad\n"
        cell.world.middle.run("ip", "-batch", "-", given=up)


class LinkBlip(LinkDown):
    name, words = "link-blip", "the link goes down for a moment"
    lasts = 0.7

    def inject(self, cell: Cell) -> None:
        if cell.setup.live:
            cell.poster.one()  # Silence is counted from here, and must not reach what keepalive waits.
        super().inject(cell)

    def expect(self, setup: Setup) -> Expectation | str:
        return Expectation(Kind.SURVIVED, setup.strikes_in, () if setup.live else (*_COVERED, *_resolver(setup)))


class AddressChanged(Fault):
    """The client gets another address, as from a new lease; the old one has no owner any more."""

    name, words, group, needs = "address-changed", "our own address is another", "path", ("ip",)

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase == "backing-off":
            return Expectation(Kind.SURVIVED, setup.strikes_in)
        # The kernel announces the loss of the address, so ours notice it at once.
        return Expectation(Kind.UNREACHABLE, setup.strikes_in, _resolver(setup) if setup.command else ("peer",))

    def prepare(self, cell: Cell) -> None:
        self.lasts = 1.5 if cell.expectation.kind is Kind.SURVIVED else None

    def inject(self, cell: Cell) -> None:
        change = (
            f"addr del {CLIENT}/24 dev net\naddr add {OTHER_CLIENT}/24 dev net\n"
            f"addr del {CLIENT6}/64 dev net\naddr add {OTHER_CLIENT6}/64 dev net nodad\n"
            f"route replace default via {MIDDLE_CLIENT}\nroute replace ::/0 via {MIDDLE_CLIENT6}\n"
        )
        cell.world.client.run("ip", "-batch", "-", given=change)

    def proof(self, cell: Cell) -> dict[str, Any]:
        told = cell.world.client.run("ip", "-oneline", "addr", "show", "dev", "net")
        if CLIENT in told or OTHER_CLIENT not in told:
            raise Unproven(f"the client's addresses are {told}")
        return {"addresses": told.splitlines()}


class RouteReplaced(Fault):
    """The client's way out is another interface, whose router drops what does not come from its own network (BCP 38).

    So packets of existing connections are dropped, and new connections use an address of the new network. Data from the
    relay still arrives over the old link, until the unacknowledged window is full.
    """

    name, words, group, needs = (
        "route-replaced",
        "the route is replaced by one over another link",
        "path",
        ("ip", "nft"),
    )

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase in ("backing-off", "resolving"):
            return Expectation(Kind.SURVIVED, setup.strikes_in)
        at = {"handshake": "head", "head": "streaming"}.get(setup.strikes_in, setup.strikes_in)
        return Expectation(Kind.UNHEARD, at)

    def prepare(self, cell: Cell) -> None:
        self.lasts = 1.5 if cell.expectation.kind is Kind.SURVIVED else None
        middle, client = cell.world.middle, cell.world.client
        new = (
            f"link add {TO_OTHER} type veth peer name net2 netns client\n"
            f"addr add {OTHER_GATE}/24 dev {TO_OTHER}\nlink set {TO_OTHER} up\n"
        )
        middle.run("ip", "-batch", "-", given=new)
        client.run("ip", "-batch", "-", given=f"addr add {OTHER_PLACE}/24 dev net2\nlink set net2 up\n")
        middle.checksum_in_software(TO_OTHER)
        client.checksum_in_software("net2")
        self._drop = Drop(middle, f'iifname "{TO_OTHER}" ip saddr {CLIENT}', hook="prerouting")

    def inject(self, cell: Cell) -> None:
        cell.world.client.run("ip", "route", "replace", "default", "via", OTHER_GATE)

    def proof(self, cell: Cell) -> dict[str, Any]:
        told = cell.world.client.run("ip", "route", "get", "10.77.2.2")
        if OTHER_GATE not in told:
            raise Unproven(f"the route did not change: {told}")
        if cell.setup.phase not in ("backing-off", "resolving") and not self._drop.count:
            raise Unproven("nothing with the old address came over the new route")
        return {"route": told.split("\\n")[0], "drops": [self._drop.told()]}


class NatForgotten(Fault):
    """The router translates addresses, and forgets all of its translations at once.

    A packet without a translation is then refused with RST, or dropped. New connections get a new translation. If only
    a SYN was sent so far, its retransmission works like a first one.
    """

    group, needs = "path", ("nft",)
    verdict: ClassVar[str]

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.phase in _BEFORE_A_CONNECTION:
            return Expectation(Kind.SURVIVED, setup.strikes_in)
        return self.meets(setup)

    def meets(self, setup: Setup) -> Expectation:
        raise NotImplementedError

    def prepare(self, cell: Cell) -> None:
        self.lasts = 1.5 if cell.expectation.kind is Kind.SURVIVED else None
        middle = cell.world.middle
        # A connection that is met in its middle must not be taken for a new one.
        middle.sysctl("net/netfilter/nf_conntrack_tcp_loose", "0")
        middle.run("nft", "-f", "-", given=_NAT.format(to_relay=TO_RELAY, to_client=TO_CLIENT, verdict=self.verdict))

    def inject(self, cell: Cell) -> None:
        with cell.world.middle.entered():
            before = translations()
            forget_translations()
            self._known = before, translations()

    def proof(self, cell: Cell) -> dict[str, Any]:
        before, after = self._known
        if not before or after >= before:
            raise Unproven(f"the router knew {before} connections, and {after} when it had forgotten them")
        table = cell.world.middle.run("nft", "list", "counters", "table", "inet", "nat")
        found = [int(word) for line in table.splitlines() if "packets" in line for word in [line.split()[1]]]
        if cell.setup.phase not in _BEFORE_A_CONNECTION and not any(found):
            raise Unproven("no packet came that had lost its translation")
        return {"known before and after": [before, after], "packets without a translation": found}


class NatSilent(NatForgotten):
    name, words = "nat-forgotten-silent", "the router forgets our translation, and drops what has none"
    verdict = "drop"

    def meets(self, setup: Setup) -> Expectation:
        return Expectation(Kind.UNREACHABLE, setup.strikes_in)


class NatReset(NatForgotten):
    name, words = "nat-forgotten-reset", "the router forgets our translation, and answers RST to what has none"
    verdict = "reject with tcp reset"

    def meets(self, setup: Setup) -> Expectation:
        return Expectation(Kind.PROBED, setup.strikes_in)


_NAT: Final = """
table inet nat {{
  counter from_client {{ }}
  counter from_relay {{ }}
  chain out {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{to_relay}" masquerade
  }}
  chain through {{
    type filter hook forward priority 0; policy accept;
    iifname "{to_client}" meta l4proto tcp ct state invalid counter name "from_client" {verdict}
  }}
  chain here {{
    type filter hook input priority 0; policy accept;
    iifname "{to_relay}" meta l4proto tcp counter name "from_relay" {verdict}
  }}
}}
"""


def translations() -> int:
    """How many connections this network namespace's router knows."""
    return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())


def forget_translations() -> None:
    """Empty this network namespace's table of connections (IPCTNL_MSG_CT_DELETE without a tuple). Raises `LabError`."""
    request, acknowledge, error = 0x01, 0x04, 2
    connections, delete = 1, 2
    message = struct.pack(
        "=IHHIIBBH", 20, connections << 8 | delete, request | acknowledge, 1, 0, socket.AF_UNSPEC, 0, 0
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # NETLINK_NETFILTER
        netlink.send(message)
        answer = netlink.recv(4096)
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind != error or code:
        raise LabError(f"the kernel does not forget its connections (code {code})")


class MtuBlackhole(Fault):
    """A link towards the client takes small packets only, and the ICMP message about it never reaches the relay (RFC
    2923).

    Small packets still pass: SYNs, acknowledgements, keepalive probes, heartbeats, small events. The
    relay's first big packet is retransmitted for ever, and all later data waits for it.
    """

    name, words, group = "mtu-blackhole", "big packets vanish, and the sender is not told", "path"
    needs = ("ip", "nft")

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def expect(self, setup: Setup) -> Expectation | str:
        if setup.live or not setup.tls or setup.phase == "head":
            return Expectation(Kind.SILENCE, "streaming")
        return Expectation(Kind.SILENCE, "handshake")

    def inject(self, cell: Cell) -> None:
        self._drop = Drop(cell.world.relay, "icmp type destination-unreachable icmp code frag-needed")
        self._small(cell.world.middle, "mtu", "lock", str(SMALL))
        self._thread = threading.Thread(target=self._post, args=(cell,), name="big-events", daemon=True)
        self._thread.start()

    def proof(self, cell: Cell) -> dict[str, Any]:
        failed = counter(cell.world.middle, "Ip", "FragFails")
        if not failed or not self._drop.count:
            raise Unproven(f"{failed} packets were too big, and {self._drop.count} times the relay was not told")
        return {"too big": failed, "drops": [self._drop.told()]}

    def lift(self, cell: Cell) -> None:
        self._stop()
        self._small(cell.world.middle)
        self._drop.lift()

    def close(self, cell: Cell) -> None:
        self._stop()

    def _small(self, middle: Host, *more: str) -> None:
        middle.run("ip", "route", "replace", "10.77.1.0/24", "dev", TO_CLIENT, "src", MIDDLE_CLIENT, *more)

    def _post(self, cell: Cell) -> None:
        while not self._over.wait(0.2):
            cell.poster.one(filler="x" * BIG)

    def _stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()


FAULTS: tuple[type[Fault], ...] = (
    LinkDown, LinkBlip, AddressChanged, RouteReplaced, NatSilent, NatReset, MtuBlackhole,
)  # fmt: skip
