"""A descriptor that becomes readable when the machine resumes from a suspend. Loaded on CPython 3.13 and newer.

The kernel cancels a timer on CLOCK_REALTIME that was set with TFD_TIMER_CANCEL_ON_SET at each resume, and also when the
wall clock is set (timerfd_create(2)). Its descriptor then becomes readable. It is used for nothing else.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, Final

_NEVER: Final = 2.0**33
"""Seconds since the epoch: the year 2242."""


class ResumeTimer:
    """A descriptor that becomes readable when the machine resumes, or when the wall clock is set.

    Raises `OSError` where the system has none.
    """

    __slots__ = ("_fds",)

    _close = staticmethod(os.close)  # At the interpreter's exit the globals of this module are gone before the object.

    def __init__(self) -> None:
        timer: Any = os
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
