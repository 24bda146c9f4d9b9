"""The wedge time line: for each fault and client, how long a dead stream was taken for a live one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.pictures import style
from bench.wedge_clients import SUBJECTS

TITLES = {
    "stopped": "relay stopped, its kernel answers",
    "blackhole": "packets vanish",
    "address": "own address removed",
    "drip": "bytes drip, no line ends",
}


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """Gives the paths written, none where matplotlib is not installed."""
    with style.pyplot() as pyplot:
        if pyplot is None:
            return []
        return style.save(_figure(pyplot, found), "wedge", out)


def _after(seen: dict[str, Any], window: float) -> float:
    after = seen["noticed"]
    return float("inf") if after is None or after > window else float(after)


def _figure(pyplot: Any, found: dict[str, Any]) -> Any:
    window = found["settings"]["window"]
    faults = {fault: column for fault, column in found["faults"].items() if fault in TITLES}
    clients = [name for name in found["faults"]["quiet"] if name not in found["unavailable"]]
    # The best above: by the worst of its faults, and anyone who drops live streams below.
    clients.sort(
        key=lambda name: (_drops(found, name), *sorted(_after(c[name], window) for c in faults.values())[::-1])
    )
    figure, panels = pyplot.subplots(
        1, len(faults), figsize=(3.1 + 2.7 * len(faults), 1.5 + 0.26 * len(clients)), squeeze=False, sharey=True
    )
    for panel, (fault, column) in zip(panels[0], faults.items(), strict=True):
        for place, client in enumerate(clients):
            colour = style.COLOURS["ours" if client.startswith("ours") else "peer"]
            after = _after(column[client], window)
            end = min(after, window)
            faint = 0.55 if _drops(found, client) else 1.0
            panel.plot([0, end], [-place, -place], color=colour, linewidth=2.2, alpha=0.6 * faint)
            never = after > window
            early = bool(column[client]["early"])
            panel.plot([end], [-place], ">" if never else "o", color=colour, markersize=5, alpha=faint)
            text = (
                "dropped alive"
                if early
                else "never"
                if never
                else f"{after:.0f} s"
                if after >= 10
                else f"{after:.1f} s"
            )
            inside = never or end > 0.8 * window
            panel.annotate(
                text, (end, -place), xytext=(-7 if inside else 6, 4 if inside else 0), textcoords="offset points",
                ha="right" if inside else "left", va="bottom" if inside else "center", fontsize=7.5, color=colour,
                alpha=max(faint, 0.7),
            )  # fmt: skip
        panel.set_title(TITLES[fault], fontsize=9, loc="left")
        panel.set_xlim(0, window * 1.03)
        panel.set_xlabel("s since the last sign of life")
        panel.grid(axis="x", color=style.INK, alpha=0.25, linewidth=0.5)
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
    marks = {
        client: (" ↻" if _returns(found, client) else "") + (" *" if _drops(found, client) else "")
        for client in clients
    }
    names = [SUBJECTS[client][0] + marks[client] for client in clients]
    panels[0][0].set_yticks([-place for place in range(len(clients))], names, fontsize=8)
    for tick, client in zip(panels[0][0].get_yticklabels(), clients, strict=True):
        tick.set_color(style.COLOURS["ours" if client.startswith("ours") else "peer"])
        tick.set_fontweight("bold" if client.startswith("ours") else "normal")
    panels[0][0].set_ylim(-len(clients) + 0.4, 0.9)
    settings = found["settings"]
    figure.suptitle(
        f"How long a dead stream is taken for a live one (watched for {window:g} s; tuned = {settings['read']:g} s of "
        f"silence). {style.where(found)}\n↻ comes back by itself.  "
        f"* also drops a live stream whose relay speaks every {settings['beat']:g} s.",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    figure.tight_layout()
    return figure


def _drops(found: dict[str, Any], client: str) -> bool:
    seen = found["faults"]["quiet"][client]
    return bool(seen["early"]) or _after(seen, found["settings"]["window"]) != float("inf")


def _returns(found: dict[str, Any], client: str) -> bool:
    """Whether it came back from each fault that it noticed."""
    window = found["settings"]["window"]
    seen = [column[client] for fault, column in found["faults"].items() if fault in TITLES]
    noticed = [one for one in seen if _after(one, window) != float("inf")]
    return bool(noticed) and all(one["back"] is not None for one in noticed)
