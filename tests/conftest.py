"""For every test: a guard against leaks, and an environment that holds nothing of the user's.

A library that promises to leave nothing behind is tested by tests that leave nothing behind. Threads, descriptors
(sockets are told apart in the text) and child processes are counted before and after each test, and whatever is there
afterwards and was not before fails it. Resources that end by themselves have a moment to do so. The garbage collector
is not asked: what only it would free is a leak for a daemon that has switched it off.

Fixtures of a wider scope are set up before the guard looks, so what they hold is not counted.

Before the first test is collected, `HOME` becomes an empty temporary folder, and every variable that the library, the
command, Python or OpenSSL reads is removed. Each pytest-xdist worker has a folder of its own. A test that writes into
this folder fails: it would have written into the user's home.
"""

from __future__ import annotations

import _thread
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import pytest
from hypothesis import HealthCheck, settings

# On a cold cache hypothesis builds tables for seconds before its first text, which is no fault of the code under test.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

GRACE: Final = 20.0
"""Seconds for which a thread or process that is on its way out is waited for. Only a leak ever takes this long."""

_FOLDER: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_DESCRIPTORS: Final = 4096
_REMOVED: Final = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "OPENSSL_CONF", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"),
        *("LANGUAGE", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONOPTIMIZE"),
        *("PYTHONUNBUFFERED", "PYTHONCOERCECLOCALE", "PYTHONASYNCIODEBUG", "PYTHONMALLOC", "PYTHONINSPECT"),
        *("TMPDIR", "TEMP", "TMP", "NOTIFY_SOCKET", "PYTEST_ADDOPTS"),
    }
)
"""Upper case; both spellings are removed."""
_REMOVED_PREFIXES: Final = ("XDG_", "WIRE_", "LC_", "FAULTS_", "BENCH_")
_KEPT: Final = frozenset({"WIRE_BIN"})
"""The path of the wire program to test against."""


def isolate(home: str) -> None:
    """Make `home` the home folder of this process and its children, and remove the user's settings."""
    for name in list(os.environ):
        upper = name.upper()
        if upper not in _KEPT and (upper in _REMOVED or upper.startswith(_REMOVED_PREFIXES)):
            del os.environ[name]
    for name, folder in (("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")):  # Programs, no settings.
        os.environ.setdefault(name, os.path.join(os.path.expanduser("~"), folder))
    os.environ.update({"HOME": home, "LANG": "C.UTF-8"})
    tempfile.tempdir = None  # Chosen by TMPDIR, until now.


def allow_descriptors() -> None:
    """Raise the soft limit of descriptors where it is lower than what hundreds of streams at once take."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """After pytest has read its own settings (NO_COLOR, COLUMNS), before anything is collected or a worker starts."""
    home = tempfile.TemporaryDirectory(prefix="home-", dir="/tmp" if os.name == "posix" else None)
    config.add_cleanup(home.cleanup)
    isolate(home.name)
    allow_descriptors()


def missing(what: str) -> NoReturn:
    """`what` says what is needed and how to install it: a test without it is skipped, and fails in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


def bare_threads() -> int:
    """How many threads there are that `threading` does not know, such as the look-ups of names."""
    known = [thread for thread in threading.enumerate() if not isinstance(thread, threading._DummyThread)]
    return max(0, _thread._count() - len(known) + 1 - _OF_XDIST)  # The main thread is known, and not counted.


_OF_XDIST: Final = _thread._count() - len(threading.enumerate()) + 1
"""The threads that an xdist worker reads its controller's messages with."""


def has_bare_threads(count: int, seconds: float = 20.0) -> bool:
    """Whether there are `count` within so many seconds: a thread counts from its own first step to its last."""
    until = time.monotonic() + seconds
    while bare_threads() != count:
        if time.monotonic() >= until:
            return False
        time.sleep(0.001)
    return True


class Held(NamedTuple):
    """The resources of the process at one moment."""

    threads: frozenset[threading.Thread]
    bare_threads: int
    descriptors: frozenset[tuple[int, str]]
    """Numbers, with what they stand for: a number may have been given away again."""
    children: frozenset[int]

    def beyond(self, before: Held) -> list[str]:
        """Those that are here and were not there, in words."""
        leaks = [f"the thread {thread.name}" for thread in self.threads - before.threads]
        if self.bare_threads > before.bare_threads:
            leaks.append(f"{self.bare_threads - before.bare_threads} bare threads")
        for fd, what in sorted(self.descriptors - before.descriptors):
            leaks.append(f"the {'socket' if 'socket' in what else 'descriptor'} {fd} ({what})")
        leaks += [f"the child process {pid}" for pid in sorted(self.children - before.children)]
        return leaks


def held() -> Held:
    return Held(frozenset(threading.enumerate()), bare_threads(), frozenset(_descriptors()), frozenset(_children()))


def _descriptors() -> Iterator[tuple[int, str]]:
    try:
        names = os.listdir(_FOLDER)
    except OSError:
        return  # Windows has no list of them.
    for name in names:
        try:
            if sys.platform == "linux":
                yield int(name), os.readlink(f"{_FOLDER}/{name}")
            else:
                facts = os.fstat(int(name))
                kind = "socket" if stat.S_ISSOCK(facts.st_mode) else "file"
                yield int(name), f"{kind} {facts.st_dev}:{facts.st_ino}"
        except OSError:
            continue  # The descriptor of the listing itself.


def _children() -> Iterator[int]:
    for path in Path("/proc/self/task").glob("*/children"):  # proc(5); empty where the kernel or system has none.
        try:
            text = path.read_text()
        except OSError:
            continue  # The thread has ended.
        yield from map(int, text.split())


@pytest.fixture(scope="session", autouse=True)
def resource_tracker() -> None:
    """Start the process that multiprocessing starts with its first pool and keeps, so that it is no leak of a test."""
    if sys.platform != "win32":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()


@pytest.fixture(autouse=True)
def leak_guard() -> Iterator[None]:
    """Fails a test that leaves a thread, a descriptor, a socket, a child process or a file at home behind."""
    before, home = held(), os.environ["HOME"]
    yield
    if written := os.listdir(home):
        shutil.rmtree(home)
        os.mkdir(home, 0o700)
        pytest.fail(f"written into the user's home folder: {', '.join(sorted(written))}")
    until = time.monotonic() + GRACE
    while leaks := held().beyond(before):
        if time.monotonic() >= until:
            pytest.fail("left behind: " + ", ".join(leaks))
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_terminal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removed within tests only: pytest's own lines are as wide as COLUMNS says."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
