"""The real wire reads what we write, and we read what it writes.

It is kept in a home of its own, with an environment of its own: wire also looks at variables of agent sessions.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.wire import needs
from tests.wire.test_state import endpoint
from wire_rawsse.state import SubscriberState, summarise
from wire_rawsse.wire import paths, status
from wire_rawsse.wire.relay_json import read_endpoints
from wire_rawsse.wire.state_file import StateFile

pytestmark = pytest.mark.interop


class Wire:
    """One installation of wire, initialised, bound to nothing."""

    def __init__(self, program: str, folder: Path, **places: str) -> None:
        (folder / "home").mkdir()
        self.program = program
        self.environ = {
            "HOME": str(folder / "home"),
            "PATH": os.defpath,
            "WIRE_NO_TOASTS": "1",
            "WIRE_NO_INTERACTIVE": "1",
            **places,
        }
        self.run("init", "--offline")

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [self.program, *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.environ["HOME"],
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stream_line(self) -> str:
        [line] = [line for line in self.run("status").splitlines() if line.startswith("stream:")]
        return re.sub(r"\s+", " ", line)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(needs.wire(), tmp_path, WIRE_HOME=str(tmp_path / "wire"))


@pytest.mark.parametrize("variables", [[], ["WIRE_HOME"], ["XDG_CONFIG_HOME", "XDG_STATE_HOME"]])
def test_its_files_are_where_we_look(tmp_path: Path, variables: list[str]) -> None:
    wire = Wire(needs.wire(), tmp_path, **{name: str(tmp_path / name.lower()) for name in variables})
    assert os.path.isfile(os.path.join(paths.config_dir(wire.environ), "agent-card.json"))
    assert os.path.isdir(os.path.join(paths.state_dir(wire.environ), "inbox"))


def test_it_shows_the_state_that_we_write(wire: Wire) -> None:
    path = paths.stream_state_json(wire.environ)
    assert "(no stream_state.json)" in wire.stream_line()
    file = StateFile(path, pid=os.getpid())
    event = endpoint(last_event_at=1767225600.25, reconnect_count=3)

    def shown(snapshot: SubscriberState, now: float) -> str:
        file.offer(snapshot, now)
        assert file.flush(now)
        line = wire.stream_line()
        assert status.check(path).line.startswith(line)  # Our own line begins with the same words.
        return line

    line = shown(summarise([event, endpoint("error", last_error="403")]), 0.0)
    assert line == "stream: connected (last event 2026-01-01T00:00:00.250Z, reconnects 3)"
    assert shown(summarise([endpoint("reconnecting")]), 10.0) == "stream: reconnecting (last event never, reconnects 0)"
    assert shown(summarise([endpoint("connecting")]), 20.0) == "stream: connecting (last event never, reconnects 0)"
    assert shown(summarise(()), 30.0) == "stream: error (last event never, reconnects 0)"
    # Its JSON hands on the whole file, what we added included.
    given = json.loads(wire.run("status", "--json"))["daemon"]["stream_state"]
    assert given == json.loads(Path(path).read_bytes())
    assert given["pid"] == os.getpid()


@contextlib.contextmanager
def relay(wire: Wire) -> Iterator[str]:
    port = free_port()
    command = [wire.program, "relay-server", "--bind", f"127.0.0.1:{port}", "--local-only"]
    with subprocess.Popen(
        command, env=wire.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=wire.environ["HOME"]
    ) as server:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except ConnectionRefusedError:
                    assert server.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.02)  # Another program's start gives no sign that could be waited for.
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def test_the_endpoint_that_it_binds_is_read_and_streams(wire: Wire) -> None:
    path = paths.relay_json(wire.environ)
    assert "does not exist yet" in str(read_endpoints(path).note)
    with relay(wire) as url:
        wire.run("bind-relay", url)
        found = read_endpoints(path)
        assert (found.note, found.problems) == (None, ())
        [one] = found.endpoints
        assert (one.relay_url, one.scope) == (url, "local")
        place = one.url
        connection = http.client.HTTPConnection(place.host, place.port, timeout=10)
        headers = {"Authorization": f"Bearer {one.slot_token}"}
        with contextlib.closing(connection):
            connection.request("GET", place.target, headers=headers)
            with connection.getresponse() as response:
                assert (response.status, response.getheader("content-type")) == (200, "text/event-stream")


def test_a_rotated_slot_is_another_endpoint(wire: Wire) -> None:
    path = paths.relay_json(wire.environ)
    with relay(wire) as url:
        wire.run("bind-relay", url)
        [before] = read_endpoints(path).endpoints
        wire.run("rotate-slot")
        after = read_endpoints(path)
    assert before not in after.endpoints
    assert len(after.endpoints) == 1
