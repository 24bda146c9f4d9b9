"""The tables of `many`, and what its figures are held to."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from bench import report
from bench.stats import percentile

LABELS = {
    "ours": "wire_rawsse: Streams",
    "bare": "epoll + recv, no parser",
    "floor": "epoll + h11, no library",
    "aiohttp": "aiohttp, a task each",
    "httpx": "httpx-sse, a thread each",
    "launchdarkly": "launchdarkly, a thread each",
    "pycurl": "pycurl multi",
}


def tables(found: dict[str, Any]) -> list[Table]:
    return [*(_programs(scheme, found) for scheme in found["programs"]), _goals(found)]


def _programs(scheme: str, found: dict[str, Any]) -> Table:
    table = Table(title=f"many streams in one process, {scheme}", title_justify="left", caption_justify="left")
    heads = ("program", "streams", "KiB of one more", "threads", "CPU ms to open one", "CPU µs a wake", "wake µs p50",
             "p99", "fan-out: first µs", "CPU µs each")  # fmt: skip
    for head in heads:
        table.add_column(head, justify="left" if head == "program" else "right")
    known = found["settings"][scheme]
    for kind, numbers in found["programs"][scheme].items():
        for place, (n, one) in enumerate(numbers.items()):
            label = LABELS[kind] if place == 0 else ""
            if why := one.get("failed"):
                table.add_row(label, n, escape(why[:60]), *[""] * 7)
                continue
            wakes = sorted(one["wake_us"])
            table.add_row(
                label, f"{int(n):,}", _number(one["one_more_kib"], 1), str(one["threads"]),
                _number(1000 * one["opening_cpu_s"] / int(n), 2), _spread(one["wake_cpu_us"]),
                _number(percentile(wakes, 50) if wakes else None), _number(percentile(wakes, 99) if wakes else None),
                _spread(one["fan_out_first_us"]), _spread(one.get("fan_out_cpu_us", [])),
                style="bold" if kind == "ours" else None,
            )  # fmt: skip
        left_out = [n for n in known if str(n) not in numbers]
        if left_out:
            # By choice, or because fewer failed.
            table.add_row("", f"{left_out[0]:,}", "not tried", *[""] * 7)
        table.add_section()
    table.caption = report.noise_line(found)
    return table


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _spread(values: list[float]) -> str:
    return f"{median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})" if values else "-"


def _goals(found: dict[str, Any]) -> Table:
    table = Table(title="what Streams is held to", title_justify="left")
    for head in ("what", "bound", "measured", "bare loop", "verdict"):
        table.add_column(head, justify="left" if head in ("what", "verdict") else "right")
    for goal in goals(found):
        style = "red" if goal.verdict == "missed" else None
        bound = "-" if goal.bound is None else f"≤ {goal.bound:g}"
        table.add_row(goal.what, bound, _number(goal.value, 3), _number(goal.bare, 3), goal.verdict, style=style)
    table.caption = "bare loop: the same ratio of the program that only polls and receives"
    return table


class Goal(NamedTuple):
    """`value` and `bare` are None where they were not measured; `bound` is None for what is only told."""

    what: str
    bound: float | None
    value: float | None
    bare: float | None = None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "-" if self.bound is None else "met" if self.value <= self.bound else "missed"


def goals(found: dict[str, Any]) -> Iterator[Goal]:
    """Ratios are of medians of the same run."""
    programs = found["programs"].get("http", {})
    http, bare = programs.get("ours", {}), programs.get("bare", {})
    https = found["programs"].get("https", {}).get("ours", {})
    opening, counted = found["opening"], found["instructions"]
    for scheme, ours, bound in (("http", http, 9.0), ("https", https, 32.0)):
        n, last = _last(ours, 1000)
        yield Goal(f"KiB of one more stream, {scheme}, {n:,} streams", bound, last.get("one_more_kib"))
    one = opening.get("https, one")
    for which, how, limit in (("", "added at once", 32.0), (", no gate", "added at once, max_connecting=300", None)):
        burst = opening.get(f"https, 300 at once{which}")
        value = (burst["own_kib"] - one["own_kib"]) / (burst["streams"] - 1) if burst and one else None
        streams = burst["streams"] if burst else 300
        yield Goal(f"KiB of one more stream, https, {streams} {how}", limit, value)
    most = max((int(name.split("-")[1]) for name in counted), default=0)
    value = counted[f"ours-{most}"] / counted["ours-1"] if most > 1 else None
    yield Goal(f"instructions of a wake, {most} streams ÷ 1", 1.10, value)
    n, last = _last(http, 10**9)
    cpu = "wake_cpu_us"
    yield Goal(f"CPU of a wake, {n:,} streams ÷ 1", 1.25, _ratio(http, n, cpu), _ratio(bare, n, cpu))
    if "http" in opening:
        streams = opening["http"]["streams"]
        yield Goal(f"CPU seconds to open {streams:,} streams", 3.0, opening["http"]["cpu_s"])
    n, _ = _last(http, 1000)
    yield Goal(f"p50 of a wake, {n:,} streams ÷ 1", 1.15, _ratio(http, n, "wake_us"), _ratio(bare, n, "wake_us"))
    first = http.get(str(n), {}).get("fan_out_first_us")
    value = median(first) / 1000 if first else None
    yield Goal(f"ms until the first wake of a fan-out to {n:,}, median", 1.0, value)
    late = found["late_ms"]
    yield Goal(f"ms by which {len(late):,} deadlines were missed at most", 50.0, max(late) if late else None)


def _last(ours: dict[str, Any], at_most: int) -> tuple[int, dict[str, Any]]:
    """The largest number of streams, up to a bound, that has figures."""
    known = [int(n) for n, one in ours.items() if "failed" not in one and int(n) <= at_most]
    return (max(known), ours[str(max(known))]) if known else (0, {})


def _ratio(ours: dict[str, Any], n: int, what: str) -> float | None:
    mine, one = ours.get(str(n), {}).get(what), ours.get("1", {}).get(what)
    return median(mine) / median(one) if mine and one and n > 1 else None
