"""`wedge`: how long until a client notices that its stream is dead, and whether it comes back by itself.

The faults, each on streams that were alive until then (`wedge_relay`, `wedge_scene`):

- stopped: the relay's process is stopped (SIGSTOP). Its kernel goes on acknowledging, so that no TCP keepalive can see
  it.
- blackhole: packets vanish, both ways. In namespaces of our own; left out, with a word, where this user may not make
  them.
- address: the client's own address is removed from its interface, as when a VPN ends or a lease is lost. In namespaces,
  too.
- drip: a byte now and then, inside a line that never ends; each `recv` succeeds.
- quiet: the control. A heartbeat as wire's relay sends it, every 30 s: a live stream, which nobody may drop.

Before its fault each stream has had four heartbeats, so that a client that learns the period has learned it. Ours then
doubts a silent connection after 47 s, but keeps it until another one has been accepted or has failed: a relay that is
stopped does not answer for 15 s, and where packets vanish connecting takes 10 s.

All clients are connected at once, each in its own process, under each fault; they sleep, so they do not disturb each
other. Each library is there as it comes (stock) and with its own settings against silence (tuned), which are the same
for all: 75 s, two and a half heartbeats. Anyone who has not noticed when the window closes gets "never", with the
window beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import report, roster, space
from bench.limits import limit
from bench.pictures import wedge as picture
from bench.wedge_clients import REQWEST, SUBJECTS
from bench.wedge_scene import Plan

FAULTS = ("stopped", "blackhole", "address", "drip", "quiet")
SCENE_SECONDS = 300.0
"""More than a scene takes beside what it watches."""


@dataclass(frozen=True)
class Settings:
    """Seconds, see `wedge_scene.Plan`. The window ends later than aiohttp's limit of 5 minutes for anything, as the
    streams have lived for three heartbeats or more before it."""

    read: float = 75.0
    beat: float = 30.0
    drip: float = 10.0
    window: float = 240.0
    heal: float = 45.0
    clients: tuple[str, ...] = tuple(SUBJECTS)
    quick: bool = False


QUICK = Settings(
    read=1.0,
    beat=0.4,
    drip=0.13,
    window=4.0,
    heal=3.0,
    clients=(
        "ours_default", "ours_learned", "ours_watch", "ours_clocks", "ours_read", "ours_source_read", REQWEST,
        "launchdarkly_read", "httpx_sse_read",
    ),
    quick=True,
)  # fmt: skip


def run_scene(plan: Plan, prefix: list[str], advance: Callable[[float], None]) -> dict[str, Any]:
    """One scene in its own process. Raises `RuntimeError` with its last words if it fails."""
    command = [*prefix, sys.executable, "-m", "bench.wedge_scene", json.dumps(asdict(plan))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    found: dict[str, Any] = {}
    try:
        with limit(child, plan.window + plan.heal + SCENE_SECONDS):
            for line in child.stdout:
                if line.startswith("progress "):
                    advance(float(line.split()[1]))
                elif line.startswith("{"):
                    found = json.loads(line)
        last = (child.stderr.read().strip().splitlines() or ["it said nothing"])[-1]
        if child.wait(SCENE_SECONDS) != 0 or not found:
            raise RuntimeError(f"the scene failed: {last}")
    finally:
        # Interrupted: a scene whose reader has gone ends its clients and itself at its next line of progress.
        child.stdout.close()
        child.stderr.close()
    return found


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """Run the scene; gives what the JSON file holds."""
    prefix = space.prefix()
    if prefix is None:
        on.print("wedge: on loopback, without blackhole and address, as this user may not make network namespaces")
    clients, reasons = list(settings.clients), {}
    rust = ""
    try:
        if settings.quick and (why := roster.left_out_of_quick().get(REQWEST)):
            raise roster.Unavailable(why)
        rust = str(roster.build_rust())
    except roster.Unavailable as error:
        reasons[REQWEST] = str(error)
        clients = [client for client in clients if client != REQWEST]
    for client in list(clients):
        try:
            roster.interpreter(client)
        except roster.Unavailable as error:
            reasons[client] = str(error)
            clients.remove(client)
    faults = [fault for fault in FAULTS if prefix is not None or fault not in ("blackhole", "address")]
    plan = Plan(
        read=settings.read, beat=settings.beat, drip=settings.drip, window=settings.window, heal=settings.heal,
        namespaces=prefix is not None, faults=faults, clients=clients, rust=rust,
    )  # fmt: skip
    with report.Noise() as noise, report.progress(on) as bar:
        task = bar.add_task("wedge", total=settings.window + settings.heal)
        seen = run_scene(plan, prefix or [], lambda done: bar.update(task, completed=done, refresh=True))
        bar.update(task, completed=settings.window + settings.heal, refresh=True)
    results = {fault: {client: seen[f"{fault}/{client}"] for client in clients} for fault in faults}
    for client in clients:
        said = results[faults[0]][client]["said"]
        if not results[faults[0]][client]["connections"]:
            reasons[client] = said or "it never connected"
    return {
        "bench": "wedge", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "namespaces": prefix is not None, "faults": results, "unavailable": reasons,
    }  # fmt: skip


def noticed(seen: dict[str, Any], window: float) -> float | None:
    """Seconds until it noticed, None for never. A notice after all was well again does not count."""
    found: float | None = seen["noticed"]
    return None if found is None or found > window else found


def table(found: dict[str, Any]) -> Table:
    """Seconds until the dead connection was let go of, and whether it was replaced; the control must never be
    dropped.
    """
    settings = found["settings"]
    window = settings["window"]
    grid = Table(title="wedge", title_justify="left", caption_justify="left")
    grid.add_column("client")
    for fault in found["faults"]:
        grid.add_column("quiet but alive" if fault == "quiet" else f"{fault}: noticed", justify="right")
        if fault != "quiet":
            grid.add_column("back", justify="right")
    for client in next(iter(found["faults"].values())):
        if client in found["unavailable"]:
            continue
        row: list[str] = []
        for fault, column in found["faults"].items():
            seen = column[client]
            after = noticed(seen, window)
            if seen["early"]:
                row.extend(["[red]dropped alive", "-"][: 1 if fault == "quiet" else 2])
            elif fault == "quiet":
                row.append("kept" if after is None else f"[red]dropped after {after:.0f} s")
            else:
                row.append("[red]never" if after is None else f"{after:.1f}")
                row.append("-" if after is None else "no" if seen["back"] is None else f"{seen['back']:.1f}")
        grid.add_row(SUBJECTS[client][0], *row, style="bold" if client.startswith("ours") else None)
    notes = [
        f"seconds since the last sign of life, watched for {window:g} s; tuned: {settings['read']:g} s of silence; "
        f"the relay's heartbeat is {settings['beat']:g} s; back: seconds from the notice (drip), or from the moment "
        "when all was well again, to the next stream",
        *(f"not available: {SUBJECTS[name][0]}: {escape(why)}" for name, why in found["unavailable"].items()),
    ]
    if not found["namespaces"]:
        notes.append("no blackhole and no removed address: this user may not make network namespaces")
    grid.caption = "\n".join([*notes, report.noise_line(found)])
    return grid


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. 1 if one of ours missed a fault or dropped a live stream, otherwise 0."""
    found = measure(settings, on)
    on.print(table(found))
    path = report.save("wedge", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    bad = ours_at_fault(found)
    for one in bad:
        on.print(f"[red]{one}")
    return 1 if bad else 0


def ours_at_fault(found: dict[str, Any]) -> list[str]:
    """Results that should not be there, in words. The quick window is shorter than the default clocks."""
    bad: list[str] = []
    for fault, column in found["faults"].items():
        for client, seen in column.items():
            if not client.startswith("ours"):
                continue
            after = noticed(seen, found["settings"]["window"])
            if not seen["connections"] or seen["early"]:
                bad.append(f"{client} under {fault}: never connected, or dropped its stream alive")
            elif fault == "quiet" and after is not None:
                bad.append(f"{client} dropped a live stream after {after:.1f} s")
            elif (
                fault != "quiet" and after is None and not (found["settings"]["quick"] and not client.endswith("read"))
            ):
                bad.append(f"{client} did not notice: {fault}")
    return bad
