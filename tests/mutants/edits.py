"""Edits of a function's syntax tree: selectors say which place is meant, edits what becomes of it.

A selector names what it looks for by identifiers that mean something outside the function: attributes, functions,
constants, parameters, and the names of operators (`Eq`, `Add`). Local variables do not count, so that one may be
renamed; comments and layout are not in the tree.
"""

from __future__ import annotations

import ast
import builtins
import copy
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final


class OutOfDate(LookupError):
    """The shipped code has changed, and the mutant no longer says where it belongs."""


def edit(tree: ast.Module, where: str, edits: Sequence[Edit], known: dict[str, Any]) -> ast.Module:
    """The tree of one function after the edits; each of them must change it."""
    for one in edits:
        function = Function(tree, where, known)
        before = ast.dump(tree)
        tree = ast.fix_missing_locations(one(function))
        if ast.dump(tree) == before:
            raise OutOfDate(f"{where}: an edit changes nothing")
    return tree


class Function:
    """The tree of a function, and which names in it are its own."""

    def __init__(self, tree: ast.Module, where: str, known: dict[str, Any]) -> None:
        self.tree = tree
        self.where = where
        definition = tree.body[0]
        assert isinstance(definition, ast.FunctionDef)
        self.parameters = {one.arg for one in ast.walk(definition.args) if isinstance(one, ast.arg)}
        bound = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)}
        inner = {one.name for one in ast.walk(definition) if isinstance(one, ast.FunctionDef) and one is not definition}
        caught = {one.name for one in ast.walk(tree) if isinstance(one, ast.ExceptHandler) and one.name}
        nested = {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}
        self.locals = (bound | inner | caught | nested) - self.parameters
        self.known = {*known, *dir(builtins), *self.parameters}
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.order = list(_in_order(definition))

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def words(self, node: ast.AST) -> set[str]:
        """The names that a selector may use: identifiers that are not the function's own, and constants."""
        found = set()
        for one in ast.walk(node):
            match one:
                case ast.Name(id=name) if name not in self.locals:
                    found.add(name)
                case ast.Attribute(attr=name) | ast.keyword(arg=str(name)) | ast.alias(name=name):
                    found.add(name)
                case ast.Constant(value=value):
                    found.add(value.decode("latin-1") if isinstance(value, bytes) else str(value))
                case ast.operator() | ast.cmpop() | ast.unaryop() | ast.boolop():
                    found.add(type(one).__name__)
        return found

    def replaced(self, places: dict[ast.AST, list[ast.AST]]) -> ast.Module:
        class Replace(ast.NodeTransformer):
            def visit(self, node: ast.AST) -> Any:
                found = places.get(node)
                if found is None:
                    return self.generic_visit(node)
                return found[0] if isinstance(node, (ast.expr, ast.excepthandler)) else found

        changed = Replace().visit(self.tree)
        assert isinstance(changed, ast.Module)
        return changed

    def parsed(self, text: str, place: ast.AST, others: dict[str, ast.AST]) -> list[ast.AST]:
        """New code for a place. In it `IT` is what stood there, `IT[0]`, `IT[1]` are its operands or arguments, and
        `OF` is the object whose method was called. `others` has more names, of other places.
        """
        place = place.value if isinstance(place, ast.Expr) else place
        body = ast.parse(textwrap.dedent(text)).body
        fresh = {one.id for part in body for one in ast.walk(part) if isinstance(one, ast.Name)}
        stored = {
            one.id
            for part in body
            for one in ast.walk(part)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
        }
        if fresh & self.locals:
            raise OutOfDate(f"{self.where}: local variables are named: {sorted(fresh & self.locals)}")
        if unknown := fresh - stored - self.known - {"IT", "OF", *others}:
            raise OutOfDate(f"{self.where}: nothing is called {sorted(unknown)}")

        class Fill(ast.NodeTransformer):
            def visit_Subscript(self, node: ast.Subscript) -> Any:
                if isinstance(node.value, ast.Name) and node.value.id == "IT" and isinstance(node.slice, ast.Constant):
                    index = node.slice.value
                    assert isinstance(index, int)
                    return copy.deepcopy(_parts(place)[index])
                return self.generic_visit(node)

            def visit_Name(self, node: ast.Name) -> Any:
                if node.id == "OF":
                    assert isinstance(place, ast.Call) and isinstance(place.func, ast.Attribute)
                    return copy.deepcopy(place.func.value)
                return copy.deepcopy(place if node.id == "IT" else others.get(node.id, node))

            def visit_Expr(self, node: ast.Expr) -> Any:
                inner = self.visit(node.value)
                return inner if isinstance(inner, ast.stmt) else ast.Expr(inner)

        return [Fill().visit(one) for one in body]


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)


def _parts(node: ast.AST) -> list[Any]:
    match node:
        case ast.Call(args=args, keywords=keywords):
            return [*args, *(one.value for one in keywords)]
        case ast.BoolOp(values=values):
            return list(values)
        case ast.Compare(left=left, comparators=rest):
            return [left, *rest]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
        case ast.Subscript(value=value, slice=index):
            return [value, index]
        case ast.UnaryOp(operand=operand):
            return [operand]
        case ast.Attribute(value=value):
            return [value]
        case ast.Assign(targets=targets, value=value):
            return [*targets, value]
        case ast.AugAssign(target=target, value=value):
            return [target, value]
        case ast.Tuple(elts=elts) | ast.List(elts=elts):
            return list(elts)
        case ast.Return(value=value):
            return [value]
        case ast.If(test=test) | ast.While(test=test):
            return [test]
        case ast.For(target=target, iter=iterated):
            return [target, iterated]
    return []


# Selectors: each finds the one place that it is about.

Edit = Callable[["Function"], ast.Module]


class Selector:
    """Finds one place; of nested places that match it is the innermost."""

    def __init__(self, matches: Callable[[Function], list[ast.AST]]) -> None:
        self.matches = matches

    def __call__(self, function: Function) -> Any:
        found = self.matches(function)
        outer = {above for node in found for above in function.above(node)}
        inner = [node for node in found if node not in outer]
        if len(inner) != 1:
            shown = "".join(f"\n  {ast.unparse(node)[:200]}" for node in inner)
            raise OutOfDate(f"{function.where}: {len(inner)} places match:{shown}")
        return inner[0]


def select(kind: type | tuple[type, ...], *words: str, also: Callable[[Function, Any], bool] | None = None) -> Selector:
    """A node of this kind with all these words in it."""
    return Selector(
        lambda function: [
            node
            for node in function.order
            if isinstance(node, kind) and set(words) <= function.words(node) and (also is None or also(function, node))
        ]
    )


def nth(number: int, selector: Selector) -> Selector:
    """Of several places, in the order of the source; -1 is the last."""

    def matches(function: Function) -> list[ast.AST]:
        found = selector.matches(function)
        if not -len(found) <= number < len(found):
            raise OutOfDate(f"{function.where}: only {len(found)} such places")
        return [found[number]]

    return Selector(matches)


def part(of: Selector, take: Callable[[Any], Any]) -> Selector:
    """The result of `take` for the place."""
    return Selector(lambda function: [take(of(function))])


_SIMPLE: Final = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.Raise, ast.Continue, ast.Break)


def statement(*words: str) -> Selector:
    """A simple statement."""
    return select((*_SIMPLE, ast.Delete, ast.Pass, ast.Import, ast.ImportFrom), *words)


def block(*words: str) -> Selector:
    """A compound statement whose header has the words."""

    def header(function: Function, node: Any) -> bool:
        parts = [node.test] if isinstance(node, (ast.If, ast.While)) else []
        parts += [node.target, node.iter] if isinstance(node, ast.For) else []
        return set(words) <= set().union(*(function.words(part) for part in parts)) if parts else False

    return select((ast.If, ast.While, ast.For), also=header)


def assignment(target: str, *words: str) -> Selector:
    """To an attribute (or a global name)."""

    def sets(function: Function, node: Any) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        flat = [one for each in targets for one in (each.elts if isinstance(each, ast.Tuple) else [each])]
        return any(
            (isinstance(one, ast.Attribute) and one.attr == target)
            or (isinstance(one, ast.Subscript) and isinstance(one.value, ast.Attribute) and one.value.attr == target)
            or (isinstance(one, ast.Name) and one.id == target and target not in function.locals)
            for one in flat
        )

    return select((ast.Assign, ast.AugAssign, ast.AnnAssign), *words, also=sets)


def assigned(*words: str) -> Selector:
    """The assigned value: an expression with these words."""
    return select(
        ast.expr,
        *words,
        also=lambda function, node: (
            isinstance(parent := function.parents[node], (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr))
            and parent.value is node
        ),
    )


def value_of(target: str) -> Selector:
    """The value that is assigned to an attribute."""
    return part(assignment(target), lambda node: node.value)


def condition(*words: str) -> Selector:
    """Of an `if`, a `while`, a conditional expression or a comprehension."""

    def tests(function: Function, node: Any) -> bool:
        parent = function.parents[node]
        if isinstance(parent, (ast.If, ast.While, ast.IfExp)):
            return parent.test is node
        return isinstance(parent, ast.comprehension) and node in parent.ifs

    return select(ast.expr, *words, also=tests)


def term(*words: str) -> Selector:
    """An operand of `and` or `or`."""
    return select(ast.expr, *words, also=lambda function, node: isinstance(function.parents[node], ast.BoolOp))


def expression(*words: str) -> Selector:
    """The smallest expression with these words."""
    return select((ast.Call, ast.BoolOp, ast.Compare, ast.BinOp, ast.IfExp, ast.UnaryOp, ast.Subscript), *words)


def call(function_name: str, *words: str) -> Selector:
    def calls(function: Function, node: Any) -> bool:
        called = node.func
        if isinstance(called, ast.Attribute):
            return called.attr == function_name
        return isinstance(called, ast.Name) and called.id == function_name and function_name not in function.locals

    return select(ast.Call, *words, also=calls)


def argument(function_name: str, which: int | str) -> Selector:
    """Of a call: by its place or its name."""

    def take(node: ast.Call) -> ast.AST:
        named = {one.arg: one.value for one in node.keywords}
        return node.args[which] if isinstance(which, int) else named[which]

    return part(call(function_name), take)


def operand(which: int, of: Selector) -> Selector:
    """A part of an expression: an operand, an argument, or the value of a `return`."""
    return part(of, lambda node: _parts(node)[which])


def result(*words: str) -> Selector:
    """The value of a `return`."""
    return select(ast.expr, *words, also=lambda function, node: isinstance(function.parents[node], ast.Return))


def handled(exception: str) -> Selector:
    """The exceptions that an `except` names."""
    return select(
        ast.expr, exception, also=lambda function, node: isinstance(function.parents[node], ast.ExceptHandler)
    )


# Edits.


def put(selector: Selector, text: str, **others: Selector) -> Edit:
    """Other code takes the place; see `Function.parsed` for `IT`. `others` are places that it names."""

    def edited(function: Function) -> ast.Module:
        place = selector(function)
        new = function.parsed(text, place, {name: other(function) for name, other in others.items()})
        if isinstance(place, ast.expr):
            assert len(new) == 1 and isinstance(new[0], ast.Expr), text
            new = [new[0].value]
        return function.replaced({place: new})

    return edited


def drop(selector: Selector) -> Edit:
    """The statement is not there."""
    return put(selector, "pass")


def never(*words: str) -> Edit:
    """The condition is false."""
    return put(condition(*words), "False")


def always(*words: str) -> Edit:
    """The condition is true."""
    return put(condition(*words), "True")


def before(selector: Selector, text: str) -> Edit:
    return _beside(selector, text, behind=False)


def after(selector: Selector, text: str) -> Edit:
    return _beside(selector, text, behind=True)


def _beside(selector: Selector, text: str, behind: bool) -> Edit:
    def edited(function: Function) -> ast.Module:
        place = selector(function)
        while not isinstance(place, ast.stmt):
            place = function.parents[place]
        new = function.parsed(text, place, {})
        return function.replaced({place: [place, *new] if behind else [*new, place]})

    return edited
