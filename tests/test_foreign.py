"""Reading foreign files: whatever is at a path, `open` returns at once, and what is read is bounded."""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path

import pytest

from wire_rawsse import foreign

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the kinds of files are POSIX's")


def fails(path: Path, limit: int = 10, wait: float = 0.0) -> OSError:
    before = set(os.listdir("/dev/fd"))
    with pytest.raises(OSError) as failed:
        foreign.read_file(str(path), limit, wait=wait)
    assert set(os.listdir("/dev/fd")) == before, "a descriptor is left"
    return failed.value


@pytest.mark.parametrize("size", [0, 1, 9, 10])
def test_a_file_within_the_limit(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    assert foreign.read_file(str(path), 10).content == b"x" * size


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert fails(path).errno == errno.EFBIG


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs a file of unknown size")
def test_a_file_that_does_not_say_its_size_is_bounded_too() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert fails(Path("/proc/self/status")).errno == errno.EFBIG
    assert foreign.read_whole("/proc/self/status", 1 << 16).startswith(b"Name:")


@pytest.mark.parametrize("wait", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["folder", "socket", "device", "dangling", "loop"])
def test_other_kinds_are_told_apart(kind: str, wait: float, tmp_path: Path) -> None:
    path = tmp_path / "s"
    if kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
    else:
        path.symlink_to({"device": "/dev/zero", "dangling": "nowhere", "loop": "s"}[kind])
    error = fails(path, wait=wait)
    number = {"folder": errno.EISDIR, "dangling": errno.ENOENT, "loop": errno.ELOOP}.get(kind, errno.EINVAL)
    assert error.errno == number
    if number in (errno.EISDIR, errno.EINVAL):
        expected = "a file or a pipe" if wait else "a regular file"
        assert error.strerror == f"expected {expected}, found a {kind}"


def test_a_pipe_is_no_file_without_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert fails(tmp_path / "pipe").strerror == "expected a regular file, found a named pipe"


def test_a_pipe_without_a_writer_has_its_time(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert fails(tmp_path / "pipe", wait=0.05).errno == errno.ETIMEDOUT


def test_a_pipe_without_end_is_bounded() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"x" * 11)
        assert fails(Path(f"/dev/fd/{reader}"), wait=5).errno == errno.EFBIG
    finally:
        os.close(reader)
        os.close(writer)


def test_the_descriptor_is_checked_and_not_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that takes the file's place between two looks at the path finds no gap."""
    path = tmp_path / "file"
    path.write_bytes(b"mine")
    really = os.open

    def opened(name: str, flags: int, mode: int = 0o777) -> int:
        path.unlink()
        os.mkfifo(path)
        assert flags & os.O_NONBLOCK and flags & os.O_CLOEXEC
        return really(name, flags, mode)

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(OSError, match="found a named pipe"):
        foreign.read_file(str(path), 10)


def test_a_path_that_is_none() -> None:
    with pytest.raises(OSError, match="no path may have"):
        foreign.read_file("a\0b", 10)


def test_the_null_device_is_empty() -> None:
    assert foreign.read_file(os.devnull, 10).content == b""
    assert not foreign.read_file(os.devnull, 10).is_regular
