"""Counts that do not depend on how quiet the machine is: system calls by strace, instructions by valgrind's callgrind.

strace is attached to clients that are already connected, and told to let go again; its summary then holds what lay in
between. Callgrind runs a client from its start with its counter off; it is switched on once the client is connected,
and dumped after the events, so that imports and connecting are in no figure. It counts instructions in user space only,
of all threads, and the same client comes out the same to a fraction of a percent.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ATTACH_SECONDS = 20.0
COMMAND_SECONDS = 180.0


class Strace:
    """strace attached to one process and all its threads, between `with` and its end; then `calls` is by name."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.attached = False
        self.calls: dict[str, int] = {}

    def __enter__(self) -> Strace:
        self._summary = tempfile.NamedTemporaryFile()  # closed in __exit__
        command = ["strace", "-f", "-c", "-U", "name,calls", "-o", self._summary.name, "-p", str(self._pid)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + ATTACH_SECONDS
        while not (traced := self._traced()) and self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self.attached = traced
        return self

    def _traced(self) -> bool:
        for task in Path(f"/proc/{self._pid}/task").iterdir():
            found = re.search(r"^TracerPid:\s*(\d+)", (task / "status").read_text(), re.MULTILINE)
            if found is None or found[1] == "0":
                return False
        return True

    def __exit__(self, *reason: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(ATTACH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self.calls = summary(Path(self._summary.name).read_text())
        self._summary.close()


def summary(text: str) -> dict[str, int]:
    """Calls by name, from what `strace -c -U name,calls` writes."""
    found = (re.fullmatch(r"\s*(\w+)\s+(\d+)\s*", line) for line in text.splitlines())
    return {match[1]: int(match[2]) for match in found if match and match[1] != "total"}


def strace_missing(pid: int) -> str:
    """Empty where strace can be attached to this process, otherwise why not."""
    if shutil.which("strace") is None:
        return "no strace"
    with Strace(pid) as strace:
        pass
    return "" if strace.attached else "strace may not be attached to other processes here (ptrace_scope)"


class Callgrind:
    """The commands for one client under callgrind, and its dumps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def behind(self, name: str) -> list[str]:
        """The words before a client's command."""
        out = self._folder / name / "dump"
        out.parent.mkdir()
        return ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]

    def on(self, pid: int) -> None:
        _control("-i", "on", str(pid))

    def zero(self, pid: int) -> None:
        _control("-z", str(pid))

    def dump(self, pid: int, name: str) -> int:
        """Instructions since the last `dump` or `zero`."""
        _control("-d", str(pid))
        dumps = sorted((self._folder / name).iterdir(), key=lambda path: int(path.suffix[1:] or 0))
        return instructions(dumps[-1].read_text())


def instructions(dump: str) -> int:
    """The total of one callgrind dump. Raises `ValueError` for what is none."""
    found = re.search(r"^totals: (\d+)", dump, re.MULTILINE)
    if found is None:
        raise ValueError("a callgrind dump without a total")
    return int(found[1])


def instructions_of(command: Sequence[str], folder: Path) -> int:
    """Instructions of a whole short program. Raises `ValueError`, `OSError`, `subprocess.SubprocessError`."""
    out = folder / "whole"
    behind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
    subprocess.run([*behind, *command], capture_output=True, timeout=COMMAND_SECONDS, check=True)
    found = instructions(out.read_text())
    out.unlink()
    return found


def _control(*arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments], capture_output=True, timeout=COMMAND_SECONDS, check=True)


def callgrind_missing() -> str:
    """Empty where valgrind is here, otherwise why not."""
    return "" if shutil.which("valgrind") and shutil.which("callgrind_control") else "no valgrind"
