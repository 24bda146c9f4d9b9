"""`python -m tests.fuzz`: search for inputs that break an invariant, replay one, or see what the corpus reaches.

Exit status: 0 nothing found, 1 an invariant is broken, 2 wrong usage or no fuzzer.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.fuzz import corpora, findings, mutants, run, slow, targets
from tests.mutants import installed
from tests.support import executors


def main() -> int:
    options = _options()
    names = targets.NAMES if options.target in ("all", "list", "coverage") else (options.target,)
    if options.target == "list":
        for name in names:
            print(f"{name:<11} {len(corpora.files(name)):>4} inputs kept; {_first_words(targets.load(name).__doc__)}")
        return 0
    if options.target == "coverage":
        return _coverage()
    if options.replay:
        with installed(mutants.by_words(names[0], options.mutant)) if options.mutant else nullcontext():
            return max(_replay(name, options.replay) for name in names)
    if options.distil:
        for name in names:
            _distil(name, options.work)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("python -m tests.fuzz: needs atheris: pip install -e '.[fuzz]' (CPython 3.11 to 3.13)", file=sys.stderr)
        return 2
    return _search(names, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", choices=[*targets.NAMES, "all", "list", "coverage"], metavar="TARGET")
    parser.add_argument("--inputs", type=int, metavar="N", help="stop after so many inputs (all processes together)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after so many seconds (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the first process; each other one has the next")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, which share what they find")
    executors.add_option(parser, executors.THREADS)
    parser.add_argument("--work", type=Path, default=Path(".fuzz"), metavar="DIR", help="where it keeps what it finds")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="check these inputs and nothing else")
    parser.add_argument("--mutant", default="", metavar="WORDS", help="put this bug in, and begin with the seeds alone")
    parser.add_argument("--distil", action="store_true", help="make the committed corpus from it and what runs found")
    parser.epilog = f"targets: {', '.join(targets.NAMES)}; all of them in turn: all; the promise of each: list; " + (
        "what the committed corpus reaches: coverage"
    )
    options = parser.parse_args()
    if options.seconds is None and options.inputs is None:
        options.seconds = 60.0
    for path in options.replay or ():
        if not path.exists():
            parser.error(f"--replay: there is no {path}")
    if options.mutant:
        if options.target not in targets.NAMES:
            parser.error(f"--mutant wants one target, not {options.target}")
        try:
            mutants.by_words(options.target, options.mutant)
        except LookupError as error:
            parser.error(f"--mutant: {error}")
    return options


def _search(names: Sequence[str], options: argparse.Namespace) -> int:
    shown = sys.stderr.isatty()
    mutant = options.mutant and mutants.by_words(names[0], options.mutant).name
    wanted = [
        run.Search(
            name,
            options.work,
            options.inputs,
            options.seconds,
            options.seed,
            options.jobs,
            mutant,
            1.0 if shown else 30.0,
        )
        for name in names
    ]
    # Here one target after the other, as each has several processes.
    ahead = 1 if options.executor == executors.THREADS else len(names)
    with executors.executor(options.executor, 1) as made:
        return max(
            _tell(one.name, found, options) for one, found in executors.outcomes(made, run.search, wanted, ahead)
        )


def _tell(name: str, outcome: run.Outcome, options: argparse.Namespace) -> int:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print(
        f"{name:<11} {outcome.inputs:,} inputs in {outcome.seconds:.0f} s, "
        f"{outcome.branches} branches, {outcome.features} features"
    )
    if not options.mutant:
        corpora.write(options.work / name, outcome.new)
    if outcome.found is not None:
        with installed(mutants.by_words(name, options.mutant)) if options.mutant else nullcontext():
            print(findings.report(name, outcome.found, options.work / "found", options.mutant))
        return 1
    if outcome.failed:
        print(outcome.failed, file=sys.stderr)
        return 2
    return 0


def _replay(name: str, files: list[Path]) -> int:
    check = slow.check_of(name)
    broken = 0
    for path in files:
        for one in sorted(path.iterdir()) if path.is_dir() else [path]:
            told = findings.failure(check, one.read_bytes())
            broken += told is not None
            if told is not None or not path.is_dir():
                print(f"{name}: {one}: {told or 'holds'}")
    return 1 if broken else 0


def _distil(name: str, work: Path) -> None:
    target = targets.load(name)
    old = [path.read_bytes() for path in corpora.files(name)]
    new = [path.read_bytes() for path in (*(work / name).glob("*"), *(work / "found").glob(f"{name}-*"))]
    kept = corpora.distilled([*target.SEEDS, *old, *new], target.check, mutants.of(name))
    for path in corpora.files(name):
        path.unlink()
    corpora.write(corpora.HERE / name, kept)
    print(f"{name}: of {len(old)} kept and {len(new)} found, {len(kept)} stay, {sum(map(len, kept))} bytes")


def _coverage() -> int:
    """Lines and branches of the modules that a target is about, which its committed corpus takes."""
    import subprocess

    code = (
        "import coverage, sys; c = coverage.Coverage(branch=True, data_file=None, config_file=False); c.start();"
        "from tests.fuzz import targets, corpora; name = sys.argv[1]; t = targets.load(name);"
        "[t.check(path.read_bytes()) for path in corpora.files(name)]; c.stop();"
        "about = [f'{corpora.PACKAGE}/{one}' for one in targets.ABOUT[name]];"
        "c.report(include=about, show_missing=True, skip_empty=True)"
    )
    for name in targets.NAMES:
        print(f"{name}: {len(corpora.files(name))} inputs", flush=True)
        subprocess.run([sys.executable, "-c", code, name], check=True)
    return 0


def _first_words(text: str | None) -> str:
    words = " ".join((text or "").removeprefix("Invariant: ").split())
    return words if len(words) < 90 else words[:89] + "…"


if __name__ == "__main__":
    sys.exit(main())
