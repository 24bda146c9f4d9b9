"""`relay`: the embedded development relay as a command. What it does is told in `wire_rawsse.relay`."""

from __future__ import annotations

from typing import Final

from wire_rawsse.cli import logs, stdio
from wire_rawsse.cli.arguments import Parser
from wire_rawsse.cli.ending import OK, USAGE, Failure
from wire_rawsse.errors import InvalidRequest, WireRawSSEError

_UNAVAILABLE: Final = 69
"""EX_UNAVAILABLE of sysexits(3)."""


def _notes() -> list[str]:
    from wire_rawsse.relay.faults import PLACES

    return [
        "the control call (with --control): POST CONTROL_URL/control, a JSON object, Content-Type application/json",
        '  {"do": "misbehave", "faults": [FAULT, ...]}   from now on these faults and no others',
        '  {"do": "normal"}                              no fault any more',
        '  {"do": "report"}                              counters, and what happened on each connection',
        "  and published, await and adopt: see wire_rawsse/relay/control.py",
        "",
        'a FAULT is {"action": ..., "at": ...}, and more as wire_rawsse/relay/faults.py has it; places by action:',
        *(f"  {action:<9}{', '.join(places)}" for action, places in PLACES.items()),
        "",
    ]


def parser() -> Parser:
    from wire_rawsse.relay.server import add_arguments

    options = Parser(
        "relay",
        "Run the embedded development relay: wire's HTTP surface, in memory, with every way to fail on request. For "
        "tests and demonstrations; it keeps nothing and checks no signature.",
        notes=_notes(),
        examples=[
            "wire-rawsse relay",
            "wire-rawsse relay --bind 127.0.0.1:0 --uds relay.sock --heartbeat 5 --control",
            "curl CONTROL_URL/control -H 'Content-Type: application/json' \\",
            '    -d \'{"do": "misbehave", "faults": [{"action": "silent", "at": "stream"}]}\'',
            "curl CONTROL_URL/control -H 'Content-Type: application/json' -d '{\"do\": \"normal\"}'",
        ],
        statuses={OK: "ended by SIGTERM or SIGINT", _UNAVAILABLE: "it cannot listen where it was asked to"},
    )
    add_arguments(options)
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    logs.route(lambda text: stdio.say("relay", text))
    from wire_rawsse.relay.server import options_from, run

    try:
        run(options_from(options), _announce)
    except InvalidRequest as error:
        raise Failure(str(error), USAGE) from None
    except WireRawSSEError as error:
        raise Failure(str(error), _UNAVAILABLE) from None
    return OK


def _announce(text: str) -> None:
    try:
        stdio.write(text + "\n")
    except stdio.OutputClosed:
        pass  # Nobody wants to know where it is; whoever knows may still use it.
