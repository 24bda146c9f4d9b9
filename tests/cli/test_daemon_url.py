"""`daemon --exec CMD URL`: any event stream; why each run runs; and the truth about the runs in the state file."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Command, run, wait_until
from tests.support.fixtures import Serve
from tests.support.server import OPEN, QUIET, event_stream, request, send, stall, tls, wait_for
from tests.support.trust import Authority
from wire_rawsse.cli.child import Child
from wire_rawsse.cli.runner import Runner
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the command is a shell")

NEVER = ("--interval", "3600")
NAME = "WIRE_RAWSSE_REASON"


class Reasons:
    """A command that appends its reason to a file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "reasons"
        self.command = shlex.join(["sh", "-c", f'echo "${NAME}" >> {self._file}'])

    def __call__(self) -> list[str]:
        return self._file.read_text().split() if self._file.exists() else []


@pytest.fixture
def reasons(tmp_path: Path) -> Reasons:
    return Reasons(tmp_path)


def state(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def test_each_run_knows_why(reasons: Reasons, home: Path, relay: RelayProcess, client: RelayClient, slot: Slot) -> None:
    url = f"{relay.url}{slot.path}/stream"
    arguments = ("--exec", reasons.command, *NEVER, "--token-env", "TOKEN", url)
    with Command("daemon", *arguments, home=home, environ={"TOKEN": slot.slot_token}):
        wait_until(lambda: reasons() == ["start", "reconnect"])  # The first connection is one, too.
        client.post(slot, {"event_id": "1"})
        wait_until(lambda: reasons()[2:] == ["wake"])
        client.misbehave(Fault("cut", scope="live"))
        wait_until(lambda: reasons()[3:] == ["reconnect"])


def test_the_interval_is_a_reason(reasons: Reasons, home: Path) -> None:
    with Command("daemon", "--exec", reasons.command, "--interval", "0.05", "http://127.83.1.7:9/", home=home):
        wait_until(lambda: len(reasons()) > 3)
    assert reasons()[:3] == ["start", "interval", "interval"]


def test_a_reason_of_the_users_own_environment_is_replaced(reasons: Reasons, home: Path) -> None:
    with Command("daemon", "--exec", reasons.command, *NEVER, home=home, environ={NAME: "mine"}):
        wait_until(reasons)
    assert reasons() == ["start"]


def test_nothing_of_the_network_reaches_the_command(serve: Serve, home: Path, tmp_path: Path) -> None:
    """Neither its arguments nor its environment: both are the same for each run but for the reason."""
    seen = tmp_path / "seen"
    code = f"import os, sys; open({str(seen)!r}, 'a').write(repr((sys.argv, sorted(os.environ.items()))) + '\\n')"
    command = shlex.join([sys.executable, "-c", code, "argument"])
    server = serve([request, send(OPEN + b"id: evil-id\nevent: evil-type\ndata: $(evil-data)\n\n"), stall])
    with Command("daemon", "--exec", command, *NEVER, server.url, home=home):
        wait_until(lambda: seen.exists() and seen.read_text().count("\n") >= 2)
    text = seen.read_text()
    lines = {line.replace("'start'", "REASON").replace("'reconnect'", "REASON") for line in text.splitlines()}
    assert "evil" not in text and len(lines) == 1


def test_what_is_sent_is_as_with_listen(serve: Serve, home: Path, tmp_path: Path, authority: Authority) -> None:
    token, body = tmp_path / "token", tmp_path / "body"
    token.write_text("s3cr3t\n")
    token.chmod(0o600)
    body.write_bytes(b"{}")
    server = serve([tls(authority.server()), request, send(OPEN), stall])
    url = server.url.replace("http:", "https:")
    options = ("--token-file", str(token), "--header", "X-One: 1", "--data-file", str(body), "--cacert")
    with Command("daemon", "--exec", "true", *NEVER, *options, str(authority.file), url, home=home):
        wait_until(lambda: server.asked)
    asked = server.asked[0]
    assert (asked.method, asked.body, asked.get("Authorization")) == ("POST", b"{}", "Bearer s3cr3t")
    assert asked.get("X-One") == "1"


def test_wires_files_are_left_alone(serve: Serve, home: Path) -> None:
    server = serve(QUIET)
    with Command("daemon", "--exec", "true", *NEVER, server.url, home=home) as command:
        assert command.line("stderr").endswith(": connected")
        assert command.end(signal.SIGTERM)[0] == 0
    assert os.listdir(home) == []


# The state file.


@pytest.fixture
def daemon(serve: Serve, home: Path, tmp_path: Path) -> Iterator[Callable[..., tuple[Command, Path]]]:
    """Starts a daemon on a healthy stream, with a state file."""
    started: list[Command] = []

    def start(command: str, *options: str, script: Any = None) -> tuple[Command, Path]:
        server = serve(script or QUIET)
        path = tmp_path / "state.json"
        arguments = ("--exec", command, *options, "--state-file", str(path), server.url)
        started.append(Command("daemon", *arguments, home=home))
        return started[-1], path

    yield start
    for one in started:
        one.__exit__(None, None, None)


def status(path: Path, home: Path) -> tuple[int, str]:
    done = run("status", "--file", str(path), home=home)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_state_file_of_its_own(daemon: Callable[..., tuple[Command, Path]], reasons: Reasons, home: Path) -> None:
    command, path = daemon(reasons.command, *NEVER)
    wait_until(lambda: state(path).get("state") == "connected" and reasons() == ["start", "reconnect"])
    found = state(path)
    assert found["pid"] == command.process.pid and found["locked"] is True
    assert found["endpoints"][0]["ends"] == {} and found["endpoints"][0]["wakes"] == 1
    assert status(path, home)[0] == 0
    assert command.end(signal.SIGTERM)[0] == 0
    found = state(path)  # The last write: everything that happened.
    assert (found["runs"], found["failed_runs"], found["failures_in_row"]) == (2, 0, 0)
    assert found["last_run_at"] and found["last_run_error"] is None
    assert status(path, home)[0] == 2


def test_why_connections_ended(daemon: Callable[..., tuple[Command, Path]]) -> None:
    script = [request, send(event_stream(b"data: a\n\n"))]
    command, path = daemon("true", *NEVER, "--min-gap", "0.01", script=script)
    wait_until(lambda: state(path) and state(path)["endpoints"][0]["ends"].get("end", 0) >= 1)
    command.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: state(path)["endpoints"][0]["events"] >= 2)


def test_one_daemon_a_state_file(daemon: Callable[..., tuple[Command, Path]], home: Path) -> None:
    _, path = daemon("true", *NEVER)
    wait_until(lambda: state(path))
    second, _ = daemon("true", *NEVER)
    assert second.process.wait(20) == 75
    assert "another subscriber is running for this state file" in second.rest("stderr")


def test_three_failed_runs_are_degraded(
    daemon: Callable[..., tuple[Command, Path]], home: Path, tmp_path: Path
) -> None:
    well = tmp_path / "well"
    command, path = daemon(f"test -e {well}", "--interval", "0.05")
    wait_until(lambda: state(path).get("failures_in_row", 0) >= 3 and state(path)["state"] == "connected")
    code, line = status(path, home)
    assert code == 1 and "runs of the command failed: ended with exit status 1" in line
    assert state(path)["last_run_error"] == "ended with exit status 1"
    well.touch()
    wait_until(lambda: status(path, home)[0] == 0)
    assert state(path)["failed_runs"] >= 3 and command.process.poll() is None


def test_a_run_that_hangs_is_degraded(daemon: Callable[..., tuple[Command, Path]], home: Path) -> None:
    deaf = "trap '' TERM; for second in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done"  # It outlives the daemon.
    _, path = daemon(f'sh -c "{deaf}"', *NEVER, "--exec-timeout", "0.3")
    wait_until(lambda: state(path).get("run_overdue"))
    code, line = status(path, home)
    # It is killed after 2 s: on a busy machine that may have happened.
    assert (code, "takes longer than --exec-timeout" in line) == (1, True) or not state(path)["run_overdue"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a process is stopped")
def test_a_stopped_daemon_is_degraded(daemon: Callable[..., tuple[Command, Path]], home: Path) -> None:
    command, path = daemon("true", *NEVER)
    wait_until(lambda: status(path, home)[0] == 0)
    command.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: status(path, home)[0] == 1)
        assert f"process {command.process.pid}, which wrote that" in status(path, home)[1]
        assert "stream: stopped" in status(path, home)[1]
    finally:
        command.process.send_signal(signal.SIGCONT)
    wait_until(lambda: status(path, home)[0] == 0)


def test_many_runs_are_few_writes(daemon: Callable[..., tuple[Command, Path]]) -> None:
    """A run that goes well is no news: it rides along with the next write."""
    _, path = daemon("true", "--interval", "0.02")
    wait_until(lambda: state(path).get("state") == "connected")

    def at_rest() -> bool:
        before = path.stat().st_mtime_ns
        time.sleep(1.5)
        return path.stat().st_mtime_ns == before

    wait_until(at_rest)  # Once whatever followed the connection has been written.


def test_a_program_that_cannot_be_started_leaves_nothing(home: Path, tmp_path: Path) -> None:
    arguments = ("--exec", "no-such-program", "--state-file", str(tmp_path / "state.json"), "http://127.0.0.1:9/")
    assert run("daemon", *arguments, home=home).returncode == 64


# The runner, on a clock of the test's own.


def test_a_command_that_goes_on_failing_is_told_each_hour() -> None:
    now = 0.0
    told: list[str] = []
    child = Child(["false"], 60)
    runner = Runner(child, told.append, interval=5, min_gap=0.2, monotonic=lambda: now)
    for _ in range(40):  # Ten minutes each.
        runner.turn()
        while child.running:
            time.sleep(0.001)
            runner.turn()
        now += 600
    assert len(told) == 7
    assert told[0] == "the command ended with exit status 1; it runs again on the next wake, or in 5 s"
    assert told[1] == (
        "the command ended with exit status 1; the last 7 runs have failed, for 60 min; "
        "it runs again on the next wake, or in 5 s"
    )
    child.words = ["true"]
    runner.turn()
    while child.running:
        time.sleep(0.001)
        runner.turn()
    assert told[-1] == "the command works again, after 40 failed runs"


def test_a_new_reason_of_the_failures_is_told_at_once_and_each_only_once() -> None:
    told: list[str] = []
    child = Child(["false"], 60)
    runner = Runner(child, told.append, interval=5, min_gap=0.2, monotonic=lambda: now)
    for now in range(0, 500, 50):
        child.words = ["no-such-program"] if now % 100 else ["false"]
        runner.turn()
        while child.running:
            time.sleep(0.001)
            runner.turn()
    assert len(told) == 2
    assert "ended with exit status 1; it runs again" in told[0]
    assert "'no-such-program' cannot be started" in told[1] and "the last 2 runs have failed, for 1 min" in told[1]


def test_a_first_start_that_fails_for_want_of_something_is_tried_again() -> None:
    """A service manager does not restart what ended with 64."""
    resource = pytest.importorskip("resource")
    now = 0.0
    told: list[str] = []
    child = Child(["true"], 60)
    runner = Runner(child, told.append, interval=5, min_gap=0.2, monotonic=lambda: now)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        runner.turn()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert told == [
        "--exec: 'true' cannot be started: Too many open files; it runs again on the next wake, or in 5 s",
    ]
    now = 6.0
    runner.turn()
    while child.running:
        time.sleep(0.001)
        runner.turn()
    assert told[1:] == ["the command works again, after 1 failed run"]


def test_the_strongest_reason_of_several_wakes(tmp_path: Path) -> None:
    """A new connection may hide missed events, so it is told also if an event follows."""
    reasons = Reasons(tmp_path)
    child = Child(shlex.split(reasons.command), 60)
    runner = Runner(child, print, interval=3600, min_gap=0)

    def ended(runs: int) -> bool:
        runner.turn()
        return not child.running and len(reasons()) == runs

    runner.turn()
    for reconnected in (False, True, False):
        runner.wake(reconnected=reconnected)
    wait_until(lambda: ended(2))
    runner.wake(reconnected=False)
    wait_until(lambda: ended(3))
    assert reasons() == ["start", "reconnect", "wake"]


def test_sigusr2_writes_the_present_state(daemon: Callable[..., tuple[Command, Path]]) -> None:
    """A connected daemon has no news for 300 s, and its reader may want to know of the last byte."""
    beat = threading.Event()
    script = [request, send(OPEN), wait_for(beat), send(b": still here\n\n"), stall]
    command, path = daemon("true", *NEVER, script=script)
    wait_until(lambda: state(path).get("state") == "connected")
    assert state(path)["last_byte_at"] is None
    beat.set()
    while state(path)["last_byte_at"] is None:
        command.process.send_signal(signal.SIGUSR2)
        time.sleep(0.2)
