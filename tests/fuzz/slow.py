"""Whether an input takes too long, told by the time that this process had on a processor: on a wall clock whatever else
the machine does makes any input slow.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from tests.fuzz import targets

LONGEST: Final = 0.025
"""Seconds on a processor. The slowest input of a target takes some 3 ms, and twice that under a fuzzer."""

_ATTEMPTS: Final = 3
"""Cold caches or a garbage collection may make an input slow once; an input counts as slow if it is so each time."""

_LONGER: Final = {"growth": 2.0}
"""The target that measures time by itself, and takes its own for it."""


class TooSlow(AssertionError):
    """An input took longer than any may."""


def check_of(name: str) -> Callable[[bytes], None]:
    """The check of a target, which raises `TooSlow` where an input takes too long. For the main thread alone."""
    return limited(targets.load(name).check, _LONGER.get(name, LONGEST))


def limited(check: Callable[[bytes], None], seconds: float = LONGEST) -> Callable[[bytes], None]:
    """Run `check`; raise `TooSlow` if it takes more than `seconds` each time. A check that never ends is interrupted.

    For the main thread only, in which Python handles signals. No other code may use the process's CPU timer. Windows
    has no such timer, so there only checks that end are measured.
    """
    text = f"more than {seconds * 1000:.0f} ms on a processor"

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise TooSlow(text)

    def once(data: bytes) -> float:
        began = time.process_time()
        if sys.platform == "win32":
            check(data)
        else:
            # Again and again, should what is checked swallow it.
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
            try:
                check(data)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return time.process_time() - began

    def checked(data: bytes) -> None:
        slow = TooSlow(text)
        for _ in range(_ATTEMPTS):
            try:
                if once(data) <= seconds:
                    return
            except TooSlow as error:
                slow = error  # It knows where the time was spent.
        raise slow

    if sys.platform != "win32":
        signal.signal(signal.SIGVTALRM, interrupt)
    return checked
