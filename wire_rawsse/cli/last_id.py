"""`listen --resume FILE`: the last event id in a file, so that the next run goes on after it.

The file holds the id and a line end, in UTF-8. It is replaced whole, at most once a second, and at the end, however
the command ends (SIGKILL excepted: up to a second of ids is then printed twice). An id is written after its event has
been printed: after a crash an event may be printed twice, but none is left out. The new file is flushed to the disk
before it takes the old one's place: after a loss of power there is the old id or the new one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Final

from wire_rawsse.cli.exit import USAGE, Failure
from wire_rawsse.foreign import read_whole, reason, shown
from wire_rawsse.protocol.request import can_carry
from wire_rawsse.wire import files

EVERY: Final = 1.0
"""Seconds between two writes."""
_LARGEST: Final = 64 * 1024
"""Bytes. An id that is longer than 4 KiB is not sent, and not kept."""


class LastIdFile:
    """The file at `path`. Moments are monotonic. For one thread."""

    def __init__(self, path: str, warn: Callable[[str], object]) -> None:
        """Reads the file. Raises `Failure` if it holds no id that could be sent, or cannot be written."""
        self._path = path
        self._warn = warn
        self._temporary = f"{path}.{os.getpid()}.tmp"
        self._failed = False
        self._tried_at = -math.inf
        found = self._read()
        self.found = found is not None
        """Whether there was an id to go on from."""
        self.id = self._written = found or ""
        try:
            self._write()
        except OSError as error:
            raise Failure(
                f"--resume: expected a file that can be written, {shown(path)} cannot: {reason(error)}", USAGE
            ) from None

    def note(self, last_id: str) -> None:
        """The id after the last printed event. One that cannot be sent is left out, so its predecessor is kept."""
        if can_carry(last_id):
            self.id = last_id

    def due(self) -> float:
        """When `flush` has something to write."""
        return math.inf if self.id == self._written else self._tried_at + EVERY

    def flush(self, now: float) -> None:
        """Write the id if that is due. A failure is reported once, and tried again."""
        if now < self.due():
            return
        self._tried_at = now
        try:
            self._write()
        except OSError as error:
            if not self._failed:
                self._warn(f"--resume: {shown(self._path)} cannot be written: {reason(error)}; trying again")
            self._failed = True
        else:
            self._failed = False

    def close(self) -> bool:
        """Write the last id, due or not. False, and a warning, if it could not be written."""
        if self.id == self._written:
            return True
        try:
            self._write()
        except OSError as error:
            self._warn(f"--resume: the last id could not be written to {shown(self._path)}: {reason(error)}")
            return False
        return True

    def _read(self) -> str | None:
        try:
            content = read_whole(self._path, _LARGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"--resume: {shown(self._path)} cannot be read: {reason(error)}", USAGE) from None
        try:
            text = content.decode().removesuffix("\n")
        except UnicodeDecodeError:
            text = "\0"
        if not can_carry(text):
            raise Failure(
                f"--resume: expected one event id of at most 4 KiB in {shown(self._path)}, got something else; "
                "remove the file to begin without an id",
                USAGE,
            )
        return text

    def _write(self) -> None:
        files.replace_whole(self._path, self._temporary, f"{self.id}\n".encode(), durable=True)
        self._written = self.id
