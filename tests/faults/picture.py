"""The matrix as one SVG: fault × phase, coloured by the time to notice as part of its bound.

Readable on light and dark pages alike: it brings its own ground, and every colour also stands as a number or a word.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

_ROW, _COLUMN, _LEFT, _TOP, _LEGEND = 20, 92, 170, 80, 66
_LIVES: Final = "#d7dde8"
SPARED: Final = "spared"
"""In the place of a status: the fault struck somebody else's connection, as the stream was past the place."""
_BAD: Final = "#b3122f"
_NONE: Final = "#f6f6f3"


def colour(share: float) -> str:
    """From pale green (at once) over yellow to orange (just within the bound)."""
    stops = ((0.0, (205, 236, 207)), (0.6, (253, 240, 178)), (1.0, (247, 178, 103)))
    share = min(1.0, max(0.0, share))
    for (low, one), (high, two) in itertools.pairwise(stops):
        if share <= high:
            part = (share - low) / (high - low)
            mixed = (round(a + (b - a) * part) for a, b in zip(one, two, strict=True))
            return "#" + "".join(f"{value:02x}" for value in mixed)
    raise AssertionError(share)


def draw(
    cells: Mapping[tuple[str, str], tuple[str, float | None]], faults: Sequence[str], phases: Sequence[str]
) -> str:
    """`cells`: (fault, phase) → status, and the share of the bound or None where nothing should be noticed."""
    faults = [fault for fault in faults if any(name == fault for name, _ in cells)]
    width, height = _LEFT + _COLUMN * len(phases) + 16, _TOP + _ROW * len(faults) + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="11" fill="#1d2430">',
        "<title>Time to notice each fault in each phase, as part of its bound</title>",
        f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff" stroke="#c9ced6"/>',
        '<text x="12" y="22" font-size="14" font-weight="600">Time to notice, as part of its bound</text>',
        '<text x="12" y="42">The median of all runs, from the start of the clock that noticed; 1.00 is that clock and '
        "250 ms. Inline, https (proxy faults: through a proxy), StreamSubscriber.</text>",
    ]
    for y, (column, phase) in itertools.product((_TOP - 8, _TOP + _ROW * len(faults) + 16), enumerate(phases)):
        x = _LEFT + _COLUMN * column + _COLUMN / 2
        parts.append(f'<text x="{x:g}" y="{y}" text-anchor="middle" font-weight="600">{escape(phase)}</text>')
    for row, fault in enumerate(faults):
        y = _TOP + _ROW * row
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(fault)}</text>')
        for column, phase in enumerate(phases):
            ground, text = _look(cells.get((fault, phase)))
            x = _LEFT + _COLUMN * column
            parts.append(f'<rect x="{x + 1}" y="{y + 1}" width="{_COLUMN - 2}" height="{_ROW - 2}" fill="{ground}"/>')
            ink = "#ffffff" if ground == _BAD else "#626a77" if ground == _NONE else "#1d2430"
            parts.append(f'<text x="{x + _COLUMN / 2:g}" y="{y + 14}" text-anchor="middle" fill="{ink}">{text}</text>')
    parts += _legend(_TOP + _ROW * len(faults) + 36)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _look(cell: tuple[str, float | None] | None) -> tuple[str, str]:
    if cell is None or cell[0] == "left out":
        return _NONE, "–"
    status, share = cell
    if status == SPARED:
        return _NONE, status
    if status != "kept":
        return _BAD, status
    return (_LIVES, "lives") if share is None else (colour(share), f"{max(0.0, share):.2f}")


def _legend(y: int) -> list[str]:
    entries = [(colour(0.0), "at once"), (colour(0.6), "0.6 of its bound"), (colour(1.0), "just within it")]
    entries += [(_LIVES, "was to live, and did"), (_NONE, "spared, or no sense"), (_BAD, "not kept")]
    parts = []
    for position, (ground, text) in enumerate(entries):
        x = 12 + 148 * position
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="14" fill="{ground}" stroke="#c9ced6"/>')
        parts.append(f'<text x="{x + 20}" y="{y + 11}">{text}</text>')
    return parts
