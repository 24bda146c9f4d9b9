"""Signals to `daemon`: reload, renew, report; and what SIGHUP means when its terminal is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, WORDS, Command, ended, environment, wait_until, write_relay_json
from tests.support.fixtures import Serve
from tests.support.server import QUIET
from wire_rawsse.testing import RelayClient, RelayProcess, Slot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals are POSIX's")

NEVER = ("--interval", "3600")


@pytest.fixture(autouse=True)
def no_nohup() -> Iterator[None]:
    """The tests themselves may run under nohup, which is inherited."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_reload_follows_relay_json_at_once_and_renews(
    relay: RelayProcess, client: RelayClient, slot: Slot, home: Path
) -> None:
    """It is looked at every 29 s otherwise."""
    write_relay_json(home, (relay.url, slot))
    other = client.allocate()
    with Command("daemon", "--exec", "true", *NEVER, home=home) as command:
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        accepted = client.report()["accepted"]
        write_relay_json(home, (relay.url, slot), (relay.url, other))
        command.process.send_signal(signal.SIGHUP)
        client.wait_until("streams", 1, slot=other, seconds=PATIENCE)
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        assert client.report()["accepted"] >= accepted + 2  # The old stream was renewed, too.
        lines = [command.line("stderr") for _ in range(3)]
        assert any("reloading: files are read again and each connection is renewed" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1], ids=["SIGHUP", "SIGUSR1"])
def test_a_token_file_is_read_again(number: int, serve: Serve, home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    token.chmod(0o600)
    server = serve(QUIET)
    with Command("daemon", "--exec", "true", *NEVER, "--token-file", str(token), server.url, home=home) as command:
        assert command.line("stderr").endswith(": connected")
        token.write_text("second")
        command.process.send_signal(number)
        wait_until(lambda: len(server.asked) == 2)
        assert command.end(signal.SIGTERM)[0] == 0
    assert [asked.get("Authorization") for asked in server.asked] == ["Bearer first", "Bearer second"]


def test_a_report_of_each_stream(relay: RelayProcess, client: RelayClient, slot: Slot, home: Path) -> None:
    other = client.allocate()
    write_relay_json(home, (relay.url, slot), ("http://127.83.1.7:9", other))
    with Command("daemon", "--exec", "true", *NEVER, home=home) as command:
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        wait_until(lambda: "trying again" in command.line("stderr"))
        command.process.send_signal(signal.SIGUSR2)
        while ": connected, listening for " not in (line := command.line("stderr")):
            pass
        assert f"{slot.path}/stream: connected" in line and "reconnects 0" in line and slot.slot_token not in line
        line = command.line("stderr")
        assert "http://127.83.1.7:9" in line and "last error: " in line and "next attempt in" in line
        assert "the command: " in command.line("stderr")


@pytest.mark.parametrize("stream", [False, True], ids=["wire", "url"])
def test_a_terminal_that_is_closed_ends_it(stream: bool, serve: Serve, home: Path) -> None:
    from tests.cli.terminal import Terminal

    server = serve(QUIET)
    with Terminal("daemon", "--exec", "true", *NEVER, *([server.url] if stream else []), home=home) as terminal:
        terminal.until("connected\r\n" if stream else "does not exist yet")
        terminal.hang_up()
        until = time.monotonic() + PATIENCE
        while terminal.process.poll() is None:  # The kernel sends it once, and it may come during the end.
            assert time.monotonic() < until
            terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.returncode == 0


def test_a_terminal_that_is_there_does_not(serve: Serve, home: Path) -> None:
    from tests.cli.terminal import Terminal

    server = serve(QUIET)
    with Terminal("daemon", "--exec", "true", *NEVER, server.url, home=home) as terminal:
        terminal.until("connected\r\n")
        terminal.process.send_signal(signal.SIGHUP)
        terminal.until("reloading")
        wait_until(lambda: len(server.asked) == 2)


def test_the_session_of_a_closed_terminal(serve: Serve, home: Path) -> None:
    """With a controlling terminal the kernel itself sends SIGHUP."""
    import fcntl
    import pty
    import termios

    server = serve(QUIET)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*WORDS, "daemon", "--exec", "true", *NEVER, server.url],
        env=environment(home),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        wait_until(lambda: server.asked)
        os.close(master)
        assert process.wait(PATIENCE) == 0
    finally:
        ended(process)
