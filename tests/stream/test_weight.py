"""The cost of an import, measured in fresh interpreters: modules, and memory that it has written to."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.fixtures import Serve
from tests.support.server import OPEN, QUIET, request, send

BASE = "import socket, h11"
OURS = 'import socket, h11, wire_rawsse; s = wire_rawsse.StreamSubscriber("http://127.0.0.1:9/", bearer_token="t")'
FORBIDDEN = (
    *("asyncio", "ssl", "_ssl", "certifi", "http", "http.client", "urllib", "urllib.request", "urllib.parse", "email"),
    *("logging", "argparse", "threading", "concurrent", "json", "selectors", "tempfile", "subprocess", "ipaddress"),
)
"""Modules that a daemon on a local relay never loads: the largest of them cost more than all of us."""

MODULES_OF_OURS = (
    *(
        "_version",
        "checks",
        "errors",
        "heartbeat",
        "log",
        "patience",
        "phases",
        "plan",
        "policy",
        "reconnect",
        "read_clocks",
        "record",
        "redact",
    ),
    *("body", "connection", "resume", "state", "stream_set", "subscriber", "wake_streams"),
    *("waits", "wake", "wakeup", "hosts", "hosts.clock", "hosts.handle", "hosts.loop", "hosts.notice", "hosts.poller"),
    *("hosts.schedule", "hosts.system", "hosts.task", "hosts.watch"),
    *("protocol", "protocol.chunked", "protocol.http", "protocol.proxy", "protocol.redirect"),
    *("protocol.request", "protocol.response"),
    *(
        "protocol.sse",
        "protocol.url",
        "transport",
        "transport.addresses",
        "transport.channel",
        "transport.deadline",
        "transport.dial",
    ),
    *("transport.alerts", "transport.resolve", "transport.trust"),
)
"""Not those of events, TLS, refusals, the thread host, wire's files, the command and the relay."""

MODULES = "import sys; print(*sorted(sys.modules))"
DIRTY = r"""
import re
print(re.search(r"^Private_Dirty:\s*(\d+) kB$", open("/proc/self/smaps_rollup").read(), re.MULTILINE)[1])
"""
"""Pages of files are left out: whether they are private depends on which other processes run the same Python."""


Run = Callable[[str], str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The output of a fresh interpreter; from bytecode of its own, as compiling would be measured otherwise."""
    ours = ("COV", "PYTHONDONTWRITEBYTECODE", "PYTHONTRACEMALLOC", "PYTHONDEVMODE")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ["PYTHONPYCACHEPREFIX"] = str(tmp_path_factory.mktemp("bytecode"))

    def run(code: str) -> str:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environ)
        assert done.stderr == ""
        return done.stdout

    run(OURS)
    return run


def modules(run: Run, code: str) -> set[str]:
    return set(run(f"{code}\n{MODULES}").split())


def test_what_is_loaded_for_an_http_url(run: Run) -> None:
    base, ours = modules(run, BASE), modules(run, OURS)
    assert not [name for name in FORBIDDEN if name in ours - base]
    own = {name for name in ours - base if name.partition(".")[0] == "wire_rawsse"}
    assert own == {"wire_rawsse", *(f"wire_rawsse.{name}" for name in MODULES_OF_OURS)}
    # Small parts of the standard library; on older Pythons `socket` and h11 have loaded all of them.
    small = {"__future__", "math", "math.integer", "_math_integer", "select", "weakref", "_weakrefset"}
    assert ours - base - own <= small, "h11 has loaded everything else already"


def test_nothing_is_generated_or_compiled_by_the_import(run: Run) -> None:
    """Dataclasses and regular expressions are most of what imports cost elsewhere; a named tuple is what is allowed."""
    code = """
import dataclasses, re, socket, h11
made, made_by_re = [], re._compile
def note(cls, *rest, made_by=dataclasses._process_class):
    made.append(cls.__name__)
    return made_by(cls, *rest)
dataclasses._process_class = note
re._compile = lambda pattern, flags: (made.append(pattern), made_by_re(pattern, flags))[1]
import wire_rawsse
wire_rawsse.StreamSubscriber("http://relay.example:9/a?b=c", bearer_token="t", headers={"A": "b"})
print(made)
"""
    assert run(code) == "[]\n"


def test_what_is_loaded_by_the_import_alone(run: Run) -> None:
    assert modules(run, "import socket, h11, wire_rawsse") == modules(run, OURS)


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="only Linux tells it so easily")
def test_the_memory_that_it_adds(run: Run) -> None:
    """1.4 MiB at most; the median of several, since the allocator's rounding moves single runs.

    From 3.14 on, 1.95 MiB: the code of a function takes more there, and the base has loaded fewer modules.
    """

    def median(code: str) -> float:
        return statistics.median(int(run(f"{code}\n{DIRTY}")) for _ in range(5))

    added = median(OURS) - median(BASE)
    assert added <= (1.4 if sys.version_info < (3, 14) else 1.95) * 1024, f"{added} KiB"


def test_a_whole_http_stream_loads_no_tls(run: Run, serve: Serve) -> None:
    """Connected, woken, truncated and connected again."""
    server = serve([request, send(OPEN + b"data: x\n\n")], QUIET)
    code = f"""
import sys, wire_rawsse
with wire_rawsse.StreamSubscriber({server.url!r}, backoff=wire_rawsse.Backoff(initial=0.01, healthy_after=0)) as s:
    assert s.wait(20) and s.wait(20)
    assert s.state.reconnect_count == 1
print(*sorted(sys.modules))
"""
    loaded = set(run(code).split())
    assert not loaded & {"ssl", "_ssl", "certifi", "asyncio", "threading", "http", "email"}
    assert "logging" not in loaded, "a clean end is nothing to warn of"


def test_a_name_costs_a_thread_and_nothing_more(run: Run, serve: Serve) -> None:
    server = serve(QUIET)
    code = f"""
import sys, wire_rawsse
with wire_rawsse.StreamSubscriber("http://localhost:{server.port}/") as s:
    assert s.wait(20)
print(*sorted(sys.modules))
"""
    loaded = set(run(code).split())
    assert not loaded & {"ssl", "_ssl", "certifi", "asyncio", "logging", "concurrent", "concurrent.futures"}
    assert "threading" not in loaded, "its locks are not safe from a signal handler that raises"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_host_loads_the_codec_of_international_names(
    run: Run, serve: Serve, ca_file: str, host: str, tls: bool
) -> None:
    """It would take 150 to 250 KiB."""
    url = serve(tls=tls).url.replace("127.0.0.1", host)
    code = f"""
import sys, wire_rawsse
with wire_rawsse.StreamSubscriber({url!r}, tls={ca_file!r}) as s:
    assert s.wait(20)
print(*sorted(sys.modules))
"""
    assert not set(run(code).split()) & {"encodings.idna", "stringprep", "unicodedata"}


WATCHING = """
import sys, tracemalloc
tracemalloc.start()
import wire_rawsse
subscriber = wire_rawsse.StreamSubscriber({url!r}, watch={watch})
assert subscriber.wait(20) and not subscriber.wait(0.1)
print(sum(trace.size for trace in tracemalloc.take_snapshot().traces if trace.size < 32 * 1024))
print(*sorted(sys.modules))
"""


def test_the_memory_of_watching_the_machine(run: Run, serve: Serve) -> None:
    """60 KiB at most while nothing happens. All that Python has allocated is counted: the pages of a process (USS) hide
    so little in their free space. But tables of the interpreter are left out: one may double just then.
    """
    server = serve(QUIET, QUIET, QUIET)
    allocated, loaded = {}, {}
    for watch in (True, False, True):  # The first run compiles.
        numbers, names = run(WATCHING.format(url=server.url, watch=watch)).splitlines()
        allocated[watch], loaded[watch] = int(numbers), set(names.split())
    added = {name.removeprefix("wire_rawsse.") for name in loaded[True] - loaded[False]}
    assert added == {"hosts.machine", "hosts.surroundings"}
    kib = (allocated[True] - allocated[False]) / 1024
    print(f"{kib:.1f} KiB")
    assert kib <= 60, f"{kib:.1f} KiB"


def test_one_more_subscriber_is_small(run: Run) -> None:
    """Python's objects of one that is not connected, in bytes. An empty deque would add 760."""
    code = """
import tracemalloc, wire_rawsse
def one():
    return wire_rawsse.StreamSubscriber("http://127.0.0.1:9/", bearer_token="t")
kept = [one()]
tracemalloc.start()
kept += [one() for _ in range(20)]
print(tracemalloc.get_traced_memory()[0] // 20)
"""
    assert int(run(code)) < 8000
