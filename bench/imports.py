"""The cost until a program can connect: CPU time, modules and instructions of its imports.

Each program runs in fresh interpreters, all of them in turn, so that a noisy moment falls on all alike. Time is the
process's own CPU time around the lines in question, so starting the interpreter is not in it, and neither is compiling:
a first turn, which does not count, leaves the bytecode behind, as the first start of a program does in life.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import instruments

PROGRAMS: dict[str, tuple[str, str]] = {
    "floor": ("import socket, h11", "import socket, h11"),
    "floor_tls": ("import socket, ssl, h11", "import socket, ssl, h11"),
    "ours": (
        "wire_rawsse, a StreamSubscriber made",
        "import wire_rawsse; wire_rawsse.StreamSubscriber('http://127.0.0.1:1/')",
    ),
    "ours_source": (
        "wire_rawsse, an EventSource made",
        "import wire_rawsse; wire_rawsse.EventSource('http://127.0.0.1:1/')",
    ),
    "ours_tls": (
        "wire_rawsse for https, with ssl",
        "import wire_rawsse, ssl; wire_rawsse.StreamSubscriber('https://127.0.0.1:1/')",
    ),
    "pycurl": ("pycurl", "import pycurl; pycurl.Curl()"),
    "launchdarkly": ("launchdarkly-eventsource", "import ld_eventsource, urllib3"),
    "sseclient": ("requests, sseclient-py", "import requests, sseclient; requests.Session()"),
    "requests_sse": ("requests-sse", "import requests_sse, requests; requests.Session()"),
    "httpx_sse": ("httpx, httpx-sse", "import httpx, httpx_sse"),
    "aiohttp_sse": ("aiohttp-sse-client2", "import aiohttp, aiohttp_sse_client2.client"),
}
RUN_SECONDS = 60.0
TURNS_BEFORE = 1


CODE = """import sys, time
before = len(sys.modules); start = time.process_time_ns()
{code}
print((time.process_time_ns() - start) // 1000, len(sys.modules) - before)"""


def measure(runs: int, count: bool, advance: Callable[[], None], folder: Path) -> dict[str, Any]:
    """Every program `runs` times, and its instructions once where `count` says so; gives {name: {…}}. Bytecode is kept
    where PYTHONPYCACHEPREFIX says, or else in `folder`."""
    environ = {"PYTHONPYCACHEPREFIX": str(folder / "bytecode"), **os.environ}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    found: dict[str, Any] = {name: {"cpu_us": [], "modules": 0} for name in PROGRAMS}
    for turn in range(TURNS_BEFORE + runs):
        for name, (_, code) in PROGRAMS.items():
            advance()
            command = [sys.executable, "-c", CODE.format(code=code)]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, env=environ
            )
            if done.returncode:
                found[name]["unavailable"] = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            elif turn >= TURNS_BEFORE:
                spent, modules = done.stdout.split()
                found[name]["cpu_us"].append(int(spent))
                found[name]["modules"] = int(modules)
    if count and not instruments.callgrind_missing():
        bare = instruments.instructions_of([sys.executable, "-c", CODE.format(code="pass")], folder)
        for name, (_, code) in PROGRAMS.items():
            advance()
            if "unavailable" not in found[name]:
                command = [sys.executable, "-c", CODE.format(code=code)]
                found[name]["instructions"] = instruments.instructions_of(command, folder) - bare
    return found
