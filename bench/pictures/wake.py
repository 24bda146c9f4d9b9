"""The wake latencies as distributions: one picture per scenario, one ridge per client, log axis in µs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import roster
from bench.pictures import style
from bench.stats import Summary, bin_start, revive

TICKS = [20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 50_000.0]
COLUMNS = (1.055, 1.14)
"""Where p50 and p99 are written, right-aligned, in widths of the panel; a p99 may have five figures."""
SMOOTH = (1, 3, 5, 3, 1)
"""Weights of a bin and its neighbours: a bin is 6 % wide, and its raw count would be a comb."""


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed."""
    paths: list[Path] = []
    with style.pyplot() as pyplot:
        if pyplot is None:
            return paths
        for name, scenario in found["scenarios"].items():
            rows = {client: summary for client, fields in scenario["clients"].items() if (summary := revive(fields))}
            if rows:
                figure = _figure(pyplot, name, rows, found)
                paths += style.save(figure, "wake-" + name.replace(" over ", "-"), out)
    return paths


def ridge(counts: dict[int, int]) -> tuple[list[float], list[float]]:
    """Edges in µs and heights from 0 to 1 of a `stats.histogram`, smoothed, on the log scale."""
    reach = len(SMOOTH) // 2
    bins = range(min(counts) - reach - 1, max(counts) + reach + 2)
    heights = [sum(w * counts.get(b + n - reach, 0) for n, w in enumerate(SMOOTH)) / sum(SMOOTH) for b in bins]
    most = max(heights)
    # The middle of a bin, so that the peak stands over its own values.
    return [bin_start(b) * bin_start(1) ** 0.5 for b in bins], [height / most for height in heights]


def _figure(pyplot: Any, name: str, rows: dict[str, Summary], found: dict[str, Any]) -> Any:
    ordered = sorted(rows, key=lambda client: rows[client].percentiles[50])
    figure, panel = pyplot.subplots(figsize=(9.2, 1.3 + 0.3 * len(ordered)))
    low = min(summary.percentiles[10] for summary in rows.values()) * 0.7
    high = max(summary.percentiles[99.9] for summary in rows.values()) * 1.15
    for place, client in enumerate(ordered):
        summary, colour = rows[client], style.COLOURS[roster.BY_NAME[client].family]
        edges, heights = ridge(dict(summary.histogram))
        panel.fill_between(
            edges, [-place + 0.82 * height for height in heights], -place, color=colour, alpha=0.6, linewidth=0,
            zorder=3 + place,
        )  # fmt: skip
        panel.plot([low, high], [-place, -place], color=style.INK, alpha=0.2, linewidth=0.5, zorder=1)
        for p, mark, size in ((50, "o", 4.5), (99, "|", 8), (99.9, "|", 5)):
            panel.plot([summary.percentiles[p]], [-place], mark, color=colour, markersize=size, zorder=60)
        figures = f"{summary.percentiles[50]:,.0f}", f"{summary.percentiles[99]:,.0f}"
        for column, text in zip(COLUMNS, figures, strict=True):
            across = panel.get_yaxis_transform()
            panel.text(column, -place, text, transform=across, ha="right", va="center_baseline", color=colour)
    for column, text in zip(COLUMNS, ("p50", "p99"), strict=True):
        panel.text(column, 1.05, text, transform=panel.get_yaxis_transform(), ha="right")
    panel.set_yticks([-place for place in range(len(ordered))], [roster.BY_NAME[client].label for client in ordered])
    for label, client in zip(panel.get_yticklabels(), ordered, strict=True):
        label.set_color(style.COLOURS[roster.BY_NAME[client].family])
        label.set_fontweight("bold" if roster.BY_NAME[client].family == "ours" else "normal")
    panel.set_xlim(low, high)
    style.ticks(panel.xaxis, TICKS, (low, high))
    panel.set_ylim(-len(ordered) + 0.7, 1.3)
    panel.set_xlabel("µs from just before the relay's send to the daemon's main thread (log scale)")
    panel.grid(axis="x", color=style.INK, alpha=0.25, linewidth=0.5)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.set_title(
        f"Wake latency, {name}: {min(summary.count for summary in rows.values()):,} cold wakes each; "
        f"dot = median, bars = p99 and p99.9\n{style.where(found)}",
        fontsize=9, loc="left", pad=14,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    for left, (family, words) in zip((0.02, 0.22, 0.33, 0.39), style.WORDS.items(), strict=True):
        figure.text(left, 0.008, words, color=style.COLOURS[family], fontsize=7.5, fontweight="bold")
    return figure
