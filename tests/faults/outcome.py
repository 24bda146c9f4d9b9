"""One cell's outcome as plain data: what `run` prints, and what a matrix collects."""

from __future__ import annotations

import dataclasses
import functools
import platform
import shlex
import subprocess
import time
from typing import Any, Final

from tests.faults.bounds import CONSUMERS, Setup
from tests.faults.catalogue import FAULTS
from tests.faults.cell import Cell
from tests.faults.daemon import ROOT
from tests.faults.lines import Line
from tests.faults.measured import asked, handled
from tests.faults.pcap import recorded
from tests.faults.rounds import Stuck, measure
from tests.faults.tools import LabError, Missing, require
from tests.faults.verdict import judge, notice_seconds

LINES: Final = 400
"""As many of a daemon's lines are kept, from the end, each of at most `WORDS` characters."""
WORDS: Final = 240
ALWAYS: Final = ("ip", "nft", "ss", "unshare")
KEPT, BROKEN, ERROR, LEFT_OUT = "kept", "broken", "error", "left out"
"""Every promise was kept; one was not; the lab could not do it or not prove it; the cell makes no sense."""


def command(fault: str, setup: Setup) -> str:
    """The command line that runs this cell again."""
    words = ["python", "-m", "tests.faults", "run", fault, "--phase", setup.phase, "--host", setup.host]
    words += {"https": ["--tls"], "http": [], "proxy": ["--proxy"]}[setup.transport]
    words += ["--consumer", setup.consumer, "--seed", str(setup.seed)]
    words += ["--daemon", setup.command] if setup.command else []
    defaults = dataclasses.asdict(type(setup.settings)())
    for name, value in dataclasses.asdict(setup.settings).items():
        if value != defaults[name]:
            words += ["--set", f"{name}={value:g}"]
    return shlex.join(words)


def _kept(lines: list[Line]) -> list[tuple[float, str, str]]:
    return [(line.at, line.word, line.words[:WORDS]) for line in lines[-LINES:]]


def why_not(fault: str, setup: Setup) -> str | None:
    """Why a cell makes no sense, in words; None where it does."""
    if setup.phase == "handshake" and not setup.tls:
        return "without TLS there is no handshake"
    if setup.consumer != CONSUMERS[0] and setup.host == "thread":
        return "an EventSource lives in the thread that iterates over it; there is no thread host for it"
    kind = FAULTS[fault]
    if kind.transports is not None and setup.transport not in kind.transports:
        return f"it concerns {' and '.join(kind.transports)} alone"
    if kind.consumers is not None and setup.consumer not in kind.consumers:
        return f"it concerns the consumer {' and '.join(kind.consumers)} alone"
    expected = kind().expect(setup)
    return expected if isinstance(expected, str) else None


@functools.cache
def _commit() -> str:
    """Of this checkout, with a mark where files differ from it; empty without git."""
    try:
        words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def made() -> dict[str, str]:
    """When and by what an outcome was found."""
    system = f"{platform.system()} {platform.release()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": _commit(), "system": system, "python": python}


def run_cell(name: str, setup: Setup, pcap: str | None = None) -> dict[str, Any]:
    """Run a cell in this world of its own; everything that is known of it afterwards. Raises `Missing`."""
    fault = FAULTS[name]()
    about = {
        "fault": name,
        "phase": setup.phase,
        "host": setup.host,
        "transport": setup.transport,
        "consumer": setup.consumer,
        "seed": setup.seed,
        "command": command(name, setup),
        "made": made(),
    }
    reason = why_not(name, setup)
    if reason is not None:
        return {**about, "status": LEFT_OUT, "reason": reason}
    require((*ALWAYS, *fault.needs))
    expectation = fault.expect(setup)
    assert not isinstance(expectation, str)
    cell: Cell | None = None
    try:
        cell = Cell(fault, setup, expectation)
        with recorded(cell.world, pcap):
            found = measure(cell)
    except Stuck as stuck:
        found = stuck.found
        assert cell is not None
        found.lines = cell.daemon.log.since(cell.begun)
        found.mark, found.posts = cell.mark - cell.begun, cell.poster.posts
    except Missing:
        raise
    except LabError as error:
        told = {"status": ERROR, "reason": str(error)}
        if cell is not None and hasattr(cell, "daemon"):
            told |= {"lines": _kept(cell.daemon.log.since()), "errors": cell.daemon.errors()}  # type: ignore[dict-item]
        return {**about, **told, **(cell.facts if cell else {})}
    finally:
        if cell is not None:
            cell.close()
    checks = judge(found, setup, fault)
    broken = [check.name for check in checks if not check.kept]
    seconds = notice_seconds(found, setup)
    noticed = None
    if found.noticed is not None and seconds is not None:
        noticed = {"clock": found.noticed.first, "seconds": round(seconds, 4), "within": found.promise.within}
    return {
        **about,
        "status": BROKEN if broken else KEPT,
        "reason": ", ".join(broken),
        "promise": dataclasses.asdict(found.promise),
        "noticed": noticed,
        "mended": None
        if found.back is None
        else {"seconds": round(max(0.0, found.back.at - found.lifted), 4), "within": round(found.mend_bound, 4)},
        "checks": [check.as_json() for check in checks],
        "moments": {
            "began": found.round_began,
            "injected": found.injected,
            "struck": found.struck,
            "lifted": found.lifted,
        },
        "cpu": {
            "seconds": round(found.cpu, 5),
            "wall": round(found.wall, 3),
            "connections": asked(found.lines),
            "per_connection": round(found.per_connection, 5),
            "events": handled(found.lines),
            "per_event": round(found.per_event, 6),
            "bulk": round(found.bulk, 3),
            "bulk_events": found.bulk_events,
        },
        "lines": _kept(found.lines),
        "errors": cell.daemon.errors(),
        "state_file": None if found.watch is None else found.watch.as_json(),
        "events": {"posted": len(found.posts), "stored": len(found.stored)},
        **cell.facts,
    }
