"""`daemon` as PID 1, as in a container: it waits for the orphans of its command, and for nothing that is not one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command import PATIENCE, WORDS, environment, wait_until, written
from tests.wire.needs import linux, pid_namespace
from wire_rawsse.cli.child import Child, Result


@contextmanager
def as_init(home: Path, *arguments: str, told: Path) -> Iterator[int]:
    """Runs the command as PID 1 of a namespace, its standard error in the file `told`; gives its PID out here."""
    with open(told, "wb") as stderr:
        process = subprocess.Popen(
            [*pid_namespace(), *WORDS, *arguments], env=environment(home), stdin=subprocess.DEVNULL, stderr=stderr
        )
    try:
        inner = int(wait_until(lambda: children(process.pid))[0])
        yield inner
        os.kill(inner, signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()  # Every process of the namespace dies with its PID 1.
        process.wait()


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def zombies(pid: int) -> list[str]:
    found = []
    for child in children(pid):
        try:
            stat = Path(f"/proc/{child}/stat").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[0] == "Z":
            found.append(child)
    return found


def test_no_orphan_stays_a_zombie_and_the_status_of_a_run_is_its_own(home: Path, tmp_path: Path) -> None:
    log, told = tmp_path / "log", tmp_path / "told"
    # Orphans that end before the run, together with it, and after it.
    script = f"for s in 0 0 0.02 0.1; do (sleep $s; true) & done; echo run >> {log}; sleep 0.02; exit 3"
    arguments = ("--exec", f"sh -c '{script}'", "--interval", "0.05", "--verbose")
    with as_init(home, "daemon", *arguments, told=told) as init:
        wait_until(lambda: log.exists() and log.read_text().count("run") >= 15)
        wait_until(lambda: not zombies(init))
        held = max(len(zombies(init)) for _ in range(20))
        assert held < 15, "each run left four"
    lines = [line for line in told.read_text().splitlines() if "the command " in line]
    assert len(lines) >= 14 and all("ended with exit status 3" in line for line in lines)


def test_what_is_left_of_a_killed_run_is_waited_for(home: Path, tmp_path: Path) -> None:
    started, told = tmp_path / "started", tmp_path / "told"
    # On a busy machine a run may be ended before it has started its children. Then the next run does.
    hang = f'trap "" TERM; setsid sleep 0.3 & sleep 1000 & echo 1 > {started}; trap - TERM; wait'
    script = f"[ -s {started} ] || {{ {hang}; }}"
    arguments = ("--exec", f"sh -c '{script}'", "--exec-timeout", "0.2", "--interval", "0.2")
    with as_init(home, "daemon", *arguments, told=told) as init:
        written(started)
        wait_until(lambda: "still running after 0.2 s" in told.read_text())
        wait_until(lambda: not children(init))
    assert "still running after 0.2 s" in told.read_text()


def test_a_child_leaves_the_run_alone_and_takes_the_others() -> None:
    linux()
    child = Child(["sh", "-c", "exit 5"], 60)
    child.start({})
    other = os.posix_spawn("/bin/true", ["true"], {})
    wait_until(lambda: os.waitid(os.P_PID, other, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)

    def looked() -> Result | None:
        child.reap_orphans()
        return child.look()

    def reaped() -> bool:
        child.reap_orphans()
        return not exists(other)

    result = wait_until(looked)
    assert result.failure == "ended with exit status 5"
    wait_until(reaped)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
