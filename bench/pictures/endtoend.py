"""End to end: a stream beside looking every 5 s, as distributions on one log axis in ms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.pictures import style
from bench.pictures.wake import ridge

TICKS = [0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0]
LABELS = {"inline": "wire_rawsse: wait()", "thread": "wire_rawsse: WakeChannel", "poll": "looking every 5 s"}


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed or nothing was measured."""
    part = found["end_to_end"]
    ways = {way: one for way, one in part.get("ways", {}).items() if one["had"]}
    with style.pyplot() as pyplot:
        if pyplot is None or not ways:
            return []
        figure, panel = pyplot.subplots(figsize=(9.2, 2.9))
        for place, (way, one) in enumerate(ways.items()):
            colour = style.COLOURS["original" if way == "poll" else "ours"]
            edges, heights = ridge(dict(one["histogram"]))
            panel.fill_between(
                [edge / 1000 for edge in edges], [-place + 0.8 * height for height in heights], -place, color=colour,
                alpha=0.6, linewidth=0,
            )  # fmt: skip
            middle = one["had"]["50"] / 1000
            panel.plot([middle], [-place], "o", color=colour, markersize=5)
            text = f"{middle:,.1f} ms" if middle < 100 else f"{middle / 1000:,.1f} s"
            panel.annotate(text, (1.01, -place + 0.1), xycoords=panel.get_yaxis_transform(), ha="left", va="center",
                           color=colour, fontsize=8)  # fmt: skip
        panel.set_yticks([-place for place in range(len(ways))], [LABELS[way] for way in ways])
        for tick, way in zip(panel.get_yticklabels(), ways, strict=True):
            tick.set_color(style.COLOURS["original" if way == "poll" else "ours"])
        style.ticks(panel.xaxis, TICKS, (0.3, 8000.0))
        panel.set_xlim(0.3, 8000.0)
        panel.set_ylim(-len(ways) + 0.5, 1.0)
        panel.set_xlabel(
            "ms from just before an event is posted until the daemon's pull has it (log scale; dot = median)"
        )
        panel.grid(axis="x", color=style.INK, alpha=0.25, linewidth=0.5)
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.set_title(f"End to end, relay: {part['relay']}\n{style.where(found)}", fontsize=9, loc="left")
        figure.tight_layout()
        return style.save(figure, "end-to-end", out)
