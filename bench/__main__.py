"""`python -m bench COMMAND`: measure this library beside floors and peers, on this machine, now.

Each command prints its table and writes `bench/results/COMMAND.json`, or to `--out`. Smoke runs write to `quick/` in
there, and a relay of one's own to `own/`, so as not to take the place of real results. The exit status is 0; 1 if one
of our own clients gave no figure where it should have, or a part failed; 64 for a usage error. A part that fails takes
no other with it: `all` goes on, says at the end what failed, and its goals leave old results of that part out.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import (
    cost,
    cost_table,
    endtoend,
    fleet,
    goals,
    many,
    many_table,
    parse,
    report,
    roster,
    wake,
    wake_table,
    wedge,
)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(64, f"{self.prog}: {message}\n")


def _wake(arguments: argparse.Namespace, on: Console) -> int:
    settings = wake.QUICK if arguments.quick else wake.Settings()
    given: dict[str, Any] = {
        name: value
        for name in ("rounds", "passes", "bursts", "seed", "links", "schemes", "clients", "handover", "end_to_end")
        if (value := getattr(arguments, name, None)) is not None
    }
    if "rounds" in given:
        given["veth_rounds"] = given["rounds"]
    return wake.run(dataclasses.replace(settings, **given), arguments.out, on)


def _parse(arguments: argparse.Namespace, on: Console) -> int:
    return parse.run(parse.QUICK if arguments.quick else parse.Settings(), arguments.out, on)


def _cost(arguments: argparse.Namespace, on: Console) -> int:
    return cost.run(cost.QUICK if arguments.quick else cost.Settings(), arguments.out, on)


def _wedge(arguments: argparse.Namespace, on: Console) -> int:
    return wedge.run(wedge.QUICK if arguments.quick else wedge.Settings(), arguments.out, on)


def _many(arguments: argparse.Namespace, on: Console) -> int:
    return many.run(many.QUICK if arguments.quick else many.Settings(), arguments.out, on)


def _fleet(arguments: argparse.Namespace, on: Console) -> int:
    return fleet.run(fleet.QUICK if arguments.quick else fleet.Settings(), arguments.out, on)


def _relay(arguments: argparse.Namespace, on: Console) -> int:
    settings = endtoend.QUICK if arguments.quick else endtoend.Settings()
    if arguments.seconds is not None:
        settings = dataclasses.replace(settings, seconds=arguments.seconds)
    return endtoend.run_own(arguments.url, settings, arguments.ca, arguments.out, on)


EPILOG = """examples:
  python -m bench all --quick                  everything once, in two minutes
  python -m bench wake --schemes https         how soon each client wakes, over TLS alone
  python -m bench https://relay.example:8770   the same question, asked of a relay of your own
"""
RELAY_TEXT = "a relay of your own: from the post until a daemon has the event; URL alone does the same"

COMMANDS: dict[str, tuple[str, Callable[[argparse.Namespace, Console], int]]] = {
    "wake": ("latency from the relay's send to the daemon's main thread", _wake),
    "parse": ("event-stream parsers on the same bytes", _parse),
    "cost": ("memory, threads and CPU time of one stream, idle and for each event", _cost),
    "wedge": ("how long until a dead stream is noticed", _wedge),
    "many": ("memory and CPU time of thousands of streams in one process", _many),
    "fleet": ("what a relay sees when it restarts and its daemons come back", _fleet),
}


ABOUT = {name: module.__doc__ for name, module in (
    ("wake", wake), ("parse", parse), ("cost", cost), ("wedge", wedge), ("many", many), ("fleet", fleet),
)}  # fmt: skip


def _all(arguments: argparse.Namespace, on: Console) -> int:
    start = time.monotonic()
    trouble: list[str] = []
    measured: list[str] = []
    for name, (_, action) in COMMANDS.items():
        on.rule(name)
        try:
            if action(arguments, on):
                trouble.append(f"{name}: not whole, see there")
            measured.append(name)
        except Exception as error:
            # Half an hour of other results is not lost for it.
            on.print_exception()
            trouble.append(f"{name}: {type(error).__name__}: {error}")
    on.rule("goals")
    _tell_goals(arguments.out, measured, on)
    for one in trouble:
        on.print(f"[red]failed: {escape(one)}")
    on.print(f"all: {time.monotonic() - start:.0f} s")
    return 1 if trouble else 0


def _goals(arguments: argparse.Namespace, on: Console) -> int:
    return _told(lambda: _tell_goals(arguments.out, list(COMMANDS), on))


def _told(tell: Callable[[], None]) -> int:
    """The exit status of telling what files hold, which may hold anything."""
    try:
        tell()
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"python -m bench: a result cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 65
    return 0


def _tell_goals(out: Path, of: list[str], on: Console) -> None:
    results = {name: report.load(path) for name in of if (path := out / f"{name}.json").exists()}
    table = Table(title="goals", title_justify="left", caption_justify="left")
    for head in ("what", "bound", "middle (smallest-largest round)", "p99 ÷ p99", "verdict"):
        table.add_column(head, justify="left" if head in ("what", "verdict") else "right")
    rows = goals.rows(results)
    for row in rows:
        bound = "-" if row.bound is None else f"{'≥' if row.at_least else '≤'} {row.bound:g}"
        # Three digits, as a bound may be missed by less than 0.01.
        value = "-" if row.value is None else "{:.3f} ({:.3f}-{:.3f})".format(*row.value)
        tail = "-" if row.tail is None else f"{row.tail:.2f}"
        table.add_row(row.what, bound, value, tail, row.verdict, style="red" if row.verdict in goals.NOT_MET else None)
    counts = Counter(row.verdict for row in rows if row.verdict != "-")
    table.caption = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    on.print(table)
    of_what = {name: found.get("environment", {}) for name, found in results.items()}
    made = {name: environment.get("commit") or "no commit" for name, environment in of_what.items()}
    told = [f"{name} {of_what[name].get('when', 'one day')} ({commit})" for name, commit in made.items()]
    on.print("of: " + ", ".join(told or ["nothing; run python -m bench all"]), soft_wrap=True)
    if len({commit.removesuffix("-dirty") for commit in made.values()}) > 1:
        on.print("[red]these are not of one run: their commits differ")


def _show(arguments: argparse.Namespace, on: Console) -> int:
    return _told(lambda: _tell(arguments.file, on))


def _tell(file: Path, on: Console) -> None:
    found = report.load(file)
    tables = {
        "wake": lambda: wake_table.tables(found),
        "parse": lambda: parse.tables(found),
        "cost": lambda: cost_table.tables(found),
        "wedge": lambda: [wedge.table(found)],
        "relay": lambda: [endtoend.table(found["end_to_end"])],
        "fleet": lambda: [fleet.table(found)],
        "many": lambda: many_table.tables(found),
    }[found["bench"]]()
    for one in tables:
        on.print(one)


def _build(arguments: argparse.Namespace, on: Console) -> int:
    for what, build in (("the C floor", roster.build_floor), ("the Rust peer", roster.build_rust)):
        try:
            on.print(f"{what}: {build()}")
        except roster.Unavailable as error:
            on.print(f"{what}: left out, {error}")
    return 0


def _names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: comma-separated names out of `known`."""

    def convert(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    return convert


def _count(text: str) -> int:
    """An argparse type: how often, at least once."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is wanted, not {text!r}")
    return count


def _relay_url(text: str) -> str:
    """An argparse type: the URL of a relay, without a path."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(f"http://HOST:PORT or https://HOST:PORT is wanted, not {text!r}")
    return text


def _parser() -> Parser:
    parser = Parser(
        prog="python -m bench", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, help="folder for JSON and pictures (default: bench/results, or quick/ or own/ in there)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (text, action) in {**COMMANDS, "all": ("all of the above", _all)}.items():
        about = ABOUT.get(name) or f"{text}, one after the other, and what is held against the goals"
        one = commands.add_parser(name, help=text, description=about, formatter_class=argparse.RawTextHelpFormatter)
        one.add_argument("--quick", action="store_true", help="a smoke run: figures that prove only that it runs")
        one.set_defaults(action=action)
        if name == "wake":
            one.add_argument("--rounds", type=_count, help="fresh processes this many times")
            one.add_argument("--passes", type=_count, help="single events for each client in a round")
            one.add_argument("--bursts", type=_count, help="bursts of ten for each client in a round")
            one.add_argument("--seed", type=int, help="fixes the order of events")
            one.add_argument("--links", type=_names(("loopback", "veth")), help="loopback,veth")
            one.add_argument("--schemes", type=_names(("http", "https")), help="http,https")
            one.add_argument("--clients", type=_names(tuple(roster.BY_NAME)), help="programs of bench/clients, by name")
            one.add_argument(
                "--handover",
                choices=roster.HANDOVERS,
                help="how a peer's thread wakes the main thread (default: as the fastest of the floors mostly does)",
            )
            one.add_argument("--no-end-to-end", dest="end_to_end", action="store_false", default=None,
                             help="leave out wire's own relay")  # fmt: skip
    relay = commands.add_parser("relay", help=RELAY_TEXT, description=RELAY_TEXT)
    relay.add_argument("url", type=_relay_url, metavar="URL", help="http://HOST:PORT of a relay that allocates slots")
    relay.add_argument("--quick", action="store_true", help="some seconds only")
    relay.add_argument("--seconds", type=float, help="how long (default: 40)")
    relay.add_argument("--ca", help="a CA file (PEM), for https with a certificate of one's own")
    relay.set_defaults(action=_relay)
    build = commands.add_parser(
        "build", help="compile the C floor and the Rust peer, where there is a compiler and cargo"
    )
    build.set_defaults(action=_build)
    goal = commands.add_parser("goals", help="how the results in --out stand to what the library is held to")
    goal.set_defaults(action=_goals)
    show = commands.add_parser("show", help="print the tables of a result file again")
    show.add_argument("file", type=Path)
    show.set_defaults(action=_show)
    return parser


def main() -> int:
    given = sys.argv[1:]
    for place, word in enumerate(given):
        if word.startswith(("http://", "https://")) and "relay" not in given[:place]:
            given.insert(place, "relay")
            break
    arguments = _parser().parse_args(given)
    if arguments.out is None:
        aside = "own" if arguments.action is _relay else "quick" if getattr(arguments, "quick", False) else ""
        arguments.out = report.RESULTS / aside
    # As in life, every program runs from bytecode, wherever this one may write it: compiling belongs to no figure.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(roster.cache() / "bytecode"))
    # As Ctrl-C does: every client that was started is ended on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    status: int = arguments.action(arguments, report.console())
    return status


if __name__ == "__main__":
    raise SystemExit(main())
