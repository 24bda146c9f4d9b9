"""Scenes that bring a stream to each phase of its life and keep it there, for the tests of `close`, `restart` and
`stop`.

The promise is that each acts within 100 ms; the assertion is `AT_ONCE`, for a machine that is busy, and the real
figure is printed (`pytest -rP`). Nothing may be left: descriptors are compared one by one, threads by the guard.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from tests.hosts.support import (
    AT_ONCE,
    PATIENCE,
    HungResolver,
    Server,
    last_byte_of,
    phase_of,
    until,
    watched_by,
)
from wire_rawsse import EventSource, StreamSubscriber
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.loop import Loop


class Scene(NamedTuple):
    """Brings a stream to a phase and keeps it there."""

    phase: str
    url: str
    options: dict[str, Any]
    server: Server | None
    resolver: HungResolver
    half: bytes

    def reach(self, stream: StreamSubscriber | EventSource) -> None:
        """Until somebody who waits on `stream` is asleep in the phase."""
        until(lambda: phase_of(stream) == self.phase)
        if self.phase == "resolving":
            assert self.resolver.asked.wait(PATIENCE)
        if self.phase == "streaming":
            assert self.server is not None
            peer = self.server.peer()
            if self.half:
                peer.say(self.half)
                until(lambda: last_byte_of(stream))
        loop = stream._loop
        until(lambda: not any(task.runnable or task.exception for task in loop.schedule.tasks))

    def subscriber(self) -> StreamSubscriber:
        return StreamSubscriber(self.url, **self.options)

    def source(self) -> EventSource:
        return EventSource(self.url, **self.options)


SCENES = (
    "resolving",
    "connecting",
    "tunnel",
    "handshake",
    "head http",
    "head https",
    "idle http",
    "idle https",
    "mid-event http",
    "mid-event https",
    "backing off",
)


def wait_out(subscriber: StreamSubscriber) -> bool:
    """Wait through all wakes, until another thread closes the subscriber: during a wait, or between two of them."""
    try:
        while subscriber.wait(PATIENCE):
            pass
    except ClosedError:
        pass
    return False


def descriptors(loop: Loop) -> dict[int, str]:
    """The stream's descriptors, with their files: its epoll, its wake-up descriptor and its sockets."""
    if sys.platform != "linux" or loop._handle.watch.poller is None:
        return {}
    epoll = loop._handle.watch.poller.fileno()
    return {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in {epoll, *watched_by(epoll)}}


def all_closed(held: dict[int, str]) -> bool:
    """Whether none of the sockets is open; the number of an eventfd or epoll may be another's by now."""
    for fd, what in held.items():
        try:
            if what.startswith("socket") and os.readlink(f"/proc/self/fd/{fd}") == what:
                return False
        except OSError:
            continue
    return True


def poller_closed(loop: Loop) -> bool:
    if loop._handle.watch.poller is None:
        return True
    try:
        return loop._handle.watch.poller.fileno() < 0
    except ValueError:  # So an epoll and a kqueue say it.
        return True


def report(what: str, seconds: float) -> None:
    print(f"{what}: {seconds * 1000:.1f} ms")
    assert seconds < AT_ONCE
