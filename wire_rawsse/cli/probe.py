"""`probe`: what is wrong with an event stream, and the one thing to change. The work is done in `wire_rawsse.probe`."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from wire_rawsse.cli import inputs, stdio
from wire_rawsse.cli.arguments import Parser, add_limits, add_request, seconds, timeouts
from wire_rawsse.cli.exit import INTERRUPTED, TERMINATED, USAGE, Failure, before_the_end
from wire_rawsse.cli.status_line import QuietLine
from wire_rawsse.errors import InvalidRequestError
from wire_rawsse.plan import Plan, make_plan
from wire_rawsse.policy import Backoff, Keepalive
from wire_rawsse.protocol.request import can_carry

DEFAULT_SECONDS: Final = 18.0
LONGEST_SECONDS: Final = 86400.0


def parser() -> Parser:
    options = Parser(
        "probe",
        "Say what is wrong with an event stream, and the one thing to change: proxy settings, each address, TLS and "
        "certificates, redirects, the response, buffering, heartbeats, cuts of idle connections, lost packets, clocks. "
        "It connects to each address of the name, listens, connects again if the stream ends, and asks for a replay "
        "with Last-Event-ID; a request with a body, or another method than GET, is sent once only. The time-outs below "
        "are not its own: they are those of the client that the stream is judged for.",
        operand="URL",
        examples=[
            "wire-rawsse probe https://example.org/events",
            "wire-rawsse probe --token-file token.txt --for 120 https://example.org/events",
            "wire-rawsse probe --json https://example.org/events | jq -r '.findings[] | .code + \": \" + .text'",
        ],
        statuses={
            0: "well: nothing that needs a change",
            1: "doubtful: the stream works, and something may break it or delay it",
            2: "broken: there is no stream, or it does not bring events when they happen",
            INTERRUPTED: "ended by SIGINT",
            TERMINATED: "ended by SIGTERM",
        },
    )
    options.add_argument("url", metavar="URL", help="http://, https:// or unix:///path.sock?path=/target")
    options.add_argument("--json", action="store_true", help="print all findings and measurements as one JSON object")
    length = (
        "seconds that the probe takes at most (default %(default)g); only a longer one sees slow heartbeats, and "
        "proxies that end idle streams after a minute"
    )
    options.add_argument("--for", metavar="S", dest="seconds", type=seconds(), default=DEFAULT_SECONDS, help=length)
    options.add_argument("--last-event-id", metavar="ID", default="", help="the id to begin with")
    add_request(options)
    add_limits(options)
    return options


def run(arguments: list[str], began: float | None = None) -> int:
    """`began`: when the command began, on the monotonic clock, which on a busy machine is some time ago."""
    options = parser().parse(arguments)
    if options.seconds > LONGEST_SECONDS:
        raise Failure(f"--for: expected at most {LONGEST_SECONDS:g} seconds; see: wire-rawsse probe --help", USAGE)
    plan = _plan(options)
    line = None
    if stdio.can_move(sys.stderr):
        line = QuietLine(0.5)
        before_the_end(line.erase)
    from wire_rawsse.probe.findings import findings
    from wire_rawsse.probe.measure import Probe
    from wire_rawsse.probe.report import as_json, as_text, status_of

    probe = Probe(plan, options.seconds, options.last_event_id, _progress(line), began)
    try:
        found = probe.run()
    finally:
        if line is not None:
            line.erase()
    result = findings(found)
    if options.json:
        import json

        text = json.dumps(as_json(found, result), separators=(",", ":")) + "\n"
    else:
        text = stdio.plain(as_text(found, result, _width()), sys.stdout)
    try:
        stdio.write(text)
    except stdio.OutputClosed:
        pass  # The exit status is the answer.
    return status_of(result)


def _width() -> int | None:
    """The columns of the terminal, or None if standard output is something else."""
    return stdio.terminal_size(1)[0] if stdio.is_terminal(sys.stdout) else None


def _plan(options: Namespace) -> Plan:
    """Everything that can be wrong with what was given is told here, before a byte is sent."""
    inputs.url(options.url)
    if not can_carry(options.last_event_id):
        raise Failure("--last-event-id: expected at most 4 KiB, no control characters and no outer spaces", USAGE)
    try:
        return make_plan(
            options.url,
            **inputs.request(options),
            timeouts=timeouts(options),
            keepalive=Keepalive(),
            backoff=Backoff(),
            **inputs.tls(options),
        )
    except InvalidRequestError as error:
        raise Failure(str(error), USAGE) from None


def _progress(line: QuietLine | None) -> Callable[[str], None]:
    """Shows what is being done, on a terminal only."""

    def show(text: str) -> None:
        if line is not None and line.due() <= time.monotonic():
            line.show(text)

    return show
