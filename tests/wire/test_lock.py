"""The lock beside stream_state.json: who holds it, when it is free again, and that asking disturbs nobody."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import WORDS, Command, environment, wait_until, written
from tests.wire.needs import pid_namespace
from tests.wire.states import snapshot
from wire_rawsse import StreamSubscriber
from wire_rawsse.wire.lock import WriterLock, held, lock_path
from wire_rawsse.wire.process import pid_namespace as name_of_namespace
from wire_rawsse.wire.state_file import REFRESH, RETRY, StateFile
from wire_rawsse.wire.status import check

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="flock(2)")


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "deep/folder/stream_state.json")


@contextmanager
def holder(state: str, then: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, and then runs `then`."""
    code = f"""
import os, subprocess, sys, time
from wire_rawsse.wire.lock import WriterLock
lock = WriterLock({state!r})
assert lock.take() == "ours"
{then}
print("held", flush=True)
time.sleep(1000)
"""
    environ = environment(Path("/"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_one_writer_at_a_time_in_one_process_too(state: str) -> None:
    first, second = WriterLock(state), WriterLock(state)
    assert held(state) is None and not os.path.exists(lock_path(state))
    assert first.take() == "ours" and held(state) is True
    assert second.take() == "another's" and held(state) is True
    assert first.take() == "ours"  # Whatever was asked meanwhile.
    first.release()
    assert held(state) is False and os.path.exists(lock_path(state))
    assert second.take() == "ours" and first.take() == "another's"
    second.release()


def test_the_lock_file_is_private_and_empty(state: str) -> None:
    lock = WriterLock(state)
    lock.take()
    about = os.stat(lock_path(state))
    assert (about.st_mode & 0o777, about.st_size) == (0o600, 0)
    lock.release()


def test_a_killed_writer_holds_nothing(state: str) -> None:
    with holder(state) as process:
        assert held(state) is True and WriterLock(state).take() == "another's"
        process.kill()
        process.wait()
        assert held(state) is False


@pytest.mark.parametrize(
    "start",
    [
        "child = os.fork() or (time.sleep(1000), 0)[1]",
        "child = subprocess.Popen(['sleep', '1000'], close_fds=False, stdout=subprocess.DEVNULL).pid",
        "child = os.posix_spawn('/bin/sleep', ['sleep', '1000'], {})",
    ],
    ids=["fork", "exec", "spawn"],
)
def test_what_a_writer_started_does_not_hold_it_either(start: str, state: str, tmp_path: Path) -> None:
    noted = tmp_path / "child"
    with holder(state, f"{start}\nopen({str(noted)!r}, 'w').write(str(child))") as process:
        child = int(written(noted))
        try:
            process.kill()
            process.wait()
            wait_until(lambda: held(state) is False)
            os.kill(child, 0)  # It lives.
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_child_that_closes_does_not_unlock_the_parent(state: str) -> None:
    lock = WriterLock(state)
    assert lock.take() == "ours"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # From 3.12 on, where a test before has left a thread.
        child = os.fork()
    if not child:
        lock.release()
        os._exit(0 if lock.take() == "another's" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert held(state) is True
    lock.release()


def test_a_lock_that_is_let_go_of_is_free(state: str) -> None:
    lock = WriterLock(state)
    lock.take()
    del lock
    assert held(state) is False


def test_readers_never_make_a_writer_fail(state: str) -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            held(state)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        lock = WriterLock(state)
        taken = []
        for _ in range(1000):
            taken.append(lock.take())
            lock.release()
        assert set(taken) <= {"ours", "none"}, "no reader is taken for a writer"
        assert taken.count("ours") > 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_reader_that_never_gives_it_back_is_no_writer(state: str) -> None:
    import fcntl

    WriterLock(state).take()
    with open(lock_path(state)) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        lock = WriterLock(state)
        assert (lock.take(), lock.problem) == ("none", "a reader holds it")
    assert (lock.take(), lock.problem) == ("ours", None)
    lock.release()


def test_a_lock_file_that_was_removed_is_made_again(state: str) -> None:
    lock, other = WriterLock(state), WriterLock(state)
    assert lock.take() == "ours"
    os.unlink(lock_path(state))
    assert held(state) is None
    assert lock.take() == "ours" and held(state) is True
    os.unlink(lock_path(state))
    assert other.take() == "ours"
    assert lock.take() == "another's"
    other.release()


@pytest.mark.parametrize("what", ["pipe", "folder", "link", "no folder"])
def test_what_is_no_lock_file_is_no_lock(what: str, state: str) -> None:
    path = lock_path(state)
    os.makedirs(os.path.dirname(path))
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        os.mkdir(path)
    elif what == "link":
        os.symlink("/dev/null", path)
    else:
        state = "/proc/nowhere/stream_state.json"
    lock = WriterLock(state)
    assert lock.take() == "none" and lock.problem
    assert held(state) is None


def test_where_locks_do_not_exist(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    lock = WriterLock(state)
    assert (lock.take(), lock.problem, held(state)) == ("none", None, None)


def test_a_lock_that_a_reader_holds_is_asked_for_again_soon(state: str) -> None:
    import fcntl

    os.makedirs(os.path.dirname(state))
    Path(lock_path(state)).touch()
    file = StateFile(state, pid=os.getpid(), lock=WriterLock(state))
    with open(lock_path(state)) as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        assert file.claim()  # It is no writer.
        file.offer(snapshot(), 0.0)
        assert file.flush(0.0) and json.loads(Path(state).read_bytes())["locked"] is False
    assert file.due() == RETRY
    assert file.flush(RETRY) and json.loads(Path(state).read_bytes())["locked"] is True
    assert file.due() == RETRY + REFRESH
    file.close(RETRY)


# Subscribers.


def document(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(written(home / "state/wire/stream_state.json"))
    return found


def exec_nothing(*more: str) -> tuple[str, ...]:
    return ("daemon", "--exec", "true", "--interval", "3600", *more)


def test_a_second_daemon_ends_with_a_line_and_a_status_of_its_own(home: Path) -> None:
    with Command(*exec_nothing(), home=home) as first:
        assert document(home)["locked"] is True
        with Command(*exec_nothing(), home=home) as second:
            assert second.process.wait(20) == 75
            said = second.rest("stderr")
            assert said.count("\n") == 1 and "another subscriber is running for this wire home" in said
            assert str(home) in said
        first.end(signal.SIGKILL)
    with Command(*exec_nothing(), home=home) as third:
        wait_until(lambda: document(home)["pid"] == third.process.pid)


def test_the_statuses_are_in_the_help() -> None:
    done = subprocess.run([*WORDS, "daemon", "--help"], capture_output=True, text=True, env=environment(Path("/")))
    assert "  75   another subscriber" in done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_a_second_subscriber_of_a_process_goes_on_without_the_file_and_takes_over(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WIRE_HOME", str(home))
    path = home / "state/wire/stream_state.json"
    with caplog.at_level(logging.WARNING, "wire_rawsse"):
        first = StreamSubscriber.from_wire()
        assert first.wait(0) is False
        second = StreamSubscriber.from_wire()
        for _ in range(3):
            assert second.wait(0.01) is False
        told = [record.getMessage() for record in caplog.records if "another subscriber writes" in record.getMessage()]
        assert len(told) == 1 and str(path) in told[0]
        first.close()
        before = path.stat().st_ino
        second.restart()
        second.close()  # Its last state is written, now that nobody else writes.
        assert path.stat().st_ino != before
    assert check(path).exit_code == 2 and held(str(path)) is False


def test_a_home_that_cannot_be_written_is_told_once_and_stops_nothing(home: Path) -> None:
    (home / "state").write_text("no folder")
    with Command(*exec_nothing(), home=home) as command:
        lines = [command.line("stderr") for _ in range(2)]
        assert sum("cannot be written" in line for line in lines) == 1
        assert not any("locked" in line for line in lines)
        assert command.process.poll() is None
        assert command.end(signal.SIGTERM)[0] == 0
        assert command.rest("stderr") == ""


def test_a_lock_that_cannot_be_had_is_told_once_and_the_file_says_so(home: Path) -> None:
    (home / "state/wire").mkdir(parents=True)
    os.mkfifo(home / "state/wire/stream_state.json.lock")
    with Command(*exec_nothing(), home=home) as command:
        assert document(home)["locked"] is False
        lines = [command.line("stderr") for _ in range(2)]
        assert sum("cannot be locked" in line and "expected a regular file" in line for line in lines) == 1
        assert check(home / "state/wire/stream_state.json").facts["pid_alive"] is True
        command.end(signal.SIGKILL)
    assert check(home / "state/wire/stream_state.json").facts["pid_alive"] is False


# Another PID namespace.


def status(home: Path, *before: str) -> tuple[bool | None, str]:
    """`pid_alive`, and the line for people."""
    asked = [
        subprocess.run([*before, *WORDS, "status", *how], capture_output=True, text=True, env=environment(home)).stdout
        for how in ((), ("--json",))
    ]
    alive: bool | None = json.loads(asked[1])["pid_alive"]
    return alive, asked[0]


@contextmanager
def daemon_as_pid_1(home: Path) -> Iterator[int]:
    with subprocess.Popen(
        [*pid_namespace(), *WORDS, *exec_nothing()], env=environment(home), stderr=subprocess.DEVNULL
    ) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            yield int(wait_until(lambda: children.read_text().split())[0])
        finally:
            process.kill()


def test_a_daemon_in_another_pid_namespace_is_judged_by_its_lock(home: Path) -> None:
    with daemon_as_pid_1(home) as outside:
        assert document(home)["pid"] == 1  # Which lives here too, and is not the daemon.
        for namespace in ((), pid_namespace()):
            alive, line = status(home, *namespace)
            assert alive is True and "is gone" not in line
        os.kill(outside, signal.SIGKILL)
        wait_until(lambda: held(str(home / "state/wire/stream_state.json")) is False)
        for namespace in ((), pid_namespace()):
            alive, line = status(home, *namespace)
            assert alive is False and "process 1, which wrote that" in line and "is gone" in line


def test_a_daemon_out_here_is_judged_by_its_lock_in_a_namespace(home: Path) -> None:
    with Command(*exec_nothing(), home=home) as command:
        assert document(home)["pid"] == command.process.pid  # No process of that number is in there.
        assert status(home, *pid_namespace())[0] is True
        command.end(signal.SIGKILL)
        assert status(home, *pid_namespace())[0] is False


def test_without_a_lock_only_a_pid_of_the_same_namespace_is_believed(home: Path) -> None:
    lock = home / "state/wire/stream_state.json.lock"
    lock.mkdir(parents=True)
    with daemon_as_pid_1(home) as outside:
        found = document(home)
        assert found["locked"] is False and found["pid_namespace"] != name_of_namespace()
        alive, line = status(home)
        assert alive is None and "cannot be seen from here" in line
        os.kill(outside, signal.SIGKILL)
        path = home / "state/wire/stream_state.json"
        assert check(path, time.time()).facts["verdict"] == "degraded"
        assert check(path, time.time() + 601).facts["verdict"] == "stale"


@pytest.mark.parametrize("key", ["locked", "pid_namespace"])
def test_a_wrong_kind_is_named(key: str, home: Path) -> None:
    with Command(*exec_nothing(), home=home):
        found = document(home)
    path = home / "state.json"
    path.write_text(json.dumps({**found, key: 3}))
    assert key in check(path).line
