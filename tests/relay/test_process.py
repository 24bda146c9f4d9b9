"""The relay's process: where it listens, how it is started wrongly, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay.conftest import Certified
from tests.relay.raw import PATIENCE
from tests.support.ports import has_ipv6
from wire_rawsse.errors import ConnectError, ResponseTimeout, StatusError
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

COMMAND = [sys.executable, "-m", "wire_rawsse.testing"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A relay that is expected to end by itself."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=2 * PATIENCE, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A relay started as a person would; its first line is left to be read."""
    arguments = getattr(request, "param", ["--bind", "127.0.0.1:0", "--json"])
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


# Its end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_on_a_signal(number: signal.Signals, running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    url = json.loads(running.stdout.readline())["urls"][0]
    with RelayClient(url) as client, socket.socket() as stream:
        slot = client.allocate()
        host, port = url.removeprefix("http://").split(":")
        stream.connect((host, int(port)))
        stream.sendall(
            f"GET {slot.path}/stream HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {slot.slot_token}\r\n\r\n".encode()
        )
        assert stream.recv(9) == b"HTTP/1.1 "
        running.send_signal(number)
        assert running.wait(PATIENCE) == 0  # Although a stream is open, which never ends by itself.
        while stream.recv(65536):
            pass
    assert running.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["relay", "testing"])
def test_signals_that_come_during_the_end_do_not_change_the_status(module: str, number: signal.Signals) -> None:
    command = [sys.executable, "-m", f"wire_rawsse.{module}", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        while process.poll() is None:
            process.send_signal(number)
        assert (process.returncode, process.stderr.read()) == (0, b"")


def test_it_ends_when_anyone_who_started_it_is_killed() -> None:
    program = (
        "import os, sys, time\n"
        "from wire_rawsse.testing import RelayProcess\n"
        "relay = RelayProcess()\n"
        "print(relay.url, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        host, port = parent.stdout.readline().strip().removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            parent.kill()
            assert connection.recv(1) == b""  # The relay's end closes its connections.
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, int(port)), PATIENCE).close()
        except ConnectionRefusedError:
            break
        assert time.monotonic() < deadline, "the relay outlived its parent"
        time.sleep(0.01)


def test_it_lives_on_without_standard_input_unless_told_otherwise(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    url = json.loads(running.stdout.readline())["urls"][0]
    with RelayClient(url) as client:
        assert client.request("GET", "/healthz").body == b"ok\n"
    assert running.poll() is None


def test_the_handle_stops_what_is_suspended_and_twice() -> None:
    with RelayProcess() as relay:
        relay.suspend()
        with relay.client(timeout=0.1) as client, pytest.raises(ResponseTimeout):
            client.allocate()
        relay.resume()
        with relay.client() as client:
            client.allocate()
        relay.suspend()
        assert relay.stop() == 0
        assert relay.stop() == 0


# The listening socket.


@pytest.mark.parametrize("running", [["--bind", "127.0.0.1:0", "--control"]], indirect=True)
def test_it_tells_a_person_where_it_listens(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    assert running.stdout.readline().startswith("relay listening on http://127.0.0.1:")
    assert running.stdout.readline().startswith("control port on http://127.0.0.1:")


def test_a_closed_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [*COMMAND, "--bind", "127.0.0.1:0", "--with-parent"],
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        assert process.stdin is not None and process.stderr is not None
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_several_listeners_share_their_slots(certified: Certified, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    bind = ["127.0.0.1:0", "localhost:0"]
    if has_ipv6():
        bind.append("[::1]:0")
    with RelayProcess(
        bind=bind, bind_tls=["127.0.0.1:0"], uds=[str(path)], certificate=certified.certificate, key=certified.key
    ) as relay:
        assert [url.partition(":")[0] for url in relay.urls] == ["http"] * len(bind) + ["https", "unix"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        slot: Slot | None = None
        for number, url in enumerate(relay.urls):
            with relay.client(url, tls=certified.trusting) as client:
                slot = slot or client.allocate()
                client.post(slot, {"event_id": str(number)})
                assert len(client.pull(slot)) == number + 1
    assert not path.exists()


def test_a_stale_socket_file_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = str(tmp_path / "r.sock")
    with RelayProcess(uds=[path]) as relay:
        second = run("--uds", path)
        assert second.returncode == 69
        assert "somebody listens there" in second.stderr
        with relay.client() as client:
            client.allocate()
        relay.kill()
    assert Path(path).is_socket(), "a relay that was killed leaves its file behind"
    with RelayProcess(uds=[path]) as relay, relay.client() as client:
        client.allocate()
    (tmp_path / "file").write_text("precious")
    for name, told in (("file", "no socket"), ("", "no socket"), ("none/r.sock", "No such file")):
        ended = run("--uds", str(tmp_path / name))
        assert (ended.returncode, told in ended.stderr) == (69, True), ended.stderr
    assert (tmp_path / "file").read_text() == "precious"


def test_it_leaves_a_file_alone_that_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with RelayProcess(uds=[str(path)]) as relay, relay.client() as client:
        client.misbehave(Fault("refuse"))
        path.unlink()
        path.write_text("another's")
        with pytest.raises(StatusError, match=r"500.*cannot listen on"):
            client.normal()
    assert path.read_text() == "another's"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--bind", "nowhere"], 64, "HOST:PORT"),
        (["--bind", "127.0.0.1:65536"], 64, "HOST:PORT"),
        (["--bind-tls", "127.0.0.1:0"], 64, "certificate and its key"),
        (["--heartbeat", "0"], 64, "above 0"),
        (["--heartbeat", "nan"], 64, "above 0"),
        (["--heartbeat", "often"], 64, "--heartbeat"),
        (["--dance"], 64, "--dance"),
        (["--bind-tls", "127.0.0.1:0", "--certificate", "none", "--key", "none"], 64, "the certificate none cannot"),
        (["--bind-tls", "127.0.0.1:0", "--certificate", __file__, "--key", __file__], 64, "holds no certificate"),
        (["--bind", "192.0.2.1:0"], 69, "cannot listen on 192.0.2.1:0"),
        (["--bind", "no.such.name.invalid:0"], 69, "cannot listen on no.such.name.invalid:0"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], status: int, told: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == status
    assert told in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stderr.startswith("usage: ") or len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""


def test_a_port_that_is_taken() -> None:
    with RelayProcess() as relay:
        ended = run("--bind", relay.url.removeprefix("http://"))
    assert ended.returncode == 69
    assert "Address already in use" in ended.stderr


def test_the_handle_says_that_it_did_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConnectError, match="exit status 64"):
        RelayProcess(bind=["nowhere"])
    assert "HOST:PORT" in capfd.readouterr().err


def test_anyone_who_measures_imports_no_event_loop() -> None:
    code = "import sys, wire_rawsse.testing.process; print([m for m in ('asyncio', 'argparse') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_relay_without_faults_has_no_control_port() -> None:
    plain = [sys.executable, "-m", "wire_rawsse.relay"]
    refused = subprocess.run([*plain, "--control"], capture_output=True, text=True, check=False)
    assert refused.returncode == 64
    loads = "import sys, wire_rawsse.relay.server; print([name for name in sys.modules if 'testing' in name])"
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
