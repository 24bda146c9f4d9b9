"""Lives by the dozen: which ones make so many years, who lives them, and what is told when one goes wrong.

A year is a list of lives that depends on the seed alone, so it is the same on any executor. The first violation is the
one of the lowest number, whichever ended first.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests import mutants
from tests.simulation.kernel import Kernel, Violation
from tests.simulation.life import DAY, Life
from tests.simulation.setting import draw
from tests.support.executors import outcomes

YEAR: Final = 365.25
"""Days."""
TOLD: Final = 60
"""Lines of a trace that are shown where a life goes wrong."""
LONGEST_TURN: Final = 5.0
"""Seconds of the processor in which simulated time or bytes must have moved: what takes longer has no end."""
LONGEST_LIFE: Final = 600.0
"""Seconds of the processor."""


@dataclass
class Lived:
    """The outcome of one life. `seconds` are simulated, `took` is CPU time."""

    number: int
    seconds: float
    took: float
    faults: int
    connections: int
    events: int
    kinds: dict[str, int]
    habit: str
    causes: Counter[str]
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
    habits: dict[str, float] = field(default_factory=dict)
    """Days with a relay of each habit."""
    causes: Counter[str] = field(default_factory=Counter)
    """See `changes.CAUSES`."""

    def add(self, lived: Lived) -> None:
        self.lives += 1
        self.days += lived.days
        self.faults += lived.faults
        self.connections += lived.connections
        self.events += lived.events
        self.habits[lived.habit] = self.habits.get(lived.habit, 0.0) + lived.days
        self.causes += lived.causes

    def __str__(self) -> str:
        return (
            f"{self.days / YEAR:.2f} years in {self.lives} lives: {self.faults:,} faults, "
            f"{self.connections:,} connections, {self.events:,} events"
        )

    @property
    def details(self) -> str:
        """Two lines: the relays' habits, and why connections were replaced that their sockets called healthy."""
        days = ", ".join(f"{name} {count:.0f}" for name, count in sorted(self.habits.items()))
        causes = ", ".join(f"{name} {count:,}" for name, count in sorted(self.causes.items()))
        return f"days with relays of each habit: {days}\nhealthy to their sockets, and replaced: {causes}"


def quiet() -> None:
    """Silence the library's log of a simulated year; the trace says more."""
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
    began = time.thread_time()
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
        time.thread_time() - began,
        life.faults,
        sum(side.watch.streams for side in life.sides),
        sum(side.relay.posted for side in life.sides),
        life.kinds,
        life.setting.habit,
        sum((Counter(side.watch.causes) for side in life.sides), Counter()),
        violation,
        tuple(kernel.line(*line) for line in list(kernel.lines)[-TOLD:]) if violation else (),
    )


@contextmanager
def bounded(kernel: Kernel) -> Iterator[None]:
    """Makes an endless loop in there a violation. On any thread, where the platform tells a thread's time."""
    if not hasattr(time, "pthread_getcpuclockid"):
        yield
        return
    thread = threading.get_ident()
    clock = time.pthread_getcpuclockid(thread)
    lock, over = threading.Lock(), threading.Event()

    def watch() -> None:
        began = looked = time.clock_gettime(clock)
        before = (0.0, 0)
        while not over.wait(LONGEST_TURN / 5):
            now = time.clock_gettime(clock)
            if now - looked < LONGEST_TURN:
                continue
            looked = now
            moved = round(kernel.now - kernel.drift, 3), kernel.moved  # Rounded, as both sums gather errors.
            with lock:
                if over.is_set() or (moved != before and now - began <= LONGEST_LIFE):
                    before = moved
                    continue
                try:
                    if moved == before:
                        kernel.fail(
                            f"busy loop: for {LONGEST_TURN:g} s of the processor neither time nor bytes have moved"
                        )
                    kernel.fail(f"a life that takes more than {LONGEST_LIFE:g} s of the processor")
                except Violation:
                    # It leaves the loop at its next bytecode, whatever it does there.
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Violation))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            over.set()
        watcher.join()


class Task(NamedTuple):
    """One life, to be lived with a mutant or without."""

    seed: str
    number: int
    mutant: str | None = None


def live_with(task: Task) -> Lived:
    """On any thread of any process."""
    quiet()
    with installed(task.mutant):
        return live(task.seed, task.number)


def installed(mutant: str | None) -> AbstractContextManager[None]:
    """With this mutant, or with none."""
    return nullcontext() if mutant is None else mutants.installed(mutants.by_words(mutant))


def run(
    seed: str,
    years: float,
    executor: Executor,
    workers: int,
    mutant: str | None = None,
    tell: Callable[[Years, Lived], None] = lambda years, lived: None,
) -> tuple[Years, Lived | None]:
    """So many years; the first life that went wrong, if one did. `tell` is called after each life.

    Once one is wrong no more are begun, but those that run have lower numbers and are waited for.
    """
    total = Years()
    wrong: dict[int, Lived] = {}
    tasks = (Task(seed, number, mutant) for number in numbers(seed, years))
    for _, lived in outcomes(executor, live_with, itertools.takewhile(lambda task: not wrong, tasks), workers):
        total.add(lived)
        if lived.violation is not None:
            wrong[lived.number] = lived
        tell(total, lived)
    return total, wrong[min(wrong)] if wrong else None


def digest(seed: str, number: int) -> str:
    """A fingerprint of the whole trace of a life."""
    trace = hashlib.sha256()
    live(seed, number, lambda line: trace.update(f"{line}\n".encode()))
    return trace.hexdigest()
