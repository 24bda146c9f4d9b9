"""Runs one coroutine of waits in the calling thread, and blocks until it ends.

The library's steps (`dial`, `secure`, `Channel.send`) are coroutines, made for a loop that has many of them. A probe
has one for each address, in a thread of its own, and measures each step. So this is the simplest host: no wakes, no
late hosts. Each wait has its deadline, so every call ends.
"""

from __future__ import annotations

import random
import selectors
import socket
import threading
import time
from typing import Any, TypeVar, cast

from wire_rawsse.probe.measurements import Tcp
from wire_rawsse.probe.tcp_info import tcp_info
from wire_rawsse.transport.dial import open_socket
from wire_rawsse.transport.resolve import Resolver
from wire_rawsse.waits import READ, WRITE, Address, Coroutine, Future, Receive, Wait

T = TypeVar("T")
_RECEIVE_BYTES = 65536


class BlockingHost:
    """The services of one thread. `mss` limits the segments of its connections, in both directions."""

    def __init__(self, mss: int | None = None) -> None:
        self._mss = mss
        self._announced = threading.Event()
        self.last_info: Tcp | None = None
        """Of the connection that was released last."""

    now = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    random = staticmethod(random.random)
    unwatched = staticmethod(float)  # It waits for nothing else.
    paused = staticmethod(bool)

    def resolve(self, host: str, port: int) -> Future[list[Address]]:
        return Resolver(lambda _: self._announced.set()).resolve(host, port)

    def open(self, address: Address) -> socket.socket:
        sock = open_socket(address)
        if self._mss is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, self._mss)
            except OSError:
                pass  # Then the experiment shows nothing, and says so.
        return sock

    def release(self, sock: socket.socket) -> None:
        self.last_info = tcp_info(sock)
        sock.close()

    def run(self, coroutine: Coroutine[T]) -> T:
        """The coroutine's value. Raises what it raises."""
        value: Any = None
        error: OSError | None = None
        try:
            while True:
                step = coroutine.send(value) if error is None else coroutine.throw(error)
                value, error = None, None
                if isinstance(step, Receive):
                    try:
                        value = self._receive(step)
                    except OSError as raised:
                        error = raised
                elif isinstance(step, Wait):
                    value = self._wait(step)
        except StopIteration as end:
            return cast("T", end.value)
        finally:
            coroutine.close()

    def _receive(self, step: Receive) -> bytes | None:
        while True:
            try:
                return step.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                pass
            if not _ready({step.fd: READ}, step.deadline - self.now()):
                return None

    def _wait(self, step: Wait) -> dict[int, int] | None:
        left = step.deadline - self.now()
        if step.future is not None:
            self._announced.wait(max(0.0, left))
            return {} if step.future.done else None
        return _ready(dict(step.interest), left)


def _ready(interest: dict[int, int], seconds: float) -> dict[int, int] | None:
    with selectors.DefaultSelector() as selector:
        for fd, mask in interest.items():
            events = (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)
            selector.register(fd, events)
        found = selector.select(max(0.0, seconds))
    return {key.fd: interest[key.fd] for key, _ in found} or None
