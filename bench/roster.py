"""The measured clients: every client program with its kind, its label and how it is started. Knows no socket and no
figure.

The C floor and the Rust peer are built here, into a cache outside the checkout. A client that cannot be had on this
machine (no compiler, no cargo, a package that is not installed) stays in the list with the reason, so that no
table silently lacks a row.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

HERE = Path(__file__).parent
Family = Literal["floor", "ours", "peer", "bound"]
"""A bound is a peer that the main thread iterates: faster, but while it waits the daemon can do nothing else."""
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Client:
    """One program. `name` is for tables and files; `module` is under `bench.clients`, with its `variant`, empty for
    what was built. `stop` is how it is told to end, `many` whether it can hold several streams. `handover` is how its
    thread wakes its main thread, where that is not as with all others.
    """

    name: str
    family: Family
    label: str
    module: str = ""
    variant: str = ""
    stop: Literal["signal", "stdin"] = "signal"
    many: bool = False
    handover: str = ""


def _peer(module: str, label: str, *, loop: bool = False) -> tuple[Client, ...]:
    """The variants of one peer; those in an event loop are in the main thread as they are."""
    found = [Client(f"{module}_{kind}", "peer", f"{label}, {kind}", module, kind, many=True) for kind in STOCK_TUNED]
    if not loop:
        found.append(Client(f"{module}_main", "bound", f"{label}, main thread", module, "main"))
    return tuple(found)


def _native_peer(library: str) -> tuple[Client, ...]:
    """An HTTP client without a parser of events, in a thread and in the main thread."""
    return (
        Client(f"{library}_thread", "peer", f"{library}, thread", "native", f"{library}_thread", many=True),
        Client(f"{library}_main", "bound", f"{library}, main thread", "native", f"{library}_main"),
    )


STOCK_TUNED = ("stock", "tuned")
NATIVE = ("pyreqwest", "httpr", "primp", "curl_cffi", "wreq", "niquests", "httpx2", "zapros", "urllib3")
FLOORS = (
    Client("floor_c", "floor", "C: read"),
    Client("floor_poll", "floor", "CPython: poll + recv", "floor_poll"),
    Client("floor_lock", "floor", "CPython: thread, raw lock", "floor_lock"),
    Client("floor_simplequeue", "floor", "CPython: thread, SimpleQueue", "floor_simplequeue"),
    Client("floor_eventfd", "floor", "CPython: thread, eventfd", "floor_eventfd"),
    Client("floor_asyncio", "floor", "CPython: asyncio, add_reader", "floor_asyncio"),
)
THREAD_FLOORS = ("floor_lock", "floor_simplequeue", "floor_eventfd")
HANDOVERS = ("lock", "simplequeue", "eventfd")
"""How a peer's thread may wake the main thread: by what one of these floors has."""
EVENTFD = "eventfd" if hasattr(os, "eventfd") else "simplequeue"
FLOORS_HANDOVER = {"http": "lock", "https": EVENTFD}
"""Which the peers get in `wake`: that of the floor which is mostly the fastest."""
CHEAPEST_HANDOVER = "simplequeue"
"""And in `cost`, where time on a core counts, and not how soon."""
HANDOVER_CHOICE = "BENCH_HANDOVER"
"""The variable of the environment that tells a client."""
OURS = (
    Client("ours_inline", "ours", "wire_rawsse: wait()", "ours_inline"),
    Client("ours_thread", "ours", "wire_rawsse: WakeChannel", "ours_thread", many=True),
    Client("ours_select", "ours", "wire_rawsse: own poll loop", "ours_select", many=True),
    Client("ours_source", "ours", "wire_rawsse: EventSource.next()", "ours_source"),
)
OURS_ASYNCIO = (
    Client("ours_asyncio", "ours", "wire_rawsse.aio: await wait()", "ours_asyncio", "wait", many=True),
    Client("ours_asyncio_on_wake", "ours", "wire_rawsse.aio: on_wake", "ours_asyncio", "on_wake", many=True),
    Client("ours_asyncio_events", "ours", "wire_rawsse.aio: async for event", "ours_asyncio", "events", many=True),
)
OURS_UVLOOP = (
    Client("ours_uvloop", "ours", "wire_rawsse.aio: await wait(), uvloop", "ours_asyncio", "wait_uvloop"),
    Client("ours_uvloop_on_wake", "ours", "wire_rawsse.aio: on_wake, uvloop", "ours_asyncio", "on_wake_uvloop"),
)
OURS_WATCH = (
    Client("ours_watch_on", "ours", "wire_rawsse: wait(), idle, watch=True", "ours_watch", "on"),
    Client("ours_watch_off", "ours", "wire_rawsse: wait(), idle, watch=False", "ours_watch", "off"),
)
OURS_WIRE = Client("ours_wire", "ours", "wire_rawsse: from_wire()", "ours_wire", many=True)
BASE = Client("base_socket", "floor", "socket, h11: connected, asleep", "base_socket")
"""These for `cost` alone: they are no way of waiting of their own."""
_PYTHON_PEERS = (
    *_peer("launchdarkly", "launchdarkly"),
    *_peer("httpx_sse", "httpx-sse"),
    *_peer("sseclient_py", "sseclient-py"),
    *_peer("requests_sse", "requests-sse"),
)
_OTHERS = (
    *_peer("aiohttp_sse", "aiohttp-sse-client2", loop=True),
    *_peer("pycurl_easy", "pycurl"),
    Client("pycurl_multi", "peer", "pycurl multi, own epoll", "pycurl_multi", many=True),
    Client("reqwest", "peer", "Rust: reqwest, thread, mpsc", stop="stdin"),
    *(client for library in NATIVE for client in _native_peer(library)),
)
IN_ASYNCIO = (
    Client("aiohttp_raw", "peer", "aiohttp, raw content", "aiohttp_raw", "asyncio", many=True),
    Client("aiohttp_raw_uvloop", "peer", "aiohttp, raw content, uvloop", "aiohttp_raw", "uvloop", many=True),
    Client("httpx_sse_asyncio", "peer", "httpx-sse, asyncio", "httpx_sse", "asyncio", many=True),
)
"""The peers of our asyncio clients, besides aiohttp-sse-client2."""
PEERS = tuple(client for client in _PYTHON_PEERS + _OTHERS + IN_ASYNCIO if client.family == "peer")
AT_THEIR_BEST = (
    Client("launchdarkly_eventfd", "peer", "launchdarkly, tuned, eventfd", "launchdarkly", "tuned", handover=EVENTFD),
    Client("pycurl_easy_eventfd", "peer", "pycurl, tuned, eventfd", "pycurl_easy", "tuned", handover=EVENTFD),
)
"""The fastest two once more, for `wake` over http: writing an eventfd lets the GIL go, so that the main thread runs
before the peer's thread goes on parsing. That is up to 15 % of such a peer's wake, though no floor gains by it."""
BOUNDS = tuple(client for client in _PYTHON_PEERS + _OTHERS if client.family == "bound")
PURE = tuple(client.name for client in _PYTHON_PEERS if client.family == "peer")
"""The peers without a line of C or Rust of their own, stock and tuned."""
NATIVE_THREADS = tuple(f"{library}_thread" for library in NATIVE)
NATIVE_MAIN = tuple(f"{library}_main" for library in NATIVE)
PYCURL = ("pycurl_easy_stock", "pycurl_easy_tuned", "pycurl_multi")
ALL = FLOORS + OURS + OURS_ASYNCIO + OURS_UVLOOP + PEERS + BOUNDS
IN_WAKE = FLOORS + OURS + OURS_ASYNCIO + OURS_UVLOOP + PEERS + AT_THEIR_BEST + BOUNDS
BY_NAME = {client.name: client for client in IN_WAKE}

PACKAGES = (
    "wire-rawsse", "h11", "certifi", *NATIVE, "httpx", "httpcore", "httpx-sse", "requests", "sseclient-py",
    "requests-sse", "launchdarkly-eventsource", "aiohttp", "aiohttp-sse-client2", "uvloop", "pycurl", "rich",
    "matplotlib",
)  # fmt: skip


class Unavailable(Exception):
    """This client cannot run on this machine; the text says why."""


def cache() -> Path:
    """The folder of built programs: `$XDG_CACHE_HOME/wire-rawsse-bench`, or under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "wire-rawsse-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build_floor() -> Path:
    """Compile the C floor if its source is newer than what is in the cache. Raises `Unavailable`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unavailable("no C compiler (cc)")
    source, program = HERE / "floors" / "wake.c", cache() / "floor_c"
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    with_tls = [compiler, "-O2", "-DWITH_TLS", "-o", str(program), str(source), "-lssl", "-lcrypto"]
    without = [compiler, "-O2", "-o", str(program), str(source)]
    for command in (with_tls, without):
        built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if built.returncode == 0:
            return program
    raise Unavailable(f"cc failed: {(built.stderr.strip().splitlines() or ['no message'])[-1]}")


def rust_program() -> Path:
    """The path of the Rust peer once it has been built."""
    return cache() / "rust" / "release" / "wire-rawsse-bench-peer"


def left_out_of_quick() -> dict[str, str]:
    """The clients that take no part in a smoke run: it must not wait for a minute of cargo."""
    return {} if rust_program().exists() else {"reqwest": "not built yet; a run without --quick builds it"}


def build_rust() -> Path:
    """Build the Rust peer with cargo, offline files permitting. Raises `Unavailable`."""
    if shutil.which("cargo") is None:
        raise Unavailable("no cargo")
    target = cache() / "rust"
    manifest = str(HERE / "rust" / "Cargo.toml")
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--manifest-path",
        manifest,
    ]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False, env=environment)
    if built.returncode != 0:
        raise Unavailable(f"cargo failed: {(built.stderr.strip().splitlines() or ['no message'])[-1]}")
    return rust_program()


def interpreter(name: str) -> str:
    """The Python that runs the program or variant of this name. Raises `Unavailable`.

    niquests replaces the modules of urllib3, so it has an environment of its own, without this package's other peers.
    """
    if not name.startswith("niquests"):
        return sys.executable
    package = "niquests"
    folder = cache() / f"{package}-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    done = folder / "installed"
    if not done.exists():
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "-q", package],
        ):
            made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
            if made.returncode != 0:
                raise Unavailable(f"pip failed: {(made.stderr.strip().splitlines() or ['no message'])[-1]}")
        done.touch()
    return str(python)


def command(client: Client, urls: str, ca: str | None) -> list[str]:
    """The argument list that starts `client` against `urls`, which are comma-separated. Raises `Unavailable`."""
    trust = [ca] if ca else []
    if client.name == "floor_c":
        parts = urlsplit(urls)
        return [str(build_floor()), parts.hostname or "", str(parts.port), parts.path, *trust]
    if client.name == "reqwest":
        return [str(build_rust()), urls, *trust]
    variant = [client.variant] if client.variant else []
    return [interpreter(client.variant), "-m", f"bench.clients.{client.module}", *variant, urls, *trust]
