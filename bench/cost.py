"""`cost`: the resources a daemon uses to hold a stream: idle, for each event, and for each heartbeat.

Everything is read from outside, of whole processes that hold their stream at the same time (`cost_streams`):

- idle, and at 1 event a second: memory as USS after a minute, threads, descriptors, and time on a core (user and
  system). Three processes of each client and state, so that a figure has a spread; as there are always several, pages
  of files are shared for all alike. Idle is realistic: a heartbeat each 30 s and nothing more. The baseline is a
  connected socket with h11 (and for https ssl and trusted roots) in a process that sleeps; the difference between a row
  and this baseline is due to the library.
- CPU time for each wake (at 1 a second: as cold as in life; that of the idle copies is subtracted) and each heartbeat.
- system calls for each wake and each heartbeat, by strace; instructions, by callgrind (`instruments`).
- the same of 1, 10 and 100 streams in one process, which sit there for the same minute: peers in a thread each, aiohttp
  in one loop.
- an idle stream with and without the watch of the machine: memory, wake-ups, modules (`cost_watch`).
- imports (`imports`).

Peers hand over to their main thread by the way that costs the least CPU time, which is not the fastest.
Linux only: elsewhere there are no such figures, and the command says so.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench import cost_streams, cost_table, cost_watch, imports, instruments, proc, report, roster
from bench.cost_plan import QUICK, Settings, to_count
from bench.held import Stage, shuffled
from bench.pictures import cost as picture

__all__ = ["QUICK", "Settings", "run"]

SLOW_GAP_MS = (20.0, 30.0)
"""Under valgrind a wake takes some ten times longer."""
AFTER_SECONDS = 0.5
FAILURES = (OSError, RuntimeError, ValueError, LookupError, subprocess.SubprocessError)
"""An error that ends one part, and no other."""

Advance = Callable[[], None]


def instructions(tls: bool, settings: Settings, advance: Advance) -> dict[str, dict[str, float]]:
    """Instructions for one wake and one heartbeat of each client that can be counted."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, Stage(tls) as stage:
        grind = instruments.Callgrind(Path(folder))
        for client in to_count(settings):
            advance()
            # The order of sets and dictionaries of strings must not change from one run to the next.
            stage.start(client.name, client, behind=grind.behind(client.name), environ={"PYTHONHASHSEED": "0"})
        stage.settle()
        for one in stage.held.values():
            grind.on(one.pid)
        everybody = [one.streams for one in stage.held.values()]
        stage.send(shuffled(everybody, 5), SLOW_GAP_MS)
        stage.send(shuffled(everybody, 5), SLOW_GAP_MS, "heartbeat")
        for one in stage.held.values():
            grind.zero(one.pid)
        for what in ("event", "heartbeat"):
            stage.send(shuffled(everybody, settings.events), SLOW_GAP_MS, what)
            time.sleep(AFTER_SECONDS)
            for name, one in stage.held.items():
                found.setdefault(name, {})[what] = grind.dump(one.pid, name) / settings.events
            advance()
    return found


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """All parts; gives what the JSON file holds. A part that fails is reported and does not stop the others."""
    found: dict[str, Any] = {"imports": {}, "alone": {}, "many": {}, "instructions": {}, "watch": {}, "failed": []}
    no_valgrind = instruments.callgrind_missing()

    def part(name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except FAILURES as error:
            found["failed"].append(f"{name}: {type(error).__name__}: {error}")

    with report.Noise() as noise, report.progress(on) as bar, tempfile.TemporaryDirectory() as folder:
        counts = not settings.quick and not no_valgrind
        each = cost_streams.steps(settings) + (len(to_count(settings)) + 2 if not no_valgrind else 0)
        turns = imports.TURNS_BEFORE + settings.imports + counts
        total = each * len(settings.schemes) + len(imports.PROGRAMS) * turns + 1
        task = bar.add_task("cost", total=total)

        def advance() -> None:
            bar.advance(task)
            bar.refresh()

        def get_ready() -> None:
            found["imports"] = imports.measure(settings.imports, counts, advance, Path(folder))

        def hold(scheme: str) -> None:
            if not settings.quick:
                cost_streams.first_start(scheme == "https", settings)
            found["alone"][scheme], found["many"][scheme] = cost_streams.measure(scheme == "https", settings, advance)

        def count(scheme: str) -> None:
            if not no_valgrind:
                found["instructions"][scheme] = instructions(scheme == "https", settings, advance)

        def watch() -> None:
            found["watch"] = cost_watch.measure(settings)
            advance()

        part("imports", get_ready)
        part("watch", watch)
        for scheme in settings.schemes:
            part(f"streams, {scheme}", partial(hold, scheme))
            part(f"instructions, {scheme}", partial(count, scheme))
        bar.update(task, completed=total, refresh=True)
    return {
        "bench": "cost", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "no_valgrind": no_valgrind, **found,
    }  # fmt: skip


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. The exit status: 1 if one of ours has no figure or a part failed, otherwise 0."""
    if why := proc.unavailable():
        on.print(f"cost: left out, {why}")
        return 0
    found = measure(settings, on)
    for table in cost_table.tables(found):
        on.print(table)
    path = report.save("cost", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    bad = [f"failed: {one}" for one in found["failed"]]
    bad += [
        f"no figures for {client.label}, {scheme}"
        for scheme, one in found["alone"].items()
        for client in roster.OURS + roster.OURS_ASYNCIO
        if client.name in settings.clients and not one["clients"].get(client.name, {}).get("idle")
    ]
    for one in bad:
        on.print(f"[red]{escape(one)}")
    return 1 if bad else 0
