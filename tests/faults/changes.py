"""Changes of the client's network, each beside the clocks: `python -m tests.faults.changes SCENE [--beside]`.

One world, one relay, and in the client two event streams with the default clocks, one with `watch=True` and one with
`watch=False`, each in a thread of its own. A heartbeat comes every second, and none is learned. Addresses, links and
routes are changed by ip(8). Standard output: one JSON object; times are in seconds since the change.

`--beside`: wait until the stream with `watch=False` has noticed the change, too. That takes up to 75 s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.faults.tools import program
from tests.faults.world import CLIENT, MIDDLE_CLIENT, RELAY, World, enter, inside
from wire_rawsse import Backoff, Closed, EventSource, Opened, Timeouts
from wire_rawsse.errors import StaleConnectionError

PORT: Final = 9000
PATIENCE: Final = 30.0
CLOCKS: Final = 85.0
"""Seconds: all default clocks of a stream that lives have run out, and a busy machine was late."""
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
OTHER: Final = "10.77.1.3"
SECOND, SECOND_GATE = "10.77.3.2", "10.77.3.1"
STORM_SECONDS: Final = 10.0
FLAPS_SECONDS: Final = 60.0
_RTMGRP_ALL: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # Links, IPv4 and IPv6 addresses and routes (linux/rtnetlink.h).


class Relay:
    """It sends each stream a comment line a second, for ever."""

    def __init__(self, world: World) -> None:
        with world.relay.entered():
            self._listener = socket.create_server((RELAY, PORT), backlog=128)
        self.peers: dict[str, list[str]] = {}
        """The clients' addresses, one for each connection, by path."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, (address, _) = self._listener.accept()
            threading.Thread(target=self._answer, args=(sock, address), daemon=True).start()

    def _answer(self, sock: socket.socket, address: str) -> None:
        with contextlib.suppress(OSError), sock:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += sock.recv(65536)
            self.peers.setdefault(request.split(b" ")[1].decode(), []).append(address)
            sock.sendall(HEAD)
            while True:
                sock.sendall(b":\n")
                time.sleep(1)


@dataclass
class Told:
    """The items of one stream, with their times."""

    opened: list[float] = field(default_factory=list)
    closed: list[tuple[float, str]] = field(default_factory=list)
    stale: int = 0
    processor: float = 0.0


class Client(threading.Thread):
    """One event stream, in the client's network: a thread inherits that of the thread which starts it."""

    def __init__(self, world: World, path: str, *, watch: bool, backoff: Backoff | None = None) -> None:
        super().__init__(daemon=True)
        timeouts = Timeouts(learn=False)
        self._source = EventSource(
            f"http://{RELAY}:{PORT}{path}", watch=watch, timeouts=timeouts, backoff=backoff or Backoff()
        )
        self.told = Told()
        self._over = False
        with world.client.entered():
            self.start()

    def run(self) -> None:
        with self._source as source:
            while not self._over:
                item = source.next_item(1.0)
                self.told.processor = time.thread_time()
                if isinstance(item, Opened):
                    self.told.opened.append(time.monotonic())
                elif isinstance(item, Closed):
                    self.told.stale += isinstance(item.error, StaleConnectionError)
                    self.told.closed.append((time.monotonic(), str(item.error)))

    def end(self) -> None:
        self._over = True
        self.join()


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Scene:
    """Both streams in one world."""

    def __init__(self, world: World, *, beside: bool, backoff: Backoff | None = None) -> None:
        self.world, self.beside = world, beside
        self.relay = Relay(world)
        self.watched = Client(world, "/watched", watch=True, backoff=backoff)
        self.unwatched = Client(world, "/clocks", watch=False, backoff=backoff)

    @property
    def both(self) -> tuple[Client, Client]:
        return self.watched, self.unwatched

    def streaming(self) -> None:
        assert until(lambda: all(client.told.opened for client in self.both)), "no stream was opened"
        time.sleep(1.5)  # Each has had a heartbeat.

    def ip(self, *lines: str) -> None:
        self.world.client.run("ip", "-batch", "-", given="\n".join(lines))

    def second_link(self) -> None:
        """One more veth pair between the client and the router; nothing is sent through it yet."""
        lines = (
            "link add to-client2 type veth peer name net2 netns client",
            f"addr add {SECOND_GATE}/24 dev to-client2",
            "link set to-client2 up",
        )
        self.world.middle.run("ip", "-batch", "-", given="\n".join(lines))
        self.world.middle.checksum_in_software("to-client2")
        self.ip(f"addr add {SECOND}/24 dev net2", "link set net2 up")
        self.world.client.checksum_in_software("net2")

    def noticed(self, since: float) -> dict[str, Any]:
        """When each stream was dropped, and came back."""
        found: dict[str, Any] = {}
        for name, client, looked_for in (("watched", self.watched, True), ("clocks", self.unwatched, self.beside)):
            if not looked_for:
                continue
            told = client.told
            assert until(partial(bool, told.closed), since + CLOCKS - time.monotonic()), f"{name}: never noticed"
            at, text = told.closed[0]
            found[name], found[f"{name}: error"] = round(at - since, 3), text
        assert self.watched.told.stale == 1, self.watched.told
        return found

    def end(self) -> None:
        for client in self.both:
            client.end()


def address_removed(world: World, beside: bool) -> dict[str, Any]:
    scene = Scene(world, beside=beside)
    scene.streaming()
    since = time.monotonic()
    scene.ip(f"addr del {CLIENT}/24 dev net")
    found = scene.noticed(since)
    assert "is gone" in found["watched: error"], found
    return found


def address_replaced(world: World, beside: bool) -> dict[str, Any]:
    scene = Scene(world, beside=beside)
    scene.streaming()
    since = time.monotonic()
    scene.ip(f"addr del {CLIENT}/24 dev net", f"addr add {OTHER}/24 dev net", f"route add default via {MIDDLE_CLIENT}")
    found = scene.noticed(since)
    assert until(lambda: len(scene.watched.told.opened) == 2), "it did not come back"
    assert scene.relay.peers["/watched"] == [CLIENT, OTHER]
    return found | {"watched: back": round(scene.watched.told.opened[1] - since, 3)}


def route_moved(world: World, beside: bool) -> dict[str, Any]:
    """The default route leads through another link, and the answers to the old address are lost."""
    scene = Scene(world, beside=beside)
    scene.second_link()
    scene.streaming()
    world.middle.run("ip", "route", "add", "blackhole", f"{CLIENT}/32")
    since = time.monotonic()
    scene.ip(f"route replace default via {SECOND_GATE} dev net2")
    found = scene.noticed(since)
    assert until(lambda: len(scene.watched.told.opened) == 2), "it did not come back"
    assert scene.relay.peers["/watched"] == [CLIENT, SECOND]
    return found | {"watched: back": round(scene.watched.told.opened[1] - since, 3)}


def route_moved_both_live(world: World, beside: bool) -> dict[str, Any]:
    """The default route leads through another link, and the connection lives on."""
    scene = Scene(world, beside=beside)
    scene.second_link()
    scene.streaming()
    scene.ip(f"route replace default via {SECOND_GATE} dev net2")
    time.sleep(15)
    assert not scene.watched.told.closed, scene.watched.told
    return {"watched: dropped": 0}


def link_down_and_up(world: World, beside: bool) -> dict[str, Any]:
    """A short failure of the link drops no stream: its address stays, and TCP sends again."""
    scene = Scene(world, beside=beside)
    scene.streaming()
    scene.ip("link set net down")
    time.sleep(2)
    scene.ip("link set net up", f"route add default via {MIDDLE_CLIENT}")
    time.sleep(8)
    assert not scene.watched.told.closed, scene.watched.told
    return {"watched: dropped": 0, "clocks: dropped": len(scene.unwatched.told.closed)}


def link_up_in_a_pause(world: World, beside: bool) -> dict[str, Any]:
    """The link is down at first, so that both streams pause; how long after it came up they are open."""
    world.client.run("ip", "link", "set", "net", "down")
    scene = Scene(world, beside=beside, backoff=Backoff(initial=60, maximum=60))
    assert until(lambda: all(client.told.closed for client in scene.both)), "it did not fail"
    time.sleep(1)
    since = time.monotonic()
    scene.ip("link set net up", f"route add default via {MIDDLE_CLIENT}")
    found: dict[str, Any] = {}
    for name, client in (("watched", scene.watched), ("clocks", scene.unwatched))[: 1 + beside]:
        assert until(partial(bool, client.told.opened), CLOCKS), f"{name} was not opened"
        found[name] = round(client.told.opened[0] - since, 3)
    return found


@contextlib.contextmanager
def counted(world: World) -> Iterator[list[int]]:
    """Counts the messages of the client's kernel about links, addresses and routes."""
    count = [0]
    with world.client.entered():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.bind((0, _RTMGRP_ALL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
    sock.settimeout(0.2)
    over = False

    def read() -> None:
        while not over:
            with contextlib.suppress(TimeoutError, OSError):
                sock.recv(1 << 16)
                count[0] += 1

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    yield count
    over = True
    thread.join()
    sock.close()


def _unrelated(number: int) -> str:
    """Some messages of the kernel: an address comes and goes, and a temporary one is deprecated (RFC 8981)."""
    a, b = number % 250, number // 250 % 250
    lines = [
        f"addr add 10.200.{b}.{a}/32 dev dummy0",
        f"addr del 10.200.{b}.{a}/32 dev dummy0",
        f"addr replace fd77:1::{number % 16 + 256:x}/64 dev net nodad valid_lft 600 preferred_lft 0",
    ]
    if number % 20 == 0:
        lines += [f"link add br{number} type bridge", f"link set br{number} up", f"link del br{number}"]
    return "\n".join(lines) + "\n"


def storm(world: World, beside: bool) -> dict[str, Any]:
    """Changes that concern nobody: bridges, addresses of others, IPv6 temporary addresses."""
    world.client.run("ip", "link", "add", "dummy0", "type", "bridge")
    world.client.run("ip", "link", "set", "dummy0", "up")
    scene = Scene(world, beside=beside)
    scene.streaming()
    before = [client.told.processor for client in scene.both]
    with world.client.entered():
        batch = subprocess.Popen([program("ip"), "-force", "-batch", "-"], stdin=subprocess.PIPE, text=True)
    assert batch.stdin is not None
    with counted(world) as count:
        began = time.monotonic()
        number = 0
        while (passed := time.monotonic() - began) < STORM_SECONDS:
            if count[0] < 1200 * passed:
                batch.stdin.write(_unrelated(number))
                batch.stdin.flush()
                number += 1
            else:
                time.sleep(0.005)
        batch.stdin.close()
        seconds = time.monotonic() - began
        batch.wait()
    time.sleep(11)  # As long as a doubt lasts.
    used = [client.told.processor - was for client, was in zip(scene.both, before, strict=True)]
    assert [len(client.told.closed) for client in scene.both] == [0, 0], scene.watched.told
    assert scene.relay.peers == {"/watched": [CLIENT], "/clocks": [CLIENT]}
    return {
        "messages a second": round(count[0] / seconds),
        "watched: processor ms a second": round(1000 * used[0] / seconds, 2),
        "clocks: processor ms a second": round(1000 * used[1] / seconds, 2),
        "dropped": 0,
    }


def flapping(world: World, beside: bool) -> dict[str, Any]:
    """Ten times a minute a VPN comes and goes, and each time the address of the moment is lost."""
    scene = Scene(world, beside=beside)
    scene.streaming()
    began = time.monotonic()
    losses = 0
    while time.monotonic() - began < FLAPS_SECONDS:
        old, new = (CLIENT, OTHER) if losses % 2 == 0 else (OTHER, CLIENT)
        scene.ip(f"addr del {old}/24 dev net", f"addr add {new}/24 dev net", f"route add default via {MIDDLE_CLIENT}")
        losses += 1
        time.sleep(3)
    passed = time.monotonic() - scene.watched.told.opened[0]
    connections = [len(scene.relay.peers[path]) for path in ("/watched", "/clocks")]
    allowed = 1 + 8 + passed / 10.7  # The burst of the token bucket, and what comes back (`policy.TokenBucket`).
    assert 2 < connections[0] <= allowed, (connections, allowed)
    return {
        "addresses lost": losses,
        "watched: connections": connections[0],
        "clocks: connections": connections[1],
        "allowed": round(allowed, 1),
    }


SCENES: Final[dict[str, Callable[[World, bool], dict[str, Any]]]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (
        address_removed, address_replaced, route_moved, route_moved_both_live, link_down_and_up, link_up_in_a_pause,
        storm, flapping,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.changes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scene", choices=SCENES)
    parser.add_argument("--beside", action="store_true", help="until the stream with watch=False has noticed, too")
    given = parser.parse_args()
    if not inside():
        enter("tests.faults.changes", [given.scene, *(["--beside"] if given.beside else [])])
    world = World()
    try:
        print(json.dumps(SCENES[given.scene](world, given.beside)), flush=True)
    finally:
        world.close()


if __name__ == "__main__":
    main()
