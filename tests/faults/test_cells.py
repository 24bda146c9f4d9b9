"""Every fault once, for real, in a world of its own: what a change is checked with. The whole matrix is run by hand.

The cells run side by side, as in a matrix, when the first of these tests asks for its outcome.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.conftest import missing
from tests.faults import matrix
from tests.faults.daemon import ROOT
from tests.faults.outcome import BROKEN, ERROR, KEPT
from tests.faults.pairs import Place, short
from tests.faults.tools import Missing

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.network,
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("the lab's cells"),
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's"),
]
JOBS: Final = 3 * (os.cpu_count() or 1)
_OF_TIME: Final = frozenset({"noticed", "mended", "state true", "state true again", "cpu"})
_NOT_HERE: Final = ("is not here", "cannot be made here", "cannot be opened", "does not open")


def _late(outcome: dict[str, Any]) -> bool:
    broken = {check["name"] for check in outcome.get("checks", ()) if not check["kept"]}
    return outcome["status"] == BROKEN and broken <= _OF_TIME


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """By fault. Side by side on a busy machine a cell may be late, alone it may not: that alone is tried again."""
    try:
        found = {outcome["fault"]: outcome for _, _, outcome in matrix.run(short(), jobs=JOBS)}
        again = [place for place in short() if _late(found[place.fault])]
        return found | {outcome["fault"]: outcome for _, _, outcome in matrix.run(again, jobs=1)}
    except Missing as error:
        missing(str(error))


@pytest.mark.parametrize("place", short(), ids=lambda place: f"{place.fault}-{place.phase}")
def test_a_fault(place: Place, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome = outcomes[place.fault]
    if outcome["status"] == ERROR and any(text in outcome["reason"] for text in _NOT_HERE):
        missing(outcome["reason"])
    told = [check for check in outcome.get("checks", ()) if not check["kept"]]
    assert outcome["status"] == KEPT, f"{outcome['command']}\n{outcome['reason']}\n{told}\n{outcome.get('errors')}"


def run(*words: str) -> dict[str, Any]:
    """One cell by its command."""
    import json

    command = [sys.executable, "-m", "tests.faults", "run", *words, "--json", "-"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    if not done.stdout:
        missing(done.stderr.strip())
    return dict(json.loads(done.stdout))


@pytest.fixture
def deaf_daemon(tmp_path: Any) -> Iterator[str]:
    """A daemon as many are: it connects, says so, and blocks in recv for ever."""
    script = tmp_path / "deaf.py"
    script.write_text(
        "import os, socket, urllib.parse\n"
        "url = urllib.parse.urlsplit(os.environ['FAULTS_URL'])\n"
        "print('state connecting', flush=True)\n"
        "sock = socket.create_connection((url.hostname, url.port))\n"
        "sock.sendall(f'GET {url.path} HTTP/1.1\\r\\nHost: {url.netloc}\\r\\n'\n"
        "             f'Authorization: Bearer {os.environ[\"FAULTS_TOKEN\"]}\\r\\n\\r\\n'.encode())\n"
        "sock.recv(4096)\n"
        "print('state streaming', flush=True)\n"
        "print('wake', flush=True)\n"
        "while data := sock.recv(4096):\n"
        "    if b'data:' in data: print('wake', flush=True)\n"
    )
    yield f"{sys.executable} {script}"


def test_somebody_elses_daemon_that_wedges_is_found_out(deaf_daemon: str) -> None:
    outcome = run("relay-stopped", "--daemon", deaf_daemon)
    assert outcome["status"] == BROKEN, outcome
    kept = {check["name"]: check["kept"] for check in outcome["checks"]}
    assert kept["noticed"] is False and kept["mended"] is False


def test_a_clock_that_is_not_the_daemons_is_not_met() -> None:
    """The cell judges by the clocks that it was given: a stream that takes longer has broken its promise."""
    outcome = run("drop-to-client", "--set", "keepalive_idle=20", "--set", "read=2")
    assert outcome["status"] == KEPT, outcome["reason"]
    assert outcome["noticed"]["clock"] == "read" and 1.9 <= outcome["noticed"]["seconds"] <= 2.25
