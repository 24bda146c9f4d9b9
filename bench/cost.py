"""`cost`: what it costs a machine that one daemon holds one stream, while nothing comes and for each event that does.

The clients of the roster are started one after the other and stay connected together, each in its own process; they
idle at the same time, and then each in turn gets a number of events, apart enough that each wakes it cold. Read from
/proc, of a client's whole process:

- memory: "own" is what it has written (Private_Dirty of smaps_rollup), which does not depend on who else runs.
USS adds
  file pages that nobody else maps at the moment, RSS all that are mapped.
- CPU time, and the times it was put on a core at all ("turns"): from schedstat, which counts nanoseconds where utime
  counts ticks of 10 ms. Over the idle stretch this shows who wakes up to look at the clock.
- the time from starting the process to its first wake: interpreter, imports, connection, greeting.

The baseline row is an interpreter that has imported `socket` and what every client of the bench imports, and sleeps.
What a row has above that is the library's. Linux only: elsewhere there are no such figures, and the command says so.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report, roster, scenario

BASELINE = "baseline"
GAP_MS = (4.0, 6.0)
SETTLE_SECONDS = 2.0
AFTER_SECONDS = 0.1
BARE = roster.Client(BASELINE, "floor", "bare interpreter with socket")
BARE_PROGRAM = (
    "import socket, time; from bench.clients._probe import Probe; Probe('wake', '', None).woken(0); time.sleep(3600)"
)


@dataclass(frozen=True)
class Settings:
    """`repeats` fresh processes of each client; `idle` seconds of silence; `events` events, some 5 ms apart."""

    repeats: int = 3
    idle: float = 20.0
    events: int = 200
    schemes: tuple[str, ...] = ("http", "https")
    clients: tuple[str, ...] = (BASELINE, *(client.name for client in roster.ALL))


QUICK = Settings(
    repeats=1,
    idle=2.0,
    events=40,
    schemes=("http",),
    clients=(BASELINE, "floor_poll", *(client.name for client in roster.OURS), "launchdarkly_stock", "httpx_sse_stock"),
)


@dataclass
class Cost:
    """One process. Memory in KiB, times in microseconds, `turns` are the times it was put on a core."""

    start_ms: float
    own_kib: int
    uss_kib: int
    rss_kib: int
    threads: int
    descriptors: int
    idle_cpu_us_per_s: float
    idle_turns_per_s: float
    event_cpu_us: float
    event_turns: float


def memory(pid: int) -> tuple[int, int, int]:
    """(Private_Dirty, USS, RSS) of a process in KiB."""
    fields: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0])
    return fields["Private_Dirty"], fields["Private_Clean"] + fields["Private_Dirty"], fields["Rss"]


def schedule(pid: int) -> tuple[int, int]:
    """(nanoseconds on a core, times put on one) of all threads of a process."""
    spent = turns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        on_core, _, slices = (task / "schedstat").read_text().split()
        spent += int(on_core)
        turns += int(slices)
    return spent, turns


def available() -> str:
    """Empty where the kernel gives the figures, else why not."""
    for needed in ("smaps_rollup", "schedstat"):
        if not Path(f"/proc/self/{needed}").exists():
            return f"this system has no /proc/PID/{needed}"
    return ""


@dataclass
class Held:
    """One connected process and what was read of it so far; `idle` as `schedule` counts, over the idle stretch."""

    pid: int
    start_ms: float
    idle: tuple[int, int] = (0, 0)


def spent(pid: int, before: tuple[int, int]) -> tuple[int, int]:
    """What a process used of the cores since `before`, in the terms of `schedule`."""
    now = schedule(pid)
    return now[0] - before[0], now[1] - before[1]


def read_cost(held: Held, settings: Settings, events: tuple[int, int]) -> Cost:
    """Everything of one process, `events` being what all of its events together took."""
    dirty, uss, rss = memory(held.pid)
    return Cost(
        start_ms=held.start_ms, own_kib=dirty, uss_kib=uss, rss_kib=rss,
        threads=len(list(Path(f"/proc/{held.pid}/task").iterdir())),
        descriptors=len(list(Path(f"/proc/{held.pid}/fd").iterdir())),
        idle_cpu_us_per_s=held.idle[0] / settings.idle / 1000, idle_turns_per_s=held.idle[1] / settings.idle,
        event_cpu_us=events[0] / settings.events / 1000, event_turns=events[1] / settings.events,
    )  # fmt: skip


def hold_all(tls: bool, settings: Settings, folder: Path, advance: Callable[[], None]) -> dict[str, Cost | str]:
    """One repeat: start all clients one after the other, let them idle together, then give each its events in
    turn.
    """
    plan = scenario.Plan("loopback", tls, list(settings.clients), 0, 0, 0, GAP_MS, GAP_MS, 1)
    ca, certificate, key = scenario.certificates(folder) if tls else (None, "", "")
    sender, _, port = scenario.start_sender("loopback", (certificate, key) if tls else None)
    talk = scenario.Scenario(plan, quiet=True)
    children: list[scenario.Child] = []
    found: dict[str, Cost | str] = {}
    held: dict[str, Held] = {}
    try:
        for name in settings.clients:
            advance()
            client = BARE if name == BASELINE else roster.BY_NAME[name]
            url = f"{'https' if tls else 'http'}://{scenario.LOOPBACK}:{port}/{name}"
            try:
                command = [sys.executable, "-c", BARE_PROGRAM] if client is BARE else roster.command(client, url, ca)
            except roster.Unavailable as error:
                found[name] = str(error)
                continue
            start = time.perf_counter()
            child = scenario.Child(client, command)
            children.append(child)
            if child.ready.wait(scenario.READY_SECONDS) and child.connected:
                held[name] = Held(child.process.pid, (time.perf_counter() - start) * 1000)
            else:
                child.process.kill()
                child.finish()
                found[name] = child.reason()
        time.sleep(SETTLE_SECONDS)
        before = {name: schedule(one.pid) for name, one in held.items()}
        time.sleep(settings.idle)
        for name, one in held.items():
            one.idle = spent(one.pid, before[name])
        for name, one in held.items():
            advance()
            mark = schedule(one.pid)
            if name != BASELINE:
                talk.send(sender, [(name, 1)] * settings.events, GAP_MS, settings.events)
                time.sleep(AFTER_SECONDS)
            found[name] = read_cost(one, settings, spent(one.pid, mark))
    finally:
        for child in children:
            child.process.kill()
            child.finish()
        scenario.end_sender(sender)
    return found


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """All clients, so many times; gives what the JSON file holds."""
    results: dict[str, dict[str, Any]] = {}
    with report.Noise() as noise, report.progress(on) as bar, tempfile.TemporaryDirectory() as folder:
        task = bar.add_task("cost", total=len(settings.schemes) * len(settings.clients) * settings.repeats * 2)

        def advance() -> None:
            bar.advance(task)
            bar.refresh()

        for scheme in settings.schemes:
            repeats = [hold_all(scheme == "https", settings, Path(folder), advance) for _ in range(settings.repeats)]
            results[scheme] = {}
            for name in settings.clients:
                runs = [asdict(cost) for one in repeats if isinstance(cost := one[name], Cost)]
                reasons = [cost for one in repeats if isinstance(cost := one[name], str)]
                results[scheme][name] = {"runs": runs, "reasons": reasons}
        bar.update(task, completed=bar.tasks[0].total, refresh=True)
    return {
        "bench": "cost",
        "settings": asdict(settings),
        "environment": report.environment(),
        "noise": noise.facts,
        "schemes": results,
    }


COLUMNS = (
    ("start ms", "start_ms", 1.0, 0),
    ("own MiB", "own_kib", 1 / 1024, 1),
    ("USS MiB", "uss_kib", 1 / 1024, 1),
    ("RSS MiB", "rss_kib", 1 / 1024, 1),
    ("threads", "threads", 1.0, 0),
    ("fds", "descriptors", 1.0, 0),
    ("idle CPU µs/s", "idle_cpu_us_per_s", 1.0, 1),
    ("idle turns/s", "idle_turns_per_s", 1.0, 2),
    ("CPU µs/event", "event_cpu_us", 1.0, 0),
    ("turns/event", "event_turns", 1.0, 1),
)
WITH_SPREAD = ("start_ms", "event_cpu_us")
"""Only these, as more would not fit; the spread of everything is in the JSON."""


def table(scheme: str, rows: dict[str, Any]) -> Table:
    """Medians over the repeats, the spread of times behind; own memory above the baseline in brackets."""
    grid = Table(title=f"cost of one stream, {scheme}", title_justify="left", caption_justify="left")
    grid.add_column("client", no_wrap=True)
    for head, *_ in COLUMNS:
        grid.add_column(head, justify="right")
    bare = rows.get(BASELINE, {}).get("runs") or []
    floor = statistics.median(run["own_kib"] for run in bare) / 1024 if bare else None
    notes = [
        "medians (smallest-largest run); turns = times put on a core; +x = own memory above the bare interpreter's"
    ]
    for name, row in rows.items():
        label = BARE.label if name == BASELINE else roster.BY_NAME[name].label
        if not row["runs"]:
            grid.add_row(f"[dim]{label}", *["[dim]n/a"] * len(COLUMNS))
            notes.append(f"not available: {label}: {row['reasons'][0]}")
            continue
        if row["reasons"]:
            notes.append(f"{label}: no figures in {len(row['reasons'])} runs: {row['reasons'][0]}")
        cells: list[str] = []
        for _, key, factor, digits in COLUMNS:
            values = sorted(run[key] * factor for run in row["runs"])
            cell = f"{statistics.median(values):,.{digits}f}"
            if key == "own_kib" and floor is not None and name not in (BASELINE, "floor_c", "reqwest"):
                cell += f" (+{statistics.median(values) - floor:.1f})"
            elif key in WITH_SPREAD and f"{values[0]:.{digits}f}" != f"{values[-1]:.{digits}f}":
                cell += f" ({values[0]:,.{digits}f}-{values[-1]:,.{digits}f})"
            cells.append("-" if name == BASELINE and key.startswith("event") else cell)
        grid.add_row(label, *cells, style="bold" if name.startswith("ours") else None)
    grid.caption = "\n".join(notes)
    return grid


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save. The exit status: 1 if one of ours has no figure, else 0."""
    if why := available():
        on.print(f"cost: left out, {why}")
        return 0
    found = measure(settings, on)
    for scheme, rows in found["schemes"].items():
        on.print(table(scheme, rows))
    on.print(f"written: {report.save('cost', found, out)}")
    missing = [
        n for rows in found["schemes"].values() for n, row in rows.items() if n.startswith("ours") and not row["runs"]
    ]
    return 1 if missing else 0
