"""`relay`: the embedded development relay as a command. What it does is told in `wire_rawsse.relay`."""

from __future__ import annotations

from typing import Final

from wire_rawsse.cli.arguments import Parser
from wire_rawsse.cli.ending import OK, USAGE, Failure
from wire_rawsse.errors import InvalidRequest, WireRawSSEError

_UNAVAILABLE: Final = 69
"""EX_UNAVAILABLE of sysexits(3)."""


def parser() -> Parser:
    from wire_rawsse.relay.server import add_arguments

    options = Parser(
        "relay",
        "Run the embedded development relay: wire's HTTP surface, in memory, with every way to fail on request. For "
        "tests and demonstrations; it keeps nothing and checks no signature. With --control it opens a port of its own "
        "on 127.0.0.1, by which it is told to misbehave and asked what happened: POST /control with a JSON object as "
        "in the examples (all calls are in wire_rawsse/relay/control.py, all faults in faults.py beside it).",
        examples=[
            "wire-rawsse relay",
            "wire-rawsse relay --bind 127.0.0.1:0 --uds /tmp/relay.sock --heartbeat 5 --control",
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
    from wire_rawsse.relay.server import options_from, run

    try:
        run(options_from(options))
    except InvalidRequest as error:
        raise Failure(str(error), USAGE) from None
    except WireRawSSEError as error:
        raise Failure(str(error), _UNAVAILABLE) from None
    return OK
