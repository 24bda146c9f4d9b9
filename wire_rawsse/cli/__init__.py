"""Internal: the command `wire-rawsse`, from the first argument to the exit status.

This module ensures the following for every subcommand, before its module is loaded:

* SIGINT and SIGTERM end the process at once, also during a write into a full pipe or a slow import, and without a
  traceback. A subcommand that must restore something first gives a function for that (`exit.before_the_end`).
* Descriptors 0, 1 and 2 are open. If one was closed, the first socket would get its number, and events or error
  texts would be written into a connection.
* A closed standard output is not an error, and nothing ends in a traceback. An error that a user can cause is a
  `Failure`: one line on standard error, and its exit status. Any other error is internal, and is one line too.

Each subcommand is a module with a function `run`, and is loaded only when it is called: `status` in a shell prompt must
not pay for the relay's asyncio. This module imports only modules that every subcommand needs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol

from wire_rawsse.cli import exit
from wire_rawsse.cli.exit import INTERNAL, OK, USAGE, Failure

if TYPE_CHECKING:
    from wire_rawsse.cli.arguments import Parser

COMMANDS: Final = {
    "demo": "show wakes, a stream that wedges, and how that is noticed; about 10 s, no configuration",
    "listen": "print the events of any event stream, like a curl -N that reconnects and cannot wedge",
    "daemon": "run a command when an event arrives (of any stream, or of wire's), and every few seconds",
    "status": "print the state of the running daemon: one line, JSON, metrics, or a refreshed screen",
    "probe": "say what is wrong with an event stream, hop by hop, and the one thing to change",
    "relay": "run a development relay, which can be told to misbehave",
}

SERVICES: Final = ("daemon", "relay")
"""They run until they are told to stop: for them a signal is no failure."""

HELP: Final = """\
Usage: wire-rawsse COMMAND [OPTIONS]

An HTTP event stream that cannot wedge, and wakes a daemon the moment something arrives. wire is a
program whose agents send each other events through relays (the Rust crate slancha-wire). Only daemon
without a URL needs it.

commands:
{commands}

  wire-rawsse COMMAND --help   show the options, examples and exit statuses of a command
  wire-rawsse --version        show the version
  wire-rawsse --print-completion bash|zsh|fish
                               print a script that completes commands, options and files in that shell

example:
  wire-rawsse demo

exit statuses of every command: 64 for wrong usage, 70 for an internal error, 74 if standard output
cannot be written. A closed standard output is not an error.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return its exit status. Never raises `Exception`; a signal may end the process."""
    import time

    began = time.monotonic()
    from wire_rawsse.cli import stdio

    stdio.ensure_open()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    command = name if name in COMMANDS else ""
    if command in SERVICES:
        exit.end_well_on_signals()
    else:
        exit.end_on_signals()
    try:
        return _run(command, rest, began) if command else _without_command(name, rest)
    except Failure as failure:
        stdio.say(command, failure.text)
        return failure.status
    except stdio.OutputClosed:
        return OK
    except Exception as error:
        stdio.say(command, f"internal error ({_where(error)}); please report it")
        return INTERNAL
    finally:
        exit.ignore_signals()


def _run(command: str, arguments: list[str], began: float) -> int:
    if command == "probe":
        from wire_rawsse.cli import probe

        return probe.run(arguments, began)
    return _module(command).run(arguments)


class _Module(Protocol):
    """The interface of a subcommand's module."""

    def run(self, arguments: list[str]) -> int: ...
    def parser(self) -> Parser: ...


def _module(command: str) -> _Module:
    # Not importlib: lines that a reader, a type checker and a packager can follow.
    if command == "demo":
        from wire_rawsse.cli import demo

        return demo
    if command == "listen":
        from wire_rawsse.cli import listen

        return listen
    if command == "daemon":
        from wire_rawsse.cli import daemon

        return daemon
    if command == "status":
        from wire_rawsse.cli import status

        return status
    if command == "probe":
        from wire_rawsse.cli import probe

        return probe
    from wire_rawsse.cli import relay

    return relay


def _without_command(name: str, rest: list[str]) -> int:
    from wire_rawsse.cli import stdio

    if name in ("-h", "--help"):
        commands = "\n".join(f"  {command:8}{summary}" for command, summary in COMMANDS.items())
        stdio.write(HELP.format(commands=commands))
        return OK
    if name in ("-V", "--version"):
        from wire_rawsse import __version__

        stdio.write(f"wire-rawsse {__version__}\n")
        return OK
    if name == "--print-completion":
        return _print_completion(rest)
    import difflib

    came = "nothing" if not name else "an option" if name.startswith("-") else "something else"
    near = difflib.get_close_matches(name.lower(), COMMANDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "see: wire-rawsse --help"
    raise Failure(f"expected a command ({', '.join(COMMANDS)}), got {came}; {hint}", USAGE)


def _print_completion(arguments: list[str]) -> int:
    from wire_rawsse.cli import stdio
    from wire_rawsse.cli.completion import SHELLS, script

    if len(arguments) > 1:
        raise Failure(f"{len(arguments) - 1} argument{'s' if len(arguments) > 2 else ''} too many", USAGE)
    if not arguments or arguments[0] not in SHELLS:
        came = "something else" if arguments else "nothing"
        raise Failure(f"--print-completion: expected one of {', '.join(SHELLS)}, got {came}", USAGE)
    stdio.write(script(arguments[0], COMMANDS, lambda command: _module(command).parser()))
    return OK


def _where(error: Exception) -> str:
    """The kind of error and the line it came from: enough for a report, and no text that may hold a secret."""
    import os

    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        name = f"{name}, {os.strerror(error.errno)},"  # Such as too many open files: not ours to correct.
    if trace is None:
        return name
    return f"{name} at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
