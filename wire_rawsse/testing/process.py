"""The relay in a process of its own, as a context manager. Imports no asyncio.

Tests, the demonstration and the bench measure one process against another, as in life; a relay in a thread would share
the interpreter's lock with what it measures, and could not be stopped with SIGSTOP. The child runs the same interpreter
and the same copy of this package. It ends when `stop` is called, and by itself when this process ends, however that
happens: its standard input is a pipe whose other end is only here.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from wire_rawsse.errors import ConnectError
from wire_rawsse.testing.client import RelayClient

_PATIENCE_SECONDS: Final = 5.0


class RelayProcess:
    """A running relay. Starts at once; `with` or `stop` ends it.

    The keywords are those of `server.FaultyRelayOptions`; without `bind`, `bind_tls` and `uds` it listens for http on a
    free port of 127.0.0.1. `control` is on here. Raises `ConnectError` if it does not start; the reason is on standard
    error.
    """

    def __init__(
        self,
        *,
        bind: Sequence[str] = (),
        bind_tls: Sequence[str] = (),
        uds: Sequence[str] = (),
        certificate: str | None = None,
        key: str | None = None,
        heartbeat: float = 30.0,
        replay_ids: bool = False,
        allocate_rate: float = 10.0,
        allocate_burst: int = 50,
        allow_host: Sequence[str] = (),
        request_timeout: float | None = None,
        idle_timeout: float | None = None,
        max_connections: int | None = None,
        control: bool = True,
    ) -> None:
        places = [("--bind", name) for name in bind] + [("--bind-tls", name) for name in bind_tls]
        places += [("--uds", path) for path in uds]
        settings = [("--heartbeat", str(heartbeat)), ("--allocate-rate", str(allocate_rate))]
        settings += [("--allocate-burst", str(allocate_burst))]
        settings += [("--allow-host", name) for name in allow_host]
        limits = {"request-timeout": request_timeout, "idle-timeout": idle_timeout, "max-connections": max_connections}
        settings += [(f"--{name}", str(value)) for name, value in limits.items() if value is not None]
        settings += [(name, value) for name, value in (("--certificate", certificate), ("--key", key)) if value]
        arguments = [word for pair in (*(places or [("--bind", "127.0.0.1:0")]), *settings) for word in pair]
        arguments += ["--replay-ids"] * replay_ids + ["--control"] * control
        package_home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        path = os.pathsep.join(filter(None, (package_home, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "wire_rawsse.testing", "--json", "--with-parent", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # No json.py of the current folder's, and no encoding but the one that is read here.
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # Ctrl-C is for this process; the child's interpreter may still be loading.
        )
        assert self._process.stdout is not None
        with self._process.stdout as output:
            line = output.readline()
        if not line:
            self.stop()
            raise ConnectError(f"the relay did not start (exit status {self._process.returncode})")
        ready = json.loads(line)
        self.urls: tuple[str, ...] = tuple(ready["urls"])
        self.control_url: str | None = ready["control"]

    @property
    def url(self) -> str:
        """Of the first listener."""
        return self.urls[0]

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(
        self, url: str | None = None, *, timeout: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> RelayClient:
        """A new client, of the first listener unless `url` says otherwise, and of the control port."""
        return RelayClient(url or self.url, control=self.control_url, timeout=timeout, tls=tls)

    def suspend(self) -> None:
        """SIGSTOP: the kernel goes on answering, the program does not."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a crash would. `stop` is still to be called."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it; its exit status. Twice is fine."""
        assert self._process.stdin is not None
        if sys.platform != "win32":
            self.resume()  # A suspended process would not notice the end of its input.
        self._process.stdin.close()
        try:
            return self._process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> RelayProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
