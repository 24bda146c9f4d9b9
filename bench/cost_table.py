"""The tables of `cost`: one stream (memory; work), several streams, imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from bench import imports, report, roster
from bench.stats import spread

MIB = 1 / 1024
EXTRA = {"ours_default_trust": "wire_rawsse: wait(), default trust"}


def label(name: str) -> str:
    if name in EXTRA:
        return EXTRA[name]
    known = {**roster.BY_NAME, roster.BASE.name: roster.BASE, roster.OURS_WIRE.name: roster.OURS_WIRE}
    return known[name].label


def shown(values: Sequence[float], digits: int) -> str:
    """`middle (smallest-largest)`, the brackets only where they say something."""
    if not values:
        return "-"
    low, middle, high = (f"{value:,.{digits}f}" for value in _low_middle_high(values))
    return middle if low == high else f"{middle} ({low}-{high})"


def _low_middle_high(values: Sequence[float]) -> tuple[float, float, float]:
    middle, low, high = spread(values)
    return low, middle, high


def tables(found: dict[str, Any]) -> list[Table]:
    """All of them, from what `cost.measure` gave or a file that holds it."""
    made: list[Table] = []
    for scheme, part in found["alone"].items():
        made += [memory(scheme, part), work(scheme, part, found["instructions"].get(scheme, {}), found)]
    for scheme, part in found["many"].items():
        made += [several(scheme, part, SEVERAL_MEMORY, "memory"), several(scheme, part, SEVERAL_WORK, "work")]
    if found.get("watch"):
        made.append(watch_table(found["watch"]))
    if "floor" in found["imports"]:
        made.append(import_table(found))
    return made


def _grid(title: str, first: str, heads: Sequence[str]) -> Table:
    grid = Table(title=title, title_justify="left", caption_justify="left")
    grid.add_column(first, no_wrap=True)
    for head in heads:
        grid.add_column(head, justify="right")
    return grid


def _row(grid: Table, name: str, cells: Sequence[str]) -> None:
    grid.add_row(label(name), *cells, style="bold" if name.startswith("ours") else None)


def _of(runs: Sequence[dict[str, float]], key: str, factor: float = 1.0) -> list[float]:
    return [run[key] * factor for run in runs]


def colder(busy: Sequence[dict[str, float]], at_rest: float) -> list[float]:
    """CPU µs of each wake at about one a second, less what an idle copy takes in a second."""
    return [(run["cpu_us_per_s"] - at_rest) / (run.get("events_per_s") or 1.0) for run in busy]


def memory(scheme: str, part: dict[str, Any]) -> Table:
    """USS idle and at an event a second, and what of it lies above the baseline."""
    heads = ("USS idle, MiB", "above baseline", "USS at 1/s, MiB", "written, MiB", "RSS, MiB", "threads", "descriptors")
    grid = _grid(f"cost of one stream, {scheme}: memory", "client", heads)
    base = _of(part["clients"].get("base_socket", {}).get("idle", []), "uss", MIB)
    for name, row in part["clients"].items():
        idle = row["idle"]
        above = "-"
        if base and idle and name not in ("base_socket", "floor_c", "reqwest"):
            above = f"{spread(_of(idle, 'uss', MIB))[0] - spread(base)[0]:+.2f}"
        figures = [shown(_of(idle, key, MIB), 1) for key in ("own", "rss")]
        counts = [shown(_of(idle, key), 0) for key in ("threads", "descriptors")]
        busy = shown(_of(row["busy"], "uss", MIB), 2)
        _row(grid, name, [shown(_of(idle, "uss", MIB), 2), above, busy, *figures, *counts])
    notes = ["medians (smallest-largest process); written = the part of the USS that is no page of a file"]
    if roots := part.get("system_roots"):
        notes.append(
            f"default trust: the system's roots, here {escape(roots)}, and then certifi's; all others, and the "
            "baseline: certifi's alone"
        )
    notes += [f"not available: {label(name)}: {escape(why)}" for name, why in part["unavailable"].items()]
    grid.caption = "\n".join(notes)
    return grid


def work(scheme: str, part: dict[str, Any], instructions: dict[str, Any], found: dict[str, Any]) -> Table:
    """Time, system calls and instructions for each wake and heartbeat."""
    heads = (
        "idle, µs/s", "wake at 1/s, µs", "wake, µs", "wait() ÷ this", "heartbeat, µs", "calls/wake",
        "calls/heartbeat", "kinstr./wake", "kinstr./heartbeat",
    )  # fmt: skip
    grid = _grid(f"cost of one stream, {scheme}: work", "client", heads)
    ours = part["clients"].get("ours_inline", {}).get("event_us", [])
    for name, row in part["clients"].items():
        if name == "base_socket":
            continue
        idle = _of(row["idle"], "cpu_us_per_s")
        at_rest = spread(idle)[0] if idle else 0.0
        cold = colder(row["busy"], at_rest)
        calls = [f"{sum(row[key].values()):.1f}" if key in row else "-" for key in ("event_calls", "heartbeat_calls")]
        counted = instructions.get(name, {})
        counts = [f"{counted[key] / 1000:,.1f}" if key in counted else "-" for key in ("event", "heartbeat")]
        wake, beat = row.get("event_us", []), row.get("heartbeat_us", [])
        over = f"{spread(ours)[0] / spread(wake)[0]:.2f}" if ours and wake else "-"
        times = [shown(idle, 1), shown(cold, 0), shown(wake, 0), over, shown(beat, 0)]
        _row(grid, name, [*times, *calls, *counts])
    notes = [
        "CPU time is user and system; at 1/s that of the idle copies is subtracted; wake = one each some 0.2 s; "
        "wait() ÷ this: of the CPU time of a wake; instructions are of user space; peers in a thread hand over by a "
        "SimpleQueue, the cheapest"
    ]
    notes += [f"no system calls: {escape(part['no_strace'])}"] if part["no_strace"] else []
    notes += [f"no instructions: {escape(found['no_valgrind'])}"] if found["no_valgrind"] else []
    grid.caption = "\n".join(notes)
    return grid


SEVERAL_MEMORY = (("USS, MiB", "uss", MIB, 1), ("threads", "threads", 1.0, 0), ("descriptors", "descriptors", 1.0, 0))
SEVERAL_WORK = (
    ("wake, µs", "event_us", 1.0, 0), ("beat, µs", "heartbeat_us", 1.0, 0), ("calls/wake", "event_calls", 1.0, 1),
    ("calls/beat", "heartbeat_calls", 1.0, 1),
)  # fmt: skip


def several(scheme: str, part: dict[str, Any], kinds: Sequence[tuple[str, str, float, int]], what: str) -> Table:
    """Some kinds of figures (head, key, factor, digits), each with every count of streams in one process."""
    counts = sorted({int(count) for row in part["clients"].values() for count in row})
    heads = [f"{head}: {count}" if count == counts[0] else str(count) for head, *_ in kinds for count in counts]
    grid = _grid(f"cost of several streams in one process, {scheme}: {what}", "client, streams", heads)
    for name, row in part["clients"].items():
        cells: list[str] = []
        for _, key, factor, digits in kinds:
            cells += [_cell(row.get(str(count), {}).get(key), factor, digits) for count in counts]
        _row(grid, name, cells)
    notes = ["after the same minute of rest as above; medians of three batches (smallest-largest) where there are some"]
    notes += [
        f"not available: {label(name.partition('-')[0])}, {name.partition('-')[2]} streams: {escape(why)}"
        for name, why in part["unavailable"].items()
    ]
    grid.caption = "\n".join(notes)
    return grid


def _cell(found: Any, factor: float, digits: int) -> str:
    """One figure, several of one kind, or system calls by name."""
    if found is None:
        return "-"
    if isinstance(found, dict):
        found = sum(found.values())
    return shown([value * factor for value in (found if isinstance(found, list) else [found])], digits)


def watch_table(watch: dict[str, Any]) -> Table:
    """An idle stream over http with and without the watch of the machine."""
    heads = ("USS, MiB", "written, MiB", "wake-ups an hour", "idle, µs/s", "modules", "descriptors")
    grid = _grid("cost of watching the machine, http, idle", "client", heads)
    for client in roster.OURS_WATCH:
        runs = watch[client.variant]
        sizes = [shown(_of(runs, key, MIB), 2) for key in ("uss", "own")]
        rest = [shown(_of(runs, "wakeups_per_hour"), 0), shown(_of(runs, "cpu_us_per_s"), 1)]
        modules = str(watch.get("modules", {}).get(client.variant, "-"))
        grid.add_row(client.label, *sizes, *rest, modules, shown(_of(runs, "descriptors"), 0), style="bold")
    if all(watch[client.variant] for client in roster.OURS_WATCH):
        more = spread(_of(watch["on"], "uss"))[0] - spread(_of(watch["off"], "uss"))[0]
        grid.caption = f"it adds {more:+.0f} KiB of USS (medians; the bound is 60)"
    return grid


def import_table(found: dict[str, Any]) -> Table:
    """CPU time of imports beside that of `import socket, h11`."""
    grid = _grid("cost of getting ready", "program", ("CPU, ms", "× socket, h11", "modules", "Minstr."))
    floor = found["imports"]["floor"]
    for name, row in found["imports"].items():
        if not row["cpu_us"]:
            grid.add_row(imports.PROGRAMS[name][0], *["n/a"] * 4)
            continue
        ratio = "-"
        if floor["cpu_us"]:
            # Within one round, so that a slow moment of the machine is in both.
            ratio = shown([a / b for a, b in zip(row["cpu_us"], floor["cpu_us"], strict=False)], 2)
        counted = f"{row['instructions'] / 1e6:,.1f}" if "instructions" in row else "-"
        cells = [shown([value / 1000 for value in row["cpu_us"]], 1), ratio, str(row["modules"]), counted]
        grid.add_row(imports.PROGRAMS[name][0], *cells, style="bold" if name.startswith("ours") else None)
    grid.caption = report.noise_line(found)
    return grid
