"""Signals as something to poll, for the commands that run until they are told to end.

A handler runs between two steps of the main thread, so one that only sets a flag could strike just before the thread
goes to sleep, and would not be noticed until it wakes. So each signal also makes a descriptor readable
(`signal.set_wakeup_fd`), which the command polls beside its stream.

The handler is a method of `dict`, one call into C. A handler in Python can itself be interrupted, by the next signal at
each of its steps, and under a burst of signals its calls pile up to a `RecursionError`. Whatever a signal means is
decided later, when the command looks.

SIGHUP means reload, as for other daemons, with two exceptions. If it was ignored at the start (nohup(1)), it stays
ignored. If the terminal of the command is gone, which is the original meaning of SIGHUP, it ends the command.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import Final, Literal, TypeAlias

DaemonRequest: TypeAlias = Literal["end", "reload", "renew", "report", "child"]

REQUESTS: Final[dict[str, DaemonRequest]] = {
    "SIGTERM": "end",
    "SIGINT": "end",
    "SIGHUP": "reload",
    "SIGUSR1": "renew",
    "SIGUSR2": "report",
    "SIGCHLD": "child",
}
HELP: Final = [
    "signals:",
    "  SIGHUP   reload: read the files again and renew each connection",
    "  SIGUSR1  renew each connection",
    "  SIGUSR2  report the state of each stream on standard error (a daemon also writes its state file)",
    "",
]
"""For the help of a command that takes them."""


class Signals:
    """`fileno()` is readable after a signal. `with` installs the handlers; the former ones are not put back."""

    def __init__(self, *names: str) -> None:
        """`names`: the signals to handle, of `REQUESTS`. One that this platform lacks is left out."""
        self._requests: dict[int, DaemonRequest] = {
            getattr(signal, name): REQUESTS[name] for name in names if hasattr(signal, name)
        }
        self._quiet: dict[int, None] = dict.fromkeys(self._requests)
        """The signals that have not come since the last look."""
        self.pending: set[DaemonRequest] = set()
        """The requests that were found by a look and have not been taken yet, except for the end."""
        self.ended_by: int | None = None
        """The signal that has asked for the end."""
        self._terminals = [fd for fd in (0, 1, 2) if os.isatty(fd)]

    def __enter__(self) -> Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number, request in self._requests.items():
            if not (request == "reload" and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, self._quiet.pop)  # Called as pop(number, frame).
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    @property
    def ending(self) -> bool:
        """Whether a signal has asked for the end."""
        self._look()
        return self.ended_by is not None

    def take(self, request: DaemonRequest) -> bool:
        """Whether this was asked for since the last call."""
        self._look()
        if request not in self.pending:
            return False
        self.pending.discard(request)
        return True

    def fileno(self) -> int:
        return self._reader.fileno()

    def drain(self) -> None:
        """Read what made the descriptor readable, and look for its reason."""
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass
        self._look()

    def _look(self) -> None:
        """Find the signals that have come since the last look."""
        if len(self._quiet) == len(self._requests):
            return
        for number, request in self._requests.items():
            if number in self._quiet:
                continue
            self._quiet[number] = None  # First of all: one that comes from now on is found by the next look.
            if request == "end" or (request == "reload" and self._terminal_is_gone()):
                self.ended_by = number
            else:
                self.pending.add(request)

    def _terminal_is_gone(self) -> bool:
        if not self._terminals:
            return False
        poll = select.poll()
        for fd in self._terminals:
            poll.register(fd, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))
