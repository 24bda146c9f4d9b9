"""A lost address and a network that comes up, told by a real kernel in a namespace of our own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench.space import prefix
from tests.conftest import missing

CODE = """
import socket, subprocess, threading, time
from wire_rawsse import EventSource, Opened, Closed

def sh(commands):
    subprocess.run(commands, shell=True, check=True)

sh("ip link set lo up; ip link add v0 type veth peer name v1; ip address add 10.9.0.1/24 dev v0; ip link set v1 up")
sh("ip link set v0 up; ip address add 192.0.2.1/32 dev lo; ip route replace local 192.0.2.1 dev lo src 10.9.0.1")
listener = socket.create_server(("192.0.2.1", 8000))

def serve():
    while True:
        peer, _ = listener.accept()
        peer.recv(9999)
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\n\\r\\n")
        kept.append(peer)

kept = []
threading.Thread(target=serve, daemon=True).start()
with EventSource("http://192.0.2.1:8000/", watch=WATCH) as source:
    items = source.items()
    assert isinstance(next(items), Opened)
    source.next(0.1)
    began = time.monotonic()
    sh("ip address del 10.9.0.1/24 dev v0")
    end = source.next_item(3.0)
    print(type(end).__name__, type(getattr(end, "error", None)).__name__)
    if WATCH:
        while source.state.phase != "backing off":
            source.next_item(0.1)
        sh("ip address add 10.9.0.1/24 dev v0; ip route replace local 192.0.2.1 dev lo src 10.9.0.1")
        while not isinstance(source.next_item(5.0), Opened):
            pass
        print("opened again")
"""


@pytest.mark.parametrize(
    ("watch", "told"), [(True, ["Closed StaleConnectionError", "opened again"]), (False, ["NoneType NoneType"])]
)
def test_a_real_kernel_tells_of_a_lost_address(watch: bool, told: list[str]) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has rtnetlink")
    space = prefix()
    if space is None:
        missing("needs unshare and ip (util-linux, iproute2), and root or unprivileged user namespaces")
    code = CODE.replace("WATCH", str(watch))
    done = subprocess.run([*space, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == told, done.stderr
