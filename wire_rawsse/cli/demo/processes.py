"""The demo's processes and its folder, started together and ended together. Knows nothing of the steps.

Each process ends when its standard input does. That is a pipe whose other end is only in this process, so none is left
over however this one ends. Each has a session of its own, so that Ctrl-C reaches this process alone.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any, Final

import wire_rawsse
from wire_rawsse.cli.exit import FAILED, Failure, before_the_end
from wire_rawsse.testing import RelayProcess

_TO_END: Final = 1.0
"""Seconds that a process gets to end by itself."""


class DemoProcess:
    """One process that takes and gives JSON lines. `name` is what a failure calls it."""

    def __init__(self, name: str, module: str, environ: dict[str, str], errors: str) -> None:
        self.name = name
        self._errors: IO[bytes] = open(errors, "w+b")  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environ,
            cwd=os.path.dirname(errors),  # Not ours: `-m` looks there first, and a json.py of somebody's may be there.
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=f"demo-{name}", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, **facts: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(facts).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def receive(self, until: float) -> dict[str, Any] | None:
        """Its next report, or None when the monotonic moment `until` has come. Raises `Failure` if it has ended."""
        try:
            line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None
        if not line:
            raise self._gone()
        report: dict[str, Any] = json.loads(line)
        return report

    def end(self, patience: float = _TO_END) -> None:
        """Twice is fine."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def kill(self) -> None:
        """At once, from any thread."""
        try:
            os.kill(self.pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except OSError:
            pass  # It has ended already.

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(b"")

    def _gone(self) -> Failure:
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        return Failure(
            f"the demo's {self.name} ended with exit status {self._process.returncode}: {said or 'it said nothing'}",
            FAILED,
        )


class Processes:
    """A relay, a sender and a daemon, and `WIRE_HOME` for the daemon in a new folder. `with` ends it all."""

    def __init__(self, heartbeat: float) -> None:
        self.home = tempfile.mkdtemp(prefix="wire-rawsse-demo-")
        self._children: list[DemoProcess] = []
        self._relay: RelayProcess | None = None
        before_the_end(self._end_at_once)
        try:
            # These two first: they load while the relay does.
            self.sender = self._start("sender")
            self.daemon = self._start("daemon")
            self.relay = self._relay = RelayProcess(heartbeat=heartbeat)
        except BaseException:
            self.close()
            raise

    def write_relay_json(self, slot_id: str, slot_token: str) -> None:
        """Tell the daemon its endpoint, as wire does."""
        folder = os.path.join(self.home, "config", "wire")
        os.makedirs(folder, mode=0o700)
        endpoint = {"relay_url": self.relay.url, "slot_id": slot_id, "slot_token": slot_token, "scope": "local"}
        with open(os.path.join(folder, "relay.json"), "w", opener=_private) as file:
            json.dump({"self": {**endpoint, "endpoints": [endpoint]}, "peers": {}}, file)

    def close(self) -> None:
        for child in self._children:
            child.end()
        if self._relay is not None:
            self._relay.stop()
        self._clear()

    def _end_at_once(self) -> None:
        """Kill all processes, from another thread. The relay ends with this process."""
        for child in self._children:
            child.kill()
        self._clear()

    def _start(self, name: str) -> DemoProcess:
        home = os.path.dirname(os.path.dirname(os.path.abspath(wire_rawsse.__file__)))
        environ = {
            **os.environ,
            "WIRE_HOME": self.home,
            "PYTHONPATH": os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH")))),
            "PYTHONIOENCODING": "utf-8",  # That is what is read here.
            "NO_PROXY": "*",  # A proxy of this machine's has no part in this.
            "no_proxy": "*",
        }
        child = DemoProcess(name, f"wire_rawsse.cli.demo.{name}", environ, os.path.join(self.home, f"{name}.errors"))
        self._children.append(child)
        return child

    def _clear(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
