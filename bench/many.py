"""`many`: what thousands of event streams in one process cost, beside a floor and peers.

For each program one process holds n streams for each n, all at the same time on one relay, which is a process of its
own. So the events of one round go to all of them alternately, and the noise of the machine hits all alike:

- memory of one more stream: what the process with n streams has written (its USS without pages of files, which are
  shared or not as it comes) less that of the process with one, divided by n - 1; from 100 streams on;
- processor time of opening all of them, as the process itself counts it;
- processor time of one wake, read from outside; events go to random streams, one at a time;
- the time from the relay's send to the program's stamp of the wake;
- of a fan-out (one event to every stream, back to back) the time until the first wake.

Of ours alone: the memory of one more https stream when 300 are added at once, how late each deadline of 1,000 silent
streams is kept, and the instructions of a wake by callgrind. Peers go up to the number of streams that they can open
in the time that there is.

A goal that compares a wake among thousands with that of one is shown beside the same ratio of a bare loop, which only
polls and receives: so much of it is the kernel's, and the caches'. Linux only.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench import instruments, many_table, proc, report
from bench.pictures import many as picture
from bench.scenario import certificates

__all__ = ["QUICK", "Settings", "run"]

OPEN_SECONDS = 120.0
ANSWER_SECONDS = 60.0
SETTLE_SECONDS = 1.0
GAP_MS = (1.5, 3.0)
SLOW_GAP_MS = (30.0, 40.0)
"""Under valgrind."""
COUNTS = 5
"""Instructions are counted so often, and the median is taken: the garbage collector visits all streams now and then."""
FAILURES = (OSError, RuntimeError, ValueError, LookupError, subprocess.SubprocessError)


@dataclass(frozen=True)
class Settings:
    """`opening`, `at_once`: how many streams are opened for those figures; `silent`: how many have a deadline;
    `counted`: the larger number of streams of those whose instructions are counted."""

    quick: bool = False
    schemes: tuple[str, ...] = ("http", "https")
    http: tuple[int, ...] = (1, 10, 100, 1000, 10000)
    https: tuple[int, ...] = (1, 10, 100, 1000)
    rounds: int = 9
    batch: int = 40
    fan_outs: int = 5
    opening: int = 5000
    at_once: int = 300
    silent: int = 1000
    counted: int = 400
    counted_events: int = 200

    def numbers(self, kind: str, scheme: str) -> list[int]:
        up_to = PEERS_UP_TO[kind][scheme == "https"] if kind in PEERS_UP_TO else 10**9
        return [n for n in (self.http if scheme == "http" else self.https) if n <= up_to]


QUICK = Settings(
    quick=True, http=(1, 10, 100), https=(1, 10), rounds=2, batch=10, fan_outs=2, opening=100, at_once=20, silent=20,
    counted=20, counted_events=20,
)  # fmt: skip

PEERS_UP_TO = {
    "bare": (10000, 1000),
    "floor": (10000, 1000),
    "aiohttp": (1000, 100),
    "httpx": (100, 10),
    "launchdarkly": (100, 100),
    "pycurl": (1000, 100),
}
"""The largest number of streams of each, http and https, that a run of some minutes has time for."""
KINDS = ("ours", *PEERS_UP_TO)


class Process:
    """A child whose lines of JSON are read by a thread, so that one that hangs hangs nobody else."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._complaint = ""
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._complaint = line.strip() or self._complaint

    def line(self, seconds: float) -> str:
        """The next line. Raises `RuntimeError` with the reason where there is none in so many seconds."""
        try:
            line = self._lines.get(timeout=seconds)
        except Empty:
            raise RuntimeError(f"no answer within {seconds:.0f} s") from None
        if not line:
            self.process.wait(ANSWER_SECONDS)
            raise RuntimeError(self._complaint or f"it ended (exit status {self.process.returncode})")
        return line

    def answer(self, seconds: float) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line(seconds))
        if why := found.get("failed") or found.get("unavailable"):
            raise RuntimeError(why)
        return found

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer(ANSWER_SECONDS)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(ANSWER_SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Relay:
    """The relay, and what a client needs to find it."""

    def __init__(self, process: Process, ca: str | None) -> None:
        self.process = process
        self.port = process.line(ANSWER_SECONDS).split()[1]
        self.trust = [ca] if ca else []

    def client(self, kind: str, streams: int, behind: Sequence[str] = ()) -> Process:
        command = [*behind, sys.executable, "-m", "bench.many_clients", kind, str(streams), self.port, *self.trust]
        return Process(command)


@contextlib.contextmanager
def relay(scheme: str) -> Iterator[Relay]:
    with tempfile.TemporaryDirectory() as folder:
        ca, certificate, key = certificates(Path(folder)) if scheme == "https" else (None, "", "")
        process = Process([sys.executable, "-m", "bench.many_relay", *(["--tls", certificate, key] if ca else [])])
        try:
            yield Relay(process, ca)
        finally:
            process.end()


def hold(kind: str, scheme: str, settings: Settings) -> dict[str, Any]:
    """One program with each number of streams, by number; a number that failed has `failed` instead of figures."""
    found: dict[str, Any] = {}
    held: dict[int, Process] = {}
    with relay(scheme) as place, contextlib.ExitStack() as stack:
        base = 0
        # For nothing but the bytecode that a first start leaves behind.
        with contextlib.suppress(*FAILURES), contextlib.closing(_Ended(place.client(kind, 1))) as first:
            first.client.answer(OPEN_SECONDS)
        for n in settings.numbers(kind, scheme):
            client = place.client(kind, n)
            stack.callback(client.end)
            try:
                opened = client.answer(OPEN_SECONDS)
            except FAILURES as error:
                found[str(n)] = {"failed": str(error) or type(error).__name__}
                break  # More of them would fail too.
            held[n] = client
            time.sleep(SETTLE_SECONDS)
            own = proc.memory(client.pid).own
            base = base or own
            found[str(n)] = {
                "opening_cpu_s": opened["cpu_s"], "opening_s": opened["wall_s"], "own_kib": own,
                "one_more_kib": (own - base) / (n - 1) if n >= 100 else None, "threads": proc.threads(client.pid),
            }  # fmt: skip
        sent = _events(place, held, settings, found)
        for n, client in held.items():
            client.process.terminate()
            woken = client.answer(ANSWER_SECONDS)["wakes"]
            found[str(n)] |= _latencies(*sent[n], woken)
    return found


Sent = tuple[list[tuple[int, int]], list[int]]
"""Single events as (number of the stream, stamp), and the stamp of each fan-out."""


def _events(place: Relay, held: dict[int, Process], settings: Settings, found: dict[str, Any]) -> dict[int, Sent]:
    """Give events to all processes alternately. The CPU time of each goes to `found`.

    The fan-outs come first: the first event of a stream takes a different path through the parser.
    """
    dice = random.Random(1)
    sent: dict[int, Sent] = {n: ([], []) for n in held}
    for n in held:
        for _ in range(settings.fan_outs if n > 1 else 0):
            before = proc.ran(held[n].pid)
            sent[n][1].append(place.process.ask(do="fan-out", under=f"/s/{n}/")["first"])
            time.sleep(0.3 + n / 5000)
            spent = (proc.ran(held[n].pid) - before).ns / n / 1000
            found[str(n)].setdefault("fan_out_cpu_us", []).append(spent)
    for _ in range(settings.rounds):
        for n in dice.sample([*held], len(held)):
            numbers = [dice.randrange(n) for _ in range(settings.batch)]
            before = proc.ran(held[n].pid)
            answer = place.process.ask(do="send", order=[f"/s/{n}/{one}" for one in numbers], gap_ms=GAP_MS)
            time.sleep(0.05)
            spent = (proc.ran(held[n].pid) - before).ns / settings.batch / 1000
            found[str(n)].setdefault("wake_cpu_us", []).append(spent)
            sent[n][0].extend(zip(numbers, answer["sent"], strict=True))
    return sent


def _latencies(singles: Sequence[tuple[int, int]], fan_outs: Sequence[int], woken: list[list[int]]) -> dict[str, Any]:
    """Microseconds from each send to the first stamp of that stream, and from each fan-out to the first of any."""
    stamps: dict[int, list[int]] = {}
    for number, stamp in woken:
        stamps.setdefault(number, []).append(stamp)
    every = sorted(stamp for _, stamp in woken)
    first = [_next(stamps.get(number, []), then) for number, then in singles]
    return {
        "wake_us": [us for us in first if us is not None],
        "lost": sum(us is None for us in first),
        "fan_out_first_us": [us for then in fan_outs if (us := _next(every, then)) is not None],
    }


def _next(stamps: list[int], then: int) -> float | None:
    at = bisect.bisect_left(stamps, then)
    return (stamps[at] - then) / 1000 if at < len(stamps) else None


def opening(scheme: str, streams: int, kind: str = "ours") -> dict[str, Any]:
    """The cost of opening so many streams."""
    with relay(scheme) as place, contextlib.closing(_Ended(place.client(kind, streams))) as one:
        opened = one.client.answer(OPEN_SECONDS)
        time.sleep(SETTLE_SECONDS)
        return {"streams": streams, "cpu_s": opened["cpu_s"], "wall_s": opened["wall_s"],
                "own_kib": proc.memory(one.client.pid).own}  # fmt: skip


def late_ms(streams: int) -> list[float]:
    """By how many milliseconds each deadline of so many silent streams was missed."""
    with relay("http") as place, contextlib.closing(_Ended(place.client("deadlines", streams))) as one:
        late: list[float] = one.client.answer(OPEN_SECONDS)["late_ms"]
        return late


def instructions(settings: Settings) -> dict[str, float]:
    """Instructions of one wake, by the number of streams, with `ours_lone` for one stream without `Streams`."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, relay("http") as place:
        grind = instruments.Callgrind(Path(folder))
        for kind, n in (("ours_lone", 1), ("ours", 1), ("ours", 10), ("ours", settings.counted)):
            name = f"{kind}-{n}"
            # The order of sets and dictionaries of strings must not change from one run to the next.
            behind = ["env", "PYTHONHASHSEED=0", *grind.behind(name)]
            with contextlib.closing(_Ended(place.client(kind, n, behind))) as one:
                one.client.answer(OPEN_SECONDS)
                time.sleep(SETTLE_SECONDS)
                dice = random.Random(1)
                order = [f"/s/{n}/{dice.randrange(n)}" for _ in range(settings.counted_events)]
                # The first event of a stream is parsed by another way than all others.
                place.process.ask(do="fan-out", under=f"/s/{n}/")
                time.sleep(SETTLE_SECONDS)
                grind.on(one.client.pid)
                place.process.ask(do="send", order=order[:10], gap_ms=SLOW_GAP_MS)
                grind.zero(one.client.pid)
                counts = []
                for part in (order[number::COUNTS] for number in range(COUNTS)):
                    place.process.ask(do="send", order=part, gap_ms=SLOW_GAP_MS)
                    time.sleep(SETTLE_SECONDS)
                    counts.append(grind.dump(one.client.pid, name) / len(part))
                found[name] = median(counts)
    return found


class _Ended:
    """For `contextlib.closing`."""

    def __init__(self, client: Process) -> None:
        self.client = client
        self.close = client.end


def measure(settings: Settings, on: Console) -> dict[str, Any]:
    """All parts; gives what the JSON file holds. A part that fails is told and takes no other with it."""
    found: dict[str, Any] = {"programs": {}, "opening": {}, "late_ms": [], "instructions": {}, "failed": []}
    no_valgrind = instruments.callgrind_missing()

    def hold_one(kind: str, scheme: str) -> None:
        found["programs"].setdefault(scheme, {})[kind] = hold(kind, scheme, settings)

    def open_many() -> None:
        found["opening"]["http"] = opening("http", settings.opening)

    def open_300() -> None:
        found["opening"]["https, one"] = opening("https", 1)
        found["opening"]["https, 300 at once"] = opening("https", settings.at_once)
        found["opening"]["https, 300 at once, no gate"] = opening("https", settings.at_once, "ours_300")

    def keep_deadlines() -> None:
        found["late_ms"] = late_ms(settings.silent)

    def count() -> None:
        if not no_valgrind:
            found["instructions"] = instructions(settings)

    parts: list[tuple[str, Callable[[], None]]] = [
        (f"{kind}, {scheme}", partial(hold_one, kind, scheme)) for scheme in settings.schemes for kind in KINDS
    ]
    parts += [("opening", open_many), ("300 at once", open_300), ("deadlines", keep_deadlines), ("instructions", count)]
    with report.Noise() as noise, report.progress(on) as bar:
        task = bar.add_task("many", total=len(parts))
        for name, work in parts:
            try:
                work()
            except FAILURES as error:
                found["failed"].append(f"{name}: {type(error).__name__}: {error}")
            bar.advance(task)
            bar.refresh()
    return {
        "bench": "many", "settings": asdict(settings), "environment": report.environment(), "noise": noise.facts,
        "no_valgrind": no_valgrind, **found,
    }  # fmt: skip


def run(settings: Settings, out: Path, on: Console) -> int:
    """Measure, print, save, draw. The exit status is 1 if one of ours has no figure or a part failed, otherwise 0."""
    if why := proc.unavailable():
        on.print(f"many: left out, {why}")
        return 0
    found = measure(settings, on)
    for table in many_table.tables(found):
        on.print(table)
    path = report.save("many", found, out)
    on.print("written: " + ", ".join(str(p) for p in (path, *picture.draw(found, out))))
    bad = [f"failed: {one}" for one in found["failed"]]
    for scheme, programs in found["programs"].items():
        for n, figures in programs.get("ours", {}).items():
            if why := figures.get("failed") or (figures.get("lost") and f"{figures['lost']} wakes lost"):
                bad.append(f"ours, {scheme}, {n} streams: {why}")
    for one in bad:
        on.print(f"[red]{escape(one)}")
    return 1 if bad else 0
