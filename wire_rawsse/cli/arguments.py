"""Options, on argparse, with the manners that the command promises.

argparse would exit with 2, print its usage above the error, and quote what it does not know: `--token s3cr3t` would be
answered with the token. Here every wrong usage is a `Failure` with status 64 and one line, in which nothing is quoted
but what failed to be a number. Abbreviations are off: an option added later must not change what a script means.

Each parser's help ends with an example and the exit statuses, which have to be given to make one.
"""

from __future__ import annotations

import argparse
import math
import os
import stat
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from wire_rawsse.cli import stdio
from wire_rawsse.cli.exit import COMMON_STATUSES, USAGE, Failure
from wire_rawsse.errors import excerpt
from wire_rawsse.policy import Timeouts

_WIDTH: Final = 100
_TOKEN_LIKE: Final = ("--token", "--bearer", "--bearer-token", "--auth", "--user", "--password", "--cookie")


class Parser(argparse.ArgumentParser):
    """The parser of `wire-rawsse COMMAND`. `statuses`: exit status to meaning, beside or in place of the common ones.

    `required` is the option that must be given, and `operand` what follows the options. `notes` are lines that stand
    before the examples.
    """

    def __init__(
        self,
        command: str,
        description: str,
        *,
        required: str = "",
        operand: str = "",
        notes: Sequence[str] = (),
        examples: Sequence[str],
        statuses: Mapping[int, str],
    ) -> None:
        rows = {**COMMON_STATUSES, **statuses}
        epilog = [*notes, "examples:" if len(examples) > 1 else "example:", *(f"  {example}" for example in examples)]
        epilog += ["", "exit statuses:", *(f"  {number:<4} {rows[number]}" for number in sorted(rows))]
        super().__init__(
            prog=f"wire-rawsse {command}",
            usage=" ".join(filter(None, ("wire-rawsse", command, required, "[OPTIONS]", operand))),
            description=description,
            epilog="\n".join(epilog),
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.command = command

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Raises `Failure` for wrong usage. `--help` prints, and ends as `argparse` has it, with `SystemExit(0)`."""
        self._check_flags(arguments)
        namespace, unknown = self.parse_known_args(list(arguments))
        if unknown:
            self.error(self._about(unknown))
        return namespace

    def _check_flags(self, arguments: Sequence[str]) -> None:
        """Refuse a value that is joined to a short option without one. argparse of 3.14 takes it for more options."""
        flags = {name: action for action in self._actions if action.nargs == 0 for name in action.option_strings}
        for argument in arguments:
            if argument == "--":
                return
            joined = argument[1:] if argument[:2] in flags and argument[:2] != "--" else ""
            if any(f"-{letter}" not in flags for letter in joined):
                names = "/".join(flags[argument[:2]].option_strings)
                self.error(f"argument {names}: expected no value with it, got one")

    def error(self, message: str) -> NoReturn:
        option, quoted, _ = message.partition(": ignored explicit argument ")
        if quoted:  # Of an option that takes none; and what came may be the secret of another one.
            message = f"{option}: expected no value with it, got one"
        option, number, came = message.partition(" value: ")
        if number and option.endswith((": invalid int", ": invalid float")):
            message = f"{option.rpartition(':')[0]}: expected a number, got {excerpt(came)}"
        raise Failure(f"{message.removeprefix('argument ')}; see: {self.prog} --help", USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            stdio.write(stdio.plain(message, sys.stdout))

    def _about(self, unknown: list[str]) -> str:
        """The error for unknown arguments. It names options and quotes nothing more: the rest may be a secret."""
        option = next((argument.partition("=")[0] for argument in unknown if argument.startswith("-")), None)
        if option is None:
            return f"{len(unknown)} argument{'s' if len(unknown) > 1 else ''} too many"
        known = [name for action in self._actions for name in action.option_strings]
        if option.startswith(_TOKEN_LIKE) and "--token-file" in known:
            return "a secret is never an argument (others can read it); use --token-file, --token-env or --headers-file"
        if not option.startswith("--"):
            return f"there is no option {option[:2]}"
        import difflib

        near = difflib.get_close_matches(option, known, n=1)
        return f"there is no option {excerpt(option)}" + (f"; did you mean {near[0]}?" if near else "")


class _Formatter(argparse.HelpFormatter):
    """Keeps the lines of the examples; a fixed width, so that help reads the same everywhere."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{**options, "width": _WIDTH, "max_help_position": 30})

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: ")  # As help2man(1) wants it.

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


def seconds(*, zero: bool = False) -> Callable[[str], float]:
    """A type for argparse: a positive number of seconds (or 0)."""

    def convert(text: str) -> float:
        try:
            # Python would read digits of every script, and 1_0 as ten.
            value = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            least = "0 or more" if zero else "more than 0"
            raise argparse.ArgumentTypeError(f"expected a number of seconds, {least}, got {shown(text)}")
        return value

    return convert


def whole(text: str) -> int:
    """A type for argparse: a whole number from 1."""
    return _whole(text, 1)


def count(text: str) -> int:
    """A type for argparse: a whole number from 0."""
    return _whole(text, 0)


def path(text: str) -> str:
    """A type for argparse: the name of a file."""
    if not text:
        raise argparse.ArgumentTypeError("expected the name of a file, got nothing")
    return text


def event_type(text: str) -> str:
    """A type for argparse: the type of an event, which is never empty and has no line end (WHATWG HTML 9.2.6)."""
    if not text or "\n" in text or "\r" in text:
        came = "one with a line end" if text else "nothing; the type of an event without one is message"
        raise argparse.ArgumentTypeError(f"expected the type of an event, got {came}")
    return text


def replaced(text: str) -> str:
    """A type for argparse: the name of a file that we replace whole, so never of a device, a pipe or a socket."""
    try:
        mode = os.stat(path(text)).st_mode
    except (OSError, ValueError):
        return text  # The first write tells the reason.
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return text
    raise argparse.ArgumentTypeError(
        "expected a regular file, or a name that is free, got a device, a pipe or a socket"
    )


def _whole(text: str, least: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number from {least}, got {shown(text)}")


def shown(text: str) -> str:
    """The text that was given instead of a number, quoted."""
    return f"'{excerpt(text)}'" if text else "nothing"


def add_request(options: Parser) -> None:
    """Add the options of the request, for every command that opens a stream of the user's choice."""
    of_request = options.add_argument_group(
        "request",
        "Give secrets in files or in the environment; other users can read the arguments. Token and headers files are "
        "read before each connection, and again after a 401.",
    )
    header = "a header field without a secret; may be repeated"
    of_request.add_argument("--header", metavar="NAME:VALUE", action="append", default=[], help=header)
    fields = "header fields, one NAME: VALUE per line; # begins a comment"
    of_request.add_argument("--headers-file", metavar="FILE", type=path, help=fields)
    token = of_request.add_mutually_exclusive_group()
    token.add_argument("--token-file", metavar="FILE", type=path, help="the bearer token")
    token.add_argument(
        "--token-env",
        metavar="NAME",
        help="the environment variable that holds the bearer token (the command of daemon inherits it)",
    )
    of_request.add_argument("--method", metavar="METHOD", help="the method (default GET, or POST with --data-file)")
    body = "the body of the request, which each connection sends again"
    of_request.add_argument("--data-file", metavar="FILE", type=path, help=body)


def add_limits(options: Parser) -> None:
    """The clocks of a stream and its trust, for every command that holds one."""
    defaults = Timeouts()
    limits = options.add_argument_group("limits and TLS")
    for name, default, meaning in (
        ("read", defaults.read, "seconds of silence after which the stream is taken for dead and reconnected"),
        ("connect", defaults.connect, "seconds for name, TCP, proxy and TLS together"),
        (
            "response",
            defaults.response,
            "seconds from the request to the end of the response head; consecutive timeouts double it, up to "
            "--read-timeout",
        ),
    ):
        limits.add_argument(
            f"--{name}-timeout",
            metavar="S",
            type=seconds(),
            default=default,
            help=f"{meaning} (default %(default)g)",
        )
    limits.add_argument(
        "--min-rate",
        metavar="B",
        type=count,
        default=defaults.min_rate,
        help="bytes a second that an unfinished line must bring over each --read-timeout (default %(default)g; 0: off)",
    )
    trust = "trust these certificates (PEM) instead of the default ones"
    limits.add_argument("--cacert", metavar="FILE", type=path, help=trust)
    limits.add_argument(
        "--cert",
        metavar="FILE",
        type=path,
        help="a client certificate (PEM); it and its key are read again when they change",
    )
    limits.add_argument(
        "--key", metavar="FILE", type=path, help="the key of --cert (PEM, not encrypted), unless it is in the same file"
    )


def timeouts(options: argparse.Namespace) -> Timeouts:
    """The timeouts from the options of `add_limits`."""
    return Timeouts(
        connect=options.connect_timeout,
        response=options.response_timeout,
        read=options.read_timeout,
        min_rate=options.min_rate,
    )
