"""`parse`: what an event-stream parser takes for the same bytes, in the shapes in which streams really come, and how
its time grows with the length of one line, which must be linear.

Each parser meets each input in a process of its own, so that one cannot pay for another's garbage, and one that takes
quadratic time is ended at a limit instead of holding up the rest. In there it takes turns with the floor, which is no
parser: it counts the line ends of each feed, as nothing that cuts lines can look at fewer bytes. So a noisy moment is
in both, and what is told is the ratio. Rounds of fresh processes give its spread. The garbage collector is left as it
is. The output is checked, in number of events and characters of data: a parser that gives something else is shown
as wrong, with what it gave, and no speed.

    python -m bench.parse PARSER SHAPE FEED SECONDS      one cell, as JSON
    python -m bench.parse PARSER growth LIMIT LENGTH…     one parser's growth, a line of JSON for each length
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import report
from bench.parse_inputs import FEEDS, LENGTHS, SHAPES, Input, make, one_line
from bench.parsers import PARSERS, Parsed, parse_floor
from bench.pictures import parse as picture
from bench.stats import exponent, spread

LEAST_RUNS = 3
WARM_UP = [b"data: x\n\n"]
"""So that no peer's imports are in a figure."""
GROWTH_SHARE = 40
"""A length is tried again and again for this part of the limit."""
LINEAR = 1.25
"""The largest exponent that is still called linear; constant parts and caches bend the line a little."""


@dataclass(frozen=True)
class Settings:
    """`rounds` of fresh processes, each at least `seconds` at work; a process is ended after `limit` seconds."""

    rounds: int = 3
    seconds: float = 0.15
    limit: float = 30.0
    shapes: tuple[str, ...] = tuple(SHAPES)
    feeds: tuple[str, ...] = tuple(FEEDS)
    lengths: tuple[int, ...] = LENGTHS


QUICK = Settings(
    rounds=1, seconds=0.02, limit=10.0, shapes=("relay", "heartbeats"), feeds=("64 KiB",), lengths=LENGTHS[:3]
)


def wrong(given: Input, got: Parsed) -> str:
    """Empty where a parser gave what it should."""
    if got == (given.events, given.characters):
        return ""
    return f"{got[0]:,} of {given.events:,} events, {got[1]:,} of {given.characters:,} characters"


def in_short(error: Exception) -> str:
    """An error on one line: some quote all of their input."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:80]


def cell(parser: str, shape: str, feed: str, seconds: float) -> dict[str, Any]:
    """Time one parser on one input, here, in turns with the floor. Gives the times, or what was wrong or missing."""
    given, parse = make(shape, feed), PARSERS[parser][1]
    taken: list[float] = []
    floor: list[float] = []
    try:
        parse(WARM_UP)
        until = time.perf_counter() + seconds
        while len(taken) < LEAST_RUNS or time.perf_counter() < until:
            start = time.perf_counter()
            parse_floor(given.feeds)
            middle = time.perf_counter()
            got = parse(given.feeds)
            taken.append(time.perf_counter() - middle)
            floor.append(middle - start)
            if problem := wrong(given, got):
                return {"wrong": problem}
    except ImportError as error:
        return {"unavailable": str(error)}
    except Exception as error:
        return {"failed": in_short(error)}
    return {"seconds": min(taken), "floor": min(floor), "bytes": given.size, "events": given.events}


def growth(parser: str, limit: float, lengths: list[int]) -> None:
    """Print a line of JSON for each length of one line, until it takes too long."""
    parse = PARSERS[parser][1]
    with suppress(Exception):
        parse(WARM_UP)
    for length in lengths:
        given = one_line(length)
        best = math.inf
        until = time.perf_counter() + limit / GROWTH_SHARE
        try:
            while best == math.inf or time.perf_counter() < until:
                start = time.perf_counter()
                got = parse(given.feeds)
                best = min(best, time.perf_counter() - start)
        except Exception as error:
            print(json.dumps({"length": length, "failed": in_short(error)}), flush=True)
            return
        problem = wrong(given, got)
        print(json.dumps({"length": length, **({"wrong": problem} if problem else {"seconds": best})}), flush=True)


def _cell_in_process(parser: str, shape: str, feed: str, settings: Settings) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.parse", parser, shape, feed, str(settings.seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=settings.limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"took over {settings.limit:.0f} s"}
    if done.returncode != 0:
        return {"failed": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _growth_in_process(parser: str, settings: Settings) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.parse", parser, "growth", str(settings.limit), *map(str, settings.lengths)]
    why = ""
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=settings.limit, check=False).stdout
    except subprocess.TimeoutExpired as error:
        out = error.stdout.decode() if isinstance(error.stdout, bytes) else (error.stdout or "")
        why = f"took over {settings.limit:.0f} s"
    lines = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    points = [(line["length"], line["seconds"]) for line in lines if "seconds" in line]
    trouble = [
        f"{line['length']:,} B: {line.get('wrong') or line.get('failed')}" for line in lines if "seconds" not in line
    ]
    # The longest three: what is constant weighs least there.
    found = exponent(points[-3:])
    return {"points": points, "exponent": None if math.isnan(found) else found, "trouble": "; ".join([*trouble, why])}


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """Every parser on every input, rounds of them, then the growth; gives what the JSON file holds."""
    cells: dict[str, dict[str, list[dict[str, Any]]]] = {}
    grown: dict[str, Any] = {}
    with report.Noise() as noise, report.progress(on) as bar:
        task = bar.add_task(
            "parse", total=(settings.rounds * len(settings.shapes) * len(settings.feeds) + 1) * len(PARSERS)
        )
        for _ in range(settings.rounds):
            for shape in settings.shapes:
                for feed in settings.feeds:
                    rows = cells.setdefault(f"{shape}, {feed}", {})
                    for parser in PARSERS:
                        rows.setdefault(parser, []).append(_cell_in_process(parser, shape, feed, settings))
                        bar.advance(task)
                        bar.refresh()
        for parser in PARSERS:
            grown[parser] = _growth_in_process(parser, settings)
            bar.advance(task)
            bar.refresh()
    return {
        "bench": "parse", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "cells": cells, "growth": grown,
    }  # fmt: skip


def speeds(rounds: list[dict[str, Any]]) -> list[float]:
    """MB/s (10⁶ bytes) of each round that has a figure."""
    return [one["bytes"] / one["seconds"] / 1e6 for one in rounds if "seconds" in one]


def table(found: dict[str, Any], shape: str) -> Table:
    """One shape: MB/s, events a second, and times the floor, for each size of feed."""
    grid = Table(title=f"parse, {SHAPES[shape].label}", title_justify="left", caption_justify="left")
    grid.add_column("parser", no_wrap=True)
    feeds = found["settings"]["feeds"]
    for feed in feeds:
        grid.add_column(f"{feed}: MB/s", justify="right")
        if SHAPES[shape].events:
            grid.add_column("events/s", justify="right")
        grid.add_column("× floor", justify="right")
    notes: list[str] = []
    for parser, (label, _) in PARSERS.items():
        row: list[str] = []
        for feed in feeds:
            rounds = found["cells"][f"{shape}, {feed}"][parser]
            good = [one for one in rounds if "seconds" in one]
            if not good:
                key = next(iter(rounds[0]))
                row += [key if key != "unavailable" else "n/a", *["-"] * (2 if SHAPES[shape].events else 1)]
                notes.append(f"{label}, {feed}: {key}: {escape(str(rounds[0][key]))}")
                continue
            row.append(f"{spread(speeds(good))[0]:,.1f}")
            if SHAPES[shape].events:
                row.append(f"{spread([one['events'] / one['seconds'] for one in good])[0]:,.0f}")
            middle, low, high = spread([one["seconds"] / one["floor"] for one in good])
            row.append(f"{middle:,.1f} ({low:,.1f}-{high:,.1f})")
        grid.add_row(label, *row, style="bold" if parser == "ours" else None)
    grid.caption = "\n".join(dict.fromkeys(notes))
    return grid


def growth_table(found: dict[str, Any]) -> Table:
    """How each parser's time grows with the length of one line."""
    grid = Table(title="parse, one long line in feeds of 1460 B", title_justify="left", caption_justify="left")
    grid.add_column("parser", no_wrap=True)
    lengths = found["settings"]["lengths"]
    for length in lengths:
        grid.add_column(f"{length >> 10:,} KiB, ms", justify="right")
    grid.add_column("time grows as length to the", justify="right")
    notes: list[str] = []
    for parser, (label, _) in PARSERS.items():
        one = found["growth"][parser]
        taken = dict(one["points"])
        row = [f"{taken[length] * 1000:,.2f}" if length in taken else "-" for length in lengths]
        power = one["exponent"]
        verdict = "-" if power is None else f"{power:.2f}" + ("" if power < LINEAR else " (not linear)")
        grid.add_row(label, *row, verdict, style="bold" if parser == "ours" else None)
        if trouble := one["trouble"].strip("; "):
            notes.append(f"{label}: {escape(trouble)}")
    notes += [
        "MB = 10⁶ bytes; best run of each process, middle of the rounds; × floor = time over that of counting line "
        "ends in the same process (smallest-largest round)",
        report.noise_line(found),
    ]
    grid.caption = "\n".join(notes)
    return grid


def tables(found: dict[str, Any]) -> list[Table]:
    return [*(table(found, shape) for shape in found["settings"]["shapes"]), growth_table(found)]


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. The exit status: 1 if our parser lacks a figure or is not linear, otherwise 0."""
    found = measure(settings, on)
    for one in tables(found):
        on.print(one)
    path = report.save("parse", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    missing = [name for name, rows in found["cells"].items() if not speeds(rows["ours"])]
    power = found["growth"]["ours"]["exponent"]
    for name in missing:
        on.print(f"[red]no figure of ours for {name}")
    if power is None or power >= LINEAR:
        on.print(f"[red]our parser's time grows as length to the {power}")
    return 1 if missing or power is None or power >= LINEAR else 0


if __name__ == "__main__":
    if sys.argv[2] == "growth":
        growth(sys.argv[1], float(sys.argv[3]), [int(length) for length in sys.argv[4:]])
    else:
        print(json.dumps(cell(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]))))
