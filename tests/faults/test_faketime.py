"""Under libfaketime only the wall clock of a process differs: otherwise the lab would judge libfaketime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.faults.catalogue.machine import HOUR, faketime
from tests.faults.daemon import ROOT
from tests.faults.tools import Missing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lab is Linux's")


def under_faketime(code: str, file: Path) -> Any:
    """Run `code` in a process whose wall clock is an hour ahead; return its JSON output."""
    file.write_text(f"{HOUR:+.0f}s\n")
    try:
        environment = {**os.environ, **faketime(file)}
    except Missing as error:
        missing(str(error))
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_wall_clock_jumps_and_the_monotonic_one_does_not(tmp_path: Path) -> None:
    monotonic, wall = time.monotonic(), time.time()
    found = under_faketime("import time; print([time.monotonic(), time.time()])", tmp_path / "ahead")
    assert monotonic < found[0] < time.monotonic()
    assert wall < found[1] - HOUR < time.time()


def test_sleeps_and_locks_wait_as_long_as_they_should(tmp_path: Path) -> None:
    code = """if True:
        import json, threading, time
        from tests.faults.daemons.common import sleep_under_faketime
        sleep_under_faketime()
        def seconds(wait):
            began = time.monotonic()
            wait()
            return time.monotonic() - began
        taken = threading.Lock()
        taken.acquire()
        waits = [lambda: time.sleep(0.05), lambda: taken.acquire(True, 0.05), lambda: threading.Event().wait(0.05)]
        print(json.dumps([seconds(wait) for wait in waits]))
    """
    assert min(under_faketime(code, tmp_path / "ahead")) >= 0.05


@pytest.mark.campaign
def test_anyone_who_waits_for_the_interpreters_lock_does_not_spin(tmp_path: Path) -> None:
    """It would cost as much again as anyone who holds the lock, and keep the mutex from him that goes with it."""
    code = """if True:
        import re, select, threading, time
        other = threading.Thread(target=lambda: select.select([], [], [], 0.02))
        other.start()
        cpu, own = time.process_time(), time.thread_time()
        re.match("(a+)+$", "a" * 22 + "b")  # One call into C, for a good while.
        own = time.thread_time() - own
        other.join()
        print((time.process_time() - cpu) / own)
    """
    assert under_faketime(code, tmp_path / "ahead") < 1.4
