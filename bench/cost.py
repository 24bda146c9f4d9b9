"""`cost`: what it costs a machine that a daemon holds a stream: while nothing comes, for each event, for each
heartbeat.

Everything is read from outside, of whole processes that hold their stream at the same time:

- idle, and at 1 event a second: memory as USS after a minute, threads, descriptors, and time on a core (user and
  system). Three processes of each client and state, so that a figure has a spread; as there are always several, pages
  of files are shared for all alike. Idle is as in life: a heartbeat each 30 s and nothing else. The baseline is a
  connected socket with h11 (and for https ssl and trusted roots) in a process that sleeps; what a row has above it is
  its library's.
- CPU time for each wake (at 1 a second: as cold as in life; that of the idle copies is subtracted) and each heartbeat.
- system calls for each wake and each heartbeat, by strace; instructions, by callgrind (`instruments`).
- 1, 10 and 100 streams in one process: peers in a thread each, aiohttp in one loop.
- imports (`imports`).

Linux only: elsewhere there are no such figures, and the command says so.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import cost_table, imports, instruments, proc, report, roster
from bench.held import Held, Stage, shuffled
from bench.pictures import cost as picture

ALONE = (roster.BASE, *roster.ALL)
MANY = (
    roster.OURS_WIRE,
    *(client for client in roster.OURS + roster.PEERS if client.many and not client.name.endswith("_tuned")),
)
COUNTED = (*roster.FLOORS[1:], *roster.OURS, *(client for client in roster.PEERS if client.module))
"""Whose instructions are counted: programs of ours or of C are fast under valgrind, but not what is asked here."""
GAP_MS = (2.0, 4.0)
SLOW_GAP_MS = (20.0, 30.0)
"""Under valgrind a wake takes some ten times longer."""
AFTER_SECONDS = 0.5

Advance = Callable[[], None]


@dataclass(frozen=True)
class Settings:
    """`copies` processes of each client and state, watched for `idle` seconds; `events` for each count of system calls
    and instructions; `streams` how many one process holds; `imports` fresh interpreters."""

    copies: int = 3
    idle: float = 60.0
    events: int = 40
    schemes: tuple[str, ...] = ("http", "https")
    streams: tuple[int, ...] = (1, 10, 100)
    imports: int = 15
    clients: tuple[str, ...] = tuple(client.name for client in ALONE)
    quick: bool = False


QUICK = Settings(
    copies=1,
    idle=3.0,
    events=10,
    schemes=("http",),
    streams=(1, 10),
    imports=1,
    clients=("base_socket", "floor_poll", "httpx_sse_stock", "ours_inline", "ours_thread", "ours_source"),
    quick=True,
)


def taking_part(settings: Settings, among: Iterable[roster.Client]) -> list[roster.Client]:
    chosen = {*settings.clients, roster.OURS_WIRE.name}
    return [client for client in among if client.name in chosen]


def to_count(settings: Settings) -> list[roster.Client]:
    """In a smoke run ours alone: a peer's imports take valgrind many seconds."""
    return [one for one in taking_part(settings, COUNTED) if not settings.quick or one.family != "peer"]


def first_start(tls: bool, settings: Settings) -> None:
    """Each client once, for nothing but the bytecode that a first start leaves behind."""
    with Stage(tls) as stage:
        for client in taking_part(settings, ALONE):
            stage.start(client.name, client)
        stage.settle()


def alone(tls: bool, settings: Settings, advance: Advance) -> dict[str, Any]:
    """One stream: memory and time in both states, then time and system calls for each wake and heartbeat."""
    found: dict[str, Any] = {}
    with Stage(tls) as stage:
        clients = taking_part(settings, ALONE)
        for client in clients:
            advance()
            for state in ("idle", "busy"):
                for copy in range(settings.copies):
                    if state == "idle" or client is not roster.BASE:
                        stage.start(f"{client.name}.{state}.{copy}", client)
        if tls:
            # As they are without a CA file: certifi's roots and the system's, one after the other.
            environ = {"SSL_CERT_FILE": str(stage.ca)}
            for copy in range(settings.copies):
                stage.start(f"ours_default_trust.idle.{copy}", roster.OURS[0], trust=False, environ=environ)
        stage.settle(2.0)
        ran = _at_one_a_second(stage, settings)
        for label, one in stage.held.items():
            name, state, _ = label.split(".")
            row = found.setdefault(name, {"idle": [], "busy": []})
            row[state].append(_look(one, ran[label], settings.idle))
        advance()
        idle = [one for label, one in stage.held.items() if ".idle." in label and one.client is not roster.BASE]
        for what in ("event", "heartbeat"):
            for one, spent in zip(idle, _spent_on(stage, idle, what, settings.events), strict=True):
                found[one.label.split(".")[0]].setdefault(f"{what}_us", []).append(spent / settings.events / 1000)
            advance()
        firsts = [one for one in idle if one.label.endswith(".idle.0")]
        no_strace = instruments.strace_missing(firsts[0].pid) if firsts else "nobody is connected"
        for what in ("event", "heartbeat") if not no_strace else ():
            for one, calls in zip(firsts, _calls(stage, firsts, what, settings.events), strict=True):
                found[one.label.split(".")[0]][f"{what}_calls"] = calls
            advance()
        failed = {label.split(".")[0]: reason for label, reason in stage.failed.items()}
    return {"clients": found, "unavailable": failed, "no_strace": no_strace}


def _at_one_a_second(stage: Stage, settings: Settings) -> dict[str, proc.Ran]:
    """Let the idle ones idle and give the busy ones an event a second; what each used of the cores meanwhile."""
    busy = [one.streams[0] for label, one in stage.held.items() if ".busy." in label]
    before = {label: proc.ran(one.pid) for label, one in stage.held.items()}
    until = time.monotonic() + settings.idle
    gap = 1000.0 / max(1, len(busy))
    while time.monotonic() < until:
        stage.beat()
        if busy:
            # A little less than a second for all, so that work in between does not make it more.
            stage.send(shuffled([[name] for name in busy], 1, seed=int(until)), (gap * 0.8, gap * 1.1))
        else:
            time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    return {label: proc.ran(one.pid) - before[label] for label, one in stage.held.items()}


def _look(one: Held, ran: proc.Ran, seconds: float) -> dict[str, float]:
    """One process as it is now; `ran` is what it used of the cores in `seconds`."""
    return {
        **asdict(proc.memory(one.pid)),
        "threads": proc.threads(one.pid),
        "descriptors": proc.descriptors(one.pid),
        "cpu_us_per_s": ran.ns / seconds / 1000,
        "turns_per_s": ran.turns / seconds,
    }


def _spent_on(stage: Stage, held: list[Held], what: str, each: int) -> list[int]:
    """Nanoseconds that each process used for `each` events or heartbeats, all in random order."""
    before = [proc.ran(one.pid) for one in held]
    stage.send(shuffled([one.streams for one in held], each), GAP_MS, what)
    time.sleep(AFTER_SECONDS)
    return [(proc.ran(one.pid) - then).ns for one, then in zip(held, before, strict=True)]


def _calls(stage: Stage, held: list[Held], what: str, each: int) -> list[dict[str, float]]:
    """System calls by name of each process, for one event or heartbeat."""
    with ExitStack() as stack:
        attached = [stack.enter_context(instruments.Strace(one.pid)) for one in held]
        stage.send(shuffled([one.streams for one in held], each), GAP_MS, what)
        time.sleep(AFTER_SECONDS)
    return [{name: count / each for name, count in one.calls.items()} for one in attached]


def many(tls: bool, settings: Settings, advance: Advance) -> dict[str, Any]:
    """Several streams in one process: {client: {streams: figures}}. Memory is looked at once all is quiet again."""
    found: dict[str, Any] = {}
    with Stage(tls) as stage:
        for client in taking_part(settings, MANY):
            for streams in settings.streams:
                advance()
                stage.start(f"{client.name}-{streams}", client, streams=streams)
        stage.settle(5.0)
        held = list(stage.held.values())
        spent = _spent_on(stage, held, "event", settings.events)
        for one, ns in zip(held, spent, strict=True):
            name, _, number = one.label.partition("-")
            figures = _look(one, proc.Ran(0, 0), 1.0)
            found.setdefault(name, {})[number] = {**figures, "event_us": ns / settings.events / 1000}
        failed = dict(stage.failed)
    return {"clients": found, "unavailable": failed}


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
    """All parts; gives what the JSON file holds."""
    found: dict[str, Any] = {"alone": {}, "many": {}, "instructions": {}}
    no_valgrind = instruments.callgrind_missing()
    with report.Noise() as noise, report.progress(on) as bar, tempfile.TemporaryDirectory() as folder:
        counts = not settings.quick and not no_valgrind
        each = len(taking_part(settings, ALONE)) + 5
        each += len(taking_part(settings, MANY)) * len(settings.streams)
        each += len(to_count(settings)) + 2 if not no_valgrind else 0
        turns = imports.TURNS_BEFORE + settings.imports + counts
        total = each * len(settings.schemes) + len(imports.PROGRAMS) * turns
        task = bar.add_task("cost", total=total)

        def advance() -> None:
            bar.advance(task)
            bar.refresh()

        found["imports"] = imports.measure(settings.imports, counts, advance, Path(folder))
        for scheme in settings.schemes:
            tls = scheme == "https"
            if not settings.quick:
                first_start(tls, settings)
            found["alone"][scheme] = alone(tls, settings, advance)
            found["many"][scheme] = many(tls, settings, advance)
            if not no_valgrind:
                found["instructions"][scheme] = instructions(tls, settings, advance)
        bar.update(task, completed=total, refresh=True)
    return {
        "bench": "cost", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "no_valgrind": no_valgrind, **found,
    }  # fmt: skip


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. The exit status: 1 if one of ours has no figure, else 0."""
    if why := proc.unavailable():
        on.print(f"cost: left out, {why}")
        return 0
    found = measure(settings, on)
    for table in cost_table.tables(found):
        on.print(table)
    path = report.save("cost", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    missing = [
        f"{client.label}, {scheme}"
        for scheme, part in found["alone"].items()
        for client in roster.OURS
        if client.name in settings.clients and not part["clients"].get(client.name, {}).get("idle")
    ]
    for one in missing:
        on.print(f"[red]no figures for {one}")
    return 1 if missing else 0
