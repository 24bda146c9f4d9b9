"""`python -m tests.faults`: what it says to good and bad arguments, and with which exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults import cli, matrix
from tests.faults.bounds import PHASES
from tests.faults.catalogue import FAULTS
from tests.faults.outcome import BROKEN, ERROR, KEPT, LEFT_OUT
from tests.faults.pairs import Place


def test_the_list_has_every_fault_and_phase(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in FAULTS)
    assert all(phase in told for phase in PHASES)


def test_the_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--reasons"]) == 0
    assert "so the cut is inside a line in every other phase already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["dance"], "invalid choice"),
        (["run"], "FAULT"),
        (["run", "no-such"], "there is no fault 'no-such'"),
        (["run", "rst", "--phase", "tea"], "invalid choice"),
        (["run", "rst", "--tls", "--proxy"], "not allowed with"),
        (["run", "rst", "--set", "read"], "--set takes NAME=N"),
        (["run", "rst", "--set", "reed=1"], "--set takes NAME=N"),
        (["run", "rst", "--set", "read=x"], "'x' is no number"),
        (["run", "rst", "--set", "read=0"], "must be above 0"),
        (["run", "rst", "--seed", "x"], "invalid int"),
        (["matrix", "--repeat", "0"], "no number from 1 on"),
        (["matrix", "--faults", "rst,tea"], "there is no fault 'tea'"),
        (["matrix", "--phases", "tea"], "there is no phase 'tea'"),
        (["report", "/nonexistent/outcomes", "/nonexistent"], "holds no outcome"),
    ],
)
def test_what_is_wrong_with_an_argument(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 64
    error = capsys.readouterr().err
    assert told in error and "Traceback" not in error


def outcome(place: Place, status: str, **more: Any) -> dict[str, Any]:
    return {**vars(place), "seed": 1, "status": status, "reason": "", "command": "python …", **more}


RST = Place("rst", "streaming")


def test_a_matrix_goes_on_where_its_file_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell with a good outcome is not run again, one with an error is; a truncated line is ignored."""
    path = tmp_path / "outcomes"
    other = Place("rst", "head")
    lines = [json.dumps(outcome(RST, KEPT)), json.dumps(outcome(other, ERROR)), '{"fault": "rst", "pha']
    path.write_text("\n".join(lines) + "\n")
    ran: list[Place] = []

    def cell(wanted: tuple[Place, int]) -> dict[str, Any]:
        ran.append(wanted[0])
        return outcome(wanted[0], KEPT)

    monkeypatch.setattr(matrix, "run_apart", cell)
    senseless = Place("fin-mid-chunk", "mid-line")
    found = [found for _, _, found in matrix.run([RST, other, senseless], path=path)]
    assert ran == [other]
    assert [one["status"] for one in found] == [KEPT, LEFT_OUT, KEPT]
    assert matrix.read(path)[("rst", "head", "inline", "https", "subscriber", 1)]["status"] == KEPT


def test_a_cell_that_says_nothing_is_an_error_of_the_labs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "way_in", lambda: ["false"])
    [(_, _, found)] = list(matrix.run([RST]))
    assert (found["status"], found["reason"]) == (ERROR, "exit status 1")


@pytest.mark.parametrize(("status", "code"), [(KEPT, 0), (BROKEN, 1), (ERROR, 69)])
def test_a_matrixs_exit_status(
    status: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "run", lambda *_, **__: iter([(1, 1, outcome(RST, status))]))
    assert cli.main(["matrix", "--faults", "rst", "--phases", "streaming"]) == code
    assert f"1 {status}" in capsys.readouterr().out
