"""An hour of each fault: how many connections it costs, in the worst of several circumstances.

The promise: at most 180 an hour while it stays broken, and at most 360 where streams live long enough in between to be
called healthy, or bring an event (see `cap`). A fault that is over at once is brought about again as
soon as a stream is there to be harmed.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.simulation import cap, weather
from tests.simulation import faults_of_files as files
from tests.simulation.faults_of_relays import Fault, over
from tests.simulation.life import Life
from tests.simulation.setting import Setting
from wire_rawsse.policy import Timeouts

SCHEMES: Final = ("http", "https", "https by proxy")
TRIES: Final = 4
"""Each with other dice: a fault comes in several forms."""
_AGAIN: Final = 0.5
"""Seconds after which a fault that is over at once is brought about again, where a stream is up."""
_SURVIVED: Final = 100.0
"""The same where it was brought upon this stream before."""
_LONG: Final = ("late", "stopped")
"""The host is away for up to an hour: once is enough."""
_NOT_COUNTED: Final = ("restarted", "impatient", "struck", "struck in a file")
"""Not the network's doing: who calls `restart()` is connected again at once, and may do so as often as he likes."""

CALM: Final = Setting(
    days=1 / 24,
    host="inline",
    interval=3600.0,
    work=0.0,
    streams=1,
    scheme="http",
    addresses=2,
    sink="wakes",
    timeouts=Timeouts(),
    heartbeat=30.0,
    post_every=300.0,
    fault_every=1e12,
    tick=0.0,
    ids=True,
)


@dataclass(frozen=True)
class Cost:
    """`attempts` in the worst hour, and the `most` that are allowed.

    `good` of its streams lived `healthy_after` or brought an event.
    """

    fault: Fault
    attempts: int
    most: int
    good: int
    where: str


def cost(fault: Fault) -> Cost:
    """Raises `Violation` where anything else is not as it should be."""
    worst: Cost | None = None
    for scheme in SCHEMES:
        for number in range(TRIES):
            sink = "wire" if fault in files.ALL else ("wakes", "replayed events")[number % 2]
            found = _hour(fault, dataclasses.replace(CALM, scheme=scheme, sink=sink), f"hour/{fault.name}/{number}")
            if worst is None or found.attempts / found.most > worst.attempts / worst.most:
                worst = found
    assert worst is not None
    return worst


def _hour(fault: Fault, setting: Setting, seed: str) -> Cost:
    life = Life(seed, 0, setting=setting)
    dice = random.Random(seed)
    side, kernel = life.sides[0], life.kernel
    life.host.run(kernel.now + 20)  # All is well.
    life.weather_changed(+1)
    watch = side.watch
    begun, good, excused = watch.begun - watch.never_begun, len(watch.good), watch.excused
    until = kernel.now + cap.HOUR
    harmed = -1
    """The stream that the fault was last brought upon, by its number."""

    def begin() -> None:
        if fault.begin(side, dice) is over or fault.each:
            kernel.after(_AGAIN, again)

    def drop() -> None:
        for visit in list(side.relay.visits.values()):
            visit.reset()  # Whatever keeps a stream from coming about is not felt while there is one.

    def again() -> None:
        nonlocal harmed
        if kernel.now < until:
            pause = _AGAIN
            if side.watch.record.phase == "streaming" and not side.watch.absent:
                if harmed == side.watch.begun or fault.name in _LONG:
                    pause = _SURVIVED  # It lives with it, or has yet to notice.
                harmed = side.watch.begun
                fault.begin(side, dice)
            kernel.after(pause, again)

    kernel.after(0, begin)
    kernel.after(1, drop)
    life.host.run(until)
    life.close()
    attempts, proved = watch.begun - watch.never_begun - begun, watch.good[good:]
    assert watch.cap is not None
    allowed = cap.most(setting.backoff, sum(proved), watch.cap.redirects) + watch.excused - excused
    where = f"{setting.scheme}, {setting.sink}"
    return Cost(fault, attempts, allowed, len(proved), where)


def costs() -> Iterator[Cost]:
    yield from (cost(fault) for fault in weather.EVERY if fault.name not in _NOT_COUNTED)


def table() -> int:
    """Print it; 1 where the promise is broken."""
    broken = 0
    print("| an hour of | connections, at most | allowed | good streams among them | where |")
    print("|---|---|---|---|---|")
    for found in costs():
        broken += found.attempts > found.most
        verdict = "" if found.attempts <= found.most else " TOO MANY"
        print(
            f"| {found.fault.name} | {found.attempts}{verdict} | {found.most} | {found.good} | {found.where} |",
            flush=True,
        )
    return 1 if broken else 0
