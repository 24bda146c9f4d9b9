"""Parsers: speed on relay events, and how time grows with the length of one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.parse_inputs import SHAPES
from bench.parsers import PARSERS
from bench.pictures import style
from bench.stats import spread


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed."""
    with style.pyplot() as pyplot:
        if pyplot is None:
            return []
        return [
            *style.save(_speeds(pyplot, found), "parse", out),
            *style.save(_growth(pyplot, found), "parse-growth", out),
        ]


def _colour(parser: str) -> str:
    return style.COLOURS["ours" if parser == "ours" else "peer"]


def _speeds(pyplot: Any, found: dict[str, Any]) -> Any:
    shapes, feeds = found["settings"]["shapes"], found["settings"]["feeds"]
    figure, panels = pyplot.subplots(len(shapes), len(feeds), figsize=(11, 1.4 + 1.35 * len(shapes)), squeeze=False)
    for down, shape in enumerate(shapes):
        for across, feed in enumerate(feeds):
            panel = panels[down][across]
            for place, parser in enumerate(PARSERS):
                rounds = [one for one in found["cells"][f"{shape}, {feed}"][parser] if "seconds" in one]
                if not rounds:
                    panel.text(0, -place, " no right result", va="center", fontsize=7, color=_colour(parser))
                    continue
                middle, low, high = spread([one["bytes"] / one["seconds"] / 1e6 for one in rounds])
                panel.barh(-place, middle, height=0.72, color=_colour(parser), alpha=0.65)
                panel.plot([low, high], [-place, -place], color=_colour(parser), linewidth=1.5)
                panel.annotate(
                    f"{middle:,.3g}" if middle < 1000 else f"{middle:,.0f}", (high, -place), xytext=(3, 0),
                    textcoords="offset points", va="center", fontsize=7, color=_colour(parser),
                )  # fmt: skip
            names = [PARSERS[parser][0].partition(":")[0] for parser in PARSERS] if across == 0 else []
            panel.set_yticks([-place for place in range(len(PARSERS))] if across == 0 else [], names, fontsize=7)
            for tick, parser in zip(panel.get_yticklabels(), PARSERS, strict=False):
                tick.set_color(_colour(parser))
            panel.set_title(f"{SHAPES[shape].label}; feeds of {feed}", fontsize=7.5, loc="left", pad=3)
            panel.set_ylim(0.6 - len(PARSERS), 0.6)  # The same for all, anyone who has no bar.
            panel.margins(x=0.18)
            panel.set_xlim(left=0)
            panel.set_xticks([])
            panel.spines["left"].set_visible(False)
            panel.spines["bottom"].set_visible(False)
            panel.tick_params(axis="y", length=0)
    figure.suptitle(
        f"MB/s of event-stream parsers (longer is better; each panel has its own scale)\n{style.where(found)}",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure


def _growth(pyplot: Any, found: dict[str, Any]) -> Any:
    figure, panel = pyplot.subplots(figsize=(8.5, 4.6))
    ends: list[tuple[float, float, str]] = []
    longest = max(found["settings"]["lengths"]) / 1024
    for parser, (label, _) in PARSERS.items():
        one = found["growth"][parser]
        if not one["points"]:
            continue
        lengths = [length / 1024 for length, _ in one["points"]]
        taken = [seconds * 1000 for _, seconds in one["points"]]
        panel.plot(lengths, taken, "o-", color=_colour(parser), linewidth=2 if parser == "ours" else 1.2, markersize=4)
        text = label.partition(":")[0]
        if lengths[-1] < longest:
            text += f", fails beyond {lengths[-1]:,.0f} KiB"
        elif one["exponent"] is not None:
            text += f", as length^{one['exponent']:.1f}"
        ends.append((taken[-1], lengths[-1], text))
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    # Names at the right, in the order of the ends, moved apart where two lines end together.
    last = 0.0
    for height, length, text in sorted(ends):
        last = max(height, last * 1.8)
        colour = _colour("ours" if text.startswith("wire_rawsse") else "")
        panel.plot([length, longest * 1.15], [height, last], ":", color=colour, linewidth=0.8, alpha=0.8)
        panel.text(longest * 1.2, last, text, va="center", fontsize=8, color=colour)
    panel.set_xlim(right=longest * 24)
    lengths = [length / 1024 for length in found["settings"]["lengths"]]
    panel.set_xticks(lengths, [f"{length:,.0f} KiB" for length in lengths])
    panel.set_xlabel("length of one line, in feeds of 1460 B (log scale)", loc="left")
    panel.set_ylabel("ms (log scale)")
    panel.yaxis.set_major_formatter("{x:,g}")
    panel.grid(axis="x", color=style.INK, alpha=0.25, linewidth=0.5)
    # Axis and grid end where the lines do: names have no stroke through them.
    left, (bottom, top) = panel.get_xlim()[0], panel.get_ylim()
    panel.spines["bottom"].set_bounds(left, longest)
    marks = [mark for mark in panel.get_yticks() if bottom <= mark <= top]
    panel.hlines(marks, left, longest, color=style.INK, alpha=0.25, linewidth=0.5)
    panel.set_xlim(left=left)
    panel.set_ylim(bottom, top)
    panel.set_title(
        f"How a parser's time grows with the length of one line\n{style.where(found)}", fontsize=9, loc="left"
    )
    figure.tight_layout()
    return figure
