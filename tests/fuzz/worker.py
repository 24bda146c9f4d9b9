"""One fuzzing process: a target under atheris, which guides by the branches that an input takes in what it is about.

Started by `python -m tests.fuzz`, which reads what libFuzzer prints on standard error. Needs the extra `fuzz`.
Arguments: the target, a mutant's name or nothing, then libFuzzer's own.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import nullcontext
from pathlib import Path

import atheris

from tests.fuzz import slow, targets


def main() -> None:
    name, mutant, *arguments = sys.argv[1:]
    # The tests are not instrumented: branches of the oracle are no news.
    with atheris.instrument_imports(include=["wire_rawsse"], exclude=_other_modules(targets.ABOUT[name])):
        from tests.mutants import by_words, installed

        targets.load(name)
    with installed(by_words(mutant)) if mutant else nullcontext():
        atheris.Setup([sys.argv[0], *arguments], slow.check_of(name))
        atheris.Fuzz()  # Ends the process.


def _other_modules(about: tuple[str, ...]) -> list[str]:
    """Of the package, which is not imported yet, all modules but these."""
    package = importlib.util.find_spec("wire_rawsse")
    assert package is not None and package.origin is not None
    root = Path(package.origin).parent
    others = [path.relative_to(root) for path in root.rglob("*.py") if path.relative_to(root).as_posix() not in about]
    return [".".join(("wire_rawsse", *path.with_suffix("").parts)).removesuffix(".__init__") for path in others]


if __name__ == "__main__":
    main()
