"""stream_state.json: that it is whole at any moment, and what happens where it cannot be written."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.wire import needs
from tests.wire.states import PID, held, snapshot
from tests.wire.test_state import endpoint
from wire_rawsse.state import summarise
from wire_rawsse.wire import files
from wire_rawsse.wire.state_file import StateFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stream_state.json"


# --- how it is written ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes")
def test_modes_and_folders(tmp_path: Path) -> None:
    path = tmp_path / "state" / "wire" / "stream_state.json"
    before = os.umask(0)
    try:
        file = StateFile(str(path), pid=PID)
        file.offer(snapshot(), 0.0)
        assert file.flush(0.0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert file.flush(300.0)  # In a folder that is there already, as nearly always.
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["stream_state.json"]


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("stream_state.json", "a/b/stream_state.json"):
        file = StateFile(path, pid=PID)
        file.offer(snapshot(), 0.0)
        assert file.flush(0.0)
        assert held(tmp_path / path)["pid"] == PID


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
def test_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "stream_state.json"
    path.symlink_to(victim)
    file = StateFile(path, pid=PID)
    Path(file._temporary).symlink_to(victim)
    file.offer(snapshot(), 0.0)
    assert file.flush(0.0)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert held(path)["state"] == "connected"
    # A dangling one is not written through either.
    Path(file._temporary).symlink_to(tmp_path / "new")
    assert file.flush(300.0)
    assert not (tmp_path / "new").exists()


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    ours, theirs = os.getpid(), os.getppid()
    gone = [f"stream_state.json.{dead.pid}-1.tmp", f"stream_state.json.{dead.pid}-27.tmp"]
    kept = [
        f"stream_state.json.{ours}-9999999.tmp",
        f"stream_state.json.{theirs}-1.tmp",
        f"relay.json.{dead.pid}-1.tmp",
        f"stream_state.json.{dead.pid}-1.tmp.bak",
        f"stream_state.json.{dead.pid}.tmp",
        "stream_state.json.x-1.tmp",
    ]
    for name in gone + kept:
        (path.parent / name).write_bytes(b"{")
    file = StateFile(path, pid=ours)
    Path(file._temporary).write_bytes(b'{"half')  # Left by an earlier process that had the same pid.
    file.offer(snapshot(), 0.0)
    assert file.flush(0.0)
    assert sorted(os.listdir(path.parent)) == sorted([*kept, "stream_state.json"])
    assert held(path)["pid"] == ours


def test_two_writers_in_one_process_never_share_a_temporary(path: Path) -> None:
    assert StateFile(path, pid=PID)._temporary != StateFile(path, pid=PID)._temporary


def test_a_reader_never_sees_a_half(path: Path) -> None:
    """Two writers, whose states differ in size by a hundred times, and readers in another process and in a thread."""
    big = summarise([endpoint(url=f"https://{index}.example/", last_error="x" * 200) for index in range(300)])
    small = snapshot("connecting")
    StateFile(path, pid=PID).close(0.0)
    first = StateFile(path, pid=PID)
    first.offer(small, 0.0)
    first.close(0.0)
    code = (
        "import json, sys\n"
        "seen = set()\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    with open(sys.argv[1], 'rb') as file: state = json.loads(file.read())\n"
        "    seen.add(len(state['endpoints']))\n"
        "    if state['reconnect_count'] == 999: break\n"
        "print(sorted(seen))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        over = threading.Event()
        read: set[int] = set()

        def look() -> None:
            while not over.is_set():
                read.add(len(held(path)["endpoints"]))

        def write() -> None:
            file = StateFile(path, pid=PID)
            for turn in range(300):
                file.offer([big, small][turn % 2], float(turn * 1000))
                file.flush(float(turn * 1000))

        threads = [threading.Thread(target=one) for one in (write, write, look)]
        for thread in threads:
            thread.start()
        for thread in threads[:2]:
            thread.join()
        over.set()
        threads[2].join()
        last = StateFile(path, pid=PID)
        last.offer(snapshot("error", reconnect_count=999), 0.0)
        last.close(0.0)
        told = reader.stdout.read()
    assert reader.returncode == 0
    assert json.loads(told)[0] == 1
    assert read <= {1, 300}


DIES_IN_THE_MIDDLE = """
import os, signal, sys
from tests.wire.states import snapshot
from wire_rawsse.wire.state_file import StateFile
file = StateFile(sys.argv[1], pid=os.getpid())
file.offer(snapshot("connected", reconnect_count=1), 0.0)
file.flush(0.0)
really = os.write
def half(descriptor, content):
    really(descriptor, bytes(content)[:len(content) // 2])
    print("half", flush=True)
    signal.pause()
os.write = half
file.offer(snapshot("error", reconnect_count=2), 10.0)
file.flush(10.0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_writer_killed_in_the_middle_leaves_the_old_whole(path: Path) -> None:
    top = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", DIES_IN_THE_MIDDLE, path], stdout=subprocess.PIPE, text=True, cwd=top
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "half\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert held(path)["reconnect_count"] == 1
    [leftover] = [name for name in os.listdir(path.parent) if name != path.name]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads((path.parent / leftover).read_bytes())
    # Anyone who comes next clears it away.
    following = StateFile(path, pid=os.getpid())
    following.offer(snapshot(), 0.0)
    assert following.flush(0.0)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(path: Path) -> None:
    code = (
        "import os, sys\n"
        "from tests.wire.test_state import endpoint, summarise\n"
        "from wire_rawsse.wire.state_file import StateFile\n"
        "file = StateFile(sys.argv[1], pid=os.getpid())\n"
        "states = [summarise([endpoint(url='x' * 99)] * size) for size in (1, 200)]\n"
        "for turn in range(10**9):\n"
        "    file.offer(states[turn % 2], turn * 1000.0)\n"
        "    file.flush(turn * 1000.0)\n"
        "    if turn == 0: print('going', flush=True)\n"
    )
    top = Path(__file__).parents[2]
    for attempt in range(6):
        with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True, cwd=top) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "going\n"
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(timeout=0.007 * attempt)
            writer.kill()
        assert len(held(path)["endpoints"]) in (1, 200)


# --- what cannot be written -----------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_is_told_once_and_again_after_it_worked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    obstacle = tmp_path / "state"
    obstacle.write_bytes(b"a file where the folder should be")
    path = obstacle / "wire" / "stream_state.json"
    file = StateFile(path, pid=PID)
    file.offer(snapshot(), 0.0)
    with caplog.at_level(logging.DEBUG, logger="wire_rawsse"):
        assert not file.flush(0.0)
        # An unreported state is tried again as often as it might be written: when the folder is repaired, anyone
        # who reads the file is wrong for no longer than ever.
        for due in (1.0, 2.0, 3.0, 4.0):
            assert file.due() == due
            assert not file.flush(due - 0.1)
            assert not file.flush(due)
        file.offer(snapshot("error"), 4.5)
        assert file.due() == 5.0
        assert not file.flush(5.0)
        [record] = caplog.records
        assert (record.name, record.levelname) == ("wire_rawsse", "WARNING")
        assert str(path) in record.getMessage()
        assert "Not a directory" in record.getMessage()
        assert "\n" not in record.getMessage()

        obstacle.unlink()
        assert file.flush(6.0)
        assert held(path)["state"] == "error"
        assert file.due() == 306.0
        assert len(caplog.records) == 1

        path.unlink()
        path.mkdir()
        assert not file.flush(306.0)
        assert file.due() == 336.0, "a refresh that fails is no news, and costs next to nothing"
        assert not file.flush(336.0)
        file.offer(snapshot("connected"), 340.0)
        assert not file.flush(340.0)
        assert file.due() == 341.0
        file.offer(snapshot("error"), 340.5)
        assert file.due() == 370.0, "what stands there is true again"
        assert not file.close(371.0)
        assert len(caplog.records) == 2
    assert os.listdir(path.parent) == [path.name]  # And no temporary is left beside it.


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300])
def test_a_path_that_cannot_be_raises_nothing(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    for path in (os.path.join(str(tmp_path), name), os.path.join(str(tmp_path), name, "stream_state.json")):
        caplog.clear()
        file = StateFile(path, pid=PID)
        file.offer(snapshot(), 0.0)
        assert not file.flush(0.0)
        assert len(caplog.records) == 1
        assert caplog.records[0].getMessage().isprintable()


def in_a_small_world(tmp_path: Path, code: str) -> str:
    """Run `code` where a file system of 64 KiB that nobody else sees is mounted at `world`."""
    prelude = (
        "import json, logging, os, subprocess, sys\n"
        "from pathlib import Path\n"
        "from tests.wire.states import held, snapshot\n"
        "from wire_rawsse.wire.state_file import StateFile\n"
        "logging.basicConfig(format='log: %(message)s', stream=sys.stdout)\n"
        "world = Path(sys.argv[1])\n"
        "def mount(*options): subprocess.run(['mount', '-t', 'tmpfs', *options, 'tmpfs', str(world)], check=True)\n"
        "mount('-o', 'size=64k')\n"
        "path = world / 'stream_state.json'\n"
        "file = StateFile(path, pid=os.getpid())\n"
        "file.offer(snapshot(reconnect_count=1), 0.0)\n"
        "assert file.flush(0.0)\n"
    )
    done = subprocess.run(
        [*needs.mount_namespace(), sys.executable, "-c", prelude + code, tmp_path],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path) == []  # Nobody else saw it.
    return done.stdout


def test_a_full_disk(tmp_path: Path) -> None:
    told = in_a_small_world(
        tmp_path,
        "filler = open(world / 'filler', 'wb', buffering=0)\n"
        "try:\n"
        "    while True: filler.write(bytes(4096))\n"
        "except OSError as error: assert error.errno == 28\n"
        "file.offer(snapshot('error', reconnect_count=2), 10.0)\n"
        "assert not file.flush(10.0)\n"
        "assert not file.flush(40.0)\n"
        "assert held(path)['reconnect_count'] == 1\n"
        "assert sorted(os.listdir(world)) == ['filler', 'stream_state.json']\n"
        "filler.close()\n"
        "os.unlink(world / 'filler')\n"
        "assert file.flush(70.0)\n"
        "assert held(path)['reconnect_count'] == 2\n",
    )
    [line] = told.splitlines()
    assert "stream_state.json cannot be written: No space left on device" in line


def test_a_read_only_file_system(tmp_path: Path) -> None:
    told = in_a_small_world(
        tmp_path,
        "mount('-o', 'remount,ro')\n"
        "file.offer(snapshot('error', reconnect_count=2), 10.0)\n"
        "assert not file.flush(10.0)\n"
        "assert not file.flush(40.0)\n"
        "assert held(path)['reconnect_count'] == 1\n"
        "mount('-o', 'remount,rw')\n"
        "assert file.flush(70.0)\n"
        "mount('-o', 'remount,ro')\n"
        "assert not file.close(80.0)\n"
        "assert held(path)['reconnect_count'] == 2\n",
    )
    assert len(told.splitlines()) == 2
    for line in told.splitlines():
        assert "stream_state.json cannot be written: Read-only file system" in line


def test_neither_json_nor_logging_is_loaded_before_there_is_something_to_say() -> None:
    late = {"json", "logging", "pathlib", "urllib.parse", "datetime", "ssl", "pwd"}
    code = (
        "import sys, socket, h11\n"
        "before = set(sys.modules)\n"
        "import wire_rawsse.wire.state_file, wire_rawsse.wire.relay_json, wire_rawsse.wire.paths\n"
        f"print(sorted({late} & (set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_system_that_takes_a_few_bytes_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.write
    file = StateFile(path, pid=PID)
    file.offer(snapshot(), 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, content: really(descriptor, bytes(content[:7])))
        assert file.flush(0.0)
    assert held(path)["pid"] == PID


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(OSError, match="target"):
        files.replace_whole(str(target), str(tmp_path / "beside"), b"x")
    assert os.listdir(tmp_path) == ["target"]
