"""How figures leave the bench: tables on the terminal, and JSON with everything that is needed to judge them.

Knows what machine this is; knows nothing of how a figure came about. Results go to `bench/results/`, or where
`--out` says.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import ssl
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bench import roster

RESULTS = Path(__file__).parent / "results"


def console() -> Console:
    """Wide enough for a table with ratios even where standard output is a file."""
    found = Console()
    return found if found.is_terminal else Console(width=180)


def progress(on: Console) -> Progress:
    """A bar that is drawn only when told to: a refresh thread would wake ten times a second beside what is
    measured.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=on, auto_refresh=False)


def environment() -> dict[str, Any]:
    """Versions, kernel and processor: what a figure means nothing without."""
    versions: dict[str, str | None] = {}
    for package in roster.PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": sys.version.split()[0],
        "implementation": platform.python_implementation(),
        "openssl": ssl.OPENSSL_VERSION,
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processor": model,
        "cores": os.cpu_count(),
        "cargo": _version("cargo", "--version"),
        "cc": _version("cc", "--version"),
        "commit": _commit(),
        "packages": versions,
    }


@functools.cache
def _commit() -> str | None:
    """Asked for once: the results that a run writes are no change of what it measures."""
    return _version("git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty")


def _version(*command: str) -> str | None:
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return out.splitlines()[0] if out else None


class Noise:
    """The load by other processes while something was measured. `with` begins and ends the watch; `facts` is for the
    JSON.

    Others are how busy the cores were in the second before anything of ours ran; load is the kernel's average of the
    last minute, which has our own processes in it; stolen is what the hypervisor gave to others, in percent of all
    cores (proc(5), /proc/stat); without such a file it is None.
    """

    def __enter__(self) -> Noise:
        self._load = os.getloadavg()[0]
        before = _ticks()
        time.sleep(LISTEN_SECONDS)
        after = _ticks()
        self._others = None
        if before and after and after[0] > before[0]:
            self._others = round(100 * (after[1] - before[1]) / (after[0] - before[0]), 1)
        self._began = time.monotonic()
        self._ticks = _ticks()
        self.facts: dict[str, Any] = {}
        return self

    def __exit__(self, *reason: object) -> None:
        before, after = self._ticks, _ticks()
        share: dict[str, float | None] = {"busy_percent": None, "stolen_percent": None}
        if before and after and after[0] > before[0]:
            passed = (after[0] - before[0]) / 100
            share = {
                "busy_percent": round((after[1] - before[1]) / passed, 1),
                "stolen_percent": round((after[2] - before[2]) / passed, 2),
            }
        seconds = round(time.monotonic() - self._began, 1)
        self.facts = {
            "others_percent": self._others,
            "load_before": self._load,
            "load_after": os.getloadavg()[0],
            "seconds": seconds,
            **share,
        }


def _ticks() -> tuple[int, int, int] | None:
    """(all, busy, stolen) ticks of all cores since boot."""
    try:
        fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    user, nice, system, _, _, interrupts, soft, stolen = fields
    return sum(fields), user + nice + system + interrupts + soft, stolen


LISTEN_SECONDS = 1.0
LOUD_OTHERS, LOUD_STOLEN = 10.0, 1.0
"""Percent of all cores: what is above is called noise in so many words."""


def noise_line(found: dict[str, Any]) -> str:
    """One line for a caption: when and where, and how quiet it was."""
    facts, where = found["noise"], found["environment"]
    stolen = facts["stolen_percent"]
    others = "?" if facts["others_percent"] is None else f"{facts['others_percent']:.0f} %"
    line = (
        f"{where['when']}, CPython {where['python']}, {where['system']} {where['kernel']}, {where['cores']} cores; "
        f"cores {others} busy just before; "
        f"load {facts['load_before']:.2f} before, {facts['load_after']:.2f} after; "
        f"stolen {'unknown' if stolen is None else f'{stolen:.2f} %'}; {facts['seconds']:.0f} s"
    )
    loud = (facts["others_percent"] or 0) > LOUD_OTHERS or (stolen or 0) > LOUD_STOLEN
    return f"{line}\nNOISY: others were using this machine; trust the ratios, and those with care" if loud else line


def save(name: str, content: dict[str, Any], out: Path) -> Path:
    """Write `out/name.json`, whole."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(as_text(content) + "\n")
    part.replace(path)
    return path


_PLAIN_LIST = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")


def as_text(content: dict[str, Any]) -> str:
    """Indented JSON, in which a list of plain values keeps to one line."""
    return _PLAIN_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(content, indent=1))


def load(file: Path) -> dict[str, Any]:
    """A document that `save` wrote. Raises `ValueError` for what is no result of the bench."""
    found = json.loads(file.read_text())
    if not isinstance(found, dict) or not isinstance(found.get("bench"), str):
        raise ValueError(f"{file} is no result of this bench")
    return found
