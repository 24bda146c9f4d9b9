"""A disk in memory: what `wire_rawsse.wire` takes from the module `os`, with whatever can happen to a disk.

The calls below are those of the operating system, and what is shipped on top of them (reading whole, replacing by
rename, sweeping up) runs unchanged. Anyone who reads a file may do so between any two of these calls, so what stands at
a path is looked at after each (`watched`).
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from tests.simulation.kernel import ENOUGH, Kernel, trouble

PID: Final = 4321
HOME: Final = "/wire"
RELAY_JSON: Final = f"{HOME}/config/wire/relay.json"
STREAM_STATE: Final = f"{HOME}/state/wire/stream_state.json"
_WRITES: Final = os.O_WRONLY | os.O_RDWR


@dataclass
class Inode:
    number: int
    mode: int
    content: bytes = b""
    modified: int = 0
    """Nanoseconds of the wall clock, as are all stamps."""


class Facts(NamedTuple):
    """As much of a stat_result as is looked at."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int


class OpenFile:
    """A descriptor; it is never waited for."""

    def __init__(self, inode: Inode, path: str) -> None:
        self.inode = inode
        self.path = path
        self.offset = 0

    def mask(self) -> int:
        return 0


class MemoryDisk:
    """A `Machine`. The counters say how many faults hold it at present."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.environ: Mapping[str, str] = {"WIRE_HOME": HOME}
        self.homeless = False
        """Nothing says where wire's files are."""
        self.files: dict[str, Inode] = {}
        self.folders = {"/", HOME, posixpath.dirname(posixpath.dirname(RELAY_JSON)), posixpath.dirname(RELAY_JSON)}
        self.takes = 1 << 30
        """The most bytes that one write accepts; the rest must be written again (write(2))."""
        self.granule = 1
        """Nanoseconds of the wall clock from one stamp of a file to the next: 2 s on FAT."""
        self.full = 0
        self.room = 0
        """Bytes that can be written while it is full."""
        self.no_inodes = 0
        self.read_only = 0
        self.unreadable = 0
        """relay.json belongs to another user."""
        self.failing = 0
        """Every read is an I/O error."""
        self.watched: Callable[[str], None] = lambda path: None
        """Told of each path at which something else stands now."""
        self.reads = 0
        """How often a file was opened to be read."""
        self.calls_left = -1
        """Calls until a signal handler of the host's raises in the place of one; negative: none does."""
        self.strike: Callable[[], None] = lambda: None
        self._inodes = 0

    # For the world.

    def put(self, path: str, content: bytes, in_place: bool = False) -> None:
        """A write by another process: by rename, as wire does, or in place, as an editor may."""
        found = self.files.get(path)
        if found is None or not in_place:
            found = self.files[path] = self._new(0o600)
        found.content = content
        found.modified = self._stamp()
        self.watched(path)

    @property
    def readable(self) -> bool:
        return not (self.homeless or self.unreadable or self.failing or self._short_of_descriptors())

    @property
    def writable(self) -> bool:
        return not (self.homeless or self.full or self.no_inodes or self.read_only or self._short_of_descriptors())

    def lose_home(self) -> None:
        self.homeless = True
        self.environ = {name: value for name, value in self.environ.items() if name != "WIRE_HOME"}

    def find_home(self) -> None:
        self.homeless = False
        self.environ = {**self.environ, "WIRE_HOME": HOME}

    # The operating system's calls.

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        self._called()
        writes = flags & _WRITES
        found = self.files.get(path)
        if path in self.folders:
            raise trouble(errno.EISDIR)
        if found is not None and flags & os.O_CREAT and flags & os.O_EXCL:
            raise trouble(errno.EEXIST)
        if found is None:
            if not flags & os.O_CREAT or posixpath.dirname(path) not in self.folders:
                raise trouble(errno.ENOENT)
            self._check_writable()
            if self.no_inodes:
                raise trouble(errno.ENOSPC)
            found = self._new(mode)
            fd = self._allocate(OpenFile(found, path))
            self.files[path] = found
        else:
            if writes:
                self._check_writable()
            elif self.unreadable and path == RELAY_JSON:
                raise trouble(errno.EACCES)
            fd = self._allocate(OpenFile(found, path))
            self.reads += not writes
            if flags & os.O_TRUNC:
                found.content = b""
        self.watched(path)
        return fd

    def read(self, fd: int, length: int, /) -> bytes:
        self._called()
        file = self._file(fd)
        if self.failing:
            raise trouble(errno.EIO)
        piece = file.inode.content[file.offset : file.offset + length]
        file.offset += len(piece)
        return piece

    def write(self, fd: int, data: memoryview, /) -> int:
        self._called()
        file = self._file(fd)
        size = min(len(data), self.takes)
        if self.full:
            size = min(size, self.room)
            self.room -= size
            if not size:
                raise trouble(errno.ENOSPC)
        file.inode.content += bytes(data[:size])
        file.inode.modified = self._stamp()
        self.watched(file.path)
        return size

    def close(self, fd: int) -> None:
        self._file(fd)
        self.kernel.close(fd)
        self.kernel.moved -= 1

    def fstat(self, fd: int) -> os.stat_result:
        self._called()
        return self._facts(self._file(fd).inode)

    def stat(self, path: str) -> os.stat_result:
        self._called()
        if path in self.folders:
            return cast(os.stat_result, Facts(stat.S_IFDIR | 0o700, 2, 1, 0, 0, 0))
        if path not in self.files:
            raise trouble(errno.ENOENT)
        return self._facts(self.files[path])

    def replace(self, src: str, dst: str) -> None:
        self._called()
        self._check_writable()
        if src not in self.files:
            raise trouble(errno.ENOENT)
        self.files[dst] = self.files.pop(src)
        self.watched(dst)

    def unlink(self, path: str) -> None:
        self._check_writable()
        if self.files.pop(path, None) is None:
            raise trouble(errno.ENOENT)
        self.watched(path)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self._called()
        self._check_writable()
        if path in self.folders:
            raise trouble(errno.EEXIST)
        if posixpath.dirname(path) not in self.folders:
            raise trouble(errno.ENOENT)
        self.folders.add(path)

    def listdir(self, path: str) -> list[str]:
        self._called()
        if path not in self.folders:
            raise trouble(errno.ENOENT)
        return [posixpath.basename(one) for one in self.files if posixpath.dirname(one) == path]

    def getpid(self) -> int:
        return PID

    def kill(self, pid: int, signal: int, /) -> None:
        self._called()
        assert signal == 0
        if pid != PID:
            raise trouble(errno.ESRCH)

    # Inside.

    def _called(self) -> None:
        """CPython runs handlers between two steps, so also right before a call. Never before what cleans up."""
        if self.calls_left >= 0:
            self.calls_left -= 1
            if self.calls_left < 0:
                self.strike()

    def _new(self, mode: int) -> Inode:
        self._inodes += 1
        return Inode(self._inodes, mode, modified=self._stamp())

    def _stamp(self) -> int:
        return int(self.kernel.wall() * 1e9) // self.granule * self.granule

    def _facts(self, inode: Inode) -> os.stat_result:
        mode = stat.S_IFREG | inode.mode
        return cast(os.stat_result, Facts(mode, inode.number, 1, len(inode.content), inode.modified, inode.modified))

    def _file(self, fd: int) -> OpenFile:
        found = self.kernel.descriptors.get(fd)
        if not isinstance(found, OpenFile):
            raise trouble(errno.EBADF)
        return found

    def _check_writable(self) -> None:
        if self.read_only:
            raise trouble(errno.EROFS)

    def _short_of_descriptors(self) -> bool:
        """Now and then, at least: whether one is left when it is needed is a matter of moments."""
        return self.kernel.most_descriptors < ENOUGH

    def _allocate(self, file: OpenFile) -> int:
        fd = self.kernel.allocate(file)
        self.kernel.moved -= 1  # A look at a file is no progress: a loop that does nothing else is a busy one.
        return fd
