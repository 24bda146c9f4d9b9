"""Slow is what takes long on a processor, each time; not what had to wait for one."""

from __future__ import annotations

import sys
import time

import pytest

from tests.fuzz import slow


def spin(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs a timer of the process's own time")
def test_what_never_ends_is_interrupted() -> None:
    with pytest.raises(slow.TooSlow):
        slow.limited(lambda data: spin(3600))(b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a timer of the process's own time")
def test_what_swallows_the_interruption_was_slow_too() -> None:
    def swallows(data: bytes) -> None:
        for _ in range(3):
            try:
                spin(3600)
            except AssertionError:
                pass

    with pytest.raises(slow.TooSlow):
        slow.limited(swallows)(b"")


def test_what_was_slow_once_is_not_slow() -> None:
    seconds = [0.1, 0.0]
    slow.limited(lambda data: spin(seconds.pop(0)))(b"")
    assert seconds == []


def test_waiting_is_not_slow() -> None:
    times: list[float] = []

    def waits(data: bytes) -> None:
        times.append(time.monotonic())
        time.sleep(4 * slow.LONGEST)

    slow.limited(waits)(b"")
    assert len(times) == 1


def test_another_error_is_not_covered() -> None:
    def breaks(data: bytes) -> None:
        raise ValueError(data)

    with pytest.raises(ValueError, match="x"):
        slow.limited(breaks)(b"x")
