"""The daemon under test as a process in the client's host: ours, or any command of yours.

What it is given in its environment:

    FAULTS_URL         the event stream; FAULTS_RELAY is the relay alone, FAULTS_SLOT the slot's id
    FAULTS_TOKEN       the bearer token
    FAULTS_CA          the CA file to trust
    FAULTS_PULL        unix:///PATH of a socket of the relay's that no fault touches: GET /v1/events/SLOT?since=ID
    FAULTS_SETTINGS    the clocks by which it is judged, as JSON (connect, response, read, …), in seconds
    FAULTS_HOST        inline, thread or asyncio
    WIRE_HOME          a folder with config/wire/relay.json that names the same slot
    HTTPS_PROXY        where the stream is to go through a proxy

It ends on SIGTERM or at the end of its standard input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from tests.faults.bounds import Setup
from tests.faults.lines import Line, LineLog, read_line, word
from tests.faults.look import Held, held, stopped
from tests.faults.stage import HTTP, HTTPS, NAME, Relay
from tests.faults.tools import SEARCHED, LabError
from tests.faults.world import World

ROOT: Final = Path(__file__).resolve().parent.parent.parent
START_SECONDS: Final = 20.0


def environment(world: World, relay: Relay, setup: Setup) -> dict[str, str]:
    """The environment of a daemon. Creates the folders that it names."""
    base = f"https://{NAME}:{HTTPS}" if setup.tls else f"http://{NAME}:{HTTP}"
    home = world.folder / "wire"
    (home / "config/wire").mkdir(parents=True)
    (home / "state/wire").mkdir(parents=True)
    own = {"relay_url": base, "slot_id": relay.slot.slot_id, "slot_token": relay.slot.slot_token}
    relay_json = home / "config/wire/relay.json"
    relay_json.write_text(json.dumps({"self": own, "peers": {}}))
    relay_json.chmod(0o600)
    return {
        "PATH": SEARCHED,
        "HOME": str(world.folder),
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "WIRE_HOME": str(home),
        "FAULTS_RELAY": base,
        "FAULTS_URL": f"{base}{relay.slot.path}/stream",
        "FAULTS_SLOT": relay.slot.slot_id,
        "FAULTS_TOKEN": relay.slot.slot_token,
        "FAULTS_CA": str(relay.certificates / "ca.pem") if setup.tls else "",
        "FAULTS_PULL": relay.socket,
        "FAULTS_SETTINGS": json.dumps(dataclasses.asdict(setup.settings)),
        "FAULTS_HOST": setup.host,
    }


class Daemon:
    """A running daemon and what it has said."""

    def __init__(self, world: World, setup: Setup, env: dict[str, str]) -> None:
        self.ours = setup.command is None
        consumer = "subscriber" if setup.consumer == "subscriber" else "source"
        words = ["in_asyncio", consumer] if setup.host == "asyncio" else [consumer]
        own = [sys.executable, "-m", f"tests.faults.daemons.{words[0]}", *words[1:]]
        self.command = own if setup.command is None else shlex.split(setup.command)
        self.log = LineLog()
        self.state_file = world.folder / "wire/state/wire/stream_state.json"
        self._errors = world.folder / "daemon.err"
        try:
            with world.client.entered(), self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=env, cwd=ROOT
                )
        except OSError as error:
            raise LabError(f"{self.command[0]} cannot be started: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, name="lines", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def held(self) -> Held:
        try:
            return held(self.pid)
        except OSError as error:
            raise LabError(f"the daemon is gone: {self.last_words()}") from error

    def order(self, text: str) -> None:
        """A line on its standard input."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()

    def ready(self, position: int = 0) -> Line:
        """Wait until one of ours says that it is ready for a round."""
        found = self.log.wait(word("ready"), START_SECONDS, position)
        if found is None:
            raise LabError(f"the daemon does not start: {self.last_words()}")
        return found

    def suspend(self) -> None:
        """SIGSTOP; returns when it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 1.0
        while not stopped(self.pid):
            if time.monotonic() > until:
                raise LabError("the daemon does not stop")
            time.sleep(0.002)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def close(self, seconds: float = 3.0) -> int | None:
        """Ask it to end; its exit status, None where it had to be killed."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if not self.ours:
            self._process.terminate()
        status: int | None
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            status = None
        self._reader.join(1.0)
        return status

    def last_words(self) -> str:
        text = self._errors.read_text(errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing"

    def errors(self) -> list[str]:
        """The last lines of its standard error."""
        return self._errors.read_text(errors="replace").splitlines()[-20:]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            line = read_line(text.decode(errors="replace"), time.monotonic())
            if line is not None:
                self.log.add(line)
        self.log.end()


class StateWatch:
    """A reader in a loop of stream_state.json: what it said from when on, and whether it was ever no whole document.

    From when on is asked of the file (its inode's last change, which is the rename that put it there, on a clock that
    ticks each 4 ms or so): on a busy machine the reader may be late, and its lateness is not the daemon's.
    """

    EVERY: Final = 0.01

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seen: list[tuple[float, str]] = []
        """(CLOCK_MONOTONIC, state) of the writes that changed the state."""
        self.broken: list[str] = []
        self.reads = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def as_json(self) -> dict[str, Any]:
        return {"reads": self.reads, "seen": self.seen, "broken": self.broken}

    def _run(self) -> None:
        last = b""
        while not self._over.wait(self.EVERY):
            try:
                with self._path.open("rb") as file:
                    data, changed = file.read(), os.fstat(file.fileno()).st_ctime
            except OSError:
                continue  # Not written yet.
            self.reads += 1
            if data == last:
                continue
            last = data
            try:
                said = str(json.loads(data)["state"])
            except (ValueError, KeyError, TypeError):
                self.broken.append(repr(data[:80]))
                continue
            if not self.seen or self.seen[-1][1] != said:
                self.seen.append((time.monotonic() - (time.time() - changed), said))
