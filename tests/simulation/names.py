"""Names: the shipped `Resolver`, whose thread is a happening in virtual time instead.

getaddrinfo(3) blocks for as long as the C library likes, so a look-up here takes as long as its name says, and one that
is caught in a silence ends only when the library gives up. Each counts as a thread until it ends.
"""

from __future__ import annotations

import _thread
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final
from unittest import mock

from tests.simulation.kernel import Kernel
from wire_rawsse.transport.resolve import Resolver, _UnderWay
from wire_rawsse.waits import Address, Future

GIVES_UP: Final = 40.0
"""Seconds after which the C library gives up on silent servers: resolv.conf(5)'s 5 s × 2 attempts × a few servers."""


def address(host: str, port: int) -> Address:
    if ":" in host:
        return Address(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port, 0, 0))
    return Address(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, (host, port))


class Name:
    """The state of one name. The counters say how many faults hold it at present."""

    def __init__(self, hosts: Sequence[str], delay: float = 0.005) -> None:
        self.hosts = list(hosts)
        self.wrong: list[str] = []
        """Addresses of somebody else, given instead."""
        self.delay = delay
        self.silent = 0
        self.unknown = 0


class Names:
    """The name servers. `resolver` is `OsServices.resolver`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.known: dict[str, Name] = {}
        self.no_threads = 0
        """While positive, the system has no thread left."""
        self.under_way: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        """How many addresses a name had when it was last looked up."""

    def resolver(self, announce: Callable[[Future[Any]], object]) -> Resolver:
        return MemoryResolver(self, announce)

    def look_up(self, host: str, port: int) -> list[Address]:
        """The final answer of the C library."""
        name = self.known.get(host.lower())  # DNS takes letters of either case for the same (RFC 4343).
        if name is None or name.unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name.silent:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [address(one, port) for one in name.wrong or name.hosts]


class MemoryResolver(Resolver):
    def __init__(self, names: Names, announce: Callable[[Future[Any]], object]) -> None:
        super().__init__(announce, names.look_up)
        self._names = names

    def _start(self, host: str, port: int, under_way: _UnderWay) -> None:
        """The shipped one, with a thread in memory."""
        with mock.patch.object(_thread, "start_new_thread", self._begin):
            super()._start(host, port, under_way)

    def _begin(self, run: Callable[..., None], args: tuple[str, int, _UnderWay]) -> None:
        host, port, under_way = args
        names, kernel = self._names, self._names.kernel
        if names.no_threads:
            raise RuntimeError("can't start new thread")
        kernel.threads += 1
        kernel.moved += 1
        self._begin_one(under_way, host, port, under_way)

    def _begin_one(self, thread: _UnderWay, host: str, port: int, under_way: _UnderWay) -> None:
        """One look-up of a thread."""
        under = self._names.under_way
        under[host] = under.get(host, 0) + 1
        self._ask(thread, host, port, under_way, under_way.take())

    def _ask(
        self, thread: _UnderWay, host: str, port: int, under_way: _UnderWay, asked: list[Future[list[Address]]]
    ) -> None:
        """The work of `_run`, in simulated time: a failure does not apply to waiters that join from now on."""
        name = self._names.known.get(host.lower())
        seconds = 0.005 if name is None else GIVES_UP if name.silent else name.delay
        self._names.kernel.after(seconds, self._end, thread, host, port, under_way, asked)

    def _end(
        self, thread: _UnderWay, host: str, port: int, under_way: _UnderWay, asked: list[Future[list[Address]]]
    ) -> None:
        names, kernel = self._names, self._names.kernel
        kernel.moved += 1
        found: list[Address] = []
        error: Exception | None = None
        try:
            found = names.look_up(host, port)
            names.answered[host] = len(found)
        except OSError as failed:
            error = failed
        late = self._finish(host, port, under_way, asked, found, error)
        if late:
            self._ask(thread, host, port, under_way, late)
            return
        names.under_way[host] -= 1
        job = self._next(thread)
        if job is None:
            kernel.threads -= 1
        else:
            self._begin_one(thread, *job)
