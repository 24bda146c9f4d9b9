"""The part of `cost` that looks at processes which hold streams: all of them on one stage, at the same time.

For a minute they are left alone, but for a heartbeat each 30 s and, for the busy ones, an event a second. Then memory
is read, and events and heartbeats are given to one process after the other, in random order, to see what each takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from bench import instruments, proc, roster
from bench.cost_plan import ALONE, MANY, Settings, taking_part
from bench.held import Held, Stage, shuffled

GAP_MS = (2.0, 4.0)
AFTER_SECONDS = 0.5
BATCHES = 3
"""Of events for a process that holds several streams: it has no copies that could give a spread."""
WHATS = ("event", "heartbeat")

Advance = Callable[[], None]


def first_start(tls: bool, settings: Settings) -> None:
    """Each client once, for nothing but the bytecode that a first start leaves behind."""
    with Stage(tls) as stage:
        for client in taking_part(settings, ALONE):
            stage.start(client.name, client)
        stage.settle()


def steps(settings: Settings) -> int:
    """How often `measure` advances."""
    return len(taking_part(settings, ALONE)) + len(taking_part(settings, MANY)) * len(settings.streams) + 7


def measure(tls: bool, settings: Settings, advance: Advance) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cost of a process with one stream, and of one with several: {"clients": {…}, "unavailable": {…}} of each."""
    with Stage(tls) as stage:
        _start(stage, settings, advance)
        ran, passes = _at_one_a_second(stage, settings)
        advance()
        single: dict[str, Any] = {}
        several: dict[str, Any] = {}
        for label, one in stage.held.items():
            looked = _look(one, ran[label], settings.idle)
            name, state, number = label.split(".")
            if state == "many":
                several.setdefault(name, {})[number] = looked
            else:
                looked["events_per_s"] = passes / settings.idle if state == "busy" else 0.0
                single.setdefault(name, {"idle": [], "busy": []})[state].append(looked)
        idle = [one for label, one in stage.held.items() if ".idle." in label and one.client is not roster.BASE]
        many = [one for label, one in stage.held.items() if ".many." in label]
        for what in WHATS:
            for one, spent in zip(idle, _spent_on(stage, idle, what, settings.events), strict=True):
                single[one.label.split(".")[0]].setdefault(f"{what}_us", []).append(spent)
            for _ in range(BATCHES):
                for one, spent in zip(many, _spent_on(stage, many, what, settings.events // 2), strict=True):
                    name, _, number = one.label.split(".")
                    several[name][number].setdefault(f"{what}_us", []).append(spent)
            advance()
        firsts = [one for one in idle if one.label.endswith(".idle.0")]
        no_strace = instruments.strace_missing(firsts[0].pid) if firsts else "nobody is connected"
        for what in WHATS if not no_strace else ():
            for one, calls in zip(firsts, _calls(stage, firsts, what, settings.events), strict=True):
                single[one.label.split(".")[0]][f"{what}_calls"] = calls
            advance()
            for one, calls in zip(many, _calls(stage, many, what, settings.events // 2), strict=True):
                name, _, number = one.label.split(".")
                several[name][number][f"{what}_calls"] = calls
            advance()
        for label, one in stage.held.items():
            if stage.lost.intersection(one.streams):
                stage.failed[label] = "not all of its streams were there when an event was due"
        failed = {label: why for label, why in stage.failed.items() if ".many." not in label}
        alone = {
            "clients": single,
            "unavailable": {label.split(".")[0]: why for label, why in failed.items()},
            "no_strace": no_strace,
            "system_roots": stage.system_roots,
        }
        lacking = {label.replace(".many.", "-"): why for label, why in stage.failed.items() if ".many." in label}
        return alone, {"clients": several, "unavailable": lacking}


def _start(stage: Stage, settings: Settings, advance: Advance) -> None:
    """All processes, as NAME.idle.COPY, NAME.busy.COPY and NAME.many.STREAMS."""
    for client in taking_part(settings, ALONE):
        advance()
        for state in ("idle", "busy"):
            for copy in range(settings.copies):
                if state == "idle" or client is not roster.BASE:
                    stage.start(f"{client.name}.{state}.{copy}", client)
    if stage.tls:
        # As they are without a CA file: the system's roots and certifi's, one after the other.
        environ = {"SSL_CERT_FILE": stage.with_system_roots}
        for copy in range(settings.copies):
            stage.start(f"ours_default_trust.idle.{copy}", roster.OURS[0], trust=False, environ=environ)
    for client in taking_part(settings, MANY):
        for streams in settings.streams:
            advance()
            stage.start(f"{client.name}.many.{streams}", client, streams=streams)
    stage.settle(2.0)


def _at_one_a_second(stage: Stage, settings: Settings) -> tuple[dict[str, proc.Ran], int]:
    """Give the busy ones an event a second while the others idle. Returns the CPU time of each, and the number of
    events of each busy one.
    """
    busy = [one.streams[0] for label, one in stage.held.items() if ".busy." in label]
    before = {label: proc.ran(one.pid) for label, one in stage.held.items()}
    until = time.monotonic() + settings.idle
    gap = 1000.0 / max(1, len(busy))
    passes = 0
    while time.monotonic() < until:
        stage.beat()
        if busy:
            # A little less than a second for all, so that work in between does not make it more.
            stage.send(shuffled([[name] for name in busy], 1, seed=int(until) + passes), (gap * 0.8, gap * 1.1))
            passes += 1
        else:
            time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    stage.let_go_of_the_dead()
    return {label: proc.ran(one.pid) - before[label] for label, one in stage.held.items()}, passes


def _look(one: Held, ran: proc.Ran, seconds: float) -> dict[str, Any]:
    """One process as it is now; `ran` is what it used of the cores in `seconds`."""
    return {
        **asdict(proc.memory(one.pid)),
        "threads": proc.threads(one.pid),
        "descriptors": proc.descriptors(one.pid),
        "cpu_us_per_s": ran.ns / seconds / 1000,
        "turns_per_s": ran.turns / seconds,
    }


def _spent_on(stage: Stage, held: Sequence[Held], what: str, each: int) -> list[float]:
    """Microseconds that each process used for one event or heartbeat, of `each` to everybody in random order."""
    before = [proc.ran(one.pid) for one in held]
    stage.send(shuffled([one.streams for one in held], each), GAP_MS, what)
    time.sleep(AFTER_SECONDS)
    return [(proc.ran(one.pid) - then).ns / each / 1000 for one, then in zip(held, before, strict=True)]


def _calls(stage: Stage, held: Sequence[Held], what: str, each: int) -> list[dict[str, float]]:
    """System calls by name of each process, for one event or heartbeat."""
    with ExitStack() as stack:
        attached = [stack.enter_context(instruments.Strace(one.pid)) for one in held]
        stage.send(shuffled([one.streams for one in held], each), GAP_MS, what)
        time.sleep(AFTER_SECONDS)
    return [{name: count / each for name, count in one.calls.items()} for one in attached]
