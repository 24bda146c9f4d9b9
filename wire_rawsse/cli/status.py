"""`status`: what stream_state.json says, in one line, as JSON, as metrics, or as a screen that is kept up to date.

The judging is `wire.status`'s.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Final

from wire_rawsse.cli import stdio
from wire_rawsse.cli.arguments import Parser, path
from wire_rawsse.cli.exit import INTERRUPTED, TERMINATED, USAGE, Failure, before_the_end
from wire_rawsse.errors import RelayFileError
from wire_rawsse.wire import paths
from wire_rawsse.wire.status import CONNECTED, DEGRADED, UNKNOWN, Status, assess, check

_REFRESH: Final = 1.0
"""Seconds between two screens of --watch."""
_LINES_FOR_TITLE: Final = 6
"""A screen with no more lines has none for a title."""
_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The terminal's other screen, without a cursor (xterm's private modes 1049 and 25)."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"


def parser() -> Parser:
    options = Parser(
        "status",
        "Print the state of the running daemon in one line. It is read from stream_state.json in wire's state folder, "
        "which WIRE_HOME and XDG_STATE_HOME may move, or from the --state-file of a daemon with a URL. A lock beside "
        "the file tells whether the daemon is alive. If its relay is down the daemon reconnects: restart it only "
        "at exit status 2.",
        examples=[
            "wire-rawsse status",
            "wire-rawsse status --json | jq -r .verdict",
            "wire-rawsse status --file a.json --file b.json --watch",
            "wire-rawsse status --openmetrics > wire.tmp && mv wire.tmp /var/lib/node_exporter/wire.prom",
        ],
        statuses={
            CONNECTED: "connected: every endpoint is connected, and the command succeeds",
            DEGRADED: "degraded: an endpoint is down, three runs in a row failed, one hangs, or the daemon is stopped",
            UNKNOWN: "unknown or stale: there is no such file, its writer is gone, or it is older than 10 minutes",
            INTERRUPTED: "ended by SIGINT",
            TERMINATED: "ended by SIGTERM",
        },
    )
    options.add_argument(
        "--file",
        metavar="FILE",
        type=path,
        action="append",
        help="read this file instead of the one in wire's state folder; may be repeated: the exit status is the worst",
    )
    form = options.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="print the verdict and the whole file as one JSON object, one line per file"
    )
    form.add_argument(
        "--openmetrics",
        action="store_true",
        help="print metrics for Prometheus (OpenMetrics; node_exporter's textfile collector reads them)",
    )
    form.add_argument("--watch", action="store_true", help="show a screen and refresh it each second, until Ctrl-C")
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    if options.watch:
        return _watch(options.file)
    statuses = list(_statuses(options.file))
    if options.json:
        text = "".join(
            json.dumps({"file": file, **status.facts}, separators=(",", ":")) + "\n" for file, status in statuses
        )
    elif options.openmetrics:
        from wire_rawsse.wire.metrics import openmetrics

        text = openmetrics(statuses)
    else:
        several = len(statuses) > 1
        text = "".join(f"{f'{stdio.one_line(file)}: ' if several else ''}{status.line}\n" for file, status in statuses)
        text = stdio.plain(text, sys.stdout)
    try:
        stdio.write(text)
    except stdio.OutputClosed:
        pass  # The exit status is the answer.
    return max(status.exit_code for _, status in statuses)


def _statuses(files: list[str] | None) -> Iterator[tuple[str, Status]]:
    try:
        # Each file once: a metric must not be there twice.
        for file in dict.fromkeys(files or [paths.stream_state_json()]):
            yield file, check(file)
    except RelayFileError as error:  # There is no folder to look in.
        yield "", assess(None, 0.0, lambda pid: False, str(error))


def _watch(files: list[str] | None) -> int:
    """Until a signal ends it. Raises `Failure` if standard output is no terminal with a screen."""
    if not stdio.can_move(sys.stdout):
        raise Failure("--watch: expected a terminal as standard output; without one, repeat wire-rawsse status", USAGE)
    stdio.write(_ENTER)
    # Not waited for: a terminal that Ctrl-S has stopped must not keep a signal from ending it.
    before_the_end(lambda: stdio.whisper(_LEAVE, to_output=True))
    try:
        from wire_rawsse.wire.screen import screen

        while True:
            width, height = stdio.terminal_size(sys.stdout.fileno())
            width = max(10, width - 1)
            lines = []
            # The worst first, since the last may find no room.
            for file, status in sorted(_statuses(files), key=lambda found: -found[1].exit_code):
                lines += ["", *screen(file, status, time.time())]
            lines = [part for line in lines[1:] for part in _wrapped(stdio.one_line(line), width)]
            if height > _LINES_FOR_TITLE:
                lines[:0] = [time.strftime("%H:%M:%S  wire-rawsse status; Ctrl-C ends it")[:width], ""]
            if len(lines) > height > 1:
                lines[height - 1 :] = [f"… {len(lines) - height + 1} more lines"[:width]]
            stdio.write(stdio.plain("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J", sys.stdout))
            time.sleep(_REFRESH)
    finally:
        stdio.write(_LEAVE)


def _wrapped(line: str, width: int) -> list[str]:
    """The line in lines of at most `width` characters; the further ones are indented."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
