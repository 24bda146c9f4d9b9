"""What many streams cost, as lines over their number: memory of one more, and processor time of a wake."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from bench.many_table import LABELS
from bench.pictures import style

COLOURS = {"ours": "#1f9e6e", "bare": "#b9bdc4", "floor": "#8a8f98", "aiohttp": "#d2691e", "httpx": "#b08968",
           "launchdarkly": "#8f6bb3", "pycurl": "#4a7fb5"}  # fmt: skip
PANELS: tuple[tuple[str, str, list[float]], ...] = (
    ("one_more_kib", "KiB of one more stream (USS)", [5, 10, 20, 50, 100, 200, 500, 1000]),
    ("wake_cpu_us", "CPU µs of a wake", [50, 100, 200, 500, 1000, 2000, 5000]),
    ("wake_us", "µs from send to wake, p50", [50, 100, 200, 500, 1000, 2000, 5000]),
)


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed."""
    paths: list[Path] = []
    with style.pyplot() as pyplot:
        if pyplot is None:
            return paths
        for scheme, programs in found["programs"].items():
            figure, panels = pyplot.subplots(1, len(PANELS), figsize=(12, 4.2))
            for panel, (what, label, values) in zip(panels, PANELS, strict=True):
                _lines(panel, programs, what, label, values)
            title = f"Many streams in one process, {scheme}: medians\n{style.where(found)}"
            figure.suptitle(title, fontsize=9, x=0.01, ha="left")
            figure.tight_layout()
            paths += style.save(figure, f"many-{scheme}", out)
    return paths


def _lines(panel: Any, programs: dict[str, Any], what: str, label: str, values: list[float]) -> None:
    lines = {kind: points for kind, numbers in programs.items() if (points := _points(numbers, what))}
    every = [y for points in lines.values() for _, y in points]
    if not every:
        return
    ends: list[float] = []
    apart = (max(every) / min(every)) ** 0.07
    most = max(x for points in lines.values() for x, _ in points)
    for kind, points in sorted(lines.items(), key=lambda line: line[1][-1][1]):
        xs, ys = zip(*points, strict=True)
        panel.plot(xs, ys, marker="o", markersize=3, color=COLOURS[kind], linewidth=2 if kind == "ours" else 1.2)
        # Names that would lie on one another are moved apart, upwards.
        place = max(ys[-1], *(end * apart for end in ends)) if ends else ys[-1]
        ends.append(place)
        weight = "bold" if kind == "ours" else "normal"
        panel.annotate(
            LABELS[kind].partition(",")[0], (xs[-1], ys[-1]), xytext=(most * 1.5, place), textcoords="data",
            va="center", color=COLOURS[kind], fontsize=8, fontweight=weight, annotation_clip=False,
        )  # fmt: skip
    style.ticks(panel.xaxis, [1, 10, 100, 1000, 10000], (1, most))
    style.ticks(panel.yaxis, values, (min(every) / 1.5, max([*every, *ends]) * 1.5))
    panel.set_ylim(min(every) / 1.3, max([*every, *ends]) * 1.3)
    panel.set_xlim(0.8, most * 1.2)
    panel.set_xlabel("streams")
    panel.set_ylabel(label)


def _points(numbers: dict[str, Any], what: str) -> list[tuple[int, float]]:
    found = []
    for n, one in numbers.items():
        value = one.get(what)
        middle = median(value) if isinstance(value, list) and value else value
        if middle and middle > 0:
            found.append((int(n), middle))
    return found
