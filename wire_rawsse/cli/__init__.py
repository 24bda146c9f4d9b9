"""The command `wire-rawsse`: from the first argument to the exit status.

What every subcommand may rely on is made true here, before its module is loaded:

* SIGINT and SIGTERM end the process at once, in whatever it is doing (a write into a full pipe, a slow import), without
  a traceback. A subcommand that has something to give back first says so (`exit.before_the_end`).
* Descriptors 0, 1 and 2 are open. Where one was closed, the first socket would get its number, and events or error
  texts would be written into a connection.
* A closed standard output is no error, and nothing else ends in a traceback: what a user can cause is a `Failure`, one
  line on standard error and its exit status; anything else is a fault of ours, told in one line too.

Each subcommand is a module with a `run`, loaded when it is asked for: `status` in a shell prompt must not pay for the
relay's asyncio. This module imports nothing that is not loaded anyway.
"""

from __future__ import annotations

import sys
from typing import Final

from wire_rawsse.cli import exit
from wire_rawsse.cli.exit import INTERNAL, OK, USAGE, Failure

COMMANDS: Final = {
    "demo": "show wakes, a stream that wedges, and how it is noticed and reconnected; about 10 s, no configuration",
    "listen": "print the events of any event stream and reconnect for ever, like a curl -N that cannot wedge",
    "daemon": "run a command as soon as an event arrives at an endpoint of wire, and every few seconds",
    "status": "print the state of the running daemon in one line, from wire's stream_state.json",
    "probe": "say what is wrong with an event stream, hop by hop, and the one thing to change",
    "relay": "run a development relay, which can be told to misbehave",
}

SERVICES: Final = ("daemon", "relay")
"""They run until they are told to stop: for them a signal is no failure."""

HELP: Final = """\
usage: wire-rawsse COMMAND [OPTIONS]

An HTTP event stream that cannot wedge, and wakes a daemon the moment something arrives. wire is a program whose agents
send each other events through relays (the Rust crate slancha-wire). demo, listen and relay do not need it.

commands:
{commands}

  wire-rawsse COMMAND --help   show the options, examples and exit statuses of a command
  wire-rawsse --version        show the version

example:
  wire-rawsse demo

exit statuses of every command: 64 for wrong usage, 70 for an internal error, 74 if standard output cannot be written.
A closed standard output is not an error.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status. Never raises `Exception`; a signal may end the process."""
    from wire_rawsse.cli import stdio

    stdio.ensure_open()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    command = name if name in COMMANDS else ""
    if command in SERVICES:
        exit.end_well_on_signals()
    else:
        exit.end_on_signals()
    try:
        return _run(command, rest) if command else _without_command(name)
    except Failure as failure:
        exit.give_way()
        stdio.say(command, failure.text)
        return failure.status
    except stdio.OutputClosed:
        return OK
    except Exception as error:
        exit.give_way()
        stdio.say(command, f"internal error ({_where(error)}); please report it")
        return INTERNAL


def _run(command: str, arguments: list[str]) -> int:
    # Not importlib: five lines that a reader, a type checker and a packager can follow.
    if command == "demo":
        from wire_rawsse.cli.demo import run
    elif command == "listen":
        from wire_rawsse.cli.listen import run
    elif command == "daemon":
        from wire_rawsse.cli.daemon import run
    elif command == "status":
        from wire_rawsse.cli.status import run
    elif command == "probe":
        from wire_rawsse.cli.probe import run
    else:
        from wire_rawsse.cli.relay import run
    return run(arguments)


def _without_command(name: str) -> int:
    from wire_rawsse.cli import stdio

    if name in ("-h", "--help"):
        commands = "\n".join(f"  {command:8}{summary}" for command, summary in COMMANDS.items())
        stdio.write(HELP.format(commands=commands))
        return OK
    if name in ("-V", "--version"):
        from wire_rawsse import __version__

        stdio.write(f"wire-rawsse {__version__}\n")
        return OK
    came = "nothing" if not name else "an option" if name.startswith("-") else "something else"
    raise Failure(f"expected a command ({', '.join(COMMANDS)}), got {came}; see: wire-rawsse --help", USAGE)


def _where(error: Exception) -> str:
    """The kind of error and the line it came from: enough for a report, and no text that may hold a secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    import os

    return f"{type(error).__name__} at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
