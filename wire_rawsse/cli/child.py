"""One command, run again and again, never twice at once, and never for longer than it may. Knows no stream.

The command runs in a session of its own (setsid(2)), so that it and its descendants can be signalled together, and a
Ctrl-C at the terminal reaches only this process, which passes it on. A run that takes too long gets SIGTERM, and the
rest of its process group gets SIGKILL a little later.

A group is signalled only before its leader has been waited for: until then its number cannot belong to another process.
So an ended leader is looked at with waitid(2) and WNOWAIT first, if the platform has it.

The command is not given to a shell. Its words are split as by a shell (quotes and backslashes), and nothing more: no
variable, no pipe, no character that could turn it into another command, and one process fewer to end. To use a shell,
write `sh -c '…'`. Standard input is empty; output and errors go to ours.
"""

from __future__ import annotations

import errno
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final

from wire_rawsse.cli.exit import USAGE, Failure
from wire_rawsse.errors import excerpt

KILL_AFTER: Final = 2.0
"""Seconds from SIGTERM to SIGKILL."""


_SCARCE: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)


def is_passing(error: OSError) -> bool:
    """Whether a program could not be started because the machine lacked something, or it was being replaced."""
    return error.errno in _SCARCE


def split(text: str) -> list[str]:
    """The words of `--exec`. Raises `Failure`."""
    try:
        # Windows programs split their command line themselves; there it is handed on as it is.
        words = shlex.split(text) if sys.platform != "win32" else [text] if text.strip() else []
    except ValueError as error:
        raise Failure(f"--exec: expected a command as a shell would read it, got: {error}", USAGE) from None
    if not words:
        raise Failure("--exec: expected a command, got nothing", USAGE)
    return words


class Result:
    """How a run ended. `failure` is None, or what was wrong, in words."""

    __slots__ = ("failure", "seconds")

    def __init__(self, failure: str | None, seconds: float) -> None:
        self.failure = failure
        self.seconds = seconds


class Child:
    """Runs of `words`, each for at most `timeout` seconds. Moments are monotonic. For one thread."""

    def __init__(self, words: list[str], timeout: float) -> None:
        self.words = words
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._overdue = False
        self.deadline = math.inf
        """When `look` is due at the latest. An end is announced by SIGCHLD; without SIGCHLD, look often."""

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def overdue(self) -> bool:
        """Whether there is a run, and it takes longer than it may."""
        return self._process is not None and self._overdue

    def start(self, environ: Mapping[str, str]) -> None:
        """Begin a run, with `environ` beside our own environment. Raises `OSError` if the program cannot be started."""
        assert self._process is None
        self._process = subprocess.Popen(
            self.words if sys.platform != "win32" else self.words[0],
            stdin=subprocess.PIPE,  # Not /dev/null, which a chroot may lack.
            start_new_session=True,
            env={**os.environ, **environ},
        )
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._began = time.monotonic()
        self._overdue = False
        self.deadline = self._began + self._timeout

    def look(self) -> Result | None:
        """The result, once the run has ended; until then see that it does not take too long."""
        process = self._process
        if process is None:
            return None
        if not _ended(process):
            if time.monotonic() >= self.deadline:
                self.deadline = math.inf if self._overdue else time.monotonic() + KILL_AFTER
                _signal(process, "SIGKILL" if self._overdue else "SIGTERM")
                self._overdue = True
            return None
        if self._overdue:
            _signal(process, "SIGKILL")  # The rest of the group.
        status = process.wait()
        self._process = None
        self.deadline = math.inf
        return Result(self._failure(status), time.monotonic() - self._began)

    def pass_on_end(self) -> None:
        """Tell a run under way, and all that it has started, to end (SIGTERM)."""
        if self._process is not None:
            _signal(self._process, "SIGTERM")

    def reap_orphans(self) -> None:
        """Wait for every child that has ended, except a run of ours: `look` takes its status. Only for PID 1.

        Such a child was started by a run, and its own parent is gone (wait(2), pid_namespaces(7)). waitid(2) with
        WNOWAIT tells which child has ended and leaves it there, so that the status of a run is never taken here.
        """
        if sys.platform == "win32" or not hasattr(os, "waitid"):
            return
        own = self.pid
        try:
            while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if ended.si_pid == own:
                    return  # Its SIGCHLD leads to the next `look`, and that one to the next call of this.
                os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass  # There is no child at all.

    def _failure(self, status: int) -> str | None:
        if self._overdue:
            return f"was still running after {self._timeout:g} s (--exec-timeout) and was ended"
        if status < 0:
            return f"was ended by {_signal_name(-status)}"
        return f"ended with exit status {status}" if status else None


def cannot_start(words: list[str], error: OSError) -> str:
    """The message for an error that `start` raised. Quotes the program, unless it is a shell's assignment."""
    name = f"'{excerpt(words[0])}' " if "=" not in words[0] else ""
    if is_passing(error):
        return f"--exec: {name or 'the command '}cannot be started: {error.strerror}"
    return (
        f"--exec: expected a program, {name}cannot be started: {error.strerror}; "
        "variables, pipes and the like need a shell: --exec \"sh -c '…'\""
    )


if sys.platform != "win32":

    def _ended(process: subprocess.Popen[bytes]) -> bool:
        if not hasattr(os, "waitid"):
            return process.poll() is not None
        try:
            return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # Other code in this process has waited for it.

    def _signal(process: subprocess.Popen[bytes], name: str) -> None:
        try:
            os.killpg(process.pid, getattr(signal, name))
        except (ProcessLookupError, PermissionError):
            pass  # It has ended; macOS raises EPERM if only a zombie is left.

else:

    def _ended(process: subprocess.Popen[bytes]) -> bool:
        return process.poll() is not None

    def _signal(process: subprocess.Popen[bytes], name: str) -> None:
        process.terminate()  # Windows knows one way to end a process.


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
