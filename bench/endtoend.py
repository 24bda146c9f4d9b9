"""End to end: from just before an event is posted to a relay until a daemon's pull has it; by our stream, and by
looking every 5 s, which is what a stream saves.

`wake` runs it against wire's real relay; `python -m bench relay URL` (or `python -m bench URL`) against a relay of
one's own, on which it allocates slots. Daemons and sender are on this machine, so that one clock stamps both ends; each
daemon is a process with a slot of its own. Events go to one daemon at a time, in random order: to those with a stream
some tens of milliseconds apart, to those that look every 5 s at random moments over the whole run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import report
from bench.limits import limit
from bench.pictures import endtoend as picture
from bench.stats import PERCENTILES, histogram, percentile
from wire_rawsse import WireRawSSEError
from wire_rawsse.testing import RelayClient, Slot

POLL_SECONDS = 5.0
START_SECONDS = 30.0
LABELS = {"inline": "wire_rawsse: wait()", "thread": "wire_rawsse: WakeChannel", "poll": "looking every 5 s"}


@dataclass(frozen=True)
class Settings:
    """`seconds` of measuring; `gap_ms` between events for daemons with a stream; `pollers` daemons that look."""

    seconds: float = 40.0
    gap_ms: tuple[float, float] = (20.0, 60.0)
    pollers: int = 12
    seed: int = 1


QUICK = Settings(seconds=3.0, pollers=2)


def wire_program() -> str | None:
    """wire's binary: `$WIRE_BIN`, on the path, or where CI builds it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wire-rawsse" / "wire" / "bin" / "wire"
    for found in (os.environ.get("WIRE_BIN"), shutil.which("wire"), str(cache)):
        if found and os.access(found, os.X_OK):
            return found
    return None


@contextmanager
def wires_relay(program: str) -> Iterator[str]:
    """wire's own relay on loopback, in a folder of its own; gives its URL. Raises `OSError` if it does not come up."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        environ = {"HOME": folder, "PATH": os.defpath, "WIRE_HOME": f"{folder}/wire"}
        relay = subprocess.Popen(
            [program, "relay-server", "--bind", place, "--local-only"],
            env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for_health(f"http://{place}")
            yield f"http://{place}"
        finally:
            relay.kill()
            relay.wait()


def _wait_for_health(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    with RelayClient(url) as client:
        while True:
            try:
                if client.request("GET", "/healthz").status == 200:
                    return
            except WireRawSSEError:
                pass
            if time.monotonic() > deadline:
                raise OSError(f"the relay at {url} did not come up")
            time.sleep(0.05)


class Daemon:
    """One daemon process and its slot."""

    def __init__(self, way: str, relay: str, slot: Slot, ca: str | None) -> None:
        self.way, self.slot = way, slot
        command = [sys.executable, "-m", "bench.endtoend_daemon", way, relay, str(POLL_SECONDS), *([ca] if ca else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(slot)) + "\n")
        self.process.stdin.flush()

    def connected(self) -> None:
        """Wait until it is. Raises `OSError` where it ends instead."""
        assert self.process.stdout is not None
        with limit(self.process, START_SECONDS):
            line = self.process.stdout.readline()
        if line != "connected\n":
            raise OSError(f"the daemon ({self.way}) did not connect")

    def had(self) -> dict[str, tuple[int, int]]:
        """End it; when it was woken for, and had, each event."""
        out, _ = self.process.communicate("", START_SECONDS)
        found: dict[str, tuple[int, int]] = json.loads(out.strip().splitlines()[-1])["had"]
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def schedule(settings: Settings, streams: list[str], pollers: list[str]) -> list[tuple[float, str]]:
    """(seconds from the start, daemon) of each event, ascending."""
    dice = random.Random(settings.seed)
    steps = [
        (dice.uniform(POLL_SECONDS * n, POLL_SECONDS * (n + 1)), name)
        for name in pollers
        for n in range(max(1, int(settings.seconds / POLL_SECONDS)))
    ]
    at = 0.0
    while at < settings.seconds:
        for name in dice.sample(streams, len(streams)):
            at += dice.uniform(*settings.gap_ms) / 1000
            steps.append((at, name))
    return sorted(steps)


def measure(relay: str, settings: Settings, ca: str | None, advance: Callable[[float], None]) -> dict[str, Any]:
    """All daemons on this relay at once. Raises `WireRawSSEError`, `OSError`."""
    daemons: dict[str, Daemon] = {}
    sent: dict[str, list[tuple[str, int]]] = {}
    trust = ssl.create_default_context(cafile=ca) if ca else None
    try:
        with RelayClient(relay, tls=trust) as client:
            names = ["inline", "thread", *(f"poll {number}" for number in range(settings.pollers))]
            for name in names:
                daemons[name] = Daemon(name.split()[0], relay, client.allocate(), ca)
                sent[name] = []
            for daemon in daemons.values():
                daemon.connected()
            steps = schedule(settings, names[:2], names[2:])
            start = time.monotonic()
            for number, (at, name) in enumerate(steps):
                time.sleep(max(0.0, start + at - time.monotonic()))
                event = f"{number:064x}"
                stamp = time.monotonic_ns()
                client.post(daemons[name].slot, {"event_id": event, "kind": 1, "body": {"text": "x" * 60}})
                sent[name].append((event, stamp))
                advance(at / settings.seconds)
            # Anyone who looks every 5 s looks once more.
            time.sleep(1.5 * POLL_SECONDS)
        had = {name: daemon.had() for name, daemon in daemons.items()}
    finally:
        for daemon in daemons.values():
            daemon.kill()
    return {way: summed_up(way, sent, had) for way in LABELS}


def summed_up(
    way: str, sent: dict[str, list[tuple[str, int]]], had: dict[str, dict[str, tuple[int, int]]]
) -> dict[str, Any]:
    """One way's figures, of all daemons that go it: microseconds from the post to the wake, and to having the event."""
    woken: list[float] = []
    have: list[float] = []
    lost = 0
    for name, events in sent.items():
        for event, stamp in events if name.split()[0] == way else ():
            if (found := had[name].get(event)) is None:
                lost += 1
            else:
                # A wake that began before the post belongs to the event before; its pull had this one too.
                woken.append(max(0.0, (found[0] - stamp) / 1000))
                have.append((found[1] - stamp) / 1000)
    woken.sort()
    have.sort()
    return {
        "events": len(have), "lost": lost, "histogram": histogram(have),
        "woken": {str(p): percentile(woken, p) for p in PERCENTILES} if woken else {},
        "had": {str(p): percentile(have, p) for p in PERCENTILES} if have else {},
    }  # fmt: skip


def table(part: dict[str, Any]) -> Table:
    """Milliseconds until woken, and until the pull has the event."""
    grid = Table(title=f"end to end, {part['relay']}", title_justify="left", caption_justify="left")
    grid.add_column("way", no_wrap=True)
    for head in (
        "events",
        "woken p50, ms",
        "woken p99",
        "had p10, ms",
        "p50",
        "p90",
        "p99",
        "max",
        "polling's p50 ÷ this",
    ):
        grid.add_column(head, justify="right")
    polling = part["ways"]["poll"]["had"].get("50")
    for way, one in part["ways"].items():
        if not one["had"]:
            grid.add_row(LABELS[way], *["n/a"] * 9)
            continue
        cells = [f"{one['woken'][p] / 1000:,.2f}" for p in ("50", "99")] if way != "poll" else ["-", "-"]
        cells += [f"{one['had'][p] / 1000:,.2f}" for p in ("10", "50", "90", "99", "100")]
        times = f"{polling / one['had']['50']:,.0f}" if polling else "-"
        grid.add_row(LABELS[way], f"{one['events']:,}", *cells, times, style="bold" if way != "poll" else None)
    notes = ["from just before the post until the daemon's main thread was woken, and until its pull had the event"]
    notes += [f"{LABELS[way]}: {one['lost']} events never came" for way, one in part["ways"].items() if one["lost"]]
    grid.caption = "\n".join(notes)
    return grid


def with_wire(settings: Settings, on: Console) -> dict[str, Any]:
    """The part that goes into `wake`'s results; with a reason instead of figures where there is no wire."""
    program = wire_program()
    if program is None:
        return {"unavailable": "no wire program: set WIRE_BIN, or cargo install slancha-wire --locked"}
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=START_SECONDS, check=False)
    try:
        with wires_relay(program) as url:
            ways = _measured(url, settings, None, on)
    except (OSError, WireRawSSEError, subprocess.SubprocessError, LookupError, ValueError) as error:
        return {"unavailable": f"{type(error).__name__}: {error}", "failed": True}
    return {"relay": version.stdout.strip() or "wire", "ways": ways}


def _measured(url: str, settings: Settings, ca: str | None, on: Console) -> dict[str, Any]:
    with report.progress(on) as bar:
        task = bar.add_task("end to end", total=1.0)
        ways = measure(url, settings, ca, lambda done: bar.update(task, completed=done, refresh=True))
        bar.update(task, completed=1.0, refresh=True)
    return ways


def run_own(url: str, settings: Settings, ca: str | None, out: Path, on: Console) -> int:
    """`python -m bench URL`. The exit status: 1 where it could not be measured or an event never came, otherwise 0."""
    with report.Noise() as noise:
        try:
            ways = _measured(url.rstrip("/"), settings, ca, on)
        except (OSError, WireRawSSEError) as error:
            on.print(f"[red]relay: {escape(str(error))}")
            return 1
    part = {"relay": url, "ways": ways}
    found = {
        "bench": "relay", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "end_to_end": part,
    }  # fmt: skip
    on.print(table(part))
    on.print(report.noise_line(found))
    path = report.save("relay", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    return 1 if any(one["lost"] for one in ways.values()) else 0
