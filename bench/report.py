"""How figures leave the bench: tables on the terminal, and JSON with everything that is needed to judge them.

Knows what machine this is; knows nothing of how a figure came about. Results go to `bench/results/`, or where
`--out` says.
"""

from __future__ import annotations

import json
import os
import platform
import ssl
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import roster
from bench.stats import PERCENTILES, Summary, ratio

RESULTS = Path(__file__).parent / "results"


def console() -> Console:
    """Wide enough for a table with ratios even where standard output is a file."""
    found = Console()
    return found if found.is_terminal else Console(width=160)


def progress(on: Console) -> Progress:
    """A bar that is drawn only when told to: a refresh thread would wake ten times a second beside what is
    measured.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=on, auto_refresh=False)


def environment() -> dict[str, Any]:
    """Versions, kernel, processor and load: what a figure means nothing without."""
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
        "load": os.getloadavg(),
        "cargo": _version("cargo", "--version"),
        "cc": _version("cc", "--version"),
        "commit": _version("git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty"),
        "packages": versions,
    }


def _version(*command: str) -> str | None:
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return out.splitlines()[0] if out else None


def save(name: str, content: dict[str, Any], out: Path) -> Path:
    """Write `out/name.json`, whole."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)
    return path


def shown(value: float) -> str:
    """Microseconds with three figures."""
    return "-" if value != value else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def shown_ratio(found: tuple[float, float, float] | None) -> str:
    """`middle (smallest-largest)` over the rounds."""
    return "-" if found is None else f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})"


def fastest(summaries: dict[str, Summary | None], names: tuple[str, ...]) -> str | None:
    """Which of `names` has the smallest median, of those that have one."""
    found = {name: summary for name in names if (summary := summaries.get(name)) is not None}
    return min(found, key=lambda name: found[name].percentiles[50]) if found else None


def floors(summaries: dict[str, Summary | None]) -> dict[str, str | None]:
    """Which client is the floor of each kind in this run."""
    return {
        "C": fastest(summaries, ("floor_c",)),
        "main": fastest(summaries, ("floor_poll",)),
        "thread": fastest(summaries, roster.THREAD_FLOORS),
    }


WAKE_CAPTION = (
    "µs from just before send to the first instruction of the main thread; "
    "× = median over the floor's median of the same round (smallest-largest round)"
)


def wake_table(
    title: str, summaries: dict[str, Summary | None], reasons: dict[str, str], incomplete: list[str]
) -> Table:
    """One scenario: microseconds, and ratios to the floors measured beside it."""
    table = Table(title=title, title_justify="left", caption=WAKE_CAPTION, caption_justify="left")
    table.add_column("client")
    for p in PERCENTILES:
        table.add_column("max" if p == 100 else f"p{p}", justify="right")
    for head in ("burst 1st", "burst 10th", "× C", "× main floor", "× thread floor"):
        table.add_column(head, justify="right")
    against = floors(summaries)
    family = ""
    for client in roster.ALL:
        if client.name not in summaries:
            continue
        if family and client.family != family:
            table.add_section()
        family = client.family
        summary = summaries[client.name]
        if summary is None:
            # Not inside the grid: a long reason would squeeze every figure.
            table.add_row(f"[dim]{client.label}", *["[dim]n/a"] * (len(PERCENTILES) + 5))
            continue
        ratios = [shown_ratio(ratio(summary, summaries.get(name) if name else None)) for name in against.values()]
        figures = [shown(summary.percentiles[p]) for p in PERCENTILES]
        row = [client.label, *figures, shown(summary.burst_first), shown(summary.burst_last), *ratios]
        table.add_row(*row, style="bold" if client.family == "ours" else None)
    if lost := [f"{roster.BY_NAME[name].label}: {one.lost}" for name, one in summaries.items() if one and one.lost]:
        table.caption = f"{table.caption}\nevents without a wake: {', '.join(lost)}"
    gaps = [line for line in incomplete if line.partition(",")[0] not in reasons]
    if gaps:
        table.caption = f"{table.caption}\nwithout figures in some rounds: {escape('; '.join(gaps))}"
    grouped: dict[str, list[str]] = {}
    for name, why in reasons.items():
        grouped.setdefault(why, []).append(roster.BY_NAME[name].label)
    for why, labels in grouped.items():
        table.caption = f"{table.caption}\nnot available: {', '.join(labels)}: {escape(why)}"
    return table
