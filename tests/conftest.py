"""What every test gets, asked for or not: a guard against leaks, and an environment that names no proxy.

A library that promises to leave nothing behind is tested by tests that leave nothing behind. Threads, descriptors
(sockets are told apart in the text) and child processes are counted before and after each test, and whatever is there
afterwards and was not before fails it. What ends by itself has a moment to do so. The garbage collector is not asked:
what only it would free is a leak for a daemon that has switched it off.

Fixtures of a wider scope are set up before the guard looks, so what they hold is not counted.
"""

from __future__ import annotations

import os
import stat
import sys
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

GRACE: Final = 2.0
"""Seconds for which a thread or process that is on its way out is waited for."""

_FOLDER: Final = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def missing(what: str) -> NoReturn:
    """`what` says what is needed and how to install it: a test without it is skipped, and fails in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have it: {what}")
    pytest.skip(what)


class Held(NamedTuple):
    """What the process has at one moment."""

    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]
    """Numbers, with what they stand for: a number may have been given away again."""
    children: frozenset[int]

    def beyond(self, before: Held) -> list[str]:
        """What is here and was not there, in words."""
        leaks = [f"the thread {thread.name}" for thread in self.threads - before.threads]
        for fd, what in sorted(self.descriptors - before.descriptors):
            leaks.append(f"the {'socket' if 'socket' in what else 'descriptor'} {fd} ({what})")
        leaks += [f"the child process {pid}" for pid in sorted(self.children - before.children)]
        return leaks


def held() -> Held:
    return Held(frozenset(threading.enumerate()), frozenset(_descriptors()), frozenset(_children()))


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


@pytest.fixture(autouse=True)
def leak_guard() -> Iterator[None]:
    """Fails a test that leaves a thread, a descriptor, a socket or a child process behind."""
    before = held()
    yield
    until = time.monotonic() + GRACE
    while leaks := held().beyond(before):
        if time.monotonic() >= until:
            pytest.fail("left behind: " + ", ".join(leaks))
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def no_proxy_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxy settings are none of a test's business."""
    for name in _PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
