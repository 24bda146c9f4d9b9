"""Whether relay.json has changed, asked with one stat."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wire_rawsse.wire.relay_json import GRANULE, FileWatch


class Clock:
    """A wall clock that stands where the test puts it; by default long after anything was written."""

    def __init__(self) -> None:
        self.now = 1e11

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "relay.json"
    path.parent.mkdir()
    path.write_bytes(b"one")
    return path


def replace(path: Path) -> None:
    """The same size and the same modification time, under another inode."""
    about = path.stat()
    beside = path.with_name("beside")
    beside.write_bytes(b"two")
    os.utime(beside, ns=(about.st_atime_ns, about.st_mtime_ns))
    beside.replace(path)


def write_in_place(path: Path) -> None:
    """The same size and inode, and the old modification time put back: only the change of status is left to see."""
    about = path.stat()
    with path.open("r+b") as file:
        file.write(b"two")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


CHANGES: list[Callable[[Path], object]] = [
    replace,
    pytest.param(
        write_in_place, marks=pytest.mark.skipif(sys.platform == "win32", reason="Windows has no change time")
    ),  # type: ignore[list-item]  # pytest's own wrapper around one
    lambda path: path.write_bytes(b"more than before"),
    lambda path: path.write_bytes(b""),
    lambda path: path.unlink(),
    lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_told_once(path: Path, change: Callable[[Path], object]) -> None:
    watch = FileWatch(path, Clock())
    assert not watch.changed()
    change(path)
    assert watch.changed()
    assert not watch.changed()


def test_a_file_appears_vanishes_and_cannot_be_looked_at(path: Path) -> None:
    path.unlink()
    watch = FileWatch(str(path), Clock())
    assert not watch.changed()
    path.write_bytes(b"here")
    assert watch.changed()
    path.unlink()
    assert watch.changed()
    path.parent.rmdir()
    assert not watch.changed()  # Nothing there, as before.
    path.parent.write_bytes(b"a file where its folder was")
    assert watch.changed()
    assert not watch.changed()
    path.parent.unlink()
    path.parent.mkdir()
    path.write_bytes(b"back")
    assert watch.changed()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes and links")
def test_a_mode_and_the_target_of_a_link_are_seen_too(path: Path) -> None:
    watch = FileWatch(path, Clock())
    path.chmod(0o400)
    assert watch.changed()
    link = path.with_name("link")
    link.symlink_to(path)
    watch = FileWatch(link, Clock())
    replace(path)
    assert watch.changed()
    other = path.with_name("other")
    other.write_bytes(b"one")
    link.unlink()
    link.symlink_to(other)
    assert watch.changed()


def test_what_changes_between_the_watch_and_the_reading_is_told(path: Path) -> None:
    watch = FileWatch(path, Clock())
    path.write_bytes(b"changed before it was read")
    path.read_bytes()
    assert watch.changed()


def test_a_young_file_is_told_once_more_when_its_stamps_are_final(path: Path) -> None:
    clock = Clock()
    written = path.stat().st_ctime
    clock.now = written + 0.01
    watch = FileWatch(path, clock)
    for later in (0.02, 1.0, GRANULE - 0.1):
        clock.now = written + later
        assert not watch.changed()  # Not at each question: the daemon that asks may be busy.
    clock.now = written + GRANULE + 0.1
    assert watch.changed()
    assert not watch.changed()
    # And so after each change.
    path.write_bytes(b"two!")
    written = path.stat().st_ctime
    clock.now = written + 0.5
    assert watch.changed()
    assert not watch.changed()
    clock.now = written + 100
    assert watch.changed()
    assert not watch.changed()


def test_stamps_from_the_future_raise_no_alarm(path: Path) -> None:
    clock = Clock()
    clock.now = path.stat().st_ctime - 3600
    watch = FileWatch(path, clock)
    for _ in range(3):
        assert not watch.changed()


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000])
def test_a_path_that_cannot_be_is_never_a_change(tmp_path: Path, name: str) -> None:
    watch = FileWatch(os.path.join(str(tmp_path), name), Clock())
    assert not watch.changed()


def test_the_real_clock(path: Path) -> None:
    watch = FileWatch(path)
    assert not watch.changed()
    replace(path)
    assert watch.changed()
