"""Runs one function inside a world of its own: `python -m tests.faults.inside MODULE:FUNCTION`.

For tests of the lab's parts. A test process cannot move into namespaces and back (its threads and its other tests are
in the way), so what needs hosts is a function that takes a `World`, and the test runs it here: `in_a_world(function)`.
An assertion that fails in there fails the test, with its traceback.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import pytest

from tests.faults.player import ROOT
from tests.faults.tools import Missing
from tests.faults.world import World, enter, inside

_LONGEST: Final = 100.0
"""Seconds: below the tests' own limit."""
_MISSING: Final = 77
"""The exit status for what is not on this machine."""


def in_a_world(function: Callable[[World], None]) -> str:
    """Run `function`, defined at module level, and return its output. Skips, or in CI fails, if a tool is missing."""
    from tests.conftest import missing  # It loads hypothesis, which nobody needs in there.

    command = [sys.executable, "-m", "tests.faults.inside", f"{function.__module__}:{function.__name__}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST)
    if ran.returncode == _MISSING:
        missing(ran.stderr.strip())
    if ran.returncode:
        pytest.fail(f"{ran.stdout}\n{ran.stderr}", pytrace=False)
    return ran.stdout


def main() -> int:
    [target] = sys.argv[1:]
    try:
        if not inside():
            enter("tests.faults.inside", [target])
        module, _, name = target.partition(":")
        function: Callable[[World], None] = getattr(importlib.import_module(module), name)
        world = World()
        try:
            function(world)
        finally:
            world.close()
    except Missing as error:
        print(error, file=sys.stderr)
        return _MISSING
    return 0


if __name__ == "__main__":
    sys.exit(main())
