"""The tables of `wake`: microseconds, and ratios to the floors of the same run."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table

from bench import endtoend, report, roster
from bench.stats import PERCENTILES, Summary, ratio, revive


def shown(value: float) -> str:
    """Microseconds with three figures."""
    return "-" if value != value else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def shown_ratio(found: tuple[float, float, float] | None) -> str:
    """`middle (smallest-largest)` over the rounds."""
    return "-" if found is None else f"{found[0]:.2f} ({found[1]:.2f}-{found[2]:.2f})"


def fastest(summaries: dict[str, Summary | None], names: tuple[str, ...]) -> str | None:
    """Which of `names` has the smallest median, of those that have one."""
    found = {name: summary for name in names if (summary := summaries.get(name)) is not None}
    return min(found, key=lambda name: found[name].percentiles[50]) if found else None


def floors(summaries: dict[str, Summary | None]) -> dict[str, str | None]:
    """Which client is the floor of each kind in this run."""
    return {
        "C": fastest(summaries, ("floor_c",)),
        "main": fastest(summaries, ("floor_poll",)),
        "thread": fastest(summaries, roster.THREAD_FLOORS),
    }


CAPTION = (
    "µs from just before send to the first instruction of the main thread; "
    "× = median over the floor's median of the same round (smallest-largest round)"
)
WHY_IT = "as the fastest of the floors mostly does; wake --handover has the others"


def table(
    title: str, summaries: dict[str, Summary | None], reasons: dict[str, str], incomplete: list[str], handover: str
) -> Table:
    """One scenario: microseconds, and ratios to the floors measured beside it."""
    by = roster.BY_NAME[f"floor_{handover}"].label.rpartition(" ")[2]
    caption = f"{CAPTION}\npeers in a thread hand over to their main thread by {by} ({WHY_IT})"
    grid = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    grid.add_column("client", no_wrap=True)
    for p in PERCENTILES:
        grid.add_column("max" if p == 100 else f"p{p}", justify="right")
    for head in ("burst 1st", "burst 10th", "× C", "× main floor", "× thread floor"):
        grid.add_column(head, justify="right")
    against = floors(summaries)
    family = ""
    for client in roster.IN_WAKE:
        if client.name not in summaries:
            continue
        if family and client.family != family:
            grid.add_section()
        family = client.family
        summary = summaries[client.name]
        if summary is None:
            # Not inside the grid: a long reason would squeeze every figure.
            grid.add_row(f"[dim]{client.label}", *["[dim]n/a"] * (len(PERCENTILES) + 5))
            continue
        ratios = [shown_ratio(ratio(summary, summaries.get(name) if name else None)) for name in against.values()]
        figures = [shown(summary.percentiles[p]) for p in PERCENTILES]
        row = [client.label, *figures, shown(summary.burst_first), shown(summary.burst_last), *ratios]
        grid.add_row(*row, style="bold" if client.family == "ours" else None)
    if lost := [f"{roster.BY_NAME[name].label}: {one.lost}" for name, one in summaries.items() if one and one.lost]:
        grid.caption = f"{grid.caption}\nevents without a wake: {', '.join(lost)}"
    gaps = [line for line in incomplete if line.partition(",")[0] not in reasons]
    if gaps:
        grid.caption = f"{grid.caption}\nwithout figures in some rounds: {escape('; '.join(gaps))}"
    grouped: dict[str, list[str]] = {}
    for name, why in reasons.items():
        grouped.setdefault(why, []).append(roster.BY_NAME[name].label)
    for why, labels in grouped.items():
        grid.caption = f"{grid.caption}\nnot available: {', '.join(labels)}: {escape(why)}"
    return grid


def tables(found: dict[str, Any]) -> list[Table]:
    """The tables of what `measure` gave, or of a file that holds it."""
    made = [
        table(
            f"wake, {name}",
            {client: revive(fields) for client, fields in scenario["clients"].items()},
            scenario["unavailable"],
            [*scenario["incomplete"], *scenario.get("failed", [])],
            scenario.get("handover", "simplequeue"),
        )
        for name, scenario in found["scenarios"].items()
    ]
    if "ways" in found["end_to_end"]:
        made.append(endtoend.table(found["end_to_end"]))
    elif made:
        made[-1].caption = f"{made[-1].caption}\nno end to end: {escape(found['end_to_end']['unavailable'])}"
    if made:
        made[-1].caption = f"{made[-1].caption}\n{report.noise_line(found)}"
    return made
