"""The probe on networks that lose packets: real kernels in namespaces, packets dropped by nft."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.cli.command import WORDS
from tests.faults.drops import Drop
from tests.faults.inside import in_a_world
from tests.faults.world import CLIENT, RELAY, RELAY6, World
from tests.support.trust import Authority

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="Linux only"),
]

NAME: Final = "relay.lab"
PORT: Final = 9000
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
PING: Final = b": ping\n\n"
Serve = Callable[[socket.socket], None]


def listen(world: World, serve: Serve, *addresses: str, context: ssl.SSLContext | None = None) -> None:
    """A server at each address; `serve` is called with each connection after its request."""

    def accept(listener: socket.socket) -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=answer, args=(sock,), daemon=True).start()

    def answer(sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += sock.recv(65536)
            serve(sock)
        except OSError:
            pass

    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with world.relay.entered():
            listener = socket.create_server((address, PORT), family=family)
        threading.Thread(target=accept, args=(listener,), daemon=True).start()


def heartbeats(sock: socket.socket, head: bytes = HEAD + b"\r\n", every: float = 0.3) -> None:
    sock.sendall(head)
    while True:
        sock.sendall(PING)
        time.sleep(every)


def probe(world: World, url: str, *options: str, seconds: float = 6) -> dict[str, Any]:
    command = [*WORDS, "probe", "--json", "--for", str(seconds), *options, url]
    with world.client.entered():
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.stderr == "", ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    report["status"] = ran.returncode
    return report


def check(report: dict[str, Any], status: int, code: str) -> None:
    told = [(one["severity"], one["code"], one["text"]) for one in report["findings"]]
    assert told and told[0][1] == code, told
    assert report["status"] == status, told


def one_address_is_a_black_hole(world: World) -> None:
    (world.folder / "hosts").write_text(f"{RELAY6} {NAME}\n{RELAY} {NAME}\n")
    listen(world, heartbeats, RELAY, RELAY6)
    drop = Drop(world.middle, f"ip6 daddr {RELAY6} meta l4proto tcp", hook="forward")
    report = probe(world, f"http://{NAME}:{PORT}/")
    assert drop.count > 0, "no packet was lost"
    check(report, 1, "dead-address")
    assert RELAY6 in report["change"]


def every_address_is_a_black_hole(world: World) -> None:
    listen(world, heartbeats, RELAY)
    drop = Drop(world.middle, f"ip daddr {RELAY} meta l4proto tcp", hook="forward")
    report = probe(world, f"http://{RELAY}:{PORT}/")
    assert drop.count > 0, "no packet was lost"
    check(report, 2, "no-answer")


def there_is_no_route_to_one_family(world: World) -> None:
    (world.folder / "hosts").write_text(f"{RELAY6} {NAME}\n{RELAY} {NAME}\n")
    listen(world, heartbeats, RELAY, RELAY6)
    world.client.run("ip", "-6", "route", "add", "unreachable", f"{RELAY6}/128")
    report = probe(world, f"http://{NAME}:{PORT}/")
    check(report, 0, "no-route")


def nobody_resolves_names(world: World) -> None:
    (world.folder / "resolv.conf").write_text(f"nameserver {RELAY}\noptions timeout:30 attempts:1\n")
    drop = Drop(world.middle, f"ip daddr {RELAY} udp dport 53", hook="forward")
    report = probe(world, "http://no-such-host.example/")
    assert drop.count > 0, "nobody was asked"
    check(report, 2, "name-timeout")


def large_certificates_are_lost(world: World) -> None:
    authority = Authority(world.folder)
    listen(world, heartbeats, RELAY, context=authority.server(RELAY))
    drop = Drop(world.middle, f"ip saddr {RELAY} meta l4proto tcp meta length > 700", hook="forward")
    report = probe(world, f"https://{RELAY}:{PORT}/", "--cacert", str(authority.file))
    assert drop.count > 0, "no packet was lost"
    check(report, 2, "mtu")
    assert report["measurements"]["cross"]["small_segments"] == "helped"


def large_heads_are_lost(world: World) -> None:
    large = HEAD + b"".join(b"X-Field-%d: %s\r\n" % (number, b"x" * 200) for number in range(10)) + b"\r\n"
    listen(world, lambda sock: heartbeats(sock, large), RELAY)
    drop = Drop(world.middle, f"ip saddr {RELAY} meta l4proto tcp meta length > 700", hook="forward")
    report = probe(world, f"http://{RELAY}:{PORT}/")
    assert drop.count > 0, "no packet was lost"
    check(report, 2, "mtu")


def large_requests_are_lost(world: World) -> None:
    token = world.folder / "token"
    token.write_text("t" * 1000)
    token.chmod(0o600)
    listen(world, heartbeats, RELAY)
    drop = Drop(world.middle, f"ip daddr {RELAY} meta l4proto tcp meta length > 700", hook="forward")
    report = probe(world, f"http://{RELAY}:{PORT}/", "--token-file", str(token))
    assert drop.count > 0, "no packet was lost"
    check(report, 2, "mtu")


def a_large_event_is_lost(world: World) -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(HEAD + b"\r\n" + PING)
        time.sleep(0.3)
        sock.sendall(PING)
        time.sleep(0.3)
        sock.sendall(b"data: " + b"x" * 1300 + b"\n\n")
        for _ in range(100):
            time.sleep(0.3)
            sock.sendall(PING)

    listen(world, serve, RELAY)
    drop = Drop(world.middle, f"ip saddr {RELAY} meta l4proto tcp meta length > 700", hook="forward")
    report = probe(world, f"http://{RELAY}:{PORT}/")
    assert drop.count > 0, "no packet was lost"
    check(report, 2, "mtu")


def the_path_forgets_the_connection(world: World) -> None:
    drops: list[Drop] = []

    def serve(sock: socket.socket) -> None:
        sock.sendall(HEAD + b"\r\n" + PING)
        time.sleep(0.5)
        drops.append(Drop(world.middle, f"ip saddr {CLIENT} meta l4proto tcp", hook="forward"))
        drops.append(Drop(world.middle, f"ip daddr {CLIENT} meta l4proto tcp", hook="forward"))
        heartbeats(sock)

    listen(world, serve, RELAY)
    report = probe(world, f"http://{RELAY}:{PORT}/")
    assert drops[0].count > 0, "no keepalive probe was lost"
    check(report, 2, "path-dead")


SCENES = [
    one_address_is_a_black_hole,
    every_address_is_a_black_hole,
    there_is_no_route_to_one_family,
    nobody_resolves_names,
    large_certificates_are_lost,
    large_heads_are_lost,
    large_requests_are_lost,
    a_large_event_is_lost,
    the_path_forgets_the_connection,
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_the_network_does_is_named(scene: Callable[[World], None]) -> None:
    in_a_world(scene)
