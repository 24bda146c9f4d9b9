"""The lock that tells whether the writer of stream_state.json still lives, and that there is only one.

The state file names its writer's pid, but a pid means nothing in another PID namespace (pid_namespaces(7)): the 1 of
another container always "lives", and the 4711 of one is "gone". So the writer holds an advisory lock, flock(2), on the
empty file `stream_state.json.lock` beside it. The kernel gives the lock back when its holder ends, however it ends, and
knows of it in every namespace that sees the file. The lock file itself stays; only the lock counts.

Why flock and not a POSIX record lock (fcntl(2)): a record lock is lost as soon as anything in the process closes a
descriptor of the file, a reader of the state for instance, and does not keep two subscribers of one process apart. A
flock belongs to the open file. So a forked child must close its copy (see `_forget_all`); a started program never has
one (close-on-exec). On NFS Linux turns flock into a record lock of the server.

A reader asks with a shared lock that it gives back at once. A writer that meets one must not take it for another
writer, so it asks for a shared lock itself then: beside readers it gets one, beside a writer it does not.

If there are no locks (Windows, some file systems) or the lock file cannot be made, there is just no lock. The state
file says so (`locked`), and its reader goes by the pid.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from wire_rawsse import foreign
from wire_rawsse.wire import files
from wire_rawsse.wire.file_system import FileSystem

Taken: TypeAlias = Literal["ours", "another's", "none"]
"""The lock is ours, another writer has it, or there is none to be had."""

HELD_BY_READER: Final = "a reader holds it"
_ATTEMPTS: Final = 8
"""How often a lock is asked for that only readers hold. Each of them holds it for microseconds."""

_FLAGS: Final = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
"""Something else may stand at the path: a link is not followed, and a pipe must not block."""

_OTHERS: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""Of flock(2): somebody has the lock. EACCES is what a file system says that makes it a record lock."""


def lock_path(state_path: str) -> str:
    return f"{state_path}.lock"


class WriterLock:
    """The lock of the writer of the state file at `state_path`. Nothing is opened before `take`. For one thread."""

    __slots__ = ("__weakref__", "_descriptors", "_file_system", "path", "problem")

    def __init__(self, state_path: str, file_system: FileSystem = os) -> None:
        self.path = lock_path(state_path)
        self.problem: str | None = None
        """Why there is no lock, after `take` has said so; None where this platform knows none."""
        self._file_system = file_system
        self._descriptors: list[int] = []

    def take(self) -> Taken:
        """Take the lock, or see that it is still ours. Never raises `OSError`.

        The lock file may have been removed, or replaced by another writer's, so it is compared each time.
        """
        flock = _flock(self._file_system)
        self.problem = None
        if flock is None:
            return "none"
        try:
            if not self._is_open():
                self.release()
                _live.add(self)
                self._open()
            return self._ask(flock, self._descriptors[0])
        except OSError as error:
            self.release()
            self.problem = foreign.reason(error)
        except ValueError:
            self.problem = "the path holds a character that no path may have"
        return "none"

    def release(self) -> None:
        """Give the lock back; the file stays. Twice is fine."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            try:
                self._file_system.close(descriptor)
            except OSError:
                pass  # close(2) frees the descriptor whatever it reports.

    def __del__(self) -> None:
        try:
            self.release()
        except Exception:
            pass  # The interpreter ends, and half of what this needs is gone.

    def _is_open(self) -> bool:
        if not self._descriptors:
            return False
        ours = self._file_system.fstat(self._descriptors[0])
        try:
            there = self._file_system.stat(self.path)
        except FileNotFoundError:
            return False
        return (ours.st_ino, ours.st_dev) == (there.st_ino, there.st_dev)

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | _FLAGS
        for _ in range(2):
            try:
                # Opened and kept in one call into C: a signal handler of the host's may raise between two.
                self._descriptors.extend(map(self._file_system.open, (self.path,), (flags,), (0o600,)))
                break
            except FileNotFoundError:
                files.make_folder(self._file_system, os.path.dirname(self.path))
        if not self._descriptors:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not stat.S_ISREG(self._file_system.fstat(self._descriptors[0]).st_mode):
            raise OSError(errno.EINVAL, "expected a regular file")

    def _ask(self, flock: Flock, descriptor: int) -> Taken:
        for _ in range(_ATTEMPTS):
            if flock(descriptor, _EXCLUSIVE):
                return "ours"
            if not flock(descriptor, _SHARED):
                self.release()
                return "another's"
            flock(descriptor, _UNLOCK)
        self.problem = HELD_BY_READER
        return "none"


def held(state_path: str, file_system: FileSystem = os) -> bool | None:
    """Whether a writer of the state file holds its lock; None where that cannot be known. Never raises `OSError`."""
    flock = _flock(file_system)
    if flock is None:
        return None
    try:
        descriptor = file_system.open(lock_path(state_path), os.O_RDONLY | _FLAGS)
    except (OSError, ValueError):
        return None
    try:
        return None if not stat.S_ISREG(file_system.fstat(descriptor).st_mode) else not flock(descriptor, _SHARED)
    except OSError:
        return None
    finally:
        file_system.close(descriptor)  # Which gives the lock back.


Flock: TypeAlias = Callable[[int, int], bool]

_SHARED, _EXCLUSIVE, _UNLOCK = 1, 2, 8  # LOCK_SH, LOCK_EX and LOCK_UN of flock(2), on every platform that has it.


def _flock(file_system: FileSystem) -> Flock | None:
    """flock(2) without waiting: False where another has the lock. None where there is no such call.

    A file system of the tests has none either.
    """
    if file_system is not os:
        return None
    try:
        import fcntl
    except ImportError:
        return None

    def flock(descriptor: int, operation: int) -> bool:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _OTHERS:
                return False
            raise
        return True

    return flock


_live: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _forget_all() -> None:
    """In a forked child: close our copies. The lock stays the parent's, and ends with the parent."""
    for lock in list(_live):
        lock.release()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
