"""Which clocks make a suspend."""

from __future__ import annotations

import math
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest

from tests.conftest import missing
from tests.hosts.conftest import Serve
from tests.hosts.support import PATIENCE
from tests.support.server import OPEN, QUIET, Peer, request, send
from wire_rawsse import Closed, EventSource, Opened
from wire_rawsse.hosts import machine
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.surroundings import Surroundings
from wire_rawsse.hosts.system import OS_SERVICES

if TYPE_CHECKING:
    from wire_rawsse.hosts.interfaces import Announcements, Machine, Timer


class Clocks:
    """A machine with two clocks, and a stop of the process between two readings."""

    def __init__(self) -> None:
        self.running, self.asleep = 100.0, 50.0
        self.stop_after_boottime = self.stop_before_boottime = 0.0
        self._loop = Loop(OS_SERVICES._replace(monotonic=self.monotonic, machine=lambda: cast("Machine", self)))
        self._surroundings = Surroundings(self._loop, listens=True)

    def network(self) -> Announcements:
        raise OSError

    def resume_timer(self) -> Timer:
        raise OSError

    def boottime(self) -> Callable[[], float]:
        return self.read_boottime

    def read_boottime(self) -> float:
        self.running += self.stop_before_boottime
        self.stop_before_boottime = 0.0
        reading = self.running + self.asleep
        self.running += self.stop_after_boottime
        self.stop_after_boottime = 0.0
        return reading

    def monotonic(self) -> float:
        return self.running

    def look(self) -> float:
        """Seconds of a suspend that is found now."""
        due = self._surroundings.due_if_awake()
        found, self._surroundings._suspended, self._surroundings._look_at = self._surroundings._suspended, 0.0, math.inf
        assert (due == PAST) is bool(found)
        return found


def test_only_a_suspend_of_more_than_five_seconds_is_told() -> None:
    clocks = Clocks()
    assert clocks.look() == 0
    clocks.asleep += 3600
    assert clocks.look() == 3600
    assert clocks.look() == 0
    clocks.asleep += 5
    assert clocks.look() == 0
    clocks.asleep += 5
    assert clocks.look() == 0, "each is judged by itself"
    clocks.running += 1e6
    assert clocks.look() == 0, "a SIGSTOP, or a host that was elsewhere"


@pytest.mark.parametrize(
    "places", [["stop_before_boottime"], ["stop_after_boottime"], ["stop_before_boottime", "stop_after_boottime"]]
)
def test_a_stop_between_two_readings_is_no_suspend(places: list[str]) -> None:
    clocks = Clocks()
    for _ in range(3):
        for place in places:
            setattr(clocks, place, 60.0)
        assert clocks.look() == 0
        assert clocks.look() == 0
    clocks.asleep += 10
    assert clocks.look() == 10


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux has this clock")
def test_the_real_clocks_agree_while_the_machine_runs() -> None:
    assert machine.boottime() is not None
    loop = Loop()
    surroundings = Surroundings(loop, listens=True)
    for _ in range(1000):
        assert surroundings.due_if_awake() > PAST
    surroundings.close()
    loop.close()


def test_where_the_clock_cannot_be_read_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 12345, raising=False)
    assert machine.boottime() is None
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert machine.boottime() is None


@pytest.mark.skipif(hasattr(os, "timerfd_create"), reason="this Python has timers")
def test_an_older_python_has_no_timer() -> None:
    with pytest.raises(OSError, match=r"3\.13"):
        machine.resume_timer()


@pytest.mark.skipif(not hasattr(os, "timerfd_create"), reason="needs CPython 3.13 and Linux")
def test_the_timer_is_quiet_while_nothing_happens() -> None:
    timer = machine.resume_timer()
    try:
        assert not os.get_inheritable(timer.fileno())
        timer.rearm()
        assert select.select([timer.fileno()], [], [], 0.05) == ([], [], [])
    finally:
        timer.close()
        timer.close()


MOVES = """
import ctypes, os, signal, subprocess, sys, time
from wire_rawsse import Closed, EventSource, Opened
sleeper = subprocess.Popen(["unshare", "--time", "--boottime", "3600", "sleep", "60"])
there = f"/proc/{sleeper.pid}/ns/time_for_children"
end = time.monotonic() + 20
while os.readlink(there) == os.readlink("/proc/self/ns/time"):
    assert time.monotonic() < end
    time.sleep(0.01)
place = os.open(there, os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)

def move(*arguments):
    if libc.setns(place, 0x80):  # CLONE_NEWTIME
        print("cannot move:", os.strerror(ctypes.get_errno()), flush=True)
        os._exit(0)

signal.signal(signal.SIGALRM, move)
try:
    with EventSource(sys.argv[1], watch=sys.argv[2] == "True") as source:
        assert isinstance(source.next_item(20), Opened)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        end = time.monotonic() + 3
        while time.monotonic() < end and not isinstance(item := source.next_item(0.5), Closed):
            pass
        print(str(item.error).partition(" (")[0] if isinstance(item, Closed) else "nothing")
finally:
    sleeper.kill()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has time namespaces")
@pytest.mark.parametrize(("watch", "told"), [(True, "the machine was suspended for 3600 s"), (False, "nothing")])
def test_a_real_clock_of_a_suspend(watch: bool, told: str, serve: Serve) -> None:
    """The process moves to a time namespace in which CLOCK_BOOTTIME is an hour ahead, while it waits for an event. To
    the process this looks as an hour of suspend does. The next heartbeat is the next turn of its loop.
    """
    if subprocess.run(["unshare", "--time", "--boottime", "1", "true"], capture_output=True, check=False).returncode:
        missing("needs time namespaces, unshare (util-linux) and root")

    def beats(peer: Peer) -> None:
        while not peer.server.closing.wait(0.1):
            peer.say(b": hb\n\n")

    server = serve(*[[request, send(OPEN), beats]] * 2)
    command = [sys.executable, "-c", MOVES, server.url, str(watch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout.strip()
    if said.startswith("cannot move"):
        pytest.skip(said)
    assert (said, done.returncode) == (told, 0), done.stderr


@pytest.mark.skipif(not hasattr(os, "timerfd_create"), reason="needs CPython 3.13 and Linux")
def test_the_timer_ends_a_sleep_and_the_stream_is_renewed(serve: Serve) -> None:
    """A real timer in a real poller; it expires here, as this machine cannot resume. The clock is set back by as much
    as a suspend takes from it.
    """
    slept = 0.0

    class Source(EventSource):
        def _prepare(self) -> None:
            self._loop = Loop(OS_SERVICES._replace(monotonic=lambda: time.monotonic() - slept))

    server = serve(QUIET, QUIET)
    with Source(server.url) as source:
        assert isinstance(source.next_item(PATIENCE), Opened)
        assert source.next_item(0.1) is None
        surroundings = source._notice._surroundings
        assert surroundings is not None and surroundings._timer is not None

        def resume(fd: int) -> None:
            nonlocal slept
            slept = 3600.0
            vars(os)["timerfd_settime"](fd, initial=1e-9)

        timer = threading.Timer(0.2, resume, (surroundings._timer.fileno(),))
        timer.start()
        item = source.next_item(PATIENCE)
        timer.join()
        assert isinstance(item, Closed) and "the machine was suspended for 3600 s" in str(item.error)
