"""The cost of a piece of code, on a machine that may be busy: how its time grows, and the most memory that it holds."""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

_TIMES = 7
_SHORTEST = 50e-6
"""Seconds: what takes less is taken for this, as the clock and the caches blur it."""

# This thread's time on a processor, since the machine may be busy with others; if that is coarse, the wall clock.
clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter


def check_linear(
    prepare: Callable[[int], Callable[[], object]], small: int, large: int, attempts: int = _TIMES
) -> None:
    """Raise unless time is linear in the size; `large` is 16 times `small`, and `prepare(size)` gives what is timed.

    16 times the input takes 16 times as long, or 256 times where something looks at everything again. The effect of
    others to the caches makes either vary by a factor of three, so the better of some attempts counts.
    """
    assert large == 16 * small
    work = prepare(small)
    work()
    base = max(statistics.median(_seconds(work) for _ in range(_TIMES)), _SHORTEST)
    work = prepare(large)
    ratios = []
    for _ in range(attempts):
        ratios.append(_seconds(work) / base)
        if ratios[-1] < 100:
            return
    raise AssertionError(f"16 times the input took {min(ratios):.0f} times as long, at best")


def _seconds(work: Callable[[], object]) -> float:
    gc.disable()  # The test measures the work, and not the collection of the objects that it makes.
    try:
        start = clock()
        work()
        return clock() - start
    finally:
        gc.enable()


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python `work` runs: the same on every machine, however busy."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that `work` holds at one time, beyond what was there."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
