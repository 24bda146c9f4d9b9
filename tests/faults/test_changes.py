"""Changes of the network in a world of its own; see `changes`. The figures are printed (`pytest -rA`)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import missing
from tests.faults.changes import SCENES
from tests.faults.player import ROOT
from tests.faults.tools import Missing
from tests.faults.world import way_in

pytestmark = [
    pytest.mark.network,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's"),
]
SHORT = ("address-removed", "address-replaced", "link-up-in-a-pause")
BESIDE = (*SHORT, "route-moved")
"""Scenes in which the clocks notice, too, only later."""


def run(scene: str, *words: str) -> dict[str, Any]:
    try:
        way_in()
    except Missing as error:
        missing(str(error))
    command = [sys.executable, "-m", "tests.faults.changes", scene, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    print(scene, done.stdout)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("scene", SHORT)
def test_a_change_is_noticed_by_what_the_kernel_tells(scene: str) -> None:
    """No clock of the stream, and no pause of it, is as short as the scene's patience."""
    assert "watched" in run(scene)


@pytest.mark.campaign
@pytest.mark.parametrize("scene", BESIDE)
def test_it_is_noticed_before_the_clocks_do(scene: str) -> None:
    found = run(scene, "--beside")
    assert found["watched"] < found["clocks"]


@pytest.mark.campaign
@pytest.mark.parametrize("scene", sorted(set(SCENES) - set(BESIDE)))
def test_a_change_costs_no_stream_in_vain(scene: str) -> None:
    run(scene)
