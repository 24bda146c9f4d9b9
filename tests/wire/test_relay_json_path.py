"""Anything may stand at relay.json's path, and reading it neither blocks, nor fills the memory, nor sees a half."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.wire import needs
from tests.wire.relay_files import FIRST, ONE, SECOND, TWO, file_of
from wire_rawsse.errors import RelayFileError
from wire_rawsse.wire.relay_json import LARGEST, read_endpoints


def test_a_whole_file_with_its_path_in_front(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    path.write_bytes(file_of({"endpoints": [ONE, 5]}))
    found = read_endpoints(path)
    assert found.endpoints == (FIRST,)
    assert found.problems == (f"{path}: self.endpoints[1]: expected an object, found a number",)
    assert read_endpoints(str(path)) == found
    path.write_bytes(b"{")
    with pytest.raises(RelayFileError, match="is not JSON") as caught:
        read_endpoints(path)
    assert str(caught.value).startswith(str(path))
    assert not caught.value.permanent


def test_ten_mebibytes_are_read_and_a_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    content = file_of({"endpoints": [ONE]})
    path.write_bytes(content + b" " * (LARGEST - len(content)))
    assert read_endpoints(path).endpoints == (FIRST,)
    with path.open("ab") as file:
        file.write(b" ")
    with pytest.raises(RelayFileError, match=r"expected at most 10485760 bytes, found more"):
        read_endpoints(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "relay.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # A TiB of nothing: reading it would take minutes, holding it would end the process.

    def read(descriptor: int, size: int) -> bytes:
        raise AssertionError("it was read")

    with monkeypatch.context() as patched, pytest.raises(RelayFileError, match="found more"):
        patched.setattr(os, "read", read)
        read_endpoints(path)


def test_a_file_that_is_larger_than_it_says() -> None:
    needs.linux()
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(RelayFileError, match="expected at most 100 bytes, found more"):
        read_endpoints("/proc/self/maps", limit=100)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file types")
def test_what_is_no_file_neither_blocks_nor_fills_the_memory(tmp_path: Path) -> None:
    pipe, folder, link, door = (tmp_path / name for name in ("pipe", "folder", "link", "door"))
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(link)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door))
        told = {
            str(pipe): "expected a regular file, found a named pipe",
            str(folder): "expected a regular file, found a folder",
            "/dev/zero": "expected a regular file, found a device",
            str(link): "Too many levels of symbolic links",
            str(door): "cannot be read",
            str(folder / ("x" * 300)): "File name too long",
            str(tmp_path / "a\0b"): "no path may have",
        }
        for path, words in told.items():
            with pytest.raises(RelayFileError, match=words) as caught:
                read_endpoints(path)
            assert "\n" not in str(caught.value)


def test_a_path_cannot_break_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x1b[31m"
    path.mkdir()
    with pytest.raises(RelayFileError) as caught:
        read_endpoints(path)
    assert str(caught.value).isprintable()


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    path.write_bytes(file_of({"endpoints": [ONE]}))
    path.chmod(0)
    code = (
        "import os, sys\n"
        "from wire_rawsse.wire.relay_json import read_endpoints\n"
        "from wire_rawsse.errors import RelayFileError\n"
        "if os.getuid() == 0:\n"  # Root may read anything, so anyone who asks must be somebody else.
        "    try: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "    except OSError: sys.exit(77)\n"
        "try: read_endpoints(sys.argv[1])\n"
        "except RelayFileError as error: print(error)\n"
    )
    told = needs.told_by(code, str(path), why="needs a root that may become somebody else, or no root at all")
    assert told == f"{path} cannot be read: Permission denied\n"


def test_a_reader_never_sees_a_half_when_wire_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    path.write_bytes(file_of({"endpoints": [ONE]}))
    over = threading.Event()

    def replace() -> None:
        for turn in range(300):
            beside = tmp_path / "relay.json.tmp"
            beside.write_bytes(file_of({"endpoints": [ONE, TWO][: 1 + turn % 2] * (1 + turn % 50)}))
            beside.replace(path)
        over.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not over.is_set():
        assert read_endpoints(path).endpoints in ((FIRST,), (FIRST, SECOND))
    writer.join()
