"""The report of a matrix: figures over repetitions, reasons, and a well-formed picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.faults import report
from tests.faults.outcome import BROKEN, KEPT, LEFT_OUT
from tests.faults.pairs import usual


def outcome(fault: str, phase: str, seed: int = 1, status: str = KEPT, **more: Any) -> dict[str, Any]:
    place = usual(fault, phase)
    return {**vars(place), "seed": seed, "status": status, "reason": "", "command": f"run {fault}", **more}


def noticed(seconds: float, *, kept: bool = True) -> dict[str, Any]:
    return {
        "noticed": {"clock": "read", "seconds": seconds, "within": 2.75},
        "mended": {"seconds": seconds / 10, "within": 1.8},
        "checks": [{"name": "noticed", "kept": kept, "found": seconds, "bound": 2.75}],
        "proof": {"dropped": 3},
        "sockets": {"client": ["ESTAB"] * 9},
    }


MADE = {"date": "2026-01-02", "commit": "abc1234", "system": "Linux 6.1", "python": "CPython 3.11.7"}
OUTCOMES = [
    *(outcome("relay-stopped", "streaming", seed, **noticed(2.5 + seed / 100)) for seed in (1, 2, 3)),
    outcome("relay-stopped", "mid-line", status=BROKEN, **noticed(3.0, kept=False)) | {"reason": "noticed"},
    outcome("brief-both", "streaming", checks=[]),
    outcome("syn-refused", "streaming", checks=[], stranger={"refused": True}, made=MADE),
    outcome("syn-blackhole", "streaming", status=LEFT_OUT) | {"reason": "the connection is past it"},
]


def test_smallest_median_and_largest() -> None:
    cells = {(cell["fault"], cell["phase"]): cell for cell in report.summarise(OUTCOMES)}
    cell = cells["relay-stopped", "streaming"]
    assert cell["noticed"] == [2.51, 2.52, 2.53] and (cell["runs"], cell["kept"]) == (3, 3)
    assert cell["proof"] == {"dropped": 3} and len(cell["sockets"]["client"]) == 2
    assert cells["relay-stopped", "mid-line"]["broken_checks"] == {"noticed": 1}
    assert cells["syn-blackhole", "streaming"] == {
        **vars(usual("syn-blackhole", "streaming")),
        "status": LEFT_OUT,
        "reason": "the connection is past it",
    }


def test_of_processor_time_the_median_of_a_cell_counts() -> None:
    shares = {"streaming": (0.05, 0.002, 0.003), "mid-line": (0.0, 0.02, 0.03)}
    runs = [
        outcome("storm", phase, seed, checks=[{"name": "cpu", "kept": True, "found": found, "bound": 0.06}])
        for phase, found_in in shares.items()
        for seed, found in enumerate(found_in)
    ]
    page = report.markdown(report.summarise(runs), runs)
    assert "| 6 | 3 | 0.05 |" in page and "which is what counts | 2 cells | 1 | 0.02 |" in page


def test_the_files(tmp_path: Path) -> None:
    paths = report.write(OUTCOMES, tmp_path / "results")
    page, data, picture = (path.read_text() for path in paths)
    assert "2.51 · 2.52 · 2.53 (read, 2.75)" in page
    assert "**3.00 · 3.00 · 3.00 (read, 2.75)**" in page, "what was not kept stands out"
    assert "- the connection is past it: syn-blackhole × streaming" in page
    assert "- the fault spares the stream, which is past the place where it strikes" in page
    assert "1 runs did not keep every promise" in page
    assert "- 2026-01-02, commit abc1234, Linux 6.1, CPython 3.11.7: 1 runs" in page
    assert "| syn-refused | – | – | – | – | spared | – | – | – |" in page and ">spared<" in picture
    table = json.loads(data)
    cells = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert [cell["status"] for cell in cells].count(KEPT) == 3 and len(cells) == 4, "only cells that were run"
    assert {"proof", "sockets", "command"}.isdisjoint(table["columns"]), "git keeps figures alone"
    texts = [node.text for node in ElementTree.fromstring(picture).iter() if node.text]
    assert {"0.92", "lives", "broken", "–"} <= set(texts)
