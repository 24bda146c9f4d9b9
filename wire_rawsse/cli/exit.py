"""How the command ends: its exit statuses, the one-line failure, and what a signal does.

Exit statuses are the command's contract with scripts. `status` has 0, 1 and 2 for its answers; 64, 70 and 74 are
sysexits(3)'s, chosen above everything that a subcommand says with a small number; 130 and 143 are what a shell shows
for a program that SIGINT or SIGTERM ended.

SIGINT and SIGTERM end the process from their handler, with `os._exit`. An exception would have to find its way out of
the call that it interrupts: a write into a pipe without a reader, which Python resumes afterwards, or an `__del__`,
which swallows it. Nothing is lost by ending at once: output is never buffered, and the kernel closes the sockets.
Python runs a handler between two steps of the main thread; a signal that strikes just before the thread goes to sleep
is noticed when it wakes. So a command that sleeps without limit polls the descriptor of `signals.Signals` too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 64
"""Wrong usage: a bad argument, or bad content of a file or variable that it names (EX_USAGE)."""
INTERNAL: Final = 70
"""An internal error (EX_SOFTWARE)."""
OUTPUT_FAILED: Final = 74
"""Standard output cannot be written (EX_IOERR). A closed one is `OK`."""
INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM

COMMON_STATUSES: Final = {
    USAGE: "wrong usage: a bad argument, or bad content of a file or variable that it names",
    INTERNAL: "internal error; please report it",
    OUTPUT_FAILED: "standard output cannot be written",
}


class Failure(Exception):
    """A user's error: one line (what was expected, what came, what to do), and the exit status. No secret."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


_before: Callable[[], object] | None = None


def end_on_signals() -> None:
    """From now on SIGINT and SIGTERM end the process at once, with 130 and 143; `before_the_end` comes first.

    SIGINT does so even if it was ignored at the start, as a shell without job control has it for a command in the
    background: a user who sends it by hand means it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def end_well_on_signals() -> None:
    """For services, until they wait for signals themselves: SIGINT and SIGTERM end the process with 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(OK))


def before_the_end(call: Callable[[], object]) -> None:
    """Set the function to call before a signal ends the process. The main thread is interrupted anywhere."""
    global _before
    _before = call


def ignore_signals() -> None:
    """From now on no signal that this command has handled changes the exit status, which is already decided.

    The interpreter puts back the default action of each handled signal at its end: it would kill the process with
    another status. Those that end the process come first, since their handler may be interrupted by another of them.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)


def _end(number: int, frame: object) -> None:
    try:
        ignore_signals()
        if _before is not None:
            _before()
    finally:
        os._exit(128 + number)
