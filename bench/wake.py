"""`wake`: how long from the relay's `send` until the daemon's main thread runs.

Every round starts all clients again (a process keeps the memory layout it was born with), connects all of them
at once and gives them single events in random order and then bursts. Scenarios are http and https, over
loopback and, where this user may make network namespaces, over a veth pair. The clients run in `bench.scenario`; here
rounds are driven and put together.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID

from bench import endtoend, report, roster, space, wake_table
from bench.limits import limit
from bench.pictures import endtoend as end_picture
from bench.pictures import wake as picture
from bench.scenario import Outcome, Plan
from bench.stats import Latencies, latencies, summarise

SCENARIO_SECONDS = 600
NO_PAIR = "its connection was lost in the run, or none of its wakes could be paired with an event"


@dataclass(frozen=True)
class Settings:
    """How much is measured. `links` and `schemes` name the scenarios, `clients` who takes part, `handover` how a peer's
    thread wakes its main thread, None: as the fastest floor's. There are fewer rounds over veth: they are for a look,
    no ratio is judged by them."""

    rounds: int = 5
    veth_rounds: int = 3
    passes: int = 200
    bursts: int = 15
    warmup: int = 5
    gap_ms: tuple[float, float] = (2.0, 4.0)
    burst_gap_ms: tuple[float, float] = (8.0, 12.0)
    seed: int = 1
    links: tuple[str, ...] = ("loopback", "veth")
    schemes: tuple[str, ...] = ("http", "https")
    clients: tuple[str, ...] = tuple(client.name for client in roster.IN_WAKE)
    handover: str | None = None
    end_to_end: bool = True
    quick: bool = False


VARIANTS = ("_tuned", "_main")
"""Of peers that take part as they are, too."""

QUICK = Settings(quick=True, rounds=1, veth_rounds=1, passes=15, bursts=2, warmup=2, links=("loopback",))


def run_scenario(plan: Plan, prefix: Sequence[str], advance: Callable[[int, int], None]) -> dict[str, Outcome]:
    """One scenario in its own process. Raises `RuntimeError` with its last words if it fails."""
    command = [*prefix, sys.executable, "-m", "bench.scenario", json.dumps(asdict(plan))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    found: dict[str, Outcome] = {}
    try:
        with limit(child, SCENARIO_SECONDS):
            for line in child.stdout:
                if line.startswith("progress "):
                    done, total = line.split()[1:]
                    advance(int(done), int(total))
                elif line.startswith("{"):
                    found = {name: Outcome(**fields) for name, fields in json.loads(line).items()}
        last = (child.stderr.read().strip().splitlines() or ["it said nothing"])[-1]
    finally:
        # A scenario whose reader has gone ends its clients and itself at its next line of progress.
        child.stdout.close()
        child.stderr.close()
    if child.wait(SCENARIO_SECONDS) != 0 or not found:
        raise RuntimeError(f"the scenario {plan.link} {'https' if plan.tls else 'http'} failed: {last}")
    return found


def scenarios(settings: Settings, on: Console) -> list[tuple[str, bool, list[str]]]:
    """(link, tls, command prefix) of each scenario that can run here; the others are named."""
    found: list[tuple[str, bool, list[str]]] = []
    for link in settings.links:
        prefix: list[str] | None = []
        if link == "veth":
            prefix = space.prefix()
            if prefix is None:
                on.print("veth: left out, this user may not make network namespaces")
                continue
        found.extend((link, scheme == "https", prefix or []) for scheme in settings.schemes)
    return found


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """Run all scenarios; gives what the JSON file holds."""
    left_out = roster.left_out_of_quick() if settings.quick else {}
    taking_part = [name for name in settings.clients if name not in left_out]
    if "reqwest" in taking_part and not roster.rust_program().exists():
        on.print("building the Rust peer; this takes some minutes, once")
    results: dict[str, Any] = {}
    todo = scenarios(settings, on)
    with report.Noise() as noise, report.progress(on) as bar:
        for link, tls, prefix in todo:
            name = f"{'https' if tls else 'http'} over {link}"
            count = settings.veth_rounds if link == "veth" else settings.rounds
            task = bar.add_task(name, total=count)
            rounds: list[dict[str, Latencies]] = []
            reasons = dict(left_out)
            handover = settings.handover or roster.FLOORS_HANDOVER["https" if tls else "http"]
            # Without a hand-over of their own, clients that differ by it alone are the same client.
            wanted = [client for client in settings.clients if roster.BY_NAME[client].handover != handover]
            clients = [name for name in wanted if name in taking_part]
            if settings.quick and tls:
                # Starting them is most of a smoke run; a tuned client is the same program over http.
                tuned = [name for name in clients if name.endswith(VARIANTS)]
                clients = [name for name in clients if name not in tuned]
                reasons.update(dict.fromkeys(tuned, "a smoke run has it over http only"))
            incomplete: list[str] = []
            failed: list[str] = []
            for number in range(count):
                plan = Plan(
                    link=link, tls=tls, clients=clients, passes=settings.passes, bursts=settings.bursts,
                    warmup=settings.warmup, gap_ms=settings.gap_ms, burst_gap_ms=settings.burst_gap_ms,
                    seed=settings.seed + number, handover=handover,
                )  # fmt: skip

                def advance(done: int, total: int, number: int = number, task: TaskID = task) -> None:
                    bar.update(task, completed=number + done / total, refresh=True)

                try:
                    outcomes = run_scenario(plan, prefix, advance)
                except (RuntimeError, OSError) as error:
                    # The other rounds and scenarios are worth no less.
                    failed.append(f"round {number + 1}: {error}")
                    continue
                rounds.append({client: latencies(outcome, plan.warmup) for client, outcome in outcomes.items()})
                incomplete += [
                    f"{client}, round {number + 1}: {outcome.reason or NO_PAIR}"
                    for client, outcome in outcomes.items()
                    if not rounds[-1][client].single
                ]
                reasons.update({client: outcome.reason for client, outcome in outcomes.items() if outcome.reason})
            bar.update(task, completed=count, refresh=True)
            summaries = {client: summarise([one[client] for one in rounds if client in one]) for client in wanted}
            if len(failed) == count:
                reasons.update(dict.fromkeys(clients, failed[-1]))
            results[name] = {
                "handover": handover,
                "failed": failed,
                "incomplete": incomplete,
                "floors": wake_table.floors(summaries),
                "clients": {client: asdict(found) if found else None for client, found in summaries.items()},
                "unavailable": {
                    client: reasons.get(client, NO_PAIR) for client, found in summaries.items() if found is None
                },
            }
    end_to_end: dict[str, Any] = {"unavailable": "left out"}
    if settings.end_to_end:
        end_to_end = endtoend.with_wire(endtoend.QUICK if settings.quick else endtoend.Settings(), on)
    return {
        "bench": "wake", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "scenarios": results, "end_to_end": end_to_end,
    }  # fmt: skip


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. The exit status: 1 if one of ours or a CPython floor has no figures, or a round
    failed, otherwise 0."""
    found = measure(settings, on)
    if not found["scenarios"]:
        on.print("[red]wake: none of the scenarios asked for can run here")
        return 1
    for one in wake_table.tables(found):
        on.print(one)
    path = report.save("wake", found, out)
    pictures = [*picture.draw(found, out), *end_picture.draw(found, out)]
    on.print("written: " + ", ".join(str(p) for p in (path, *pictures)))
    needed = [
        client.name for client in roster.OURS + roster.OURS_ASYNCIO + roster.FLOORS if client.name in settings.clients
    ]
    missing = {
        name: scenario["unavailable"][name]
        for scenario in found["scenarios"].values()
        for name in needed
        if name in scenario["unavailable"] and name != "floor_c"
    }
    for name, why in missing.items():
        on.print(f"[red]no figures for {roster.BY_NAME[name].label}: {escape(why)}")
    failed = [f"{name}, {why}" for name, scenario in found["scenarios"].items() for why in scenario["failed"]]
    failed += [f"end to end: {found['end_to_end']['unavailable']}"] if found["end_to_end"].get("failed") else []
    for why in failed:
        on.print(f"[red]failed: {escape(why)}")
    return 1 if missing or failed else 0
