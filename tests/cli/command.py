"""Runs the real command, as a user's shell would: a process of its own, a clean environment, pipes or a terminal."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from wire_rawsse.testing.client import Slot

PATIENCE = 20.0
"""Seconds for anything that has to happen; only a hang takes as long."""

WORDS = [sys.executable, "-m", "wire_rawsse"]


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Nothing of the machine's own settings, but what an interpreter needs to be the same one."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "TMPDIR", "SYSTEMROOT")}
    root = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    return {**kept, "HOME": str(home), "WIRE_HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm", **(extra or {})}


def run(
    *arguments: str, home: Path, environ: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with an empty standard input."""
    return subprocess.run(
        [*WORDS, *arguments],
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        check=False,
        **{
            "env": environment(home, environ),
            "timeout": PATIENCE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        },
    )


def assert_one_line(stderr: str, command: str = "") -> None:
    """Exactly one line, with the command's name before it, and no traceback."""
    name = f"wire-rawsse {command}: " if command else "wire-rawsse: "
    assert stderr.startswith(name), stderr
    assert stderr.endswith("\n") and stderr.count("\n") == 1, stderr
    assert "Traceback" not in stderr


def ended(process: subprocess.Popen[Any]) -> None:
    """End it where it has not ended by itself."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Command:
    """A running command. `with` kills what is left of it."""

    def __init__(
        self,
        *arguments: str,
        home: Path,
        environ: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.process = subprocess.Popen(
            [*WORDS, *arguments],
            env=environment(home, environ),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            bufsize=0,
            pass_fds=pass_fds,
        )
        self._rest = {"stdout": b"", "stderr": b""}

    def line(self, name: str = "stdout") -> str:
        """The next line of `stdout` or `stderr`."""
        stream = getattr(self.process, name)
        until = time.monotonic() + PATIENCE
        while b"\n" not in self._rest[name]:
            ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(stream.fileno(), 65536) if ready else b""
            assert piece, f"{name} ended or stayed silent; it holds {self._rest[name]!r}"
            self._rest[name] += piece
        line, _, self._rest[name] = self._rest[name].partition(b"\n")
        return line.decode()

    def end(self, number: int) -> tuple[int, float]:
        """Send a signal; the exit status, and how many seconds it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        status = self.process.wait(PATIENCE)
        return status, time.monotonic() - began

    def rest(self, name: str = "stdout") -> str:
        """The rest of a stream, to its end."""
        stream = getattr(self.process, name)
        return (self._rest[name] + bytes(stream.read())).decode()

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended(self.process)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def wait_until(there: Callable[[], Any]) -> Any:
    """The result of `there` once it is something; for a change that only a file announces."""
    until = time.monotonic() + PATIENCE
    while not (found := there()):
        assert time.monotonic() < until, f"waited in vain for {there}"
        time.sleep(0.01)
    return found


def written(path: Path) -> str:
    """The content of a file, once it is there and not empty."""
    found: str = wait_until(lambda: path.exists() and path.read_text())
    return found


def ends_within(seconds: float, start: Callable[[], Command], number: int, status: int) -> str:
    """A signal ends the command with `status`, within `seconds`.

    Returns the text on standard error after the start.
    """
    with start() as command:
        found, passed = command.end(number)
        assert found == status
        said = command.rest("stderr")
        assert "Traceback" not in said
        assert passed < seconds, f"took {passed} s to end after {signal.Signals(number).name}"
        return said


def write_relay_json(home: Path, *endpoints: tuple[str, Slot]) -> None:
    """wire's relay.json in `home`, with these endpoints (a relay's URL, a slot)."""
    entries = [
        {"relay_url": url, "slot_id": slot.slot_id, "slot_token": slot.slot_token, "scope": "local"}
        for url, slot in endpoints
    ]
    folder = home / "config" / "wire"
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "relay.json.new"
    fresh.write_text(json.dumps({"self": {**entries[0], "endpoints": entries}, "peers": {}}))
    fresh.chmod(0o600)
    fresh.replace(folder / "relay.json")
