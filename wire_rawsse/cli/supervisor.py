"""Reports to a service manager: sd_notify(3) without a library.

systemd (Type=notify) and the managers that imitate it name a datagram socket in NOTIFY_SOCKET, and in WATCHDOG_USEC how
often they want a sign of life. The variables are removed from the environment when they are read, so the command that
the daemon runs cannot report in the daemon's name.

A message that the socket has no room for is kept and sent with the next one. Nothing here blocks or raises. Without
NOTIFY_SOCKET every call is a no-op.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final

from wire_rawsse.foreign import reason

_RETRY: Final = 1.0
"""Seconds until a message that could not be sent is tried again."""
_LONGEST_STATUS: Final = 300
"""Characters of STATUS=."""


class Supervisor:
    """The service manager that started this process, if there is one. Moments are seconds of `time.monotonic()`."""

    def __init__(self, warn: Callable[[str], object], environ: MutableMapping[str, str] = os.environ) -> None:
        """`warn` is called with one line, once, if the manager's socket cannot be used."""
        address = environ.pop("NOTIFY_SOCKET", "")
        self._interval = _watchdog_interval(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        self._warn: Callable[[str], object] | None = warn
        self._address = "\0" + address[1:] if address[:1] == "@" else address  # "@" is an abstract socket (unix(7)).
        self._socket: socket.socket | None = None
        self._unsent: dict[str, str] = {}
        self._tried_at = -math.inf
        self._beat_at = -math.inf
        self._status = ""
        self.is_ready = False
        if not address:
            return
        if address[0] not in "/@" or not hasattr(socket, "AF_UNIX"):
            self._give_up("expected an absolute path or an abstract socket (@...)")
            return
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        except OSError as error:
            self._give_up(reason(error))

    @property
    def listens(self) -> bool:
        """Whether anyone reads what is sent."""
        return self._socket is not None

    def ready(self) -> None:
        """READY=1: the service is up, or a reload is complete."""
        self.is_ready = True
        self._send("READY", "1")

    def reloading(self) -> None:
        """RELOADING=1; `ready` must follow. MONOTONIC_USEC is required by Type=notify-reload."""
        self._unsent.pop("READY", None)
        self._unsent["RELOADING"] = "1"
        self._send("MONOTONIC_USEC", str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        self._send("STOPPING", "1")

    def status(self, text: str) -> None:
        """STATUS=, one line for people, unless it is what was sent last. `text` holds no secret."""
        text = text[:_LONGEST_STATUS]
        if text != self._status:
            self._status = text
            self._send("STATUS", text)

    def due(self) -> float:
        """When `turn` is due at the latest."""
        if self._socket is None:
            return math.inf
        retry = self._tried_at + _RETRY if self._unsent else math.inf
        return min(retry, self._beat_at + self._interval)

    def turn(self, now: float, *, healthy: bool) -> None:
        """Once an iteration of the daemon's loop: send WATCHDOG=1 if it is due and the daemon is `healthy`."""
        if self._socket is None:
            return
        if healthy and now >= self._beat_at + self._interval:
            self._beat_at = now
            self._send("WATCHDOG", "1")
        elif self._unsent and now >= self._tried_at + _RETRY:
            self._flush()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, name: str, value: str) -> None:
        if self._socket is not None:
            self._unsent[name] = value
            self._flush()

    def _flush(self) -> None:
        assert self._socket is not None
        self._tried_at = time.monotonic()
        # RELOADING=1 and the READY=1 that ends it are two messages: within one, systemd takes only READY=1.
        unsent, self._unsent = self._unsent, {}
        ready = {"READY": unsent.pop("READY")} if "RELOADING" in unsent and "READY" in unsent else {}
        for message in (unsent, ready):
            try:
                if message:
                    text = "\n".join(f"{name}={value}" for name, value in message.items())
                    self._socket.sendto(text.encode("utf-8", "backslashreplace"), self._address)
            except BlockingIOError:
                self._unsent.update(message)
            except OSError as error:
                self._unsent.update(message)
                self._give_up(reason(error), keep=True)

    def _give_up(self, why: str, *, keep: bool = False) -> None:
        """`keep`: the socket may appear or work again, as after a restart of the manager."""
        if self._warn is not None:
            self._warn(f"NOTIFY_SOCKET cannot be used: {why}; the service manager is not told anything")
            self._warn = None
        if not keep:
            self.close()


def _watchdog_interval(usec: str, pid: str) -> float:
    """Half of WATCHDOG_USEC in seconds, as sd_watchdog_enabled(3) advises; infinite if this process has no watchdog."""
    if not (usec.isascii() and usec.isdigit() and int(usec[:18]) > 0 and len(usec) <= 18):
        return math.inf
    return int(usec) / 2e6 if pid in ("", str(os.getpid())) else math.inf
