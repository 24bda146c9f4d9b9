"""What one stream costs, as bars: memory, and CPU time for each wake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import roster
from bench.cost_table import label
from bench.pictures import style
from bench.stats import spread

LEFT_OUT = ("floor_c", "reqwest")
"""No interpreter: its memory would say nothing of a library."""


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed."""
    paths: list[Path] = []
    with style.pyplot() as pyplot:
        if pyplot is None:
            return paths
        for scheme, part in found["alone"].items():
            rows = {name: row for name, row in part["clients"].items() if row["idle"] and name not in LEFT_OUT}
            if rows:
                paths += style.save(_figure(pyplot, scheme, rows, found), f"cost-{scheme}", out)
    return paths


def _figure(pyplot: Any, scheme: str, rows: dict[str, Any], found: dict[str, Any]) -> Any:
    figure, panels = pyplot.subplots(1, 2, figsize=(10.5, 1.6 + 0.24 * len(rows)))
    memory = {name: [run["uss"] / 1024 for run in row["idle"]] for name, row in rows.items()}
    _bars(panels[0], memory, "MiB that nobody else has (USS), connected and idle", 1)
    _bars(
        panels[1],
        {name: row["event_us"] for name, row in rows.items() if row.get("event_us")},
        "CPU µs a wake (user and system)",
        0,
    )
    figure.suptitle(
        f"What one stream costs, {scheme}: median, line from smallest to largest process\n{style.where(found)}",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure


def _bars(panel: Any, figures: dict[str, list[float]], what: str, digits: int) -> None:
    ordered = sorted(figures, key=lambda name: spread(figures[name])[0])
    for place, name in enumerate(ordered):
        middle, low, high = spread(figures[name])
        colour = style.COLOURS[_family(name)]
        panel.barh(-place, middle, height=0.7, color=colour, alpha=0.65)
        panel.plot([low, high], [-place, -place], color=colour, linewidth=1.5)
        panel.annotate(
            f"{middle:,.{digits}f}", (high, -place), xytext=(4, 0), textcoords="offset points", va="center",
            color=colour, fontsize=8,
        )  # fmt: skip
    panel.set_yticks([-place for place in range(len(ordered))], [label(name) for name in ordered], fontsize=8)
    for tick, name in zip(panel.get_yticklabels(), ordered, strict=True):
        tick.set_color(style.COLOURS[_family(name)])
        tick.set_fontweight("bold" if _family(name) == "ours" else "normal")
    panel.set_ylim(0.4 - len(ordered), 0.6)
    panel.set_xlim(left=0)
    panel.margins(x=0.12)
    panel.set_xlabel(what)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _family(name: str) -> str:
    if name.startswith("ours"):
        return "ours"
    return "floor" if name == "base_socket" else roster.BY_NAME[name].family
