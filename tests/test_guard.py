"""The guard is guarded: a leak of each kind must fail the test that makes it, and nothing else may."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing

LEAKY = """
import os, socket, subprocess, sys, threading
import tests.conftest

tests.conftest.GRACE = 0.2
kept = []

def test_thread():
    over = threading.Event()
    kept.append(over)
    threading.Thread(target=over.wait, name="lingering", daemon=True).start()

def test_descriptor():
    kept.append(os.pipe())

def test_socket():
    kept.append(socket.socket())

def test_socket_in_a_cycle():
    cycle = [socket.socket()]
    cycle.append(cycle)

def test_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))

def test_home():
    open(os.path.join(os.environ["HOME"], "mark"), "w").close()

def test_the_users_settings_are_gone():
    assert os.environ["HOME"] != os.environ["USERS_HOME"] and not os.listdir(os.environ["HOME"])
    gone = ("XDG_STATE_HOME", "WIRE_HOME", "https_proxy", "SSL_CERT_FILE", "NO_COLOR", "TMPDIR", "LC_ALL")
    assert [name for name in gone if name in os.environ] == []
    assert os.environ["WIRE_BIN"] == "/some/wire"

def test_tidy():
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    over.set()
    with socket.socket():
        os.close(os.open(os.devnull, os.O_RDONLY))

def test_slow_to_end():
    threading.Timer(0.05, int).start()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no list of descriptors")


def test_each_kind_of_leak_is_caught(tmp_path: Path) -> None:
    leaky = tmp_path / "test_leaky.py"
    leaky.write_text(LEAKY)
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += ["-q", "-rA", "--tb=line", "--rootdir", str(tmp_path), str(leaky)]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(root), "COLUMNS": "500"}
    environ.pop("PYTEST_ADDOPTS", None)
    environ |= {"HOME": str(tmp_path), "USERS_HOME": str(tmp_path), "TMPDIR": str(tmp_path), "WIRE_BIN": "/some/wire"}
    environ |= {"XDG_STATE_HOME": "/x", "WIRE_HOME": "/x", "https_proxy": "x", "SSL_CERT_FILE": "/x"}
    environ |= {"LC_ALL": "C", "NO_COLOR": "1"}
    ran = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    told = {
        line.partition("::")[2].partition(" ")[0]: line for line in ran.stdout.splitlines() if line.startswith("ERROR")
    }
    assert "the thread lingering" in told["test_thread"], ran.stdout
    assert "the descriptor" in told["test_descriptor"]
    assert "the socket" in told["test_socket"]
    assert "the socket" in told["test_socket_in_a_cycle"]
    if sys.platform == "linux":
        assert "the child process" in told["test_child"]
    assert "written into the user's home folder: mark" in told["test_home"]
    assert "PASSED test_leaky.py::test_the_users_settings_are_gone" in ran.stdout, ran.stdout
    assert "test_tidy" not in told
    assert "test_slow_to_end" not in told
    assert "PASSED test_leaky.py::test_tidy" in ran.stdout


def test_what_is_missing_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install the thing"):
        missing("install the thing")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install the thing"):
        missing("install the thing")
