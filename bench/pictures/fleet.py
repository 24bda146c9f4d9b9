"""What the relay sees after its restart, and how soon its daemons are back: the original's policy and ours."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import Any

from bench.pictures import style

BIN_SECONDS = 0.5
NAMES = {"original": "original", "ours": "wire_rawsse"}


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed."""
    with style.pyplot() as pyplot:
        if pyplot is None:
            return []
        return style.save(_figure(pyplot, found), "fleet", out)


def _figure(pyplot: Any, found: dict[str, Any]) -> Any:
    settings, courses = found["settings"], found["simulated"]["killed"]
    sizes = settings["sizes"]
    figure, panels = pyplot.subplots(2, len(sizes), figsize=(4.0 * len(sizes), 5.6), squeeze=False, sharex="col")
    for column, size in enumerate(sizes):
        above, below = panels[0][column], panels[1][column]
        ends = []
        for place, (policy, name) in enumerate(NAMES.items()):
            one, colour = courses[policy][column], style.COLOURS[policy]
            times = [BIN_SECONDS * number for number in range(len(one["arrivals"]))]
            rates = [count / BIN_SECONDS for count in one["arrivals"]]
            above.fill_between(times, rates, step="post", color=colour, alpha=0.35, linewidth=0)
            above.step(times, rates, where="post", color=colour, linewidth=1.2)
            above.text(0.98, 0.95 - 0.1 * place, f"{name}: peak {one['peak']:,} in 1 s", color=colour, ha="right",
                       va="top", transform=above.transAxes, fontsize=8, fontweight="bold")  # fmt: skip
            last = times[-1]
            share = [100 * count / size for count in accumulate(one["back"])]
            below.step(times, share, where="post", color=colour, linewidth=1.6)
            after = f"not in {last:.0f} s" if one["until_99"] is None else f"after {one['until_99']:.0f} s"
            below.text(0.98, 0.95 - 0.1 * place, f"{name}: 99 % {after}", color=colour, ha="right",
                       va="top", transform=below.transAxes, fontsize=8, fontweight="bold")  # fmt: skip
            ends.append(times[-1] if one["until_99"] is None else one["until_99"] + settings["down"])
        for panel in (above, below):
            panel.axvspan(0, settings["down"], color=style.INK, alpha=0.15, linewidth=0)
            panel.grid(axis="y", color=style.INK, alpha=0.25, linewidth=0.5)
            panel.set_xlim(0, 1.15 * max(ends))
        most = max(count / BIN_SECONDS for policy in NAMES for count in courses[policy][column]["arrivals"])
        above.set_ylim(0, 1.35 * most)
        # No line of the grid through the words above.
        above.set_yticks([mark for mark in above.get_yticks() if 0 <= mark <= 1.05 * most])
        above.yaxis.set_major_formatter("{x:,.0f}")
        above.axhline(settings["rate"], color=style.INK, linewidth=0.8, linestyle="--")
        above.set_title(f"{size:,} daemons", fontsize=9)
        below.set_ylim(0, 140)
        below.set_yticks(range(0, 101, 20))
        below.set_xlabel("s since the relay was killed (grey: it is down)")
    panels[0][0].set_ylabel("attempts a second\n(dashed: what it can take)")
    panels[1][0].set_ylabel("% of daemons back")
    figure.suptitle(
        f"A relay is killed and comes back after {settings['down']:g} s; it takes {settings['rate']:,.0f} connections "
        f"a second. Simulated with each client's own backoff.\n{style.where(found)}",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure
