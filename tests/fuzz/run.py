"""Fuzzes one target in several processes that share what they find, and adds up what they did.

Each process is a `worker`, which is libFuzzer: it reads the committed corpus and the one of earlier runs, adds what
takes a new branch to the latter, and looks there for what the others have added. Progress and counts are read from what
it prints.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.fuzz import corpora, targets

STUCK: Final = 900
"""Seconds on a wall clock after which libFuzzer ends a process that is stuck where Python cannot interrupt it. The
value is large because the process may have been stopped for a while; `slow` reports slow inputs long before.
"""
MEMORY: Final = 1024
"""MiB for one process."""

_COUNT: Final = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)")
_DONE: Final = re.compile(r"stat::number_of_executed_units: (\d+)")


@dataclass
class Worker:
    """One process, as far as it has told."""

    process: subprocess.Popen[str]
    inputs: int = 0
    branches: int = 0
    features: int = 0
    last: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Read to the end of what it prints."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := _COUNT.match(line):
                self.inputs, self.branches, self.features = (int(found[at]) for at in (1, 2, 3))
            elif found := _DONE.match(line):
                self.inputs = int(found[1])
            else:
                self.last = [*self.last[-29:], line.rstrip()]


class Search(NamedTuple):
    """Until so many inputs, so many seconds or one finding, in `jobs` processes.

    With `mutant`, the name of one, it begins with the seeds alone.
    """

    name: str
    work: Path
    inputs: int | None
    seconds: float | None
    seed: int
    jobs: int
    mutant: str = ""
    progress: float = 0.0
    """Seconds between two lines of progress on standard error; 0: none."""


@dataclass(frozen=True)
class Outcome:
    inputs: int
    seconds: float
    branches: int
    features: int
    found: bytes | None
    """The input that breaks the invariant, as it was found."""
    failed: str
    """The last output of a process that ended by itself and found nothing."""
    new: tuple[bytes, ...]
    """Inputs that took a new branch: another machine's working folder has them too, then."""


def search(wanted: Search) -> Outcome:
    """On any machine that has the extra `fuzz`."""
    with TemporaryDirectory() as empty:
        folder = Path(empty) if wanted.mutant else wanted.work
        return _search(wanted, folder, Path(empty) / "found")


def _search(wanted: Search, work: Path, artifacts: Path) -> Outcome:
    name, inputs, jobs = wanted.name, wanted.inputs, wanted.jobs
    folder = work / name
    for one in (folder, artifacts):
        one.mkdir(parents=True, exist_ok=True)
    corpora.write(folder, targets.load(name).SEEDS)
    before = set(folder.iterdir())
    began = told_at = time.monotonic()
    workers = [
        Worker(_start(wanted, folder, artifacts, inputs and -(-inputs // jobs), wanted.seed + number))
        for number in range(jobs)
    ]
    threads = [threading.Thread(target=worker.listen) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(0.2)
            if wanted.progress and time.monotonic() - told_at >= wanted.progress:
                told_at = time.monotonic()
                _show(f"{_told(name, workers, told_at - began)}")
            if any(worker.process.poll() not in (None, 0) for worker in workers):
                break
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker, thread in zip(workers, threads, strict=True):
            worker.process.wait()
            thread.join()
            assert worker.process.stderr is not None
            worker.process.stderr.close()
    found = sorted(artifacts.iterdir())
    failed = [worker for worker in workers if worker.process.returncode > 0]
    return Outcome(
        sum(worker.inputs for worker in workers),
        time.monotonic() - began,
        max(worker.branches for worker in workers),
        max(worker.features for worker in workers),
        found[0].read_bytes() if found else None,
        "\n".join(failed[0].last) if failed and not found else "",
        tuple(path.read_bytes() for path in sorted(folder.iterdir()) if path not in before),
    )


def _show(text: str) -> None:
    """On a terminal always the same line."""
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _start(wanted: Search, folder: Path, artifacts: Path, inputs: int | None, seed: int) -> subprocess.Popen[str]:
    name, mutant, seconds = wanted.name, wanted.mutant, wanted.seconds
    words = folder.parent / f"{name}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in targets.load(name).WORDS))
    kept = corpora.HERE / name
    arguments = [
        *([str(folder), str(kept)] if not mutant and kept.is_dir() else [str(folder)]),
        f"-dict={words}",
        f"-max_len={targets.load(name).LONGEST}",
        f"-seed={seed}",
        f"-timeout={STUCK}",
        f"-report_slow_units={STUCK}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={artifacts}/{name}-",
        *("-print_final_stats=1", "-reload=10"),
        *([f"-runs={inputs}"] if inputs else []),
        *([f"-max_total_time={seconds:.0f}"] if seconds else []),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.worker", name, mutant, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _told(name: str, workers: list[Worker], seconds: float) -> str:
    inputs = sum(worker.inputs for worker in workers)
    branches = max(worker.branches for worker in workers)
    return f"{name:<11}{seconds:7.0f} s {inputs:>12,} inputs {inputs / max(seconds, 1):>7,.0f}/s  {branches} branches"


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in word)
