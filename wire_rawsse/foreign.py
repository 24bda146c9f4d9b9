"""Reads a file that somebody else wrote: the only way in which this package opens one.

Anything may be at a path: a FIFO that nobody writes to, a device, a socket, a file of 40 GiB. A daemon must neither
block on it nor fill its memory with it. So the path is opened with O_NONBLOCK (open(2): a FIFO opens at once) and
O_CLOEXEC, fstat(2) on the descriptor says what was opened, and no more than `limit` bytes are read. The check is made
on the open descriptor, so replacing the path afterwards changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_PIECE: Final = 65536

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class FileReader(Protocol):
    """The functions of the module `os` that reading uses, with the same signatures."""

    def open(self, path: str, flags: int, mode: int = 0o777) -> int: ...
    def read(self, fd: int, length: int, /) -> bytes: ...
    def close(self, fd: int) -> None: ...
    def fstat(self, fd: int) -> os.stat_result: ...
    def stat(self, path: str) -> os.stat_result: ...


class File(NamedTuple):
    """The content that was read. `mode` is the st_mode of the opened file."""

    content: bytes
    mode: int

    def __repr__(self) -> str:
        return f"<File of {len(self.content)} bytes, mode {self.mode:o}>"

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.mode)


def read_whole(path: str, limit: int, system: FileReader = os) -> bytes:
    """The content of the regular file at `path`; raises as `read_file` does."""
    return read_file(path, limit, system=system).content


def read_file(path: str, limit: int, *, wait: float = 0.0, system: FileReader = os) -> File:
    """Read the regular file at `path`, of at most `limit` bytes. The null device reads as empty.

    With `wait` it may be a pipe too, which is read to its end within that many seconds.

    Raises `OSError`, whose `strerror` says what is wrong: EISDIR for a folder, EINVAL for anything else that is no
    regular file, EFBIG for a larger one, ETIMEDOUT for a pipe that did not end in time.
    """
    with opened(path, system=system, pipe=wait > 0) as (descriptor, about):
        if stat.S_ISREG(about.st_mode):
            content = read_descriptor(descriptor, about, limit, system)
        elif stat.S_ISFIFO(about.st_mode):
            content = _read_pipe(descriptor, limit, wait)
        else:
            content = b""
        return File(content, about.st_mode)


@contextmanager
def opened(path: str, *, system: FileReader = os, pipe: bool = False) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file (or the null device, or a pipe if `pipe`) without blocking. Raises as `read_file` does."""
    descriptors: list[int] = []
    try:
        try:
            # Opened and noted in one call into C: a signal handler of the host's may raise between two.
            descriptors.extend(map(system.open, (path,), (_FLAGS,), (0o600,)))
        except ValueError as error:  # A NUL, or a character that the file system's encoding lacks.
            raise OSError(errno.EINVAL, "the path holds a character that no path may have") from error
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.EOPNOTSUPP) and stat.S_ISSOCK(system.stat(path).st_mode):
                raise _wrong_kind(stat.S_IFSOCK, pipe) from error
            raise
        descriptor = descriptors[0]
        about = system.fstat(descriptor)
        mode = about.st_mode
        if not (stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode)) or _is_null(about)):
            raise _wrong_kind(mode, pipe)
        yield descriptor, about
    finally:
        for descriptor in descriptors:
            system.close(descriptor)


def read_descriptor(descriptor: int, about: os.stat_result, limit: int, system: FileReader = os) -> bytes:
    """The content of an open regular file. Raises `OSError` (EFBIG) if it is, or grows, larger than `limit` bytes."""
    pieces: list[bytes] = []
    left = limit + 1  # The additional byte shows a file that has grown.
    # The whole at once, as pieces would leave holes in the heap; more only for a file that does not say its size.
    size = max(about.st_size + 1, _PIECE)
    while about.st_size <= limit and left and (piece := system.read(descriptor, min(left, size))):
        pieces.append(piece)
        left -= len(piece)
    if about.st_size > limit or not left:
        raise _too_large(limit)
    return b"".join(pieces)


def path_of(descriptor: int, path: str) -> str:
    """A path for a library that opens files by itself: it leads to the open descriptor if the system has such paths.

    Otherwise `path` is returned, and its file may have been replaced since the check.
    """
    by_descriptor = f"/dev/fd/{descriptor}"
    if not os.path.exists(by_descriptor):
        return path
    os.lseek(descriptor, 0, os.SEEK_SET)  # If opening it duplicates the descriptor, the offset is shared.
    return by_descriptor


def shown(path: str) -> str:
    """A path for a one-line text."""
    return path if path.isprintable() else ascii(path)


def reason(error: OSError) -> str:
    """The system's reason, without the path, which the caller names.

    Python itself raises errors without a number, for the path of a socket (unix(7)) among others.
    """
    if error.strerror is None and "AF_UNIX path too long" in str(error):
        return "a Unix-domain socket has a path of at most 107 bytes (103 on macOS and BSD): use a shorter one"
    return error.strerror or type(error).__name__


def exposed(path: str, mode: int) -> str | None:
    """A warning if a file with a secret is readable by its group or by everybody; None for pipes and on Windows."""
    if sys.platform == "win32" or not stat.S_ISREG(mode) or not mode & 0o044:
        return None
    name = shown(path)
    return f"{name} holds a secret and other users can read it (mode {stat.S_IMODE(mode):04o}): chmod 600 {name}"


def _read_pipe(descriptor: int, limit: int, wait: float) -> bytes:
    """Everything up to the end of the pipe, within `wait` seconds."""
    import time

    deadline = time.monotonic() + wait
    pieces: list[bytes] = []
    left = limit + 1
    while left:
        if not _readable(descriptor, deadline - time.monotonic()):
            raise OSError(errno.ETIMEDOUT, f"it is a pipe, and its writer did not end it within {wait:g} s")
        try:
            piece = os.read(descriptor, min(left, _PIECE))
        except BlockingIOError:
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        left -= len(piece)
    raise _too_large(limit)


def _readable(descriptor: int, seconds: float) -> bool:
    import select

    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], max(0.0, seconds))[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _is_null(about: os.stat_result) -> bool:
    return stat.S_ISCHR(about.st_mode) and about.st_rdev == os.stat(os.devnull).st_rdev


def _wrong_kind(mode: int, pipe: bool) -> OSError:
    kind = next((name for test, name in _KINDS if test(mode)), "something else")
    expected = "a file or a pipe" if pipe else "a regular file"
    return OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, f"expected {expected}, found {kind}")


def _too_large(limit: int) -> OSError:
    return OSError(errno.EFBIG, f"expected at most {limit} bytes, found more")
