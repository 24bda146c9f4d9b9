"""From a matrix's outcomes to what a person reads: a table in Markdown, the same as JSON, and one picture.

Figures are the smallest, the median and the largest over the repetitions. A cell without any says why it was left out.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.bounds import CONSUMERS, HOSTS, PHASES, TRANSPORTS
from tests.faults.catalogue import FAULTS
from tests.faults.outcome import KEPT, LEFT_OUT
from tests.faults.pairs import Place, full, usual
from tests.faults.picture import SPARED, draw
from tests.faults.verdict import ALIKE, CPU_SHARE

Outcome = dict[str, Any]
_LONG = ("command", "proof", "sockets", "sockets_after", "stranger", "state_file")
"""Fields that only the file of outcomes has."""
_SOCKETS, _CHARACTERS = 2, 320
"""As many of the stream's sockets of each host are kept of a cell, and so much of what ss(8) says of each."""


def write(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write matrix.md, matrix.json and matrix.svg into `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = [*outcomes, *_missing(outcomes)]
    cells = summarise(outcomes)
    paths = [folder / name for name in ("matrix.md", "matrix.json", "matrix.svg")]
    paths[0].write_text(markdown(cells, outcomes))
    paths[1].write_text(figures(cells))
    paths[2].write_text(draw(_shares(cells), list(FAULTS), list(PHASES)))
    return paths


def figures(cells: Sequence[Outcome]) -> str:
    """JSON: the names of the columns, and a row of figures for each cell that was run."""
    run = [cell for cell in cells if cell["status"] != LEFT_OUT]
    columns = [name for name in dict.fromkeys(name for cell in run for name in cell) if name not in _LONG]
    rows = [json.dumps([cell.get(name) or None for name in columns], separators=(",", ":")) for cell in run]
    return f'{{"columns":{json.dumps(columns)},"rows":[\n' + ",\n".join(rows) + "\n]}\n"


def _missing(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The cells of the full part that make no sense, where the outcomes do not name them."""
    known = {_place(outcome) for outcome in outcomes}
    reasons = [(place, place.why_not()) for place in full() if dataclasses.astuple(place) not in known]
    return [
        {**dataclasses.asdict(place), "seed": 1, "status": LEFT_OUT, "reason": reason}
        for place, reason in reasons
        if reason is not None
    ]


def spread(values: Iterable[float]) -> list[float] | None:
    """Smallest, median, largest; None of nothing."""
    ordered = sorted(values)
    return [ordered[0], round(statistics.median(ordered), 4), ordered[-1]] if ordered else None


def summarise(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """One entry for each cell, over its repetitions."""
    by_cell: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        by_cell.setdefault(_place(outcome), []).append(outcome)
    faults = list(FAULTS)

    def order(place: tuple[str, ...]) -> tuple[Any, ...]:
        known = faults.index(place[0]) if place[0] in faults else len(faults)
        return known, not _usual(place), PHASES.index(place[1]), place

    return [_cell(place, by_cell[place]) for place in sorted(by_cell, key=order)]


def _place(outcome: Outcome) -> tuple[str, ...]:
    return tuple(outcome[name] for name in ("fault", "phase", "host", "transport", "consumer"))


def _usual(place: tuple[str, ...]) -> bool:
    """Whether a cell belongs to the full part."""
    return place[0] in FAULTS and dataclasses.astuple(usual(place[0], place[1])) == place


def _cell(place: tuple[str, ...], runs: list[Outcome]) -> Outcome:
    about = dict(zip(("fault", "phase", "host", "transport", "consumer"), place, strict=True))
    first = runs[0]
    if first["status"] == LEFT_OUT:
        return {**about, "status": LEFT_OUT, "reason": first["reason"]}
    bad = [run for run in runs if run["status"] != KEPT]
    noticed = [run["noticed"] for run in runs if run.get("noticed")]
    mended = [run["mended"] for run in runs if run.get("mended")]
    sample = next((run for run in runs if run["status"] == KEPT), first)
    checks: dict[str, int] = {}
    for run in runs:
        for check in run.get("checks", ()):
            checks[check["name"]] = checks.get(check["name"], 0) + (not check["kept"])
    return {
        **about,
        "status": bad[0]["status"] if bad else KEPT,
        "reason": "; ".join(f"{run['status']}: {run['reason']}" for run in bad),
        "runs": len(runs),
        "kept": len(runs) - len(bad),
        "command": first["command"],
        "ended_by_silence": sum(bool(found) for found in _found(runs, "no reconnect")) if not bad else 0,
        "clock": "/".join(sorted({one["clock"] for one in noticed})),
        "noticed": spread(one["seconds"] for one in noticed),
        "notice_bound": noticed[0]["within"] if noticed else None,
        "mended": spread(one["seconds"] for one in mended),
        "mend_bound": spread(one["within"] for one in mended),
        "cpu": spread(_found(runs, "cpu")),
        "state_file": spread(_found(runs, "state true")),
        "broken_checks": {name: count for name, count in checks.items() if count},
        "proof": sample.get("proof"),
        **({"stranger": sample["stranger"]} if "stranger" in sample else {}),
        **{
            name: {host: _own(lines) for host, lines in (sample.get(name) or {}).items()}
            for name in ("sockets", "sockets_after")
        },
    }


def _own(lines: Sequence[str]) -> list[str]:
    """Without the control call's, which are on loopback."""
    return [line[:_CHARACTERS] for line in lines if " 127.0.0.1:" not in line][:_SOCKETS]


def _found(runs: Iterable[Outcome], name: str) -> list[Any]:
    return [check["found"] for run in runs for check in run.get("checks", ()) if check["name"] == name]


def _shares(cells: Sequence[Outcome]) -> dict[tuple[str, str], tuple[str, float | None]]:
    """For the picture: (fault, phase) → status, and the median time to notice as part of its bound."""
    found: dict[tuple[str, str], tuple[str, float | None]] = {}
    for cell in cells:
        if _usual(_place(cell)):
            share = cell["noticed"][1] / cell["notice_bound"] if cell.get("noticed") else None
            status = SPARED if cell["status"] == KEPT and "stranger" in cell else cell["status"]
            found[cell["fault"], cell["phase"]] = status, share
    return found


def _seconds(values: list[float] | None) -> str:
    if values is None:
        return "–"
    return " · ".join(f"{round(value, 2) + 0.0:.2f}" for value in values)  # No "-0.00".


def markdown(cells: Sequence[Outcome], outcomes: Sequence[Outcome]) -> str:
    """The page."""
    ran = [cell for cell in cells if cell["status"] != LEFT_OUT]
    left_out = [cell for cell in cells if cell["status"] == LEFT_OUT]
    bad = [cell for cell in ran if cell["status"] != KEPT]
    usuals = [cell for cell in ran if _usual(_place(cell))]
    others = [cell for cell in ran if cell not in usuals]
    runs = sum(cell["runs"] for cell in ran)
    repeat = max((cell["runs"] for cell in ran), default=1)
    parts = [
        "# The fault matrix",
        "",
        f"{len(FAULTS)} faults, {len(ran)} cells, {runs} runs; {len(left_out)} cells left out, with the reason below. "
        f"{runs - sum(cell['kept'] for cell in ran)} runs did not keep every promise.",
        "",
        *_made(outcomes),
        "```sh",
        f"python -m tests.faults matrix --repeat {repeat} --json outcomes.jsonl  # started again, it goes on",
        "python -m tests.faults report outcomes.jsonl tests/faults/results",
        "```",
        "",
        "Clocks scaled down: connect 1.5 s, response 1.5 s, read 2.5 s, keepalive 1 + 1 × 1 s, heartbeat 1 s, first "
        "backoff 0.8 s. Figures are seconds: smallest · median · largest. The picture: `matrix.svg`; the same figures "
        "as JSON: `matrix.json`. Each run's command, proof and sockets are in the file of outcomes.",
        "",
        "## What was promised",
        "",
        *_promises(outcomes),
        _median_cpu(ran),
        "",
        "The cost of a storm is the difference of two times in seconds, and one run's is only certain to "
        f"{ALIKE:.0%} of them: two runs without a fault differ by that much on a shared machine. Beyond this, a run "
        "breaks the promise.",
        "",
        "## Fault × phase: inline, https, `StreamSubscriber`",
        "",
        *_grid(usuals),
        "",
        "Each figure is the time to notice, from the start of the clock named beside it; *lives* is a stream that was "
        "not to end, and did not; *spared* is one that was past the place where the fault strikes, so that somebody "
        "else's connection met it; *silent too long* counts the runs in which the wire brought nothing for 0.8 × read "
        "or more, so that a clock of silence might end it, and did; – makes no sense.",
        "",
        "## How long until the stream was back",
        "",
        *_mends(usuals),
        "",
        "## Other hosts, transports and consumers, in pairs",
        "",
        *_rows(others),
        "",
        "## Left out",
        "",
        *_reasons(left_out),
        "",
        "Among the other hosts, transports and consumers, which the pairs are chosen from:",
        "",
        *_general(),
    ]
    if bad:
        parts += ["", "## Not kept", "", *(f"- `{cell['command']}`: {cell['reason']}" for cell in bad)]
    return "\n".join(parts) + "\n"


def _made(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each day, commit and system that the runs are of."""
    counts = collections.Counter(tuple(outcome["made"].values()) for outcome in outcomes if outcome.get("made"))
    lines = [
        f"- {date}, commit {commit or 'unknown'}, {system}, {python}: {count} runs"
        for (date, commit, system, python), count in counts.most_common()
    ]
    return [*lines, ""] if lines else []


def _promises(outcomes: Sequence[Outcome]) -> list[str]:
    texts = {
        "noticed": "a failure is noticed within its clock + 250 ms (under a flood + 1.25 s)",
        "clock": "and by the clock that the README's table names",
        "no reconnect": "what must be survived costs no reconnect",
        "mended": "back within the rest of the attempt, one backoff step, and 1 s",
        "each wakes": "every opening wakes, and every event that was posted: within 1 s on a healthy stream, otherwise "
        "with the next stream or once packets pass again",
        "wakes owed": "and no wake comes of nothing: each belongs to an opening or an event that owed one at that time",
        "each handed over": "every event on an open stream reaches the `EventSource`'s consumer",
        "none lost": "no event lost, against the relay's store (without ids: none outside a gap that was told)",
        "none twice": "no event handled twice",
        "held": "no thread, descriptor or socket beyond a fresh stream's, once it is back, "
        f"and of memory at most {_allowance()}",
        "left": f"nor beyond the start, once it is closed, and of memory at most {_allowance()}",
        "ends": "the daemon ends by itself",
        "state whole": "`stream_state.json` never half-written",
        "state true": "and never wrong for longer than 1 s (its shortest interval) + 250 ms",
        "state true again": "and, where nobody could write it for a while, as soon again after that",
        "other address": "where the first of two addresses accepts TCP and then fails, the next attempt uses the other",
        "cpu": "at most 1 % of a core, over a round of 2 s or more, beyond a run without the fault that makes as many "
        "requests and moves the same bytes; an attempt that failed before its request is the fault's own cost",
    }
    lines = ["| promise | runs | kept | largest found |", "|---|---|---|---|"]
    checks = [check for outcome in outcomes for check in outcome.get("checks", ())]
    names = [*texts, *sorted({check["name"] for check in checks} - set(texts))]
    for name in names:
        own = [check for check in checks if check["name"] == name]
        if not own:
            continue
        numbers = [check["found"] for check in own if isinstance(check["found"], float)]
        largest = (
            f"{max(numbers):.4g}" if numbers and name in ("state true", "state true again", "cpu", "mended") else ""
        )
        kept = sum(check["found"] <= CPU_SHARE if name == "cpu" else check["kept"] for check in own)
        if name == "no reconnect":
            largest = f"{sum(bool(check['found']) and check['kept'] for check in own)} silent too long"
        lines.append(f"| {texts.get(name, name)} | {len(own)} | {kept} | {largest} |")
    return lines


def _median_cpu(cells: Sequence[Outcome]) -> str:
    medians = [cell["cpu"][1] for cell in cells if cell["cpu"]]
    kept = sum(median <= CPU_SHARE for median in medians)
    told = f"{max(medians):.4g}" if medians else ""
    return f"| and the median of each cell's runs, which is what counts | {len(medians)} cells | {kept} | {told} |"


def _allowance() -> str:
    """The growth allowed to a daemon; a range from least to most if faults differ in it."""
    allowed = sorted({fault.memory for fault in FAULTS.values()})
    return "–".join(f"{kib / 1024:g}" for kib in (allowed[0], *allowed[1:][-1:])) + " MiB (what allocators keep)"


def _grid(cells: Sequence[Outcome]) -> list[str]:
    def text(cell: Outcome) -> str:
        if cell["noticed"] is None:
            return _lives(cell)
        noticed = f"{_seconds(cell['noticed'])} ({cell['clock']}, {cell['notice_bound']:g})"
        return noticed if cell["status"] == KEPT else f"**{noticed}**"

    return _by_phase(FAULTS, cells, text)


def _lives(cell: Outcome) -> str:
    if cell["status"] != KEPT:
        return "**not kept**"
    if "stranger" in cell:
        return "spared"
    ended = cell["ended_by_silence"]
    return f"silent too long in {ended} of {cell['runs']}" if ended else "lives"


def _mends(cells: Sequence[Outcome]) -> list[str]:
    mended = [cell for cell in cells if cell["mended"]]
    faults = {cell["fault"] for cell in mended}
    return _by_phase(
        [fault for fault in FAULTS if fault in faults],
        mended,
        lambda cell: f"{_seconds(cell['mended'])} ({cell['mend_bound'][2]:.2f})",
    )


def _by_phase(faults: Iterable[str], cells: Sequence[Outcome], text: Callable[[Outcome], str]) -> list[str]:
    """A row for each fault, a column for each phase; – where there is no cell."""
    by_place = {(cell["fault"], cell["phase"]): text(cell) for cell in cells}
    rows = [[fault, *(by_place.get((fault, phase), "–") for phase in PHASES)] for fault in faults]
    lines = ["| " + " | ".join(row) + " |" for row in (["fault", *PHASES], *rows)]
    return [lines[0], "|---" * (len(PHASES) + 1) + "|", *lines[1:]]


def _rows(cells: Sequence[Outcome]) -> list[str]:
    lines = ["| fault | phase | host | transport | consumer | noticed | by | bound | back |", "|---" * 9 + "|"]
    for cell in cells:
        bound = f"{cell['notice_bound']:g}" if cell["notice_bound"] is not None else ""
        noticed = _seconds(cell["noticed"]) if cell["noticed"] else _lives(cell)
        place = " | ".join(cell[name] for name in ("fault", "phase", "host", "transport", "consumer"))
        lines.append(f"| {place} | {noticed} | {cell['clock']} | {bound} | {_seconds(cell['mended'])} |")
    return lines


def _general() -> list[str]:
    """Reasons that do not come up in the full part, and how many combinations each rules out."""
    told = {place.why_not() for place in full()} - {None}
    spared = "the fault spares the stream, which is past the place where it strikes: in the full part alone"
    counts: dict[str, int] = {}
    for values in itertools.product(FAULTS, PHASES, HOSTS, TRANSPORTS, CONSUMERS):
        place = Place(*values)
        reason = place.why_not()
        if reason is None and not place.strikes() and place != usual(place.fault, place.phase):
            reason = spared
        if reason is not None and reason not in told:
            counts[reason] = counts.get(reason, 0) + 1
    return [f"- {reason}: {count} combinations" for reason, count in counts.items()]


def _reasons(cells: Sequence[Outcome]) -> list[str]:
    reasons: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        reasons.setdefault(cell["reason"], {}).setdefault(cell["fault"], []).append(cell["phase"])
    lines = []
    for reason, faults in reasons.items():
        told = "; ".join(f"{fault} × {', '.join(phases)}" for fault, phases in faults.items())
        lines.append(f"- {reason}: {told}")
    return lines
