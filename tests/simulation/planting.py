"""Bugs, put into the shipped code on purpose: what simulates years must find them, and says after how long.

A plant is a change of the source, as small as the slip of a hand would be: in this function, these words become those.
Where the words are no longer there the plant is out of date, and says so. The changed function takes the place of the
shipped one wherever that is known, and everything is put back afterwards.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Final
from unittest import mock

US: Final = "us"
MADE: Final = "us, on the way"
"""A slip that was made while this was written."""
STRANGER: Final = "a stranger"
"""By somebody who had not read what is in this folder."""


@dataclass(frozen=True)
class Change:
    """In `where` ("module:function" or "module:Class.method", below `wire_rawsse`), `old` becomes `new`."""

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Plant:
    name: str
    changes: Sequence[Change]
    by: str = US
    why: str = ""
    """What its author meant."""
    exact: str = ""
    """Where it takes a coincidence that a few days of storms do not bring about: the exact test that finds it, as
    "module:function" without the modules' common beginning `test_exact_`."""


def plant(name: str, where: str, old: str, new: str, by: str = US) -> Plant:
    return Plant(name, [Change(where, old, new)], by)


@contextmanager
def planted(bug: Plant) -> Iterator[None]:
    """The shipped code with this bug in it."""
    with ExitStack() as stack:
        for change in bug.changes:
            for owner, name, changed in _places(change):
                stack.enter_context(mock.patch.object(owner, name, changed))
        yield


def _places(change: Change) -> Iterator[tuple[Any, str, Any]]:
    """Where the shipped function is known, and by which name, with what is to take its place."""
    module_name, _, path = change.where.partition(":")
    module = importlib.import_module(f"wire_rawsse.{module_name}")
    owner: Any = module
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    shipped = inspect.getattr_static(owner, name)
    changed = _changed(shipped, change, vars(module))
    yield owner, name, changed
    if not classes:
        for other_name, other in list(sys.modules.items()):
            if other_name.startswith("wire_rawsse.") and other is not module and vars(other).get(name) is shipped:
                yield other, name, changed


def _changed(shipped: Any, change: Change, globals_: dict[str, Any]) -> Any:
    assert isinstance(shipped, FunctionType), f"{change.where} is no function"
    source = inspect.getsource(shipped)
    if source.count(change.old) != 1:
        raise LookupError(f"{change.where} has changed: the plant expects {change.old!r} in it, once")
    scope: dict[str, Any] = {}
    text = textwrap.dedent(source.replace(change.old, change.new))
    exec(compile(text, f"<planted in {change.where}>", "exec"), globals_, scope)
    return scope[shipped.__name__]
