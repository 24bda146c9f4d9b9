"""The pictures: SVG and PNG, readable on a light page and on a dark one. Knows figures, never how they came about.

The colours are chosen against both grounds, the ground itself is transparent, and every line carries its name
at its end instead of in a legend, so that no colour has to be matched by eye.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import roster

INK = "#7a7f87"
"""Text and axes: mid-grey, about the same contrast on white and on near-black."""
COLOURS = {"floor": "#8a8f98", "ours": "#1f9e6e", "peer": "#d2691e"}
TICKS = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
WORDS = {"floor": "floors", "ours": "wire_rawsse", "peer": "peers"}


def wake(found: dict[str, Any], out: Path) -> list[Path]:
    """One panel per scenario, one row per client: p10 to p90 as a bar, the median as a dot, log axis in µs.

    Gives the paths written, none where matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("agg")
    from matplotlib import pyplot

    style: Any = {
        "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK,
        "font.size": 9, "svg.fonttype": "none",
    }  # fmt: skip
    scenarios = found["scenarios"]
    drawn = [f["percentiles"] for one in scenarios.values() for f in one["clients"].values() if f]
    # The same for all panels, so that they can be compared by eye.
    limits = (min((f[10] for f in drawn), default=10) * 0.8, max((f[90] for f in drawn), default=1000) * 1.25)
    rows = max(sum(1 for fields in one["clients"].values() if fields) for one in scenarios.values())
    with pyplot.rc_context(style):
        across = min(2, len(scenarios))
        down = -(-len(scenarios) // across)
        size = (5.6 * across, 0.9 + (0.8 + 0.22 * rows) * down)
        figure, axes = pyplot.subplots(down, across, figsize=size, squeeze=False, sharex=True)
        for panel in axes.flat[len(scenarios) :]:
            panel.set_visible(False)
        for panel, (name, scenario) in zip(axes.flat, scenarios.items(), strict=False):
            _wake_panel(panel, name, scenario, limits)
        python, system, kernel = (found["environment"][key] for key in ("python", "system", "kernel"))
        figure.suptitle(
            f"Wake latency: dot = median, bar = p10 to p90. CPython {python}, {system} {kernel}", fontsize=10
        )
        figure.tight_layout(rect=(0, 0.03, 1, 0.985))
        for place, (family, colour) in enumerate(COLOURS.items()):
            figure.text(0.42 + 0.1 * place, 0.01, WORDS[family], color=colour, fontsize=9, fontweight="bold")
        paths = [out / "wake.svg", out / "wake.png"]
        for path in paths:
            figure.savefig(path, transparent=True, dpi=160)
        pyplot.close(figure)
    return paths


def _wake_panel(panel: Any, name: str, scenario: dict[str, Any], limits: tuple[float, float]) -> None:
    found = {client: fields for client, fields in scenario["clients"].items() if fields}
    panel.set_title(name, fontsize=9)
    if not found:
        return
    ordered = sorted(found, key=lambda client: float(found[client]["percentiles"][50]), reverse=True)
    for place, client in enumerate(ordered):
        figures = found[client]["percentiles"]
        colour = COLOURS[roster.BY_NAME[client].family]
        panel.plot(
            [figures[10], figures[90]], [place, place], color=colour, linewidth=3, alpha=0.55, solid_capstyle="butt"
        )
        panel.plot([figures[50]], [place], "o", color=colour, markersize=5)
        panel.annotate(
            f"{figures[50]:,.0f}", (figures[50], place), textcoords="offset points", xytext=(0, 4), ha="center",
            fontsize=7, color=colour,
        )  # fmt: skip
    panel.set_yticks(range(len(ordered)), [roster.BY_NAME[client].label for client in ordered])
    for label, client in zip(panel.get_yticklabels(), ordered, strict=True):
        label.set_color(COLOURS[roster.BY_NAME[client].family])
    panel.set_xscale("log")
    ticks = [tick for tick in TICKS if limits[0] < tick < limits[1]]
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.set_xlim(limits)
    panel.tick_params(axis="x", labelbottom=True)
    panel.minorticks_off()
    panel.set_xlabel("latency from send to the main thread, µs (log)")
    panel.grid(axis="x", color=INK, alpha=0.25, linewidth=0.5)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.tick_params(axis="y", length=0)
