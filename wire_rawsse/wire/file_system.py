"""The part of the operating system that this folder uses: the names of the module `os` for files.

The module itself is the default, and each name is looked up in it at each use. The simulation has a disk in memory,
with every fault that a disk can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from wire_rawsse.foreign import FileReader


class FileSystem(FileReader, Protocol):
    """The signatures are those of `os`, as far as they are used here."""

    @property
    def environ(self) -> Mapping[str, str]: ...

    def write(self, fd: int, data: memoryview, /) -> int: ...
    def replace(self, src: str, dst: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def mkdir(self, path: str, mode: int = 0o777) -> None: ...
    def listdir(self, path: str) -> list[str]: ...
    def getpid(self) -> int: ...
    def kill(self, pid: int, signal: int, /) -> None: ...
