"""`fleet`: what a restart of the relay does to the relay, when all of its daemons come back.

Simulated (`fleet_simulation`) for fleets of 1,000 to 100,000 daemons, with the policy that we ship and with the
original's; and really, with streams of ours in processes on this machine, against a relay (`fleet_relay`) that is
killed and comes back. The real one stands beside a simulated one of the same size, so that the simulation can be
judged.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import report, roster, scenario
from bench.fleet_simulation import POLICIES, Course, World, peak, simulate, until_back
from bench.limits import limit
from bench.pictures import fleet as picture
from wire_rawsse import Backoff

POLICY_LABELS = {"original": "the original's", "ours": "wire_rawsse's"}
BIN_SECONDS = 0.5
CONNECT_SECONDS = 60.0
LIVE_SECONDS = 60.0
RELAY_SECONDS = 20.0


@dataclass(frozen=True)
class Settings:
    """`sizes` of simulated fleets; `processes` × `streams` real ones. `down` in seconds, `rate` a second."""

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    down: float = 5.0
    rate: float = 1000.0
    backlog: int = 1024
    processes: int = 10
    streams: int = 100
    quick: bool = False


QUICK = Settings(sizes=(1_000, 10_000), processes=2, streams=25, down=1.5, quick=True)


def summed_up(course: Course, daemons: int, down: float) -> dict[str, Any]:
    """The part of a course that the tables and pictures need; times count from the relay's return."""
    last = max([*course.arrivals[-1:], *course.back[-1:], down])
    bins = int(last / BIN_SECONDS) + 1
    arrivals, back = [0] * bins, [0] * bins
    for into, times in ((arrivals, course.arrivals), (back, course.back)):
        for one in times:
            into[int(one / BIN_SECONDS)] += 1
    return {
        "daemons": daemons,
        "peak": peak(course.arrivals, down),
        "peak_tenth": peak(course.arrivals, down, 0.1),
        "until_99": until_back(course.back, daemons, down),
        "attempts": len(course.arrivals),
        "dropped": course.dropped,
        "in_vain": course.in_vain,
        "arrivals": arrivals,
        "back": back,
    }


def simulated(settings: Settings, advance: Callable[[], None]) -> dict[str, Any]:
    """{how the streams ended: {policy: [a summary for each size]}}."""
    found: dict[str, Any] = {}
    for ending, clean in (("killed", False), ("stopped cleanly", True)):
        found[ending] = {}
        for name, policy in POLICIES.items():
            found[ending][name] = []
            for size in settings.sizes:
                world = World(size, down=settings.down, rate=settings.rate, backlog=settings.backlog, clean=clean)
                found[ending][name].append(summed_up(simulate(world, policy), size, settings.down))
                advance()
    return found


def start_relay(port: int, settings: Settings, expected: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "bench.fleet_relay", scenario.LOOPBACK, str(port), str(settings.rate)]
    relay = subprocess.Popen(
        [*command, str(settings.backlog), str(expected)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert relay.stdout is not None
    with limit(relay, RELAY_SECONDS):
        said = relay.stdout.readline().split()
    if len(said) != 2:
        raise OSError("the relay did not start")
    return relay, int(said[1])


def wait_until_complete(relay: subprocess.Popen[str]) -> None:
    """Until it has answered as many streams as it expects, or too much time has passed."""
    assert relay.stdout is not None
    ready, _, _ = select.select([relay.stdout], [], [], LIVE_SECONDS)
    if ready:
        relay.stdout.readline()


def end_relay(relay: subprocess.Popen[str]) -> list[float]:
    """Have it report; gives its stamps."""
    try:
        out, _ = relay.communicate("", RELAY_SECONDS)
        stamps: list[float] = json.loads(out.strip().splitlines()[-1])
        return stamps
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return []
    finally:
        relay.kill()
        relay.wait()


def really(settings: Settings, advance: Callable[[], None]) -> dict[str, Any]:
    """Streams of ours, a relay that is killed and comes back, and a simulation of just that."""
    children: list[scenario.Child] = []
    total = settings.processes * settings.streams
    relay, port = start_relay(0, settings, total)
    stamps: list[float] = []
    again: subprocess.Popen[str] | None = None
    try:
        for process in range(settings.processes):
            base = f"http://{scenario.LOOPBACK}:{port}/v1/events/{process}"
            urls = ",".join(f"{base}.{stream}/stream" for stream in range(settings.streams))
            client = roster.BY_NAME["ours_select"]
            children.append(scenario.Child(client, roster.command(client, urls, None)))
            children[-1].ready.wait(CONNECT_SECONDS)
            advance()
        wait_until_complete(relay)
        # Until they count as healthy, so that the backoff begins again.
        time.sleep(1.2 * Backoff().healthy_after if not settings.quick else 1.0)
        relay.kill()
        relay.wait()
        cut = time.monotonic()
        time.sleep(settings.down)
        again, _ = start_relay(port, settings, total)
        returned = time.monotonic() - cut
        wait_until_complete(again)
        stamps = end_relay(again)
    finally:
        for child in children:
            child.process.kill()
            child.finish()
        for one in (relay, again):
            if one is not None:
                one.kill()
                one.communicate()
    back = sorted(stamp - cut for stamp in stamps)
    course = Course(arrivals=back, back=back)
    world = World(total, down=returned, rate=settings.rate, backlog=settings.backlog)
    return {
        "down": returned,
        "real": summed_up(course, total, returned),
        "simulated": summed_up(simulate(world, POLICIES["ours"]), total, returned),
    }


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """The simulated ones, then the real one; gives what the JSON file holds."""
    with report.Noise() as noise, report.progress(on) as bar:
        task = bar.add_task("fleet", total=2 * len(POLICIES) * len(settings.sizes) + settings.processes)

        def advance() -> None:
            bar.advance(task)
            bar.refresh()

        courses = simulated(settings, advance)
        live = really(settings, advance)
    return {
        "bench": "fleet", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "simulated": courses, "live": live,
    }  # fmt: skip


def table(found: dict[str, Any]) -> Table:
    """One row per ending, policy and size, and the real fleet with its simulation."""
    settings = found["settings"]
    grid = Table(title="fleet", title_justify="left", caption_justify="left")
    grid.add_column("the relay was, and the policy", no_wrap=True)
    for head in ("daemons", "peak a second", "peak in 0.1 s", "99 % back after", "attempts each", "SYNs dropped"):
        grid.add_column(head, justify="right")

    def row(label: str, one: dict[str, Any], bold: bool) -> None:
        after = "never" if one["until_99"] is None else f"{one['until_99']:.1f} s"
        cells = [f"{one[key]:,}" for key in ("daemons", "peak", "peak_tenth")]
        each = f"{one['attempts'] / one['daemons']:.1f}"
        grid.add_row(label, *cells, after, each, f"{one['dropped']:,}", style="bold" if bold else None)

    for ending, policies in found["simulated"].items():
        for policy, sizes in policies.items():
            for one in sizes:
                row(f"{ending}: {POLICY_LABELS[policy]}", one, policy == "ours")
        grid.add_section()
    row("killed: ours, really, on this machine", found["live"]["real"], True)
    row("killed: ours, the same simulated", found["live"]["simulated"], False)
    grid.caption = "\n".join([
        f"down for {settings['down']:g} s; then {settings['rate']:,.0f} connections a second are taken from a queue of "
        f"{settings['backlog']:,}; peaks are of attempts that reach the relay once it is back, of the real one those "
        "that were answered",
        report.noise_line(found),
    ])  # fmt: skip
    return grid


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. The exit status: 1 if not all of the real streams came back, otherwise 0."""
    found = measure(settings, on)
    on.print(table(found))
    path = report.save("fleet", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    live = found["live"]["real"]
    back = sum(live["back"])
    if back < live["daemons"]:
        on.print(f"[red]fleet: only {back} of {live['daemons']} real streams came back")
        return 1
    return 0
