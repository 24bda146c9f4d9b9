"""`python -m tests.faults`: list, run, matrix, report."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from tests.faults import world
from tests.faults.bounds import CONSUMERS, HOSTS, PHASES, Settings, Setup
from tests.faults.catalogue import FAULTS
from tests.faults.outcome import BROKEN, ERROR, KEPT, LEFT_OUT, run_cell, why_not
from tests.faults.tools import LabError, Missing

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
    return top


def main(argv: list[str] | None = None) -> int:
    """The exit status; see `--help`."""
    arguments = sys.argv[1:] if argv is None else argv
    options = parser().parse_args(arguments)
    try:
        if options.what == "list":
            return _list(options.reasons)
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
        excuse = f"  ({check['excuse']})" if check["excuse"] else ""
        print(f"  {word:<6} {check['name']:<17} {_short(check['found']):<34} bound {_short(check['bound'])}{excuse}")
    print(f"{outcome['status']}{': ' + outcome['reason'] if outcome['reason'] else ''}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
