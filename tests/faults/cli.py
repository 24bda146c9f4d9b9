"""`python -m tests.faults`: list, run, matrix, report."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from tests.faults import world
from tests.faults.bounds import CONSUMERS, HOSTS, PHASES, Settings, Setup
from tests.faults.catalogue import FAULTS
from tests.faults.outcome import BROKEN, ERROR, KEPT, LEFT_OUT, run_cell, why_not
from tests.faults.tools import LabError, Missing
from tests.support import executors

OK, NOT_KEPT, USAGE, UNAVAILABLE = 0, 1, 64, 69
_STATUSES: Final = {KEPT: OK, LEFT_OUT: OK, BROKEN: NOT_KEPT, ERROR: UNAVAILABLE}
_EPILOG: Final = """exit status: 0 every promise kept, or the cell makes no sense and says why; 1 a promise broken;
64 a wrong argument; 69 the lab cannot work here, or could not prove that the fault took place"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    kind: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "epilog": _EPILOG}
    top = _Parser(prog="python -m tests.faults", description="Every way a stream can die, done for real.", **kind)
    commands = top.add_subparsers(dest="what", required=True, metavar="COMMAND", parser_class=_Parser)
    lists = commands.add_parser("list", help="the faults, and in which phases they make sense", **kind)
    lists.add_argument("--reasons", action="store_true", help="also why a cell makes no sense")
    run = commands.add_parser("run", help="one fault in one phase", **kind)
    run.add_argument("fault", metavar="FAULT", help="a name from `list`")
    run.add_argument("--phase", choices=PHASES, default="streaming", help="default: %(default)s")
    run.add_argument("--host", choices=HOSTS, default="inline", help="default: %(default)s")
    run.add_argument("--consumer", choices=CONSUMERS, default="subscriber", help="default: %(default)s")
    way = run.add_mutually_exclusive_group()
    way.add_argument("--tls", dest="transport", action="store_const", const="https", help="https instead of http")
    way.add_argument("--proxy", dest="transport", action="store_const", const="proxy", help="https through a proxy")
    run.add_argument("--daemon", metavar="CMD", help="your daemon instead of ours; see tests/faults/lines.py")
    run.add_argument("--set", metavar="NAME=N", action="append", default=[], help="a clock by which it is judged")
    run.add_argument("--seed", type=int, default=1, help="for faults that throw dice (default: %(default)s)")
    run.add_argument("--pcap", metavar="FILE", help="write the packets of the middle host to FILE (tcpdump)")
    run.add_argument("--json", metavar="FILE", help="write all that is known to FILE (- is standard output)")
    run.set_defaults(transport="http")
    matrix = commands.add_parser("matrix", help="all cells, several at a time", **kind)
    matrix.add_argument("--json", metavar="FILE", help="append each outcome to FILE, a line each; go on where it ends")
    matrix.add_argument(
        "--repeat", metavar="N", type=_count, default=1, help="each cell N times (default: %(default)s)"
    )
    matrix.add_argument("--jobs", metavar="N", type=_count, default=4 * (os.cpu_count() or 1), help="so many at a time")
    executors.add_option(matrix, executors.THREADS)
    matrix.add_argument("--faults", metavar="NAME,…", help="these alone")
    matrix.add_argument("--phases", metavar="NAME,…", help="these alone")
    part = matrix.add_mutually_exclusive_group()
    part.add_argument("--full", dest="part", action="store_const", const="full", help="fault × phase alone")
    part.add_argument("--pairs", dest="part", action="store_const", const="pairs", help="all but fault × phase")
    part.add_argument("--short", dest="part", action="store_const", const="short", help="each fault once")
    made = commands.add_parser("report", help="tables and the picture from a matrix's file", **kind)
    made.add_argument("outcomes", metavar="FILE", help="what `matrix --json` wrote")
    made.add_argument("folder", metavar="FOLDER", help="where the tables, their JSON and the picture go")
    return top


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """The exit status; see `--help`."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parser().parse_args(arguments)
    try:
        if options.what == "list":
            return _list(options.reasons)
        if options.what == "matrix":
            return _matrix(options)
        if options.what == "report":
            return _report(Path(options.outcomes), Path(options.folder))
        return _run(options, arguments)
    except Missing as missing:
        print(f"python -m tests.faults: {missing}", file=sys.stderr)
        return UNAVAILABLE
    except (LabError, OSError) as error:
        print(f"python -m tests.faults: {error}", file=sys.stderr)
        return UNAVAILABLE
    except BrokenPipeError:
        return OK
    except KeyboardInterrupt:
        return 130


def _list(reasons: bool) -> int:
    group = None
    for name, fault in FAULTS.items():
        if fault.group != group:
            group = fault.group
            print(f"\n{group}")
        print(f"  {name:<20} {fault.words}")
        for phase in PHASES if reasons else ():
            why = why_not(name, Setup(phase=phase))
            print(f"      {phase:<14} {why or 'yes'}")
    print(f"\nphases: {', '.join(PHASES)}")
    return OK


def settings_from(pairs: list[str]) -> Settings:
    """Raises ValueError, saying what is allowed."""
    fields = {field.name: field.type for field in dataclasses.fields(Settings)}
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in fields:
            raise ValueError(f"--set takes NAME=N with one of the names {', '.join(fields)}")
        try:
            given[name] = int(value) if fields[name] == "int" else float(value)
        except ValueError:
            raise ValueError(f"--set {name}: {value!r} is no number") from None
        if given[name] < 0 or (given[name] == 0 and name != "min_rate"):
            raise ValueError(f"--set {name}: must be above 0")
    return Settings(**given)


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    if options.fault not in FAULTS:
        parser().error(f"there is no fault {options.fault!r}: see `python -m tests.faults list`")
    try:
        settings = settings_from(options.set)
    except ValueError as error:
        parser().error(str(error))
    setup = Setup(
        options.phase, options.host, options.transport, options.consumer, settings, options.seed, options.daemon
    )
    if not world.inside():
        world.enter("tests.faults", arguments)
    outcome = run_cell(options.fault, setup, options.pcap)
    if options.json == "-":
        print(json.dumps(outcome))
    else:
        if options.json:
            Path(options.json).write_text(json.dumps(outcome, indent=1) + "\n")
        _tell(outcome)
    return _STATUSES[outcome["status"]]


def _tell(outcome: dict[str, Any]) -> None:
    """One cell for a person."""
    print(f"{outcome['fault']} × {outcome['phase']}, {outcome['host']}, {outcome['transport']}, {outcome['consumer']}")
    if "proof" in outcome:
        print(f"  it happened: {json.dumps(outcome['proof'])[:160]}")
    for check in outcome.get("checks", ()):
        word = "kept" if check["kept"] else "BROKEN"
        print(f"  {word:<6} {check['name']:<17} {_short(check['found']):<34} bound {_short(check['bound'])}")
    print(f"{outcome['status']}{': ' + outcome['reason'] if outcome['reason'] else ''}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _some(given: str | None, known: Sequence[str], what: str) -> set[str]:
    names = set(given.split(",")) if given else set(known)
    for name in sorted(names - set(known)):
        parser().error(f"there is no {what} {name!r}: see `python -m tests.faults list`")
    return names


def _matrix(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from tests.faults import matrix, pairs

    faults = _some(options.faults, list(FAULTS), "fault")
    phases = _some(options.phases, PHASES, "phase")
    parts = {"full": pairs.full, "pairs": pairs.cover, "short": pairs.short}
    chosen = parts[options.part]() if options.part else [*pairs.full(), *pairs.cover()]
    places = [place for place in chosen if place.fault in faults and place.phase in phases]
    counts = dict.fromkeys((KEPT, BROKEN, ERROR, LEFT_OUT), 0)
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    path = Path(options.json) if options.json else None
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(places) * options.repeat)
        for done, _, outcome in matrix.run(
            places, repeat=options.repeat, jobs=options.jobs, path=path, executor=options.executor
        ):
            counts[outcome["status"]] += 1
            if outcome["status"] in (BROKEN, ERROR):
                bar.console.print(f"{outcome['status']}: {outcome['reason']}\n  {outcome['command']}", highlight=False)
            told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
            bar.update(task, completed=done, description=told)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return NOT_KEPT if counts[BROKEN] else UNAVAILABLE if counts[ERROR] else OK


def _report(outcomes: Path, folder: Path) -> int:
    from tests.faults import matrix, report

    found = list(matrix.read(outcomes).values())
    if not found:
        parser().error(f"{outcomes} holds no outcome: run `python -m tests.faults matrix --json {outcomes}` first")
    for path in report.write(found, folder):
        print(path)
    return OK
