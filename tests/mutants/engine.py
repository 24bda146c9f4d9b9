"""Puts mutants into the shipped code, and takes them out again.

A mutant is one wrong behaviour. It is made in one of three ways, none of which quotes the source:

* `wrap`: a wrong function is built on the right one.
* `setting`: a module's constant has another value.
* `at`: the syntax tree of a function is edited (`edits`).

A place that no longer exists, or an edit that changes nothing, raises `OutOfDate`.
"""

from __future__ import annotations

import ast
import copy
import dis
import importlib
import inspect
import pkgutil
import sys
import textwrap
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, wraps
from types import CodeType, FunctionType
from typing import Any, Final
from unittest import mock

from tests.mutants.edits import Edit, OutOfDate, edit

STORMS: Final = "storms"
"""Found by a few days of the simulation's storms; see `tests.simulation.hunt`."""
FUZZ: Final = "fuzz:"
"""Found by the corpus of the fuzz target whose name follows."""
FUZZ_SEARCH: Final = "fuzz search:"
"""Found only by a search, which interrupts an input that takes too long; an ordinary test would hang."""


@dataclass(frozen=True)
class Mutant:
    name: str
    """The wrong behaviour, in one sentence."""
    found_by: tuple[str, ...]
    """`STORMS`, `FUZZ` + a target, or a test without arguments as "path/below/tests.py::name"."""
    changes: tuple[Change, ...]

    @property
    def tests(self) -> tuple[str, ...]:
        return tuple(one for one in self.found_by if "::" in one)

    def is_found_by(self, what: str) -> bool:
        return what in self.found_by


def mutant(name: str, found_by: str | Sequence[str], *changes: Change) -> Mutant:
    return Mutant(name, (found_by,) if isinstance(found_by, str) else tuple(found_by), changes)


@contextmanager
def installed(one: Mutant) -> Iterator[None]:
    """The shipped code with this mutant in it, in this process."""
    _load_package()
    with ExitStack() as stack:
        for change in one.changes:
            for owner, name, changed in change.patches():
                stack.enter_context(mock.patch.object(owner, name, changed))
        yield


@cache
def _load_package() -> None:
    """A module that is loaded while a mutant is installed could keep a function of it."""
    package = importlib.import_module("wire_rawsse")
    for module in pkgutil.walk_packages(package.__path__, "wire_rawsse."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


# Changes.


@dataclass(frozen=True)
class Change:
    where: str
    """"module:function", "module:Class.method" or "module:CONSTANT", below `wire_rawsse`."""
    make: Callable[[Any], Any]
    """The wrong value, of the shipped one."""
    edits: tuple[Edit, ...] = ()
    """How the tree of the function is edited, if that is what `make` does."""

    def patches(self) -> Iterator[tuple[Any, str, Any]]:
        """Every object that holds the shipped value, the name of the attribute, and the wrong value."""
        module, owner, name = self.target()
        shipped = inspect.getattr_static(owner, name)
        wrong = self.make(shipped)
        yield owner, name, wrong
        if owner is module:
            for other_name, other in list(sys.modules.items()):
                if other_name.partition(".")[0] in ("wire_rawsse", "tests") and other is not module:
                    for alias, value in list(vars(other).items()):
                        if value is shipped and (alias == name or isinstance(value, FunctionType)):
                            yield other, alias, wrong

    def target(self) -> tuple[Any, Any, str]:
        module_name, _, path = self.where.partition(":")
        *classes, name = path.split(".")
        try:
            owner = module = importlib.import_module(f"wire_rawsse.{module_name}")
            for one in classes:
                owner = getattr(owner, one)
            inspect.getattr_static(owner, name)
        except (ImportError, AttributeError) as error:
            raise OutOfDate(f"{self.where}: {error}") from None
        return module, owner, name


def wrap(where: str, wrong: Callable[..., Any]) -> Change:
    """`wrong(right, *arguments)` takes the place of `right(*arguments)`."""

    def make(right: Any) -> Any:
        if not isinstance(right, FunctionType):
            raise OutOfDate(f"{where} is no function")

        @wraps(right)
        def called(*arguments: Any, **named: Any) -> Any:
            return wrong(right, *arguments, **named)

        return called

    return Change(where, make)


def returns(where: str, value: Any) -> Change:
    """The function does what it does, and returns this."""

    def wrong(right: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        right(*arguments, **named)
        return value

    return wrap(where, wrong)


def does_nothing(where: str, value: Any = None) -> Change:
    """The function does nothing, and returns this."""
    return wrap(where, lambda right, *arguments, **named: value)


def setting(where: str, value: Any) -> Change:
    """A constant has this value."""

    def make(right: Any) -> Any:
        if right == value:
            raise OutOfDate(f"{where} is {value!r} anyway")
        return value

    return Change(where, make)


def at(where: str, *edits: Edit) -> Change:
    """The function with its syntax tree edited."""

    def make(right: Any) -> Any:
        if not isinstance(right, FunctionType):
            raise OutOfDate(f"{where} is no function")
        source = textwrap.dedent(inspect.getsource(right))
        edited = edit(ast.parse(source), where, edits, vars(importlib.import_module(right.__module__)))
        if _executed(edited) == _executed(ast.parse(source)):
            raise OutOfDate(f"{where}: the edits change nothing that is executed")
        scope: dict[str, Any] = {}
        exec(compile(edited, f"<mutant of {where}>", "exec"), right.__globals__, scope)
        return scope[right.__name__]

    return Change(where, make, edits)


_PAIRS: Final = {
    f"{first}_FAST_{second}_FAST": (f"{first}_FAST", f"{second}_FAST")
    for first, second in (("LOAD", "LOAD"), ("STORE", "LOAD"), ("STORE", "STORE"))
}


def _executed(tree: ast.Module) -> list[tuple[str, object]]:
    """The instructions of a tree, whatever its layout."""
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        if "lineno" in node._attributes:  # A test of a constant leaves no instruction but one for its line.
            vars(node).update(lineno=1, end_lineno=1, col_offset=0, end_col_offset=0)

    def instructions(code: CodeType) -> list[tuple[str, object]]:
        found: list[tuple[str, object, dis.Instruction]] = []
        for one in dis.get_instructions(code):
            name = one.opname.replace("_BORROW", "")  # 3.14 borrows, pairs and pads within a line's block.
            if name in _PAIRS and isinstance(one.argval, tuple):
                found += [(half, value, one) for half, value in zip(_PAIRS[name], one.argval, strict=True)]
            elif name != "NOP":
                found.append((name, one.argval, one))
        offsets = [one.offset for _, _, one in found]

        def operand(value: object, one: dis.Instruction) -> object:
            if isinstance(value, CodeType):
                return instructions(value)
            jumps = one.opcode in dis.hasjrel or one.opcode in dis.hasjabs
            return bisect_left(offsets, one.argval) if jumps else repr(value)

        return [(name, operand(value, one)) for name, value, one in found]

    return instructions(compile(tree, "", "exec"))
