"""Lives by the dozen: which ones make so many years, who lives them, and what is told when one goes wrong.

A year is a list of lives that depends on the seed alone, so it is the same however many processes share it. They are
told one number at a time and answer in one line of JSON each; the first violation is the one of the lowest number,
whoever was fastest.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from tests.simulation.kernel import Kernel, Violation
from tests.simulation.life import DAY, Life
from tests.simulation.planted import by_name
from tests.simulation.planting import planted
from tests.simulation.setting import draw

YEAR: Final = 365.25
"""Days."""
TOLD: Final = 60
"""Lines of a trace that are shown where a life goes wrong."""
LONGEST_TURN: Final = 5.0
"""Seconds of the processor in which simulated time or bytes must have moved: what takes longer has no end."""
LONGEST_LIFE: Final = 600.0
"""Seconds of the processor."""
_ROOT: Final = Path(__file__).parents[2]


@dataclass
class Lived:
    """What became of one life. `seconds` are simulated, `took` are the processor's."""

    number: int
    seconds: float
    took: float
    faults: int
    connections: int
    events: int
    kinds: dict[str, int]
    violation: str | None = None
    trace: tuple[str, ...] = ()

    @property
    def days(self) -> float:
        return self.seconds / DAY


@dataclass
class Years:
    """The sum of many."""

    lives: int = 0
    days: float = 0.0
    faults: int = 0
    connections: int = 0
    events: int = 0

    def add(self, lived: Lived) -> None:
        self.lives += 1
        self.days += lived.days
        self.faults += lived.faults
        self.connections += lived.connections
        self.events += lived.events

    def __str__(self) -> str:
        return (
            f"{self.days / YEAR:.2f} years in {self.lives} lives: {self.faults:,} faults, "
            f"{self.connections:,} connections, {self.events:,} events"
        )


def quiet() -> None:
    """What the library logs of a simulated year is nobody's business; the trace says more."""
    logging.getLogger("wire_rawsse").setLevel(logging.CRITICAL + 1)


def numbers(seed: str, years: float) -> Iterator[int]:
    """The lives of `seed` that make so many years."""
    days = 0.0
    for number in itertools.count():
        if days >= years * YEAR:
            return
        yield number
        days += draw(f"{seed}/{number}").days


def live(seed: str, number: int, listener: Callable[[str], None] | None = None) -> Lived:
    """One life. Whatever is raised in it, but for what ends the process, is a violation."""
    began = time.process_time()
    life = Life(seed, number, listener)
    kernel, violation = life.kernel, None
    try:
        with bounded(kernel):
            life.run()
    except Violation as broken:
        violation = str(kernel.violation or broken)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        violation = f"{type(error).__name__} ({error}) left the library, or the simulation is wrong: {place}"
        kernel.tell("VIOLATION: %s", violation)
        if listener is not None:
            listener(traceback.format_exc())
    return Lived(
        number,
        life.seconds,
        time.process_time() - began,
        life.faults,
        sum(side.watch.streams for side in life.sides),
        sum(side.relay.posted for side in life.sides),
        life.kinds,
        violation,
        tuple(kernel.line(*line) for line in list(kernel.lines)[-TOLD:]) if violation else (),
    )


@contextmanager
def bounded(kernel: Kernel) -> Iterator[None]:
    """A loop without an end in there is a finding, and no hang. Where the platform has such timers."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    began, before = time.process_time(), (0.0, 0)

    def look(*_: object) -> None:
        nonlocal before
        now = round(kernel.now - kernel.drift, 3), kernel.moved  # Rounded, as both sums gather errors.
        if now == before:
            kernel.fail(f"busy loop: for {LONGEST_TURN:g} s of the processor neither time nor bytes have moved")
        if time.process_time() - began > LONGEST_LIFE:
            kernel.fail(f"a life that takes more than {LONGEST_LIFE:g} s of the processor")
        before = now

    usual = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_TURN, LONGEST_TURN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, usual)


def serve(seed: str, plant: str | None) -> None:
    """A worker: numbers come in, lives go out."""
    quiet()
    with planting(plant):
        for line in sys.stdin:
            print(json.dumps(vars(live(seed, int(line)))), flush=True)


def planting(plant: str | None) -> AbstractContextManager[None]:
    """With this bug, or with none."""
    return nullcontext() if plant is None else planted(by_name(plant))


class Worker:
    """A process that lives one life after another."""

    def __init__(self, seed: str, plant: str | None) -> None:
        command = [sys.executable, "-m", "tests.simulation", "worker", "--seed", seed]
        if plant is not None:
            command += ["--plant", plant]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=_ROOT
        )

    def live(self, number: int) -> Lived:
        """Raises `RuntimeError` where the process has died, which no bug of the library should bring about."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(f"{number}\n")
            stdin.flush()
            answer: dict[str, Any] = json.loads(stdout.readline())
        except (OSError, ValueError) as error:
            raise RuntimeError(
                f"the process that lived life {number} is gone, status {self._process.poll()}"
            ) from error
        return Lived(**{**answer, "trace": tuple(answer["trace"])})

    def end(self, at_once: bool = False) -> None:
        if at_once:
            self._process.kill()
        self._process.communicate()


def run(
    seed: str,
    years: float,
    processes: int,
    plant: str | None = None,
    tell: Callable[[Years, Lived], None] = lambda years, lived: None,
) -> tuple[Years, Lived | None]:
    """So many years; the first life that went wrong, if one did. `tell` is called after each life."""
    total, lock, queue = Years(), Lock(), numbers(seed, years)
    wrong: dict[int, Lived] = {}
    workers = [Worker(seed, plant) for _ in range(processes)]

    def share(worker: Worker) -> None:
        while True:
            with lock:
                number = next(queue, None)
                if number is None or wrong:
                    return  # Whoever is under way has a lower number, and ends in a moment.
            lived = worker.live(number)
            with lock:
                total.add(lived)
                if lived.violation is not None:
                    wrong[number] = lived
                tell(total, lived)

    done = False
    try:
        if processes == 1:
            share(workers[0])
        else:
            with ThreadPoolExecutor(processes) as pool:
                for result in [pool.submit(share, worker) for worker in workers]:
                    result.result()
        done = True
    finally:
        for worker in workers:
            worker.end(at_once=not done)
    return total, wrong[min(wrong)] if wrong else None


def digest(seed: str, number: int) -> str:
    """A fingerprint of the whole trace of a life."""
    trace = hashlib.sha256()
    live(seed, number, lambda line: trace.update(f"{line}\n".encode()))
    return trace.hexdigest()
