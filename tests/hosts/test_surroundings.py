"""A lost address and a network that comes up, told by a real kernel in a namespace of our own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import wire_rawsse
from bench.space import prefix
from tests.conftest import missing
from tests.hosts.conftest import Serve
from tests.support.server import QUIET

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


WITHOUT_DESCRIPTORS = (
    CODE.partition("with EventSource")[0]
    + """
import resource
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
with EventSource("http://192.0.2.1:8000/") as source:
    assert isinstance(next(source.items()), Opened)
    source.next(0.1)
    later = subprocess.Popen(["sh", "-c", "sleep 0.3; ip address del 10.9.0.1/24 dev v0"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
    print(source.next_item(1.5))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(type(source.next_item(10.0).error).__name__)
    later.wait()
"""
)


WITHOUT_DESCRIPTORS_AT_FIRST = (
    # A thread that waits in accept(2) holds a descriptor.
    CODE.partition("with EventSource")[0].replace("def serve", "listener.settimeout(60)\n\ndef serve")
    + """
import os, resource
soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
with EventSource("http://192.0.2.1:8000/") as source:
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, most))  # For the loop, and for nothing more.
    print(type(source.next_item(20.0)).__name__)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    assert isinstance(source.next_item(20.0), Opened)
    source.next(0.1)
    sh("ip address del 10.9.0.1/24 dev v0")
    print(type(source.next_item(20.0).error).__name__)
"""
)


@pytest.mark.parametrize(
    ("watch", "told"), [(True, ["Closed StaleConnectionError", "opened again"]), (False, ["NoneType NoneType"])]
)
def test_a_real_kernel_tells_of_a_lost_address(watch: bool, told: list[str]) -> None:
    assert in_a_namespace(CODE.replace("WATCH", str(watch))) == told


def test_a_lost_address_is_noticed_when_there_are_descriptors_again() -> None:
    """The first change loads a module, and that needs a descriptor."""
    assert in_a_namespace(WITHOUT_DESCRIPTORS) == ["None", "StaleConnectionError"]


def test_a_watch_that_had_no_descriptor_at_first_begins_with_the_connection() -> None:
    assert in_a_namespace(WITHOUT_DESCRIPTORS_AT_FIRST) == ["Closed", "StaleConnectionError"]


def in_a_namespace(code: str) -> list[str]:
    if sys.platform != "linux":
        pytest.skip("only Linux has rtnetlink")
    space = prefix()
    if space is None:
        missing("needs unshare and ip (util-linux, iproute2), and root or unprivileged user namespaces")
    done = subprocess.run([*space, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


FROM_AN_ARCHIVE = """
import os, sys
sys.path.insert(0, sys.argv[1])
import wire_rawsse
assert sys.argv[1] in wire_rawsse.__file__
source = wire_rawsse.EventSource(sys.argv[2])
assert isinstance(source.next_item(20), wire_rawsse.Opened)
GONE and os.remove(sys.argv[1])
source.notify_network_change()
source.next_item(0.3)
print(source.state.phase)
print("wire_rawsse.hosts.consequences" in sys.modules)
"""


@pytest.mark.parametrize("gone", [False, True])
def test_an_archive_that_is_removed_while_the_program_runs(gone: bool, tmp_path: Path, serve: Serve) -> None:
    """The part of us that was not needed before is missing: the stream goes on, and it is told once."""
    archive = str(tmp_path / "program.zip")
    package = Path(wire_rawsse.__file__).parent
    with zipfile.ZipFile(archive, "w") as made:
        for path in package.rglob("*.py"):
            made.write(path, path.relative_to(package.parent))
    server = serve(QUIET)
    code = FROM_AN_ARCHIVE.replace("GONE", str(gone))
    command = [sys.executable, "-c", code, archive, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["streaming", str(not gone)], done.stderr
    assert done.stderr.count("\n") == gone
    assert done.stderr.startswith("the machine is not watched any more (" if gone else ""), done.stderr


AT_EXIT = """
import sys, threading, time, wire_rawsse
subscriber = wire_rawsse.StreamSubscriber(sys.argv[1])
assert subscriber.wait(20)
def waits():
    while True:
        subscriber.wait()
        subscriber.notify_network_change()
threading.Thread(target=waits, daemon=True).start()
subscriber.notify_network_change()
"""


def test_a_change_at_the_exit_of_the_interpreter_says_nothing(serve: Serve) -> None:
    server = serve(*[QUIET] * 5)
    for _ in range(5):
        command = [sys.executable, "-c", AT_EXIT, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
