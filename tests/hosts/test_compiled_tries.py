"""How CPython compiles a `try`: a signal handler that raises in it must find its way to the `finally`."""

from __future__ import annotations

import ast
import dis
import sys
from pathlib import Path
from types import CodeType
from typing import Any, cast

import pytest

import wire_rawsse


def unprotected_jumps(source: str, name: str) -> list[str]:
    """Jumps back inside a `try` that gives something back, at which the compiled code is outside of that `try`.

    A handler runs at each of them. CPython 3.14 compiles an `if` that ends the body of a loop to such a jump.
    """
    tries = [
        (one.body[0].lineno, one.body[-1].end_lineno or 0)
        for one in ast.walk(ast.parse(source))
        if isinstance(one, ast.Try)
        and (
            one.finalbody
            or any(isinstance(kind.type, ast.Name) and kind.type.id == "BaseException" for kind in one.handlers)
        )
    ]
    found = []
    codes = [compile(source, name, "exec")]
    for code in codes:
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]
        table = cast("Any", dis)._parse_exception_table(code)
        instructions: list[Any] = list(dis.get_instructions(code))
        lines = {one.offset: one.positions.lineno for one in instructions}
        for one in instructions:
            if one.opname == "JUMP_BACKWARD" and not any(entry.start <= one.offset < entry.end for entry in table):
                ends = lines[one.offset], lines.get(one.argval)
                if any(all(line and first <= line <= last for line in ends) for first, last in tries):
                    found.append(f"{name}:{ends[0]}")
    return found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no table of exceptions to look at")
def test_no_signal_strikes_between_a_try_and_its_end() -> None:
    """In what takes locks. A lock that is taken in a `try` is given back, wherever a handler raises."""
    package = Path(wire_rawsse.__file__).parent
    single = ("wake.py", "wakeup.py", "foreign.py")
    paths = [*package.glob("hosts/*.py"), *package.glob("wire/*.py"), *(package / name for name in single)]
    assert [jump for path in paths for jump in unprotected_jumps(path.read_text("utf-8"), str(path))] == []
