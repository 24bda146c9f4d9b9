"""One fuzzing process: a target under atheris, which guides by the branches of `wire_rawsse` that an input takes.

Started by `python -m tests.fuzz`, which reads what libFuzzer prints on standard error. Needs the extra `fuzz`.
Arguments: the target, a planted bug's name or nothing, then libFuzzer's own.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext

import atheris


def main() -> None:
    name, bug, *arguments = sys.argv[1:]
    # The tests are not instrumented: branches of the oracle are no news. Nor is the masking of what an error quotes: it
    # looks at each character many times, and took half of the time.
    with atheris.instrument_imports(include=["wire_rawsse"], exclude=["wire_rawsse.errors"]):
        from tests.fuzz import planted, targets
        from tests.simulation.planting import planted as with_bug

        target = targets.load(name)
    with with_bug(planted.by_words(name, bug)) if bug else nullcontext():
        atheris.Setup([sys.argv[0], *arguments], target.check)
        atheris.Fuzz()  # Ends the process.


if __name__ == "__main__":
    main()
