"""`wire-rawsse daemon`: when the command runs, how it is ended, and that the stream is attended all the while.

The command under test is a script that tells each of its runs through one named pipe and, where a test wants to hold
it, waits for a word through another. So nothing here is timed: each step is heard of.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, Command, run, wait_until, write_relay_json, written
from wire_rawsse.cli import child
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes and signals are used to hold the command")

NEVER = ("--interval", "3600")


class Runs:
    """The runs of the command, as they begin and end. `hold` keeps each from ending until `let_go`."""

    def __init__(self, folder: Path) -> None:
        self._news = folder / "news"
        self._gate = folder / "gate"
        os.mkfifo(self._news)
        os.mkfifo(self._gate)
        # Both ends are ours, so that neither side ever waits for the other to open.
        self._reader = os.open(self._news, os.O_RDWR)
        self._holder = os.open(self._gate, os.O_RDWR)
        self._rest = b""

    def command(self, *, hold: bool = False, before: str = "", status: int = 0) -> str:
        """The value of `--exec`. `before` is shell, run first."""
        wait = f"read word < {self._gate};" if hold else ""
        return shlex.join(
            ["sh", "-c", f"{before} echo began >> {self._news}; {wait} echo ended >> {self._news}; exit {status}"]
        )

    def hear(self, expected: str) -> None:
        word = self.next(PATIENCE)
        assert word == expected

    def next(self, seconds: float) -> str | None:
        """The next word, or None after so many seconds."""
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([self._reader], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            self._rest += os.read(self._reader, 4096)
        word, _, self._rest = self._rest.partition(b"\n")
        return word.decode()

    def let_go(self) -> None:
        os.write(self._holder, b"go\n")

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._holder)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    runs.close()


@pytest.fixture
def daemon(relay: RelayProcess, slot: Slot, client: RelayClient, home: Path) -> Callable[..., Command]:
    """Starts the daemon on the slot, and returns once its stream is open."""
    write_relay_json(home, (relay.url, slot))

    def start(command: str, *options: str, stderr: int = -1) -> Command:
        started = Command("daemon", "--exec", command, *options, home=home, stderr=stderr)
        try:
            client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        except BaseException:
            started.__exit__(None, None, None)
            raise
        return started

    return start


def settle(runs: Runs) -> None:
    """The run of the start, and the one that the connection's wake brings."""
    for _ in range(2):
        runs.hear("began")
        runs.hear("ended")


def test_it_runs_at_the_start_and_on_each_wake(
    daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot
) -> None:
    with daemon(runs.command(), *NEVER):
        settle(runs)
        for number in range(3):
            client.post(slot, {"event_id": str(number)})
            runs.hear("began")
            runs.hear("ended")
        assert runs.next(0.3) is None


def test_it_runs_at_the_start_without_any_relay(runs: Runs, home: Path) -> None:
    with Command("daemon", "--exec", runs.command(), *NEVER, home=home) as command:
        runs.hear("began")
        runs.hear("ended")
        assert "relay.json does not exist yet" in command.line("stderr")
        state = json.loads(written(home / "state/wire/stream_state.json"))
        assert state["state"] == "error" and state["pid"] == command.process.pid
        assert command.end(signal.SIGTERM)[0] == 0


def test_it_runs_every_interval_as_the_safety_net(runs: Runs, home: Path) -> None:
    with Command("daemon", "--exec", runs.command(), "--interval", "0.2", home=home):
        began = time.monotonic()
        for _ in range(4):
            runs.hear("began")
            runs.hear("ended")
        assert time.monotonic() - began >= 3 * 0.2


def test_never_two_at_once_and_a_wake_during_a_run_means_one_more(
    daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot
) -> None:
    with daemon(runs.command(hold=True), *NEVER):
        # The first run is held; the connection's wake and two events come during it.
        runs.hear("began")
        client.post(slot, {"event_id": "1"})
        client.post(slot, {"event_id": "2"})
        assert runs.next(0.3) is None  # No second run beside it.
        runs.let_go()
        runs.hear("ended")
        runs.hear("began")  # One more, for all three wakes.
        runs.let_go()
        runs.hear("ended")
        assert runs.next(0.3) is None  # And no more than one.


def test_a_flood_of_wakes_runs_it_once_a_gap_and_loses_none(
    daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot
) -> None:
    gap = 0.4
    began = time.monotonic()
    with daemon(runs.command(), *NEVER, "--min-gap", str(gap)):
        for number in range(200):
            client.post(slot, {"event_id": str(number)})
        starts = 0
        while (word := runs.next(3 * gap)) is not None:
            starts += word == "began"
            last = time.monotonic()
        # However slow this machine is: two starts for wakes are never closer than the gap.
        assert 2 <= starts <= (last - began) / gap + 2
        client.post(slot, {"event_id": "one more"})
        runs.hear("began")


def test_a_wake_within_the_gap_waits_for_its_end(
    daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot
) -> None:
    with daemon(runs.command(), *NEVER, "--min-gap", "3600"):
        runs.hear("began")
        runs.hear("ended")
        client.post(slot, {"event_id": "1"})
        assert runs.next(0.5) is None


def test_the_safety_net_does_not_wait_for_the_gap(runs: Runs, home: Path) -> None:
    with Command("daemon", "--exec", runs.command(), "--interval", "0.05", "--min-gap", "3600", home=home):
        for _ in range(3):
            runs.hear("began")
            runs.hear("ended")


def test_no_gap(daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot) -> None:
    with daemon(runs.command(), *NEVER, "--min-gap", "0"):
        settle(runs)
        for number in range(3):
            client.post(slot, {"event_id": str(number)})
            runs.hear("began")
            runs.hear("ended")


def test_a_program_that_cannot_be_started_is_not_tried_for_each_wake(
    daemon: Callable[..., Command], client: RelayClient, slot: Slot, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nrm -f $0\n")
    program.chmod(0o700)
    with daemon(str(program), *NEVER, "--min-gap", "3600", "--verbose") as command:
        wait_until(lambda: not program.exists())
        for number in range(50):
            client.post(slot, {"event_id": str(number)})
        assert command.end(signal.SIGTERM)[0] == 0
        assert "cannot be started" not in command.rest("stderr")


def test_the_interval_counts_from_the_end_of_a_run(runs: Runs, home: Path) -> None:
    with Command("daemon", "--exec", runs.command(hold=True), "--interval", "0.3", home=home):
        runs.hear("began")
        assert runs.next(0.6) is None
        runs.let_go()
        runs.hear("ended")
        ended = time.monotonic()
        runs.hear("began")
        assert time.monotonic() - ended >= 0.25
        runs.let_go()
        runs.hear("ended")


def test_a_wedge_is_found_while_the_command_runs(
    daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot
) -> None:
    with daemon(runs.command(hold=True), *NEVER, "--read-timeout", "0.6") as command:
        runs.hear("began")
        assert "subscribing to" in command.line("stderr")
        assert command.line("stderr").endswith(": connected")
        client.misbehave(Fault("silent", at="stream", scope="live"))
        assert "was silent for read=0.6 s" in command.line("stderr")
        client.wait_until("streams", 1, slot=slot)  # And repaired, with the command still running.
        runs.let_go()
        runs.hear("ended")
        runs.hear("began")  # The reconnect's wake was not lost.
        runs.let_go()
        runs.hear("ended")


def test_a_hung_run_is_ended_and_killed_with_all_it_started(runs: Runs, home: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    # Neither the command nor what it starts listens to SIGTERM.
    hang = f"trap '' TERM; sleep 1000 & echo $$ $! > {pids};"
    arguments = ("--exec", runs.command(hold=True, before=hang), "--exec-timeout", "0.3", "--interval", "0.1")
    with Command("daemon", *arguments, home=home) as command:
        runs.hear("began")
        assert "does not exist yet" in command.line("stderr")
        first = [int(word) for word in written(pids).split()]
        assert "the command was still running after 0.3 s (--exec-timeout) and was ended" in command.line("stderr")
        runs.hear("began")  # It is not wedged by it.
        for pid in first:
            wait_until(partial(gone, pid))
        command.end(signal.SIGTERM)
        for left in written(pids).split():  # A child that ignores SIGTERM outlives us; the test cleans up.
            os.kill(int(left), signal.SIGKILL)


def test_what_a_hung_run_leaves_behind_is_killed_too(home: Path, tmp_path: Path) -> None:
    """The command itself ends on SIGTERM; its children do not."""
    pid = tmp_path / "pid"
    # On a busy machine a run may be ended before it has started its child. Then the next run hangs.
    hang = f"[ -s {pid} ] || {{ trap '' TERM; sleep 1000 & echo $! > {pid}; trap - TERM; wait; }}"
    arguments = ("--exec", shlex.join(["sh", "-c", hang]), "--exec-timeout", "0.3", "--interval", "0.2")
    with Command("daemon", *arguments, home=home) as command:
        left = int(written(pid))
        while "still running after 0.3 s" not in command.line("stderr"):
            pass
        wait_until(partial(gone, left))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_a_run_that_ends_on_sigterm_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "KILL_AFTER", 3600.0)
    run = child.Child(["sleep", "1000"], 0.01)
    run.start({})
    looks: list[child.Result | None] = []

    def over() -> bool:
        looks.append(run.look())
        return looks[-1] is not None

    wait_until(over)
    assert looks[-1] is not None and "still running after 0.01 s" in str(looks[-1].failure)


def test_sigterm_is_passed_on(daemon: Callable[..., Command], runs: Runs, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with daemon(runs.command(hold=True, before=f"trap 'echo told > {told}; exit 0' TERM;"), *NEVER) as command:
        runs.hear("began")
        status, _ = command.end(signal.SIGTERM)
        assert status == 0
        assert written(told) == "told\n"


@pytest.fixture
def no_nohup() -> Iterator[None]:
    """The tests themselves may run under nohup, which is inherited."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("no_nohup")
def test_ctrl_c_is_passed_on_as_sigterm(daemon: Callable[..., Command], runs: Runs, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with daemon(runs.command(hold=True, before=f"trap 'echo told > {told}; exit 0' TERM;"), *NEVER) as command:
        runs.hear("began")
        assert command.end(signal.SIGINT)[0] == 0
        assert written(told) == "told\n"


def test_a_command_that_will_not_end_does_not_keep_us(
    daemon: Callable[..., Command], runs: Runs, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    with daemon(runs.command(hold=True, before=f"trap '' TERM; echo $$ > {pid};"), *NEVER) as command:
        runs.hear("began")
        status, took = command.end(signal.SIGTERM)
        assert status == 0 and took < PATIENCE / 2
        child = int(pid.read_text())
        os.kill(child, signal.SIGKILL)  # It holds our standard error open.
        assert f"the command was told to end, and is still running (process {child})" in command.rest("stderr")


def test_nohup_is_honoured(daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = daemon(runs.command(), *NEVER)
    finally:
        signal.signal(signal.SIGHUP, before)
    with command:
        settle(runs)
        command.process.send_signal(signal.SIGHUP)
        client.post(slot, {"event_id": "1"})
        runs.hear("began")
        runs.hear("ended")


def test_failures_are_told_once_and_their_end_too(runs: Runs, home: Path, tmp_path: Path) -> None:
    well = tmp_path / "well"
    arguments = ("--exec", runs.command(before=f"test -e {well} || exit 3;"), "--interval", "0.05")
    with Command("daemon", *arguments, home=home) as command:
        lines = [command.line("stderr"), command.line("stderr")]
        assert any("the command ended with exit status 3; it runs again on the next wake" in line for line in lines)
        time.sleep(0.3)  # For some more failures, which are not told.
        well.touch()
        assert "the command works again, after " in command.line("stderr")


def test_a_signal_that_ends_the_command_has_its_name(home: Path) -> None:
    with Command("daemon", "--exec", "sh -c 'kill -SEGV $$'", *NEVER, home=home) as command:
        lines = [command.line("stderr"), command.line("stderr")]
        assert any("the command was ended by SIGSEGV" in line for line in lines)


def test_a_command_that_vanishes_is_a_line_and_no_end(home: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nrm -f $0\n")
    program.chmod(0o700)
    with Command("daemon", "--exec", str(program), "--interval", "0.05", home=home) as command:
        lines = [command.line("stderr"), command.line("stderr")]
        assert any("cannot be started: No such file or directory" in line for line in lines)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        assert "the command works again" in command.line("stderr")


def test_the_command_is_run_by_no_shell_with_an_empty_input(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], sys.stdin.read(), os.getsid(0) == os.getpid()]))"
    command = shlex.join([sys.executable, "-c", code, "$HOME;", "a b", "*"])
    with open(out, "wb") as file, Command("daemon", "--exec", command, *NEVER, home=home, stdout=file.fileno()):
        said = wait_until(lambda: out.read_text().endswith("\n") and out.read_text())
    assert json.loads(said) == [["$HOME;", "a b", "*"], "", True]


def test_a_log_that_nobody_reads_stops_nothing(runs: Runs, home: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(writer, True)
    arguments = ("--verbose", "--exec", runs.command(), "--interval", "0.05")
    with Command("daemon", *arguments, home=home, stderr=writer) as command:
        for _ in range(3):
            runs.hear("began")
            runs.hear("ended")
        assert command.end(signal.SIGTERM)[0] == 0
    os.close(reader)
    os.close(writer)


def test_status_agrees_with_what_happens(
    daemon: Callable[..., Command], runs: Runs, client: RelayClient, slot: Slot, home: Path
) -> None:
    def status() -> int:
        return run("status", home=home).returncode

    with daemon(runs.command(), *NEVER, "--read-timeout", "0.6") as command:
        wait_until(lambda: status() == 0)
        client.misbehave(Fault("answer", status=503), Fault("cut", scope="live"))
        wait_until(lambda: status() == 1)
        client.normal()
        wait_until(lambda: status() == 0)
        command.end(signal.SIGTERM)
        assert status() == 2  # Its process is gone.


def test_a_killed_daemon_is_not_called_connected(daemon: Callable[..., Command], runs: Runs, home: Path) -> None:
    with daemon(runs.command(), *NEVER) as command:
        wait_until(lambda: run("status", home=home).returncode == 0)
        command.end(signal.SIGKILL)
    done = run("status", home=home)
    assert done.returncode == 2 and "is gone" in done.stdout


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # An orphan that has ended is a zombie until init has looked.
    return stat.exists() and ") Z " in stat.read_text()
