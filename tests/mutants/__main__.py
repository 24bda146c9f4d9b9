"""`python -m tests.mutants PYTEST-ARGUMENTS`: which mutants do these tests find?

For a judgement of tests: what would be lost without them, or what they add. It takes as long as the tests do, for each
mutant in turn. Without arguments it lists the mutants.
"""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from tests.mutants import MUTANTS, installed


def main() -> int:
    words = sys.argv[1:]
    if not words:
        print(*(f"{', '.join(one.found_by):<60} {one.name}" for one in MUTANTS), sep="\n")
        return 0
    options = ["-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", "--timeout", "60", *words]
    found = 0
    for one in MUTANTS:
        with contextlib.redirect_stdout(io.StringIO()), installed(one):
            status = pytest.main(options)
        if status != pytest.ExitCode.OK:
            found += 1
            print(one.name, flush=True)
    print(f"{found} of {len(MUTANTS)} mutants found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
