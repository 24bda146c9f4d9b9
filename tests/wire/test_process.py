"""Whether a process is there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.wire import needs
from wire_rawsse.wire import process


def test_we_are_there_and_a_child_until_it_is_waited_for() -> None:
    assert process.alive(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert process.alive(child.pid)
        child.kill()
        child.wait()
        assert not process.alive(child.pid)


@pytest.mark.parametrize("pid", [0, -1, -os.getpid(), 10**10, 10**30], ids=["0", "-1", "negated", "10**10", "10**30"])
def test_what_is_no_process(pid: int) -> None:
    assert not process.alive(pid)


def test_a_process_that_we_may_not_signal_is_there() -> None:
    code = (
        "import os, sys\n"
        "from wire_rawsse.wire import process\n"
        "try:\n"
        "    if os.getuid() == 0: os.setuid(65534)\n"
        "except OSError: sys.exit(77)\n"
        "try: os.kill(1, 0); sys.exit(77)\n"
        "except PermissionError: print(process.alive(1))\n"
    )
    assert needs.told_by(code, why="needs a first process that belongs to somebody else") == "True\n"
