"""The house rules that a machine can check: who imports whom, what is public, and what a bare import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wire_rawsse

PACKAGE = Path(wire_rawsse.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    [
        "wire_rawsse._version",
        "wire_rawsse.errors",
        "wire_rawsse.waits",
        "wire_rawsse.services",
        "wire_rawsse.state",
        "wire_rawsse.log",
        "wire_rawsse.wakeup",
    ],
    ["wire_rawsse.redact", "wire_rawsse.foreign", "wire_rawsse.checks"],
    [
        "wire_rawsse.protocol",
        "wire_rawsse.policy",
        "wire_rawsse.phases",
        "wire_rawsse.heartbeat",
        "wire_rawsse.early_wakes",
        "wire_rawsse.repeats",
    ],
    ["wire_rawsse.sink"],
    ["wire_rawsse.transport"],
    ["wire_rawsse.hosts", "wire_rawsse.wake"],
    [
        "wire_rawsse.gate",
        "wire_rawsse.record",
        "wire_rawsse.resume",
        "wire_rawsse.patience",
        "wire_rawsse.plan",
        "wire_rawsse.read_clocks",
    ],
    ["wire_rawsse.body", "wire_rawsse.tls_body"],
    ["wire_rawsse.connection"],
    ["wire_rawsse.halves", "wire_rawsse.second"],
    ["wire_rawsse.renewal"],
    ["wire_rawsse.reconnect"],
    ["wire_rawsse.event_source", "wire_rawsse.stream_set"],
    ["wire_rawsse.wake_streams"],
    ["wire_rawsse.many_streams"],
    ["wire_rawsse.many_events"],
    ["wire_rawsse.wire"],
    ["wire_rawsse.subscriber"],
    ["wire_rawsse.probe"],
    ["wire_rawsse.aio"],
    ["wire_rawsse.relay", "wire_rawsse"],
    ["wire_rawsse.testing"],
    ["wire_rawsse.cli", "wire_rawsse.__main__"],
]
"""From the ground up. A module imports from its own layer and those below."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute here"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> int:
    best = max(
        ((len(name), number) for number, names in enumerate(LAYERS) for name in names if within(module, name)),
        default=None,
    )
    assert best is not None, f"{module} belongs to no layer: give it one"
    return best[1]


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_layers_import_downwards_only(path: Path) -> None:
    module = name_of(path)
    known = {name_of(other) for other in MODULES}
    for imported in imports_of(path):
        if imported in known and imported != "wire_rawsse":
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}, which lies above it"


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not for types alone either: what a circle joins can only be read and changed together."""
    known = {name_of(path): path for path in MODULES}
    left = {module: modules_imported_by(path) & known.keys() - {module} for module, path in known.items()}
    while free := [module for module, imported in left.items() if not imported & left.keys()]:
        for module in free:
            del left[module]
    assert {module: sorted(imported & left.keys()) for module, imported in left.items()} == {}


def test_no_class_name_is_used_twice() -> None:
    """A name that two modules give to different things must be looked up each time it is read."""
    found: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name_of(path))
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


def modules_imported_by(path: Path) -> set[str]:
    """`from package import name` imports the module `name`, if there is one, and otherwise the package."""
    known, found = {name_of(other) for other in MODULES}, set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known or {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_layer_knows_only_what_it_may(path: Path) -> None:
    module, imported = name_of(path), set(imports_of(path))
    http_libraries = {"http.client", "urllib.request", "requests", "httpx", "httpcore", "aiohttp", "urllib3", "pycurl"}
    assert not imported & http_libraries, "no HTTP library, ever"
    if within(module, "wire_rawsse.protocol"):
        assert not imported & {"socket", "ssl", "select", "time"}, "the protocol knows no socket and no clock"
    if within(module, "wire_rawsse.transport") or within(module, "wire_rawsse.hosts"):
        assert not any(within(name, "wire_rawsse.protocol") or name == "h11" for name in imported), "knows no HTTP"
    if not any(within(module, name) for name in ("wire_rawsse.relay", "wire_rawsse.testing", "wire_rawsse.aio")):
        assert "asyncio" not in imported, "asyncio costs more than all of us"
    if not any(
        within(module, name) for name in ("wire_rawsse.testing", "wire_rawsse.cli.relay", "wire_rawsse.cli.demo")
    ):
        assert not any(within(name, "wire_rawsse.testing") for name in imported), "faults are for tests and the demo"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_fits_in_one_head_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert fits(text)
    assert ast.get_docstring(ast.parse(text)), f"{path.name} does not say what it is for"


def test_nor_is_any_module_of_the_tests_and_the_bench_larger() -> None:
    root = Path(__file__).parent.parent
    paths = [path for folder in ("tests", "bench") for path in (root / folder).rglob("*.py")]
    assert [str(path) for path in paths if not fits(path.read_text())] == []


def fits(text: str) -> bool:
    return len(text.splitlines()) <= 450 and len(text.encode()) <= 24 << 10


def test_the_public_names_are_those_of_the_contract() -> None:
    assert set(wire_rawsse.__all__) == {
        *("EventSource", "StreamSubscriber", "WakeChannel", "spawn_stream_subscriber"),
        *("Event", "Comment", "Opened", "Closed", "EventParser", "Timeouts", "Keepalive", "Backoff"),
        *("WireRawSSEError", "__version__"),
        # The types in their signatures.
        *("Item", "Headers", "Trust", "ClientCertificate", "State", "EndpointState", "SubscriberState"),
        *("SubscriberThread", "Streams", "EventStreams", "StreamHandle", "SourceHandle"),
    }
    for name in wire_rawsse.__all__:
        assert getattr(wire_rawsse, name) is not None


def test_what_runs_is_reachable_as_a_module_and_needs_no_event_loop() -> None:
    code = "import sys, wire_rawsse; print([m for m in ('asyncio', 'ssl', 'threading', 'json') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_page_of_the_architecture_names_modules_that_exist() -> None:
    page = (PACKAGE / "ARCHITECTURE.md").read_text()
    table = page[page.index("| layer |") : page.index("The life of a connection")]
    rows = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+/?)`", row)}
    there = {path.name + "/" for path in PACKAGE.iterdir() if path.is_dir()} | {
        path.stem for path in PACKAGE.glob("*.py")
    }
    assert named and named <= there
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {f"{folder}/" for folder in folders} <= named
