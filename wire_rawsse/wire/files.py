"""Replaces a file whole. Knows nothing of the content; `wire_rawsse.foreign` reads.

A new file is written beside the old one and renamed over it (rename(2) is atomic), so that a reader sees the
old content or the new one and never a half, and a crash leaves the old one. The new file is made with O_EXCL and
O_NOFOLLOW: a link that somebody planted at its name is removed, never followed. If the final name is a link, the
link is replaced, not what it points to.

There is no fsync unless it is asked for. A state file describes a *process*, which is gone after a loss of power, as
its pid shows. An fsync would flush the cache of the flash chip at each write, and block the daemon for as long, for a
better description of a dead process. Without it at worst an empty file is left, which every reader takes for
"unknown".
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from wire_rawsse.wire.file_system import FileSystem

_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def replace_whole(
    path: str, temporary: str, content: bytes, file_system: FileSystem = os, *, durable: bool = False
) -> None:
    """Put `content` at `path` in one step, by way of `temporary` in the same folder; mode 0600.

    Missing folders are made, each with mode 0700 (XDG Base Directory Specification). A file at `temporary` is
    taken for the leftover of a crash. Raises `OSError`, and leaves nothing at `temporary` then.

    `durable`: after a loss of power there is the old content or the new one, even if the disk has a cache (fsync(2)).

    On Windows a reader that holds `path` open makes this fail (the caller tries again later).
    """
    descriptor = _create(file_system, temporary)
    try:
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file_system.write(descriptor, rest) :]
            if durable:
                os.fsync(descriptor)
        finally:
            file_system.close(descriptor)  # May itself say that the disk is full (NFS, quotas).
        file_system.replace(temporary, path)
    except BaseException:
        remove(temporary, file_system)
        raise


def remove(path: str, file_system: FileSystem = os) -> None:
    """Remove a file or link, if that is possible."""
    with contextlib.suppress(OSError):
        file_system.unlink(path)


def _open(file_system: FileSystem, path: str, flags: int) -> int:
    try:
        return file_system.open(path, flags | _PLAIN, 0o600)
    except ValueError as error:  # A NUL, or a character that the file system's encoding lacks.
        raise OSError(errno.EINVAL, "the path holds a character that no path may have") from error


def _create(file_system: FileSystem, path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
    try:
        return _open(file_system, path, flags)
    except FileNotFoundError:
        make_folder(file_system, os.path.dirname(path))
    except FileExistsError:
        file_system.unlink(path)
    return _open(file_system, path, flags)


def make_folder(file_system: FileSystem, path: str) -> None:
    """Make the folder at `path`, and those above it, where they are missing; mode 0700. Raises `OSError`."""
    missing: list[str] = []
    while path and not _is_folder(file_system, path) and path != os.path.dirname(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # Made by somebody else; no folder at all shows at the next open.
            file_system.mkdir(folder, 0o700)


def _is_folder(file_system: FileSystem, path: str) -> bool:
    try:
        return stat.S_ISDIR(file_system.stat(path).st_mode)
    except (OSError, ValueError):
        return False
