"""`relay`: the embedded development relay as a command. See `wire_rawsse.relay`."""

from __future__ import annotations

from typing import Final

from wire_rawsse.cli import logs, stdio
from wire_rawsse.cli.arguments import Parser
from wire_rawsse.cli.exit import OK, USAGE, Failure
from wire_rawsse.errors import InvalidRequestError, WireRawSSEError

_UNAVAILABLE: Final = 69
"""EX_UNAVAILABLE of sysexits(3)."""


def _notes() -> list[str]:
    from wire_rawsse.testing.faults import PLACES

    return [
        "the control call (with --control): POST CONTROL_URL/control, a JSON object, Content-Type application/json",
        '  {"do": "misbehave", "faults": [FAULT, ...]}   from now on, only these faults',
        '  {"do": "normal"}                              no faults',
        '  {"do": "report"}                              counters, and the events of each connection',
        "  published, await and adopt are described in wire_rawsse/testing/control.py",
        "",
        'a FAULT is {"action": ..., "at": ...}; wire_rawsse/testing/faults.py describes it. Places of each action:',
        *(f"  {action:<9}{', '.join(places)}" for action, places in PLACES.items()),
        "",
    ]


def parser() -> Parser:
    from wire_rawsse.testing.server import add_arguments

    options = Parser(
        "relay",
        "Run a development relay: the HTTP interface of wire's relay, in memory, and faults on request. It is for "
        "tests and demonstrations: it stores nothing on disk and checks no signature.",
        notes=_notes(),
        examples=[
            "wire-rawsse relay",
            "wire-rawsse relay --bind 127.0.0.1:0 --uds relay.sock --heartbeat 5 --control",
            "curl CONTROL_URL/control -H 'Content-Type: application/json' \\",
            '    -d \'{"do": "misbehave", "faults": [{"action": "silent", "at": "stream"}]}\'',
            "curl CONTROL_URL/control -H 'Content-Type: application/json' -d '{\"do\": \"normal\"}'",
        ],
        statuses={
            OK: "ended by SIGTERM or SIGINT",
            _UNAVAILABLE: "it cannot listen on an address or path that was given",
        },
    )
    add_arguments(options)
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    logs.route(lambda text: stdio.say("relay", text))
    from wire_rawsse.testing.server import options_from, run

    try:
        run(options_from(options), _announce)
    except InvalidRequestError as error:
        raise Failure(str(error), USAGE) from None
    except WireRawSSEError as error:
        raise Failure(str(error), _UNAVAILABLE) from None
    return OK


def _announce(text: str) -> None:
    try:
        stdio.write(text + "\n")
    except stdio.OutputClosed:
        pass  # No one reads the address; the relay may still be used.
