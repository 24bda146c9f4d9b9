"""A name server that answers, or does not, as it is told. The messages themselves are `dnslib`'s.

The C library's resolver asks for A and AAAA at once, from one socket, waits `timeout` seconds (resolv.conf(5)), and
asks again `attempts` times in all. So what a daemon sees of a bad name server depends on both, and each query counts.

Its behaviours, for the names that it knows, which share their addresses (all other names are NXDOMAIN):

    answer    the addresses that there are; an empty answer for a family that has none
    slow      the same, `seconds` later
    hold      the same, after the next behaviour is set: a look-up that waits until the lab releases it
    silent    nothing
    nxdomain, servfail, refused   that (RFC 1035 §4.1.1)

"Wrong, then right" takes two calls: `"a": ["192.0.2.1"]`, later `"a": ["10.2.0.2"]`. Answers
have a time to live of 0, so that nothing on the way keeps them.

The child's calls (see `player`): `{"do": "behave", "how": HOW, "seconds": S, "a": […], "aaaa": […]}`, of which omitted
fields keep their value; and `{"do": "report"}`: how many queries met which behaviour, by type, and when the first met
the present one (`struck`, on CLOCK_MONOTONIC).
"""

from __future__ import annotations

import argparse
import collections
import heapq
import math
import select
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

import dnslib

from tests.faults.player import Call, Conversation, Player

HOWS: Final = ("answer", "slow", "hold", "silent", "nxdomain", "servfail", "refused")
_CODES: Final = {"nxdomain": dnslib.RCODE.NXDOMAIN, "servfail": dnslib.RCODE.SERVFAIL, "refused": dnslib.RCODE.REFUSED}


class NameServer(Player):
    """Serves `names` by UDP at `address`, port 53. Raises `PlayerError`."""

    def __init__(
        self,
        *names: str,
        address: str,
        a: Sequence[str] = (),
        aaaa: Sequence[str] = (),
        how: str = "answer",
    ) -> None:
        super().__init__("tests.faults.nameserver", ["--bind", address, "--names", *names])
        self.behave(how, a=a, aaaa=aaaa)

    def behave(
        self, how: str, *, seconds: float = 0.0, a: Sequence[str] | None = None, aaaa: Sequence[str] | None = None
    ) -> None:
        """Applies from the next query on; held queries are answered in the new way. Addresses not given stay."""
        records = {name: list(value) for name, value in (("a", a), ("aaaa", aaaa)) if value is not None}
        self.ask("behave", how=how, seconds=seconds, **records)


def resolv_conf(address: str, *, timeout: int = 1, attempts: int = 2) -> str:
    """The text of a resolv.conf(5) that asks this server and nobody else; whole seconds are all that there is."""
    return f"nameserver {address}\noptions timeout:{timeout} attempts:{attempts}\n"


# The child.


class _Server:
    def __init__(self, names: Sequence[str], address: str) -> None:
        self._names = [dnslib.DNSLabel(name) for name in names]
        self._how = "answer"
        self._seconds = 0.0
        self._records: dict[str, list[str]] = {"A": [], "AAAA": []}
        self._counts: collections.Counter[str] = collections.Counter()
        self._struck: float | None = None
        self._held: list[tuple[bytes, Any]] = []
        self._due: list[tuple[float, int, bytes, Any]] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._conversation = Conversation(self._call)

    def serve(self) -> None:
        """Until the conversation ends."""
        poller = select.epoll()
        poller.register(self._socket, select.EPOLLIN)
        poller.register(Conversation.fd, select.EPOLLIN)
        self._conversation.say({"ready": self._socket.getsockname()[:2]})
        while True:
            due = self._due[0][0] if self._due else math.inf
            ready = dict(poller.poll(-1 if due == math.inf else max(0.0, due - time.monotonic())))
            if Conversation.fd in ready and not self._conversation.turn():
                return
            if self._socket.fileno() in ready:
                data, client = self._socket.recvfrom(4096)
                self._asked(data, client)
            while self._due and self._due[0][0] <= time.monotonic():
                self._socket.sendto(*heapq.heappop(self._due)[2:])

    def _asked(self, data: bytes, client: Any) -> None:
        try:
            query = dnslib.DNSRecord.parse(data)
            kind = dnslib.QTYPE[query.q.qtype]
        except dnslib.DNSError:
            self._counts["no query"] += 1
            return
        self._counts[f"{self._how} {kind}"] += 1
        if self._struck is None:
            self._struck = time.monotonic()
        if self._how == "hold":
            self._held.append((data, client))
            return
        if self._how != "silent":
            wait = self._seconds if self._how == "slow" else 0.0
            number = self._counts.total()
            heapq.heappush(self._due, (time.monotonic() + wait, number, self._reply(query, kind), client))

    def _reply(self, query: dnslib.DNSRecord, kind: str) -> bytes:
        reply = query.reply()
        if query.q.qname not in self._names:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        elif self._how in _CODES:
            reply.header.rcode = _CODES[self._how]
        else:
            for address in self._records.get(kind, ()):
                data = dnslib.A(address) if kind == "A" else dnslib.AAAA(address)
                reply.add_answer(dnslib.RR(query.q.qname, query.q.qtype, ttl=0, rdata=data))
        packed: bytes = reply.pack()
        return packed

    def _call(self, call: Call) -> dict[str, Any]:
        if call["do"] == "behave":
            if call["how"] not in HOWS:
                raise ValueError(f"how must be one of {', '.join(HOWS)}")
            self._how, self._seconds = call["how"], float(call.get("seconds", 0.0))
            self._struck = None
            for kind, records in self._records.items():
                records[:] = call.get(kind.lower(), records)
            held, self._held = self._held, []
            for data, client in held:
                self._asked(data, client)
            return {}
        if call["do"] == "report":
            return {"queries": dict(self._counts), "struck": self._struck}
        raise ValueError("do must be one of behave, report")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults.nameserver", description=__doc__.splitlines()[0])
    arguments.add_argument("--bind", required=True, metavar="ADDRESS")
    arguments.add_argument("--names", required=True, nargs="+")
    given = arguments.parse_args()
    _Server(given.names, given.bind).serve()


if __name__ == "__main__":
    main()
