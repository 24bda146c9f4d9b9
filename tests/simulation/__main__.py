"""`python -m tests.simulation`: years of bad weather, and what they find.

Exit status: 0 all promises kept, 1 one was broken (or a mutant was not found), 64 usage.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from typing import Final, NoReturn

from tests import mutants
from tests.simulation import run
from tests.support import executors

BROKEN: Final = 1
USAGE: Final = 64
INTERRUPTED: Final = 130
_TELL_EVERY: Final = (0.2, 10.0)
"""Seconds between two words on progress: on a terminal, and in a file."""


class Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see --help", file=sys.stderr)
        sys.exit(USAGE)


def arguments() -> argparse.Namespace:
    parser = Arguments(
        prog="python -m tests.simulation",
        description="Years of bad weather for the shipped code, in a world made of memory, deterministic from a seed.",
        epilog="Exit status: 0 all promises kept, 1 one was broken or a mutant was not found, 64 usage.",
    )
    parser.add_argument(
        "what",
        nargs="?",
        default="years",
        choices=["years", "mutants", "hours"],
        help="years of random weather (the default); mutants: after how long each bug that is put in is found; "
        "hours: an hour of each fault, and how many connections it costs",
    )
    parser.add_argument("--years", type=_positive, default=1.0, metavar="N", help="how many (1)")
    parser.add_argument("--seed", default="1", metavar="S", help="what everything follows from (1)")
    parser.add_argument("--processes", type=_count, default=os.cpu_count() or 1, metavar="N", help="(all cores)")
    executors.add_option(parser)
    parser.add_argument("--replay", type=_life, metavar="SEED/N", help="live one life again, and show its trace")
    parser.add_argument("--last", type=_count, default=200, metavar="N", help="lines of a replay that are shown (200)")
    parser.add_argument("--all", action="store_true", help="show every line of a replay, as it happens")
    parser.add_argument("--mutant", type=_mutant, metavar="WORDS", help="with the mutant whose name has these words")
    return parser.parse_args()


def _positive(text: str) -> float:
    number = _number(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number of years above 0, got {text}")
    return number


def _count(text: str) -> int:
    number = _number(text)
    if not 0 < number < 1e6 or number != int(number):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return int(number)


def _number(text: str) -> float:
    """-1 for what is none."""
    try:
        return float(text)
    except ValueError:
        return -1.0


def _life(text: str) -> tuple[str, int]:
    seed, slash, number = text.rpartition("/")
    if not slash or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"expected the seed of a life, as in 1/28, got {text!r}")
    return seed, int(number)


def _mutant(text: str) -> str:
    try:
        return mutants.by_words(text).name
    except LookupError as error:
        known = "\n  ".join(one.name for one in mutants.MUTANTS)
        raise argparse.ArgumentTypeError(f"{error}. There are:\n  {known}\n") from error


class Progress:
    """A line on standard error, now and then; on a terminal always the same one."""

    def __init__(self, years: float) -> None:
        self._years = years
        self._terminal = sys.stderr.isatty()
        self._began = self._told = time.monotonic()

    def __call__(self, total: run.Years, lived: run.Lived) -> None:
        now = time.monotonic()
        if now - self._told < _TELL_EVERY[not self._terminal]:
            return
        self._told = now
        speed = total.days / run.YEAR / (now - self._began) * 60
        part = min(1.0, total.days / run.YEAR / self._years)
        text = f"{part:4.0%}  {total}; {speed:.1f} years a minute"
        print(
            f"\r{text}\033[K" if self._terminal else text,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def end(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def years(given: argparse.Namespace) -> int:
    progress, began = Progress(given.years), time.monotonic()
    with executors.executor(given.executor, given.processes) as made:
        total, wrong = run.run(given.seed, given.years, made, given.processes, given.mutant, progress)
    progress.end()
    if wrong is not None:
        print(*wrong.trace, sep="\n")
        print(f"\na promise was broken in life {given.seed}/{wrong.number}, after {wrong.days:.2f} days of it:")
        print(f"  {wrong.violation}")
        mutant = f' --mutant "{given.mutant}"' if given.mutant else ""
        print(f"see it again: python -m tests.simulation --replay {given.seed}/{wrong.number}{mutant}")
        print(f"lived until then: {total}")
        return BROKEN
    where = given.executor if "/" not in given.executor else f"workers of {given.executor}"
    print(f"all promises kept over {total}; {time.monotonic() - began:.0f} s on {given.processes} {where}")
    print(total.details)
    return 0


def replay(given: argparse.Namespace) -> int:
    seed, number = given.replay
    kept: deque[str] = deque(maxlen=given.last)
    with run.installed(given.mutant):
        lived = run.live(seed, number, print if given.all else kept.append)
    for line in kept:
        print(line)
    print(f"\n{lived.days:.2f} days, {lived.faults} faults, {lived.connections} connections, {lived.events} events:")
    print(f"  {lived.violation or 'all promises kept'}")
    return 0 if lived.violation is None else BROKEN


def main() -> int:
    given = arguments()
    run.quiet()
    if given.replay is not None:
        return replay(given)
    if given.what == "mutants":
        from tests.simulation.hunt import table

        with executors.executor(given.executor, given.processes) as made:
            return table(made, given.processes)
    if given.what == "hours":
        from tests.simulation.hours import table as hours

        return hours()
    return years(given)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(BROKEN)
