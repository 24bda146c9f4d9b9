"""Every mutant fits the shipped code, states one wrong behaviour, and depends on no wording.

That they are found is tested beside what finds them: `tests/simulation/test_mutants.py`, `tests/fuzz/test_mutants.py`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from types import FunctionType

import pytest

import wire_rawsse
from tests.fuzz import targets
from tests.mutants import FUZZ, FUZZ_SEARCH, MUTANTS, STORMS, Mutant, installed, mutant
from tests.mutants.edits import Function, OutOfDate, drop, edit, never, put, statement
from tests.mutants.engine import Change, at

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("one", MUTANTS, ids=lambda one: one.name)
def test_it_fits_the_shipped_code(one: Mutant) -> None:
    with installed(one):
        pass


def test_each_is_one_sentence_of_its_own() -> None:
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
    assert [one.name for one in MUTANTS if not re.fullmatch(r"\S[^\n]*[^ .]\.", one.name)] == []


def test_each_is_looked_for_by_something_that_exists() -> None:
    for one in MUTANTS:
        assert one.found_by, one.name
        for what in one.found_by:
            if "::" in what:
                file, _, function = what.partition("::")
                module = importlib.import_module("tests." + file.removesuffix(".py").replace("/", "."))
                assert not inspect.signature(getattr(module, function)).parameters, what
            else:
                target = what.removeprefix(FUZZ).removeprefix(FUZZ_SEARCH)
                assert what == STORMS or target in targets.NAMES, what


class _Renamed(ast.NodeTransformer):
    """Every local variable has another name."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"other_{node.id}", node.ctx) if node.id in self._names else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(f"other_{node.arg}", node.annotation) if node.arg in self._names else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.name = f"other_{node.name}" if node.name in self._names else node.name
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        node.name = f"other_{node.name}" if node.name in self._names else node.name
        return node


EDITED = [(one, change) for one in MUTANTS for change in one.changes if change.edits]


@pytest.mark.parametrize(("one", "change"), EDITED, ids=[f"{one.name} {change.where}" for one, change in EDITED])
def test_layout_comments_and_names_of_local_variables_do_not_matter(one: Mutant, change: Change) -> None:
    _, owner, name = change.target()
    shipped = inspect.getattr_static(owner, name)
    assert isinstance(shipped, FunctionType)
    tree = ast.parse(textwrap.dedent(inspect.getsource(shipped)))
    known = shipped.__globals__
    renamed = _Renamed(Function(tree, change.where, known).locals).visit(tree)
    edit(ast.parse(ast.unparse(ast.fix_missing_locations(renamed))), change.where, change.edits, known)


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_the_attributes_that_mutants_name_exist() -> None:
    """One that is renamed would make of each mutant an `AttributeError`, which is another bug and found at once."""
    known = set().union(*(dir(one) for one in (str, bytes, list, dict, set, Exception)))
    for file in Path(wire_rawsse.__file__).parent.rglob("*.py"):
        known.update(re.findall(r"\w+", file.read_text("utf-8")))
    for one in MUTANTS:
        fresh: set[str] = set()
        stored: set[str] = set()
        for change in one.changes:
            if change.edits:
                module, owner, name = change.target()
                tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.getattr_static(owner, name))))
                edited = ast.parse(ast.unparse(edit(tree, change.where, change.edits, vars(module))))
                fresh |= _attributes(edited)
                stored |= {
                    node.attr
                    for node in ast.walk(edited)
                    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                }
        assert fresh - known - stored == set(), one.name


@pytest.mark.parametrize(
    "change",
    [
        at("protocol.url:no_such_function", never("text")),
        at("no_such_module:function", never("text")),
        at("protocol.url:parse_url", never("no such word")),
        at("protocol.url:parse_url", never("InvalidRequestError")),
        at("protocol.url:parse_url", drop(statement("InvalidRequestError"))),
        at("protocol.url:parse_url", put(statement("_parts"), "IT")),
        at("protocol.url:parse_url", put(statement("_parts"), "if True: IT")),
        at("protocol.url:parse_url", put(statement("_parts"), "scheme = 'https'")),
        at("protocol.url:parse_url", put(statement("_parts"), "no_such_function()")),
        at("protocol.url:DEFAULT_PORTS", never("text")),
    ],
    ids=[
        "function",
        "module",
        "no place",
        "no condition",
        "places",
        "no change",
        "no effect",
        "local name",
        "name",
        "no function",
    ],
)
def test_what_no_longer_fits_is_out_of_date(change: Change) -> None:
    with pytest.raises(OutOfDate), installed(mutant("It does not fit.", STORMS, change)):
        pass


def test_everything_is_put_back() -> None:
    from wire_rawsse.protocol import redirect, url

    shipped, other = url.resolve, vars(redirect)
    with installed(mutant("It resolves nothing.", STORMS, at("protocol.url:resolve", never("reference")))):
        assert url.resolve is not shipped
        assert other["resolve"] is url.resolve
    assert url.resolve is other["resolve"] is shipped
