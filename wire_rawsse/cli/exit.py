"""How the command ends: its exit statuses, the one-line failure, and what a signal does.

Exit statuses are the command's contract with scripts. `status` has 0, 1 and 2 for its answers; 64, 70 and 74 are
sysexits(3)'s, chosen above everything that a subcommand says with a small number; 130 and 143 are what a shell shows
for a program that SIGINT or SIGTERM ended.

A signal ends the process from a thread that does nothing but wait for one, with `os._exit`. A handler would not do:
Python runs it between two steps of the main thread, and where a signal strikes just before that thread goes to sleep in
the kernel, the handler waits for as long as the sleep lasts. Nor would an exception, which would have to find its way
out of whatever it struck: a write into a pipe that nobody reads (which Python takes up again afterwards), an `__del__`,
where it would be swallowed. Nothing is lost by ending at once: output is never held back, and sockets are the kernel's
to close.
"""

from __future__ import annotations

import _thread
import os
import signal
import socket
import time
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
    USAGE: "wrong usage: a bad argument, or bad content of a file or variable that it names",
    INTERNAL: "internal error; please report it",
    OUTPUT_FAILED: "standard output cannot be written (if it was closed: 0)",
}


class Failure(Exception):
    """What a user can cause: one line (what was expected, what came, what to do), and the exit status. No secret."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


_nearly_gone = False
_before: Callable[[], None] | None = None


def end_on_signals() -> None:
    """From now on SIGINT and SIGTERM end the process at once, with 130 and 143; `before_the_end` comes first.

    SIGINT does so even where it came in ignored, as a shell without job control has it for a command in the background:
    whoever sends it to us by hand means it.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)  # What has no handler writes nothing.
    _thread.start_new_thread(_end, (reader.detach(), writer))


def end_well_on_signals() -> None:
    """For services, until they wait for signals themselves: SIGINT and SIGTERM end the process with 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os._exit(OK))


def before_the_end(call: Callable[[], None]) -> None:
    """What a signal's end has to do first, in a thread of its own, while the main thread goes on."""
    global _before
    _before = call


def give_way() -> None:
    """Wait here for ever if a signal is ending the process: what fails now may be its doing, and is not to be told."""
    while _nearly_gone:
        time.sleep(1)


def _end(reader: int, writer: socket.socket) -> None:
    """`writer` is only kept alive. `reader` is a descriptor: a socket of gevent belongs to the thread that makes it."""
    global _nearly_gone
    number = socket.socket(fileno=reader).recv(1)[0]
    _nearly_gone = True
    try:
        if _before is not None:
            _before()
    finally:
        os._exit(128 + number)
