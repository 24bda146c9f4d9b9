"""Who is measured: every client program with its kind, its label and how it is started. Knows no socket and no
figure.

The C floor and the Rust peer are built here, into a cache outside the checkout. What cannot be had on this
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
Family = Literal["floor", "ours", "peer"]
BUILD_SECONDS = 900


@dataclass(frozen=True)
class Client:
    """One program. `name` is its module under `bench.clients`, or the built program's; `stop` how it is told to
    end.
    """

    name: str
    family: Family
    label: str
    stop: Literal["signal", "stdin"] = "signal"


FLOORS = (
    Client("floor_c", "floor", "C: recv"),
    Client("floor_poll", "floor", "CPython: poll + recv, main thread"),
    Client("floor_lock", "floor", "CPython: thread recv, raw lock"),
    Client("floor_simplequeue", "floor", "CPython: thread recv, SimpleQueue"),
    Client("floor_eventfd", "floor", "CPython: thread recv, eventfd"),
)
THREAD_FLOORS = ("floor_lock", "floor_simplequeue", "floor_eventfd")
OURS = (
    Client("ours_inline", "ours", "wire_rawsse: wait()"),
    Client("ours_thread", "ours", "wire_rawsse: WakeChannel"),
    Client("ours_select", "ours", "wire_rawsse: own poll loop"),
    Client("ours_source", "ours", "wire_rawsse: EventSource.next()"),
)
PEERS = (
    Client("pycurl_stock", "peer", "pycurl, thread"),
    Client("pycurl_tuned", "peer", "pycurl, multi + epoll"),
    Client("requests_stock", "peer", "requests iter_lines, thread"),
    Client("requests_tuned", "peer", "requests raw, main"),
    Client("requests_sse_stock", "peer", "requests-sse, thread"),
    Client("requests_sse_tuned", "peer", "requests-sse, main"),
    Client("sseclient_stock", "peer", "sseclient-py, thread"),
    Client("sseclient_tuned", "peer", "sseclient-py raw, main"),
    Client("launchdarkly_stock", "peer", "launchdarkly, thread"),
    Client("launchdarkly_tuned", "peer", "launchdarkly, main"),
    Client("httpx_stock", "peer", "httpx iter_lines, thread"),
    Client("httpx_tuned", "peer", "httpx iter_raw, main"),
    Client("httpx_sse_stock", "peer", "httpx-sse, thread"),
    Client("httpx_sse_tuned", "peer", "httpx-sse, main"),
    Client("aiohttp_stock", "peer", "aiohttp lines"),
    Client("aiohttp_tuned", "peer", "aiohttp readany"),
    Client("aiohttp_sse_stock", "peer", "aiohttp-sse-client2"),
    Client("reqwest", "peer", "Rust: reqwest, thread, mpsc", stop="stdin"),
)
ALL = FLOORS + OURS + PEERS
BY_NAME = {client.name: client for client in ALL}

PACKAGES = (
    "wire-rawsse", "h11", "certifi", "httpx", "httpcore", "httpx-sse", "requests", "urllib3", "sseclient-py",
    "requests-sse", "launchdarkly-eventsource", "aiohttp", "aiohttp-sse-client2", "pycurl", "rich", "matplotlib",
)  # fmt: skip


class Unavailable(Exception):
    """This client cannot run on this machine; the text says why."""


def cache() -> Path:
    """Where built programs are kept: `$XDG_CACHE_HOME/wire-rawsse-bench`, or under `~/.cache`."""
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
    """Where the Rust peer is once it has been built."""
    return cache() / "rust" / "release" / "wire-rawsse-bench-peer"


def left_out_of_quick() -> dict[str, str]:
    """Who takes no part in a smoke run, and why: it must not wait for a minute of cargo."""
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


def command(client: Client, url: str, ca: str | None) -> list[str]:
    """The argument list that starts `client` against `url`. Raises `Unavailable`."""
    trust = [ca] if ca else []
    if client.name == "floor_c":
        parts = urlsplit(url)
        return [str(build_floor()), parts.hostname or "", str(parts.port), parts.path, *trust]
    if client.name == "reqwest":
        return [str(build_rust()), url, *trust]
    return [sys.executable, "-m", f"bench.clients.{client.name}", url, *trust]
