"""From stamps to figures: latencies, percentiles, ratios with their spread. Pure functions; knows no process
and no table.

A latency runs from the sender's stamp just before `send` to the first instruction of the client's main thread
after the wake that let it know. For a client that stamps each event that is the stamp with the event's own
number. If wakes coalesce, single events that had exactly one wake each are paired in order; otherwise it is the
first wake at or after the sending, since anyone who pulls on that wake finds the event there. Of a burst two
latencies are kept: from its first `send` to the first wake, and from its last `send` to the wake that covers
it.

The median of each round is a figure of its own; smallest and largest of them over the rounds are the spread
that a ratio is given with. A ratio compares within one round, never over rounds: the noise of a shared machine
then hits both sides.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.scenario import SETTLE_SECONDS, Outcome

SETTLE_NS = int(SETTLE_SECONDS * 0.8 * 1_000_000_000)
PERCENTILES = (10, 50, 90, 99, 99.9, 100)
BINS_PER_DECADE = 40


def percentile(ordered: Sequence[float], p: float) -> float:
    """The p-th percentile (0 to 100) of ascending, non-empty values, interpolated between neighbours."""
    place = (len(ordered) - 1) * p / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass
class Latencies:
    """One client in one round, in nanoseconds. `matched` says how wakes were paired with events: by sequence
    number, in order, or by time.
    """

    single: list[int] = field(default_factory=list)
    burst_first: list[int] = field(default_factory=list)
    burst_last: list[int] = field(default_factory=list)
    lost: int = 0
    matched: str = "sequence"


def latencies(outcome: Outcome, warmup: int) -> Latencies:
    """Pair what was sent with what woke. `warmup` is how many single events came before the first that counts."""
    result = Latencies()
    stamps = [stamp for _, stamp in outcome.wakes]
    # 0 is the greeting, so the first event that counts has number `warmup + 1`.
    number = warmup + 1
    by_number = dict(outcome.wakes) if outcome.kind == "event" else {}
    if outcome.kind == "wake" and outcome.singles:
        bursts = [burst[0] for burst in outcome.bursts if burst]
        end = bursts[0] if bursts else outcome.singles[-1] + SETTLE_NS
        own = [stamp for stamp in stamps if outcome.singles[0] <= stamp < end]
        result.matched = "order" if len(own) == len(outcome.singles) else "time"
        if result.matched == "order":
            by_number = {number + n: stamp for n, stamp in enumerate(own)}

    def woken(sequence: int, sent: int) -> int | None:
        if outcome.kind == "event" or sequence in by_number:
            return by_number.get(sequence)
        at = bisect.bisect_left(stamps, sent)
        return stamps[at] if at < len(stamps) else None

    def keep(into: list[int], sequence: int, sent: int) -> None:
        stamp = woken(sequence, sent)
        if stamp is None or stamp < sent:
            result.lost += 1
        else:
            into.append(stamp - sent)

    for sent in outcome.singles:
        keep(result.single, number, sent)
        number += 1
    for burst in outcome.bursts:
        if burst:
            keep(result.burst_first, number, burst[0])
            keep(result.burst_last, number + len(burst) - 1, burst[-1])
        number += len(burst)
    return result


@dataclass
class Summary:
    """One client over all rounds. Times in microseconds; `low` and `high` are the medians of its best and worst
    round.
    """

    count: int
    percentiles: dict[float, float]
    low: float
    high: float
    burst_first: float
    burst_last: float
    lost: int
    matched: str
    medians: list[float | None]
    histogram: list[tuple[int, int]]
    """Of the single events: (bin, number), see `bin_start`. Empty bins are left out."""


def summarise(rounds: Sequence[Latencies]) -> Summary | None:
    """All rounds of one client as one row, or None where no round has a figure."""
    # A round without figures stays as None, so that rounds of two clients still stand side by side.
    medians = [percentile(sorted(one.single), 50) / 1000 if one.single else None for one in rounds]
    known = [median for median in medians if median is not None]
    if not known:
        return None
    single = sorted(value / 1000 for one in rounds for value in one.single)
    first = sorted(value / 1000 for one in rounds for value in one.burst_first) or [float("nan")]
    last = sorted(value / 1000 for one in rounds for value in one.burst_last) or [float("nan")]
    return Summary(
        count=len(single),
        percentiles={p: percentile(single, p) for p in PERCENTILES},
        low=min(known),
        high=max(known),
        burst_first=percentile(first, 50),
        burst_last=percentile(last, 50),
        lost=sum(one.lost for one in rounds),
        matched=rounds[0].matched,
        medians=medians,
        histogram=histogram(single),
    )


def histogram(values: Sequence[float]) -> list[tuple[int, int]]:
    """Positive values counted in bins of equal width on a log scale."""
    return sorted(Counter(math.floor(math.log10(value) * BINS_PER_DECADE) for value in values).items())


def bin_start(number: int) -> float:
    """The smallest value of a bin of `histogram`."""
    return float(10 ** (number / BINS_PER_DECADE))


def ratio(of: Summary | None, to: Summary | None) -> tuple[float, float, float] | None:
    """(middle, smallest, largest) over the rounds of `of`'s median divided by `to`'s of the same round."""
    if of is None or to is None:
        return None
    pairs = zip(of.medians, to.medians, strict=True)
    each = sorted(mine / floor for mine, floor in pairs if mine is not None and floor)
    return (percentile(each, 50), each[0], each[-1]) if each else None


def ratio_of_percentiles(of: Summary | None, to: Summary | None, p: float) -> float | None:
    """One percentile of all rounds together, divided; for tails, of which one round has too few values."""
    if of is None or to is None or not to.percentiles[p]:
        return None
    return of.percentiles[p] / to.percentiles[p]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(middle, smallest, largest) of non-empty values."""
    ordered = sorted(values)
    return percentile(ordered, 50), ordered[0], ordered[-1]


def exponent(points: list[tuple[float, float]]) -> float:
    """The slope of log(time) over log(length), by least squares; 1 is linear, 2 quadratic. NaN for fewer than two."""
    if len(points) < 2:
        return math.nan
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True))
    return over / sum((x - middle_x) ** 2 for x in xs)


def revive(fields: dict[str, Any] | None) -> Summary | None:
    """A summary as it was before JSON made its keys strings."""
    if fields is None:
        return None
    return Summary(**{**fields, "percentiles": {float(p): value for p, value in fields["percentiles"].items()}})
