"""`wire-rawsse demo`: it ends by itself, keeps its promises or says which it did not, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import Command, assert_one_line, environment, run
from wire_rawsse.cli.demo.processes import DemoProcess
from wire_rawsse.cli.demo.steps import tcp_state
from wire_rawsse.cli.exit import Failure

BARE = {"TERM": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""No terminal to speak of, and no character beyond ASCII."""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def test_it_keeps_its_promises_in_the_barest_environment(home: Path, temporary: Path) -> None:
    # A proxy that is set must not come between processes of one machine.
    environ = {**BARE, "TMPDIR": str(temporary), "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = run("demo", home=home, environ=environ, timeout=60.0)
    assert done.stderr == "" and done.stdout.isascii() and "\x1b" not in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert list(temporary.iterdir()) == []
    kept = dict(re.findall(r"^(\S.*?)  .*?(yes|NO)$", done.stdout, re.MULTILINE))
    counted = {
        "each event wakes the daemon",
        "the catch-up wake brings",
        "pulled in the end, none lost or twice",
    }
    measured = {  # A busy machine may miss these; .ci/run holds the installed demo to them.
        "wake latency, median",
        "silence until the wedge is noticed",
        "reconnected after",
        "the whole demo",
    }
    assert kept.keys() == counted | measured
    assert {kept[name] for name in counted} == {"yes"}, done.stdout
    assert done.returncode == (1 if "NO" in kept.values() else 0)
    assert len(set(re.findall(r"^  (?:relay|sender|daemon) +process (\d+)", done.stdout, re.MULTILINE))) == 3
    assert len(re.findall(r"^  event-\d\d  woke after +[\d.]+ (?:us|ms)", done.stdout, re.MULTILINE)) == 26
    assert "was silent for read=2 s" in done.stdout and "it pulls the 3 events" in done.stdout
    if sys.platform == "linux":
        assert "the daemon's connection: ESTABLISHED" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_broken_promise_is_shown_and_is_the_exit_status(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.cli import terminal

    hasty = (
        "import sys, wire_rawsse.cli as cli, wire_rawsse.cli.demo.steps as steps\n"
        "steps._BEFORE = steps._AFTER = 3\n"
        "steps._LATE = -1.5\n"
        "sys.exit(cli.main(['demo']))"
    )
    monkeypatch.setattr(terminal, "WORDS", [sys.executable, "-c", hasty])
    with terminal.Terminal(home=home) as screen:
        assert screen.end() == 1
        assert "\x1b[1;31mNO\x1b[0m" in screen.written and "\x1b[32myes\x1b[0m" in screen.written
        assert re.search("(promise was|promises were) not kept on this machine, this time.", screen.screen)
        assert "silence until the wedge is noticed" in screen.screen


def test_a_reader_that_goes_ends_it_quietly(home: Path, temporary: Path) -> None:
    with Command("demo", home=home, environ={"TMPDIR": str(temporary)}) as command:
        command.line()
        assert command.process.stdout is not None
        command.process.stdout.close()
        assert command.process.wait(20) == 0
        assert command.rest("stderr") == ""
    assert list(temporary.iterdir()) == []


def test_a_process_that_fails_is_one_line(home: Path, temporary: Path) -> None:
    broken = (
        "import sys, wire_rawsse.cli as cli, wire_rawsse.cli.demo.processes as processes\n"
        "class Relay(processes.RelayProcess):\n"
        "    def __init__(self, heartbeat): super().__init__(bind=['192.0.2.1:1'])\n"
        "processes.RelayProcess = Relay\n"
        "sys.exit(cli.main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken],
        env=environment(home, {"TMPDIR": str(temporary)}),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    *_, last = done.stderr.splitlines(keepends=True)  # Before it stands what the relay itself has said.
    assert_one_line(last, "demo")
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []


def test_a_process_that_ends_says_why(tmp_path: Path) -> None:
    child = DemoProcess("daemon", "wire_rawsse.no_such_module", dict(os.environ), str(tmp_path / "errors"))
    try:
        with pytest.raises(Failure, match=r"the demo's daemon ended with exit status 1: .*No module named"):
            child.receive(time.monotonic() + 20)
    finally:
        child.end()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_tcp_state_is_what_the_kernel_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        near.connect(listener.getsockname())
        with listener.accept()[0] as far:
            ends = ["{}:{}".format(*sock.getsockname()) for sock in (near, far)]
            assert tcp_state(*ends) == "ESTABLISHED"
            far.close()
            assert tcp_state(*ends) == "state 08"  # CLOSE_WAIT
    assert tcp_state("127.0.0.1:1", "127.0.0.1:2") is None
