"""The three descriptors that a command is born with may be closed, or take nothing."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from tests.cli.command import WORDS, assert_one_line, environment, run, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the faults are POSIX's")

ENDS: Final = {"status": 2, "demo": 0, "listen": 143, "daemon": 0, "relay": 0}
"""How each ends with nothing wrong: `status` without a file, `demo` by itself, the rest by SIGTERM."""
COMMANDS: Final = {
    "status": ["status"],
    "demo": ["demo"],
    "listen": ["listen", "http://127.0.0.1:9/"],
    "daemon": ["daemon", "--exec", "true"],
    "relay": ["relay", "--bind", "127.0.0.1:0"],
}
CLOSED: Final = {"input": "0<&-", "output": "1>&-", "errors": "2>&-", "all three": "0<&- 1>&- 2>&-"}


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_descriptor_changes_nothing(command: str, closed: str, home: Path) -> None:
    script = f"exec {shlex.join([*WORDS, *COMMANDS[command]])} {CLOSED[closed]}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if command in ("daemon", "relay") or (command == "listen" and "1>" not in CLOSED[closed]):
            with pytest.raises(subprocess.TimeoutExpired):
                process.communicate(timeout=1.0)
            process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=40)
    finally:
        process.kill()
        process.communicate()
    if command == "demo" and process.returncode == 1:  # A busy machine has missed one of the demo's times.
        assert stderr == b""
    else:
        # A listen without a reader ends at once. The signal may come before anyone listens for it.
        end = 0 if command == "listen" and "1>" in CLOSED[closed] else ENDS[command]
        assert process.returncode in (end, -signal.SIGTERM), stderr
    assert b"Traceback" not in stderr and b"internal error" not in stderr
    if "1>" in CLOSED[closed]:
        assert stdout == b""


def without_dev() -> list[str]:
    """Runs a command where /dev is an empty folder, as in a bare chroot."""
    words = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev && exec "$@"', "sh"]
    if sys.platform != "linux" or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces, and root in them")
    return words


@pytest.mark.parametrize("closed", ["", *CLOSED.values()])
@pytest.mark.parametrize("command", ["status", "listen", "daemon", "relay"])
def test_without_a_null_device(command: str, closed: str, home: Path) -> None:
    if home.is_relative_to("/dev"):
        pytest.skip("the temporary folder is below /dev")
    ran = home / "ran"
    words = ["daemon", "--exec", f"sh -c 'read x; : > {ran}'"] if command == "daemon" else COMMANDS[command]
    script = f"exec {shlex.join([*without_dev(), *WORDS, *words])} {closed}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if command == "daemon":
            wait_until(ran.exists)
        elif command != "status":
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=1.0)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=40)
    finally:
        process.kill()
        process.communicate()
    assert b"Traceback" not in stderr and b"internal error" not in stderr, stderr
    # Writing to a closed output ends the command with 0; the signal may come before anyone listens for it.
    assert process.returncode in (0, ENDS[command], -signal.SIGTERM), stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [
        COMMANDS["status"],
        ["status", "--json"],
        COMMANDS["demo"],
        COMMANDS["relay"],
        ["--help"],
        ["--version"],
        *([name, "--help"] for name in COMMANDS),
    ],
    ids=shlex.join,
)
def test_a_full_output_is_74_and_one_line(arguments: list[str], home: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run(*arguments, home=home, stdout=full)
    assert done.returncode == 74
    assert_one_line(done.stderr, "" if arguments[0].startswith("-") else arguments[0])
    assert "standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")
@pytest.mark.parametrize("arguments", [["listen"], ["daemon"], ["status", "now"], ["lisen"]], ids=shlex.join)
def test_errors_that_cannot_be_told_change_no_status(arguments: list[str], home: Path) -> None:
    with open("/dev/full", "w") as full:
        assert run(*arguments, home=home, stderr=full).returncode == 64
