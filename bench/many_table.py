"""The tables of `many`, and what its figures are held to."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from rich.markup import escape
from rich.table import Table

from bench import report
from bench.stats import percentile

LABELS = {
    "ours": "wire_rawsse: Streams",
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
    for head in ("what", "bound", "measured", "verdict"):
        table.add_column(head, justify="left" if head in ("what", "verdict") else "right")
    for what, bound, value in goals(found):
        verdict = "not measured" if value is None else "met" if value <= bound else "missed"
        style = "red" if verdict == "missed" else None
        table.add_row(what, f"≤ {bound:g}", "-" if value is None else f"{value:,.3f}", verdict, style=style)
    return table


def goals(found: dict[str, Any]) -> Iterator[tuple[str, float, float | None]]:
    """(what, bound, measured or None). Ratios are of medians of the same run."""
    http = found["programs"].get("http", {}).get("ours", {})
    https = found["programs"].get("https", {}).get("ours", {})
    opening, counted = found["opening"], found["instructions"]
    for scheme, ours, bound in (("http", http, 9.0), ("https", https, 32.0)):
        n, last = _last(ours, 1000)
        yield f"KiB of one more stream, {scheme}, {n:,} streams", bound, last.get("one_more_kib")
    burst, one = opening.get("https, 300 at once"), opening.get("https, one")
    value = (burst["own_kib"] - one["own_kib"]) / (burst["streams"] - 1) if burst and one else None
    yield "KiB of one more stream, https, 300 connecting at once", 32.0, value
    most = max((int(name.split("-")[1]) for name in counted), default=0)
    value = counted[f"ours-{most}"] / counted["ours-1"] if most > 1 else None
    yield f"instructions of a wake, {most} streams ÷ 1", 1.10, value
    n, last = _last(http, 10**9)
    yield f"CPU of a wake, {n:,} streams ÷ 1", 1.25, _ratio(http, n, "wake_cpu_us")
    if "http" in opening:
        streams = opening["http"]["streams"]
        yield f"CPU seconds to open {streams:,} streams", 3.0, opening["http"]["cpu_s"]
    n, _ = _last(http, 1000)
    yield f"p50 of a wake, {n:,} streams ÷ 1", 1.15, _ratio(http, n, "wake_us")
    first = http.get(str(n), {}).get("fan_out_first_us")
    yield f"ms until the first wake of a fan-out to {n:,}, median", 1.0, median(first) / 1000 if first else None
    late = found["late_ms"]
    yield f"ms by which {len(late):,} deadlines were missed at most", 50.0, max(late) if late else None


def _last(ours: dict[str, Any], at_most: int) -> tuple[int, dict[str, Any]]:
    """The largest number of streams, up to a bound, that has figures."""
    known = [int(n) for n, one in ours.items() if "failed" not in one and int(n) <= at_most]
    return (max(known), ours[str(max(known))]) if known else (0, {})


def _ratio(ours: dict[str, Any], n: int, what: str) -> float | None:
    mine, one = ours.get(str(n), {}).get(what), ours.get("1", {}).get(what)
    return median(mine) / median(one) if mine and one and n > 1 else None
