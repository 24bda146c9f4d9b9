"""Whether the machine was suspended: CLOCK_BOOTTIME counts that time, CLOCK_MONOTONIC does not (clock_gettime(2)).

A suspend makes their difference grow, and nothing else does: no SIGSTOP, and nobody who sets the wall clock. The
difference is looked at before each sleep, which is the first moment after a resume at which our code runs. On CPython
3.13 and newer a timer makes that moment come at once. The kernel cancels a timer on CLOCK_REALTIME that was set with
TFD_TIMER_CANCEL_ON_SET at each resume, and also when the wall clock is set (timerfd_create(2)). Its descriptor becomes
readable then; that is all it is used for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

LEAST: Final = 5.0
"""Seconds; shorter suspends are not noticed. Connections outlive them."""
_NEVER: Final = 2.0**33
"""Seconds since the epoch: the year 2242."""


class SuspendClock:
    """Compares two clocks, in seconds: `boottime` counts suspends, `monotonic` does not."""

    __slots__ = ("_monotonic", "ahead", "boottime")

    def __init__(self, boottime: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self.boottime = boottime
        self._monotonic = monotonic
        now = monotonic()
        self.ahead = boottime() - now
        """By how much `boottime` is ahead, or more: the process may have been stopped between the two readings."""

    def suspended(self, now: float) -> float:
        """Seconds for which the machine was suspended since the last call, or 0. `now` is what `monotonic` says."""
        boottime = self.boottime()
        ahead = boottime - now
        grown = ahead - self.ahead
        if grown > LEAST:
            grown = boottime - self._monotonic() - self.ahead
            if grown <= LEAST:
                return 0.0  # The process was stopped after `now` was read.
        self.ahead = ahead
        return grown if grown > LEAST else 0.0


def boottime_clock() -> Callable[[], float] | None:
    """CLOCK_BOOTTIME in seconds, or None where the system has none (it is Linux's)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    if clock is None:
        return None
    gettime = time.clock_gettime
    try:
        gettime(clock)
    except OSError:
        return None
    return partial(gettime, clock)


class ResumeTimer:
    """A descriptor that becomes readable when the machine resumes, or when the wall clock is set.

    Raises `OSError` where the system or this Python has none.
    """

    __slots__ = ("_fds",)

    _close = staticmethod(os.close)  # At the interpreter's exit the globals of this module are gone before the object.

    def __init__(self) -> None:
        timer: Any = os
        if not hasattr(timer, "timerfd_create"):
            raise OSError("os.timerfd_create needs CPython 3.13 and Linux")
        self._fds: list[int] = []
        create = partial(timer.timerfd_create, flags=timer.TFD_NONBLOCK | timer.TFD_CLOEXEC)
        self._fds.extend(map(create, (time.CLOCK_REALTIME,)))  # One step to a signal handler: no descriptor is lost.
        try:
            self.rearm()
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        return self._fds[0]

    def rearm(self) -> None:
        """Make it unreadable again: setting it forgets that it was cancelled. Raises `OSError`."""
        timer: Any = os
        flags = timer.TFD_TIMER_ABSTIME | timer.TFD_TIMER_CANCEL_ON_SET
        timer.timerfd_settime(self._fds[0], flags=flags, initial=_NEVER)

    def close(self) -> None:
        # One step to a signal handler, as in `__init__`.
        list(map(self._close, map(self._fds.pop, (0,) * len(self._fds))))

    def __del__(self) -> None:
        if hasattr(self, "_fds"):
            self.close()
