"""A terminal for a command: a pty(7), what was written to it, and the screen that this leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.cli.command import PATIENCE, WORDS, ended, environment

ERASE = "\r\x1b[K"


class Terminal:
    """The command on a terminal of 80 columns: all of its descriptors, or what `stdout` and `stderr` leave of them."""

    def __init__(
        self,
        *arguments: str,
        home: Path,
        environ: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        columns: int = 80,
        lines: int = 24,
        without: tuple[str, ...] = (),
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        try:
            self.process = subprocess.Popen(
                [*WORDS, *arguments],
                env={name: text for name, text in environment(home, environ).items() if name not in without},
                stdin=slave,
                stdout=slave if stdout is None else stdout,
                stderr=slave if stderr is None else stderr,
            )
        finally:
            os.close(slave)
        self.written = ""

    def until(self, pattern: str) -> re.Match[str]:
        """Read until the whole of what was written holds `pattern`."""
        until = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.written)):
            ready, _, _ = select.select([self._master], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"{pattern!r} never came: {self.written!r}"
            self.written += self._read()
        return match

    def end(self) -> int:
        """Read to the end; the exit status."""
        while piece := self._read():
            self.written += piece
        return self.process.wait(PATIENCE)

    @property
    def screen(self) -> str:
        """The text that is left to be seen, without its colours. Knows the one movement that the command makes."""
        lines = [line.removesuffix("\r").rpartition(ERASE)[2].rpartition("\r")[2] for line in self.written.split("\n")]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines))

    def press(self, text: str) -> None:
        """As a user types it."""
        os.write(self._master, text.encode())

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed."""
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode()
        except OSError:  # EIO is the end of a pty.
            return ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended(self.process)
        if self._master >= 0:
            os.close(self._master)
