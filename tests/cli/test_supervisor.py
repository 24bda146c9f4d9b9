"""`daemon` under a service manager: what it reports to a real notify socket, and what its command inherits."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, Command, wait_until, write_relay_json, written
from tests.cli.test_daemon import gone
from wire_rawsse.cli.supervisor import Supervisor
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix-domain datagram sockets")

NEVER = ("--interval", "3600")


class Manager:
    """The manager's end of NOTIFY_SOCKET: what was reported, in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._waiting: list[tuple[str, str]] = []

    def next(self, seconds: float = PATIENCE) -> tuple[str, str] | None:
        """The next assignment, or None after so many seconds."""
        if not self._waiting:
            self._socket.settimeout(max(0.001, seconds))
            try:
                message = self._socket.recv(65536).decode()
            except TimeoutError:
                return None
            pairs = [line.partition("=") for line in message.split("\n")]
            self._waiting = [(name, value) for name, _, value in pairs]
        return self._waiting.pop(0)

    def until(self, name: str, containing: str = "") -> str:
        """The value of the next assignment to `name` that contains this text."""
        until = time.monotonic() + PATIENCE
        seen = []
        while (found := self.next(until - time.monotonic())) is not None:
            seen.append(found)
            if found[0] == name and containing in found[1]:
                return found[1]
        raise AssertionError(f"{name}={containing} was never reported: {seen}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    manager = Manager(f"{'@' if request.param == 'abstract' else ''}{tmp_path}/notify")
    yield manager
    manager.close()


@pytest.fixture
def start(manager: Manager, relay: RelayProcess, slot: Slot, client: RelayClient, home: Path) -> Callable[..., Command]:
    write_relay_json(home, (relay.url, slot))

    def start(*arguments: str, **environ: str) -> Command:
        return Command("daemon", *arguments, home=home, environ={"NOTIFY_SOCKET": manager.address, **environ})

    return start


def test_ready_states_reload_and_stop(
    manager: Manager, start: Callable[..., Command], client: RelayClient, slot: Slot
) -> None:
    with start("--exec", "true", *NEVER, "--read-timeout", "0.6") as command:
        assert manager.until("READY") == "1"
        assert manager.until("STATUS", "connected") == "connected"
        client.misbehave(Fault("answer", status=503), Fault("cut", scope="live"))
        assert "503" in manager.until("STATUS", "error (waiting to try again: ")
        client.normal()
        assert manager.until("STATUS", "connected") == "connected"
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        command.process.send_signal(signal.SIGHUP)
        assert manager.until("RELOADING") == "1"
        assert before <= int(manager.until("MONOTONIC_USEC")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.until("READY") == "1"
        assert command.end(signal.SIGTERM)[0] == 0
        assert manager.until("STOPPING") == "1"


def test_a_failing_command_is_in_the_status(manager: Manager, start: Callable[..., Command]) -> None:
    with start("--exec", "sh -c 'exit 3'", "--interval", "0.05"):
        assert manager.until("STATUS", "exit status").endswith("the command ended with exit status 3")


def test_the_command_does_not_inherit_the_socket(
    manager: Manager, start: Callable[..., Command], tmp_path: Path
) -> None:
    found = tmp_path / "found"
    script = f'echo "${{NOTIFY_SOCKET-none}} ${{WATCHDOG_USEC-none}} ${{WATCHDOG_PID-none}}" > {found}'
    with start("--exec", shlex.join(["sh", "-c", script]), *NEVER, WATCHDOG_USEC="60000000", WATCHDOG_PID="1"):
        assert written(found) == "none none none\n"


def test_the_watchdog_hears_from_a_loop_that_runs(manager: Manager, start: Callable[..., Command]) -> None:
    """At half of WATCHDOG_USEC; and nothing from a process that is stopped."""
    with start("--exec", "true", *NEVER, WATCHDOG_USEC="400000") as command:
        for _ in range(4):
            manager.until("WATCHDOG")
        command.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: ") T " in Path(f"/proc/{command.process.pid}/stat").read_text())
            while manager.next(0.01) is not None:
                pass
            assert manager.next(1.0) is None
        finally:
            command.process.send_signal(signal.SIGCONT)
        manager.until("WATCHDOG")


def test_no_sign_of_life_while_a_run_takes_too_long(
    manager: Manager, start: Callable[..., Command], tmp_path: Path
) -> None:
    """The run ignores SIGTERM, so it lives for 2 s longer than it may."""
    terminated = tmp_path / "terminated"
    script = f"trap 'echo $$ >> {terminated}' TERM; while :; do sleep 0.05; done"
    arguments = ("--exec", shlex.join(["sh", "-c", script]), "--exec-timeout", "0.5", *NEVER)
    with start(*arguments, WATCHDOG_USEC="200000"):
        manager.until("WATCHDOG")
        run = int(written(terminated))  # From now on it is overdue.
        while manager.next(0.01) is not None:
            pass
        seen = manager.next(1.0)
        assert seen is None or seen[0] == "STATUS" or gone(run), "a machine may be too busy to look within 2 s"
        manager.until("WATCHDOG")  # The run was killed, and all is well again.


def test_another_process_watchdog_is_not_ours(manager: Manager, start: Callable[..., Command]) -> None:
    with start("--exec", "true", *NEVER, WATCHDOG_USEC="100000", WATCHDOG_PID=str(os.getpid())):
        manager.until("STATUS", "connected")
        assert manager.next(0.5) is None


def test_a_socket_path_that_is_too_long_is_told(home: Path) -> None:
    """Python raises an error without a number then."""
    environ = {"NOTIFY_SOCKET": f"/{'a' * 200}"}
    with Command("daemon", "--exec", "true", *NEVER, home=home, environ=environ) as command:
        said = "".join(command.line("stderr") for _ in range(2))
        assert "NOTIFY_SOCKET cannot be used: a Unix-domain socket has a path of at most 107 bytes" in said
        assert "use a shorter one" in said


def test_a_manager_that_is_not_there_stops_nothing(home: Path, tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "none")}
    with Command("daemon", "--exec", "true", *NEVER, home=home, environ=environ) as command:
        assert "NOTIFY_SOCKET cannot be used: No such file or directory" in "".join(
            command.line("stderr") for _ in range(2)
        )
        assert command.end(signal.SIGTERM)[0] == 0


def test_a_message_without_room_is_sent_later(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    environ = {"NOTIFY_SOCKET": manager.address}
    said: list[str] = []
    supervisor = Supervisor(said.append, environ)
    try:
        assert environ == {}
        for number in range(5000):  # Far more than a socket's queue holds (net.unix.max_dgram_qlen).
            supervisor.status(f"number {number}")
        supervisor.ready()
        assert supervisor.due() < time.monotonic() + 2
        while manager.next(0.01) is not None:
            pass
        supervisor.turn(time.monotonic() + 2, healthy=True)
        assert {manager.next(), manager.next()} == {("STATUS", "number 4999"), ("READY", "1")}
        assert said == []
    finally:
        supervisor.close()
        manager.close()


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_is_sent(address: str) -> None:
    said: list[str] = []
    supervisor = Supervisor(said.append, {"NOTIFY_SOCKET": address} if address else {})
    supervisor.ready()
    supervisor.turn(0.0, healthy=True)
    assert not supervisor.listens and len(said) == bool(address)
    supervisor.close()
