"""Many cells side by side, each a process in a world of its own; each outcome is kept as soon as it is there.

A cell mostly waits, so several fit on one processor. The file has one line of JSON for each outcome. A matrix that is
started again with the same file runs what is missing from it and what ended in an error of the lab's.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.faults.daemon import ROOT
from tests.faults.outcome import ERROR, LEFT_OUT, command
from tests.faults.pairs import Place
from tests.faults.stage import CERTIFICATES, make_certificates
from tests.faults.world import INSIDE, way_in
from tests.support import executors

CELL_SECONDS: Final = 180.0
"""A cell that takes longer is stuck; none needs half of it."""

Key = tuple[str, str, str, str, str, int]


def key_of(outcome: dict[str, Any]) -> Key:
    return (
        outcome["fault"],
        outcome["phase"],
        outcome["host"],
        outcome["transport"],
        outcome["consumer"],
        outcome["seed"],
    )


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """The outcomes in a file, the last of each cell. A line that was cut off by a crash is passed over."""
    found: dict[Key, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError), path.open() as lines:
        for line in lines:
            with contextlib.suppress(ValueError, KeyError):
                outcome = json.loads(line)
                found[key_of(outcome)] = outcome
    return found


def run(
    places: Sequence[Place],
    *,
    repeat: int = 1,
    jobs: int = 4,
    path: Path | None = None,
    executor: str = executors.THREADS,
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Run the cells; (done, of how many, outcome) for each as it ends, those that were in the file already first."""
    known = read(path) if path is not None else {}
    wanted = [(place, seed) for seed in range(1, repeat + 1) for place in places]
    left: list[tuple[Place, int]] = []
    done = 0
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("a")) if path is not None else None
        for place, seed in wanted:
            before = known.get((place.fault, place.phase, place.host, place.transport, place.consumer, seed))
            reason = place.why_not()
            if before is not None and before["status"] not in (ERROR, LEFT_OUT):
                done += 1
                yield done, len(wanted), before
            elif reason is not None:
                done += 1
                yield done, len(wanted), _left_out(place, seed, reason)
            else:
                left.append((place, seed))
        made = stack.enter_context(executors.executor(executor, jobs))
        for _, outcome in executors.outcomes(made, run_apart, left, jobs):
            done += 1
            if file is not None:
                file.write(json.dumps(outcome) + "\n")
                file.flush()
            yield done, len(wanted), outcome


def _left_out(place: Place, seed: int, reason: str) -> dict[str, Any]:
    about = {"fault": place.fault, "phase": place.phase, "host": place.host, "transport": place.transport}
    return {**about, "consumer": place.consumer, "seed": seed, "status": LEFT_OUT, "reason": reason}


def run_apart(cell: tuple[Place, int]) -> dict[str, Any]:
    """A cell in a process and a world of its own, on any machine that `world.way_in` works on."""
    place, seed = cell
    setup = place.setup
    words = shlex.split(command(place.fault, type(setup)(**{**vars(setup), "seed": seed})))
    about = {**_left_out(place, seed, ""), "command": shlex.join(words), "status": ERROR}
    ran = subprocess.Popen(
        [*way_in(), sys.executable, *words[1:], "--json", "-"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, CERTIFICATES: _certificates(), INSIDE: "1"},
    )
    with ran as process:
        try:
            out, errors = process.communicate(timeout=CELL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return {**about, "reason": f"it took longer than {CELL_SECONDS:g} s"}
    try:
        return dict(json.loads(out))
    except ValueError:
        told = errors.strip().splitlines()
        return {**about, "reason": told[-1] if told else f"exit status {process.returncode}"}


_making_certificates: Final = threading.Lock()


def _certificates() -> str:
    """The folder of this process's certificates, made by its first cell."""
    with _making_certificates:
        return _made_certificates()


@cache
def _made_certificates() -> str:
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    make_certificates(folder)
    return str(folder)
