"""The example of somebody else's daemon, in sh around curl: the page that tells how is true, and so is the verdict."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import missing
from tests.faults.daemon import ROOT
from tests.faults.outcome import BROKEN

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's"),
]
EXAMPLE = "sh tests/faults/daemons/curl.sh"


def checks(fault: str, *words: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The status of one cell of the example's, and what was found by the name of each check."""
    if shutil.which("curl") is None:
        missing("needs curl: apt-get install curl")
    command = [sys.executable, "-m", "tests.faults", "run", fault, *words, "--daemon", EXAMPLE, "--json", "-"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    if not ran.stdout:
        missing(ran.stderr.strip())
    outcome = json.loads(ran.stdout)
    return outcome["status"], {check["name"]: check for check in outcome.get("checks", ())}


@pytest.mark.parametrize("words", [(), ("--tls",)], ids=["http", "https"])
def test_it_notices_a_reset_and_catches_up(words: tuple[str, ...]) -> None:
    _, found = checks("rst", *words)
    kept = {name: check["kept"] for name, check in found.items()}
    assert all(kept[name] for name in ("noticed", "clock", "mended", "none lost", "none twice", "ends")), found


def test_its_clock_is_slower_than_it_says() -> None:
    """curl's low-speed limit looks at an average over seconds, so `-y 2` does not notice silence within 2.5 s."""
    status, found = checks("relay-stopped")
    assert status == BROKEN and not found["noticed"]["kept"]
    assert found["clock"]["found"] == "read" and found["noticed"]["found"] > 3
    assert found["none lost"]["kept"] and found["none twice"]["kept"]
