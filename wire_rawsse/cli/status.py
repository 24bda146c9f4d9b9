"""`status`: what stream_state.json says, in one line or as JSON. The judging is `wire.status`'s."""

from __future__ import annotations

import sys

from wire_rawsse.cli import stdio
from wire_rawsse.cli.arguments import Parser, path
from wire_rawsse.cli.exit import INTERRUPTED, TERMINATED
from wire_rawsse.errors import RelayFileError
from wire_rawsse.wire import paths
from wire_rawsse.wire.status import CONNECTED, DEGRADED, UNKNOWN, Status, assess, check


def parser() -> Parser:
    options = Parser(
        "status",
        "Print the state of the running daemon in one line. It is read from stream_state.json in wire's state folder, "
        "which WIRE_HOME and XDG_STATE_HOME may move, and a lock beside it tells whether the daemon is alive.",
        examples=[
            "wire-rawsse status",
            "wire-rawsse status --json | jq -r .verdict",
            "wire-rawsse status || systemctl --user restart wire-rawsse",
        ],
        statuses={
            CONNECTED: "connected: every endpoint is connected",
            DEGRADED: "degraded: at least one endpoint is not connected",
            UNKNOWN: "unknown or stale: there is no such file, its writer is gone, or it is older than 10 minutes",
            INTERRUPTED: "ended by SIGINT",
            TERMINATED: "ended by SIGTERM",
        },
    )
    options.add_argument("--json", action="store_true", help="print the verdict and the whole file as one JSON object")
    options.add_argument(
        "--file", metavar="FILE", type=path, help="read this file instead of the one in wire's state folder"
    )
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    status = _status(options.file)
    if options.json:
        import json

        text = json.dumps(status.facts, separators=(",", ":"))
    else:
        text = stdio.plain(status.line, sys.stdout)
    try:
        stdio.write(text + "\n")
    except stdio.OutputClosed:
        pass  # The exit status is the answer.
    return status.exit_code


def _status(file: str | None) -> Status:
    try:
        return check(paths.stream_state_json() if file is None else file)
    except RelayFileError as error:  # There is no folder to look in.
        return assess(None, 0.0, lambda pid: False, str(error))
