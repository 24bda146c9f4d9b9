"""The public boundary: the names that are exported, the types in their signatures, and the tree of the exceptions."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wire_rawsse
from wire_rawsse import aio, errors

README = (Path(__file__).parent.parent / "README.md").read_text()
PACKAGE = Path(wire_rawsse.__file__).parent

NOT_OURS = {
    *("Any", "AsyncIterator", "Callable", "Iterable", "Iterator", "Literal", "Mapping", "PathLike", "SSLContext"),
    *("Self", "TracebackType", "os", "ssl", "types"),
}
"""Names of the standard library that may stand in an annotation."""
PUBLIC: dict[str, Any] = {name: getattr(module, name) for module in (wire_rawsse, aio) for name in module.__all__}
ALIASES = ("ClientCertificate", "Headers", "Item", "State", "Trust")


MADE_BY_US = ("SourceHandle", "StreamHandle", "SubscriberThread")
"""Only a function or method of ours makes one."""


def names_in(annotation: object) -> set[str]:
    """The names in an annotation, which is text, a type or a union of types."""
    if isinstance(annotation, type):
        return {annotation.__name__}
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__forward_arg__", str(annotation))
    nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    found = {node.id for node in nodes if isinstance(node, ast.Name)}
    found |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    inner = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return found.union(*map(names_in, inner)) if "Literal" not in found else found


def annotations_of(value: Any) -> Iterator[tuple[str, object]]:
    """Those of a function, or of all that is public in a class."""
    if inspect.isfunction(value):
        for name, parameter in inspect.signature(value).parameters.items():
            if name not in ("self", "cls"):
                yield name, parameter.annotation
        yield "return", inspect.signature(value).return_annotation
        return
    yield from ((name, what) for name, what in inspect.get_annotations(value).items() if name[0] != "_")
    ours = [kind for kind in reversed(value.__mro__) if kind.__module__.startswith("wire_rawsse")]
    for name, member in {name: member for kind in ours for name, member in vars(kind).items()}.items():
        if name[0] == "_" and (name != "__init__" or value.__name__ in MADE_BY_US):
            continue
        inner = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        inner = inner.fget if isinstance(inner, property) else inner
        if inspect.isfunction(inner):
            yield from ((f"{name}({part})", what) for part, what in annotations_of(inner))


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in (*ALIASES, "__version__")])
def test_every_type_in_a_public_signature_is_public(name: str) -> None:
    known = NOT_OURS | set(dir(builtins)) | set(wire_rawsse.__all__)
    found = 0
    for where, annotation in annotations_of(PUBLIC[name]):
        found += 1
        assert annotation is not inspect.Parameter.empty, f"{name}.{where} has no type"
        assert names_in(annotation) <= known, f"{name}.{where}: {annotation}"
    assert found or name == "WireRawSSEError"


@pytest.mark.parametrize("name", ALIASES)
def test_so_are_the_types_that_an_alias_stands_for(name: str) -> None:
    alias = getattr(wire_rawsse, name)
    if name == "Item":
        assert set(alias.__args__) == {wire_rawsse.Opened, wire_rawsse.Event, wire_rawsse.Comment, wire_rawsse.Closed}
    elif name == "State":
        assert set(alias.__args__) == {"connecting", "connected", "reconnecting", "error"}
    else:
        known = NOT_OURS | set(dir(builtins)) | {"Path"}  # Which is a local name for a str or an os.PathLike.
        assert names_in(alias) <= known, alias


def test_a_type_that_is_not_public_is_found() -> None:
    def careless(one: Callable[[], "Hidden"]) -> Iterator[Other]: ...  # type: ignore[name-defined,empty-body]  # noqa: F821, UP037

    names = set().union(*(names_in(annotation) for _, annotation in annotations_of(careless)))
    assert {"Hidden", "Other"} <= names


def test_every_public_name_is_there_and_said_to_be() -> None:
    for name in wire_rawsse.__all__:
        assert getattr(wire_rawsse, name) is not None
    assert set(wire_rawsse.__all__) <= set(dir(wire_rawsse))
    with pytest.raises(AttributeError, match="no attribute 'SubscriberThreads'"):
        wire_rawsse.SubscriberThreads  # noqa: B018


def test_the_thread_is_loaded_when_it_is_asked_for() -> None:
    code = (
        "import sys, wire_rawsse as w; print('threading' in sys.modules); "
        "from wire_rawsse import SubscriberThread; print('threading' in sys.modules, SubscriberThread.__name__)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True", "SubscriberThread"]


def described_by(documented: object) -> set[str]:
    text = documented.__doc__ or ""
    return set(re.findall(r"\b[a-z_]+\b", " ".join(re.findall(r"(?m)^ *((?:\w+, )*\w+):", text))))


def parameters_of(documented: Any) -> dict[str, inspect.Parameter]:
    return {name: one for name, one in inspect.signature(documented).parameters.items() if name != "self"}


WITH_ARGUMENTS = {
    **{name: PUBLIC[name] for name in PUBLIC if name.endswith(("EventSource", "StreamSubscriber", "Streams"))},
    "Streams.add": wire_rawsse.Streams.add,
    "EventStreams.add": wire_rawsse.EventStreams.add,
}


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_every_argument_is_documented(name: str) -> None:
    """In the docstring of each: nobody has to look for an argument in that of another class."""
    assert set(parameters_of(WITH_ARGUMENTS[name])) <= described_by(WITH_ARGUMENTS[name])


@pytest.mark.parametrize("name", ["EventSource", "StreamSubscriber", "Streams"])
def test_asyncios_classes_take_the_same_arguments(name: str) -> None:
    parameters, others = (parameters_of(PUBLIC[one]) for one in (f"Async{name}", name))
    assert set(parameters) - set(others) <= {"on_wake"}
    assert {one: what for one, what in parameters.items() if one != "on_wake"} == others


# The exceptions.

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.WireRawSSEError)]


def test_every_error_is_named() -> None:
    assert sorted(kind.__name__ for kind in KINDS) == sorted(errors.__all__)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_one_root_a_builtin_parent_and_a_word_on_retrying(kind: type[errors.WireRawSSEError]) -> None:
    assert isinstance(kind.permanent, bool) and kind.__doc__
    builtin = (OSError, ValueError, RuntimeError, TimeoutError, ConnectionError)
    assert kind is errors.WireRawSSEError or issubclass(kind, builtin)


def tree(kind: type[errors.WireRawSSEError], indent: str = "") -> Iterator[tuple[str, str, bool]]:
    """A line of the picture for each class: its beginning, its builtin parents, and whether it is always for good."""
    below = [one for one in KINDS if kind in one.__bases__]
    for one in below:
        last = one is below[-1]
        parents = [base.__name__ for base in one.__bases__ if base.__module__ == "builtins"]
        inherited = bool(one.permanent)
        yield f"{indent}{'└' if last else '├'}── {one.__name__}", ", ".join(parents), inherited
        yield from tree(one, indent + ("    " if last else "│   "))


@pytest.mark.parametrize("text", [errors.__doc__ or "", README], ids=["docstring", "README"])
def test_the_tree_is_drawn_as_it_is(text: str) -> None:
    found = re.search(r"(?m)^ *WireRawSSEError\n((?: *[├└│].*\n)+)", text)
    assert found is not None
    drawn = [line.removeprefix("    ") if text is not README else line for line in found[1].splitlines()]
    expected = list(tree(errors.WireRawSSEError))
    assert len(drawn) == len(expected)
    for line, (start, parents, for_good) in zip(drawn, expected, strict=True):
        assert re.match(rf"{re.escape(start)}(\s|$)", line), line
        assert line.removeprefix(start).strip().startswith(parents), line
        assert line.endswith("for good") == for_good, line


# Internal modules.


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("**/__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_lists_its_public_names_or_says_that_it_is_internal(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    inside = path.parent.parent not in (PACKAGE, PACKAGE.parent)  # Of a package that is internal as a whole.
    assert "__all__" in names or inside or (ast.get_docstring(tree) or "").startswith("Internal: ")
