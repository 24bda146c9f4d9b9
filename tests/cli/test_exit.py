"""SIGTERM and SIGINT end every command, wherever it is, at once, quietly, with its documented status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE, Command, ends_within, environment, wait_until, write_relay_json
from tests.support.fixtures import Serve
from tests.support.server import OPEN, request, send, stall
from wire_rawsse.testing import RelayClient, RelayProcess, Slot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")

AT_ONCE = 10.0
"""Seconds. It takes 0.1 s on a quiet machine; no timeout of the commands is between the two."""
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


@BOTH
def test_listen_while_it_listens(number: int, serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])

    def start() -> Command:
        command = Command("listen", server.url, home=home)
        assert command.line() == "a"
        return command

    ends_within(AT_ONCE, start, number, 128 + number)


@BOTH
def test_listen_between_two_attempts(number: int, home: Path) -> None:
    def start() -> Command:
        command = Command("listen", "http://127.83.1.7:9/", home=home)
        assert "trying again in" in command.line("stderr")
        return command

    ends_within(AT_ONCE, start, number, 128 + number)


@BOTH
def test_daemon(number: int, relay: RelayProcess, client: RelayClient, slot: Slot, home: Path) -> None:
    write_relay_json(home, (relay.url, slot))

    def start() -> Command:
        command = Command("daemon", "--exec", "true", home=home)
        client.wait_until("streams", 1, slot=slot, seconds=PATIENCE)
        return command

    ends_within(AT_ONCE, start, number, 0)


@BOTH
def test_relay(number: int, home: Path) -> None:
    def start() -> Command:
        command = Command("relay", "--bind", "127.0.0.1:0", home=home)
        assert command.line().startswith("relay listening on http://127.0.0.1:")
        return command

    ends_within(AT_ONCE, start, number, 0)


@pytest.mark.parametrize("command", ["listen", "daemon"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR2"])
def test_signals_that_come_during_the_end_do_not_change_the_status(
    command: str, name: str, serve: Serve, home: Path
) -> None:
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    status = {"listen": 128 + signal.SIGTERM, "daemon": 0}[command]
    with Command(command, server.url, *(["--exec", "true"] if command == "daemon" else []), home=home) as running:
        wait_until(lambda: server.asked)
        assert command == "daemon" or running.line() == "a"
        running.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        while running.process.poll() is None:
            assert time.monotonic() < until
            running.process.send_signal(getattr(signal, name))
        assert running.process.returncode in (status, 130 if (command, name) == ("listen", "SIGINT") else status)


LATE = """
import asyncio, atexit, os, signal, sys
from wire_rawsse.cli import exit, main

NUMBERS = [getattr(signal, name) for name in sys.argv[1].split(",")]

def strike(kill=os.kill, pid=os.getpid(), numbers=NUMBERS * 2):
    for number in numbers:
        kill(pid, number)

class Last:
    "Deleted when the interpreter has put the default actions of signals back."
    def __del__(self, strike=strike):
        strike()

def then_strike(call):
    def wrapper(*arguments):
        call(*arguments)
        strike()
    return wrapper

asyncio.SelectorEventLoop.close = then_strike(asyncio.SelectorEventLoop.close)
exit.ignore_signals = then_strike(exit.ignore_signals)
atexit.register(strike)
last = Last()
sys.exit(main(sys.argv[2:]))
"""
"""Sends itself the signals at each later moment of the end."""


def end_late(*arguments: str, names: str, home: Path, number: int | None = None) -> int:
    """The exit status of a command that gets the signals `names` during its end; `number`: ended by this one."""
    process = subprocess.Popen(
        [sys.executable, "-c", LATE, names, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if number is not None:
            assert process.stdout is not None and process.stdout.readline()
            process.send_signal(number)
        said = process.communicate(timeout=PATIENCE)[1].decode()
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in said and "ignored" not in said, said
    return process.returncode


ALL = "SIGTERM,SIGINT,SIGHUP,SIGUSR1,SIGUSR2"


def test_a_late_signal_does_not_change_the_status_of_listen(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    assert end_late("listen", "--count", "1", server.url, names=ALL, home=home) == 0
    assert end_late("listen", server.url, names=ALL, home=home, number=signal.SIGTERM) == 143


def test_a_late_signal_does_not_change_the_status_of_a_daemon(serve: Serve, home: Path) -> None:
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    for names in (ALL, f"{ALL},SIGCHLD"):
        arguments = ("daemon", "--exec", "echo run", server.url)
        assert end_late(*arguments, names=names, home=home, number=signal.SIGTERM) == 0


def test_a_late_signal_does_not_change_the_status_of_a_relay(home: Path) -> None:
    """asyncio puts the default actions of its own handlers back when its loop is closed."""
    arguments = ("relay", "--bind", "127.0.0.1:0")
    for number in (signal.SIGTERM, signal.SIGINT):
        assert end_late(*arguments, names="SIGTERM,SIGINT", home=home, number=number) == 0


def test_a_late_signal_does_not_change_the_status_of_the_others(home: Path) -> None:
    for arguments, status in (
        (["status"], 2),
        (["probe", "--for", "1", "http://127.83.1.7:9/"], 2),
        (["demo", "--help"], 0),
        (["lisen"], 64),
    ):
        assert end_late(*arguments, names="SIGTERM,SIGINT", home=home) == status, arguments


def test_no_handler_of_a_long_command_can_be_interrupted_by_the_next_signal(home: Path) -> None:
    """Calls of handlers in Python pile up in a burst of signals. A call into C is over before the next one."""
    script = (
        "import asyncio, signal, sys\n"
        "from wire_rawsse.cli.signals import REQUESTS, Signals\n"
        "from wire_rawsse.relay.server import _signals_set\n"
        "calls = []\n"
        "def raised(*names):\n"
        "    numbers = [getattr(signal, name) for name in names]\n"
        "    sys.setprofile(lambda frame, event, argument: event == 'call' and calls.append(frame.f_code))\n"
        "    for number in numbers: signal.raise_signal(number)\n"
        "    sys.setprofile(None)\n"
        "with Signals(*REQUESTS) as waiting:\n"
        "    raised(*REQUESTS)\n"
        "    assert waiting.ending and all(map(waiting.take, ('reload', 'renew', 'report', 'child')))\n"
        "async def serve(stop):\n"
        "    with _signals_set(stop):\n"
        "        raised('SIGTERM', 'SIGINT')\n"
        "        await stop.wait()\n"
        "asyncio.run(serve(asyncio.Event()))\n"
        "print(calls)"
    )
    words = [sys.executable, "-c", script]
    signal_before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        done = subprocess.run(
            words, env=environment(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    finally:
        signal.signal(signal.SIGHUP, signal_before)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@BOTH
def test_while_it_reads_a_file_that_never_comes(number: int, home: Path) -> None:
    """A named pipe that nobody has anything to say through: the signal finds the command in the middle of a read."""
    fifo = home / "fifo"
    os.mkfifo(fifo)
    writers: list[int] = []

    def start() -> Command:
        command = Command("listen", "--token-file", str(fifo), "http://127.0.0.1:9/", home=home)
        writers.append(os.open(fifo, os.O_WRONLY))  # Waits until the command has opened the other end.
        return command

    try:
        ends_within(AT_ONCE, start, number, 128 + number)
    finally:
        for writer in writers:
            os.close(writer)


@BOTH
def test_demo(number: int, home: Path) -> None:
    """And it takes its processes and its folder with it."""
    temporary = home / "tmp"
    temporary.mkdir()

    def start() -> Command:
        command = Command("demo", home=home, environ={"TMPDIR": str(temporary)})
        while "event-02" not in (line := command.line()):
            if "process" in line:
                pids.append(int(line.partition("process")[2].split()[0]))
        return command

    pids: list[int] = []
    assert ends_within(AT_ONCE, start, number, 128 + number) == ""
    assert len(pids) % 3 == 0 and len(pids) >= 3
    for pid in pids:
        gone(pid)
    assert list(temporary.iterdir()) == []


def gone(pid: int) -> None:
    def there() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # An orphan that has ended is a zombie until init has looked.
        return Path(f"/proc/{pid}/stat").exists() and " Z " in Path(f"/proc/{pid}/stat").read_text()

    wait_until(there)


@pytest.mark.parametrize(
    ("command", "status"), [("listen", 130), ("status", 130), ("demo", 130), ("daemon", 0), ("relay", 0)]
)
def test_nothing_is_said_when_ctrl_c_comes_early(command: str, status: int, home: Path) -> None:
    """From the moment that `main` has been entered there is no traceback to be had."""
    script = (
        "import os, signal, sys, time, wire_rawsse.cli as cli\n"
        "def strike(arguments):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(20)\n"
        "cli._run = lambda command, arguments, began: strike(arguments)\n"
        f"sys.exit(cli.main([{command!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(home), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")


def test_what_an_end_breaks_on_its_way_is_not_told(home: Path) -> None:
    script = (
        "import os, signal, sys, threading, time, wire_rawsse.cli as cli\n"
        "from wire_rawsse.cli import exit\n"
        "struck = threading.Event()\n"
        "def fail(arguments):\n"
        "    exit.before_the_end(lambda: (struck.set(), time.sleep(0.3)))\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    struck.wait(20)\n"
        "    raise exit.Failure('a process of ours has ended', 1)\n"
        "cli._run = lambda command, arguments, began: fail(arguments)\n"
        "sys.exit(cli.main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(home), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (143, b"")


def test_a_further_signal_does_not_interrupt_the_end(home: Path) -> None:
    """`demo` ends its processes there."""
    script = (
        "import os, signal, sys, wire_rawsse.cli as cli\n"
        "from wire_rawsse.cli import exit\n"
        "def end():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.write(1, b'all is ended\\n')\n"
        "def begin(*arguments):\n"
        "    exit.before_the_end(end)\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "cli._run = begin\n"
        "sys.exit(cli.main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment(home), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"all is ended\n", b"")


def test_an_ignored_sigint_still_ends_it(serve: Serve, home: Path) -> None:
    """As for a job that a shell script put into the background."""
    server = serve([request, send(OPEN + b"data: a\n\n"), stall])
    script = f"trap '' INT; exec {sys.executable} -m wire_rawsse listen {server.url}"
    process = subprocess.Popen(["/bin/sh", "-c", script], env=environment(home), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"a\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        process.kill()
        process.communicate()
