"""Which clocks make a suspend."""

from __future__ import annotations

import os
import select
import time

import pytest

from wire_rawsse.hosts.suspend import ResumeTimer, SuspendClock, boottime_clock


class Clocks:
    """Two clocks, and a stop of the process between two readings."""

    def __init__(self) -> None:
        self.running, self.asleep = 100.0, 50.0
        self.stop_after_boottime = self.stop_before_boottime = 0.0
        self.clock = SuspendClock(self.boottime, self.monotonic)

    def boottime(self) -> float:
        self.running += self.stop_before_boottime
        self.stop_before_boottime = 0.0
        reading = self.running + self.asleep
        self.running += self.stop_after_boottime
        self.stop_after_boottime = 0.0
        return reading

    def monotonic(self) -> float:
        return self.running

    def look(self) -> float:
        return self.clock.suspended(self.monotonic())


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
    boottime = boottime_clock()
    assert boottime is not None
    clock = SuspendClock(boottime, time.monotonic)
    for _ in range(1000):
        assert clock.suspended(time.monotonic()) == 0


def test_where_the_clock_cannot_be_read_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 12345, raising=False)
    assert boottime_clock() is None
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert boottime_clock() is None


@pytest.mark.skipif(hasattr(os, "timerfd_create"), reason="this Python has timers")
def test_an_older_python_has_no_timer() -> None:
    with pytest.raises(OSError, match=r"3\.13"):
        ResumeTimer()


@pytest.mark.skipif(not hasattr(os, "timerfd_create"), reason="needs CPython 3.13 and Linux")
def test_the_timer_is_quiet_while_nothing_happens() -> None:
    timer = ResumeTimer()
    try:
        assert not os.get_inheritable(timer.fileno())
        timer.rearm()
        assert select.select([timer.fileno()], [], [], 0.05) == ([], [], [])
    finally:
        timer.close()
        timer.close()
