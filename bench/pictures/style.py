"""The style of all pictures: PNG, readable on a light page and on a dark one.

The ground is transparent, and ink and colours are chosen against white and near-black alike (each has a contrast of at
least 3 to both). Every line and bar carries its name beside it instead of in a legend, so that no colour has to be
matched by eye.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

INK = "#7d828a"
COLOURS = {"ours": "#1f9e6e", "peer": "#d2691e", "bound": "#b08968", "floor": "#8a8f98", "original": "#c8553d"}
WORDS = {"floor": "floors: no library at all", "ours": "wire_rawsse", "peer": "peers", "bound": "peers, main thread"}

_STYLE: Any = {
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK,
    "axes.titlecolor": INK, "font.size": 9, "font.family": "sans-serif",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
}  # fmt: skip


@contextmanager
def pyplot() -> Iterator[Any]:
    """matplotlib's, in our style and without a display; None where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        yield None
        return
    matplotlib.use("agg")
    from matplotlib import pyplot as found

    with found.rc_context(_STYLE):
        yield found
        found.close("all")


def save(figure: Any, name: str, out: Path) -> list[Path]:
    """Write `name.png`; gives its path. (An SVG of the same has up to six times as many bytes.)"""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.png"
    figure.savefig(path, transparent=True, dpi=160)
    from PIL import Image  # matplotlib has it.

    # A third of the size; a picture has some ten colours, and their shades into nothing.
    with Image.open(path) as full:
        full.quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)
    return [path]


def ticks(axis: Any, values: list[float], limits: tuple[float, float], unit: str = "") -> None:
    """A log axis, named by values that a person reads, not by powers of ten."""
    scale = axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale
    scale("log")
    from matplotlib.ticker import NullLocator

    inside = [value for value in values if limits[0] <= value <= limits[1]]
    axis.set_ticks(inside, [f"{value:,.5g}".replace("e+0", "e") + unit for value in inside])
    axis.set_minor_locator(NullLocator())


def where(found: dict[str, Any]) -> str:
    """The line under a picture's title: which machine, and when."""
    place, noise = found["environment"], found["noise"]
    return (
        f"{place['when'][:10]}, CPython {place['python']}, {place['system']} {place['kernel']}, "
        f"{place['cores']} cores, {noise['others_percent'] or 0:.0f} % busy before"
    )
