"""How the command ends: its exit statuses, the one-line failure, and what a signal does.

Exit statuses are the command's contract with scripts. `status` has 0, 1 and 2 for its answers; 64, 70 and 74 are
sysexits(3)'s, chosen above everything that a subcommand says with a small number; 130 and 143 are what a shell shows
for a program that SIGINT or SIGTERM ended.

A signal ends the process with `os._exit`, from its handler. An exception raised there would have to find its way out
of whatever it struck: a write into a pipe that nobody reads (which Python takes up again when the handler returns), an
`__del__`, where it would be swallowed. Nothing is lost by it: output is written at once and never held back, and
sockets are the kernel's to close.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 64
"""Wrong usage: an argument, or what a file or variable that an argument names holds (EX_USAGE)."""
INTERNAL: Final = 70
"""A fault of ours (EX_SOFTWARE)."""
OUTPUT_FAILED: Final = 74
"""Standard output cannot be written; closed is not meant by that (EX_IOERR)."""
INTERRUPTED: Final = 128 + signal.SIGINT
TERMINATED: Final = 128 + signal.SIGTERM

COMMON_STATUSES: Final = {
    USAGE: "wrong usage: an argument, or what a file or variable it names holds",
    OUTPUT_FAILED: "standard output cannot be written (closed is no error: 0)",
}


class Failure(Exception):
    """What a user can cause: one line (what was expected, what came, what to do), and the exit status. No secret."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


def end_on_signals(before: Callable[[], None] = lambda: None, *, status: int | None = None) -> None:
    """From now on SIGINT and SIGTERM call `before` and end the process at once, with `status`, or 130 and 143.

    SIGINT does so even where it came in ignored, as a shell without job control has it for a command in the background:
    whoever sends it to us by hand means it.
    """

    def end(number: int, _frame: object) -> None:
        try:
            before()
        finally:
            os._exit(128 + number if status is None else status)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
