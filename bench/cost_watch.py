"""The part of `cost` that looks at an idle stream with and without the watch of the machine (`watch=False`)."""

from __future__ import annotations

import time
from typing import Any

from bench import proc, roster
from bench.cost_plan import Settings
from bench.held import Stage

LEAST_COPIES = 3
"""USS is counted in pages, and the allocator's rounding moves single processes."""


def measure(settings: Settings) -> dict[str, Any]:
    """Some processes of each kind at the same time, left alone for `settings.idle` seconds: {"on": […], "off": […]}."""
    copies = settings.copies if settings.quick else max(LEAST_COPIES, 3 * settings.copies)
    found: dict[str, Any] = {client.variant: [] for client in roster.OURS_WATCH}
    with Stage(tls=False) as stage:
        for copy in range(copies):
            for client in roster.OURS_WATCH:
                stage.start(f"{client.variant}.{copy}", client)
        stage.settle(2.0)
        before = {label: proc.ran(one.pid) for label, one in stage.held.items()}
        time.sleep(settings.idle)
        for label, one in stage.held.items():
            ran, memory = proc.ran(one.pid) - before[label], proc.memory(one.pid)
            found[one.client.variant].append(
                {
                    "uss": memory.uss,
                    "own": memory.own,
                    "wakeups_per_hour": ran.turns / settings.idle * 3600,
                    "cpu_us_per_s": ran.ns / settings.idle / 1000,
                    "descriptors": proc.descriptors(one.pid),
                }
            )
        for one in stage.held.values():
            one.child.stop()
        for one in stage.held.values():
            one.child.finish()
            found.setdefault("modules", {})[one.client.variant] = one.child.report.get("modules", 0)
        if stage.failed:
            raise RuntimeError("; ".join(f"{label}: {why}" for label, why in stage.failed.items()))
    return found
