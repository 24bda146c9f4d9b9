"""Standard output and standard error, as a command needs them: at once, whole, and never a traceback.

Output goes to the descriptor by the raw file, without Python's buffer: each event is there when it is written, and
there is nothing left to flush (and to fail) at the interpreter's exit. It is UTF-8 whatever the locale, as the events
are; only our own ornaments give way where a terminal or its locale cannot show them (`plain`).

Standard error is for people, and must not stop us: a line for which there is no room (a log reader that hangs) is
dropped. A daemon that waits for its log to be read would be wedged.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import stat
import sys
from collections.abc import Mapping
from typing import Final, Protocol, TextIO

from wire_rawsse.cli.exit import OUTPUT_FAILED, Failure

_ORNAMENTS: Final = str.maketrans(
    {"…": "...", "–": "-", "·": "-", "→": "->", "µ": "u", "─": "-", "█": "#", "×": "x", "≤": "<=", "✓": "ok"}
)
_COMMANDS: Final = (
    *(range(0x20), range(0x7F, 0xA0)),  # C0, DEL and C1 (ECMA-48).
    *(range(0x61C, 0x61D), range(0x200E, 0x2010), range(0x202A, 0x202F), range(0x2066, 0x206A)),  # UAX #9 §2.
    range(0x2028, 0x202A),  # Line and paragraph separator.
    # Invisible: format characters, deprecated or not, annotation marks, tags. Joiners, which scripts need, are kept.
    *(range(0x180E, 0x180F), range(0x2060, 0x2066), range(0x206A, 0x2070), range(0xFEFF, 0xFF00)),
    *(range(0xFFF9, 0xFFFC), range(0xE0000, 0xE0080)),
)
"""Characters that move a cursor, colour, reorder or hide text on a terminal."""


_PIECE: Final = 4096
"""Bytes that a pipe takes without blocking if it can be written to: PIPE_BUF of Linux (pipe(7))."""


class OutputClosed(Exception):
    """The reader of standard output has closed it. That is not an error: the command ends with 0."""


class OutputInterrupted(Exception):
    """A signal has asked for the end while standard output was being written to; not all of it has been written."""


class Interrupt(Protocol):
    """The object that may interrupt a write: see `signals.Signals`."""

    @property
    def ending(self) -> bool: ...
    def fileno(self) -> int: ...
    def drain(self) -> None: ...


_was_closed = False


def was_closed() -> bool:
    """Whether standard output was closed when the command began, so that it has no reader."""
    return _was_closed


def ensure_open() -> None:
    """Open descriptors 0, 1 and 2 on the null device where they are closed.

    Without a null device (a bare chroot) they are connections whose other end is closed: empty, and not writable.
    """
    global _was_closed
    while True:
        try:
            fd = os.open(os.devnull, os.O_RDWR)
        except OSError:
            import socket

            end, other = socket.socketpair()
            other.close()
            fd = end.detach()
        if fd > 2:
            os.close(fd)
            break
        os.set_inheritable(fd, True)
        _was_closed = _was_closed or fd == 1
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # it lives as long as the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115  # as above


def write(text: str | bytes) -> None:
    """All of `text` to standard output, now. Raises `OutputClosed`, or `Failure` where it cannot be written."""
    try:
        _put(sys.stdout, _encoded(text), wait=True)
    except OSError as error:
        raise _output_error(error) from None


class InterruptibleOutput:
    """Standard output for a command that signals must be able to end at any moment.

    A write to a file does not sleep. A pipe is written to through a description of our own that does not block, and is
    polled only when it is full. Anything else, a terminal for example, is polled before each write.
    """

    def __init__(self, interrupt: Interrupt) -> None:
        import select

        self._interrupt = interrupt
        output = sys.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(output, select.POLLOUT)
        self._poll.register(interrupt.fileno(), select.POLLIN)
        self._is_file = stat.S_ISREG(os.fstat(output).st_mode)
        self._pipe = _own_pipe(output)

    def write(self, text: str | bytes) -> None:
        """As `stdio.write`, but it sleeps only in a poll that a signal ends too. Raises `OutputInterrupted` then."""
        data = _encoded(text)
        try:
            if self._interrupt.ending:
                raise OutputInterrupted
            if self._pipe is not None:
                self._write_pipe(self._pipe, data)
                return
            for start in range(0, len(data), _PIECE):
                if not self._is_file:
                    self._wait_for_room()
                _put(sys.stdout, data[start : start + _PIECE], wait=True)
        except OSError as error:
            raise _output_error(error) from None

    def close(self) -> None:
        """Close our own description of a pipe. A command leaves that to its end."""
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _write_pipe(self, pipe: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(pipe, left) :]
            except BlockingIOError:
                self._wait_for_room()

    def _wait_for_room(self) -> None:
        interrupt = self._interrupt
        while not interrupt.ending:
            ready = self._poll.poll()
            if len(ready) == 1 and ready[0][0] != interrupt.fileno():
                return
            interrupt.drain()
        raise OutputInterrupted


def _own_pipe(output: int) -> int | None:
    """Another description of the pipe `output`, which does not block; None if it is no pipe or the system has none.

    O_NONBLOCK belongs to the description, which other processes share, so it cannot be set on `output` itself. Linux
    makes a new one when a link of /proc/self/fd is opened (proc(5)). Other users' pipes cannot be opened.
    """
    if sys.platform != "linux" or not stat.S_ISFIFO(os.fstat(output).st_mode):
        return None
    try:
        return os.open(f"/proc/self/fd/{output}", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")


def _output_error(error: OSError) -> OutputClosed | Failure:
    # EINVAL is what Windows says of a pipe whose reader has gone.
    if isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL):
        return OutputClosed()
    return Failure(f"standard output cannot be written: {error.strerror}", OUTPUT_FAILED)


def say(command: str, text: str) -> None:
    """One line to standard error, `wire-rawsse COMMAND: text`; dropped where there is no room for it. Never raises."""
    name = f"wire-rawsse {command}" if command else "wire-rawsse"
    whisper(one_line(f"{name}: {text}") + "\n")


def whisper(text: str, *, to_output: bool = False) -> None:
    """`text` as it is to standard error (or output), which is not waited for. Never raises."""
    stream = sys.stdout if to_output else sys.stderr
    try:
        _put(stream, plain(text, stream).encode("utf-8", "backslashreplace"), wait=False)
    except (OSError, ValueError):
        pass


def one_line(text: str) -> str:
    """`text` with an escape in the place of each character that could end the line or command a terminal."""
    return text if text.isascii() and text.isprintable() else text.translate(_escapes())


def harmless(text: str) -> str:
    """The same, but lines and tabs stay."""
    return text.translate(_escapes(kept="\t\n"))


@functools.cache
def _escapes(kept: str = "") -> dict[int, str]:
    codes = [code for part in _COMMANDS for code in part if chr(code) not in kept]
    return {code: f"\\x{code:02x}" if code < 256 else ascii(chr(code))[1:-1] for code in codes}


def plain(text: str, stream: TextIO | None) -> str:
    """`text` with our ornaments in ASCII where `stream` has a locale that lacks them."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ORNAMENTS)
    return text


def is_terminal(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal. If so, text of a peer must be cleaned first, even if TERM is dumb."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # Closed.
        return False


def can_move(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal that says (TERM) that it understands more than lines."""
    if sys.platform != "win32" and os.environ.get("TERM", "") in ("", "dumb"):
        return False
    return is_terminal(stream)


def terminal_size(fd: int) -> tuple[int, int]:
    """Columns and lines; 80 and 24 where the terminal does not know them (a serial line says 0), or is none."""
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        columns = lines = 0
    return columns or 80, lines or 24


def has_colours(stream: TextIO | None, environ: Mapping[str, str] = os.environ) -> bool:
    """Colours on a terminal only, and not where `NO_COLOR` is set to anything (no-color.org)."""
    if environ.get("NO_COLOR"):
        return False
    if sys.platform == "win32" and not environ.get("WT_SESSION"):
        return False  # An old console would show the escape sequences themselves.
    return can_move(stream)


def _put(stream: TextIO, data: bytes, *, wait: bool) -> None:
    raw = getattr(stream.buffer, "raw", stream.buffer)
    assert isinstance(raw, io.RawIOBase)
    rest = memoryview(data)
    while rest:
        if not wait and not _has_room(raw):
            return
        written = raw.write(rest)
        if written is None:  # Another process that shares the pipe or terminal has made it non-blocking.
            _wait_for_room(raw)
        else:
            rest = rest[written:]


def _has_room(raw: io.RawIOBase) -> bool:
    import select

    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLOUT)
    return bool(poll.poll(0))


def _wait_for_room(raw: io.RawIOBase) -> None:
    import select

    select.select([], [raw.fileno()], [])
