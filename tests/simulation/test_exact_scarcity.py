"""The part of the watch that the first change loads cannot be loaded: the stream goes on, and it is told once."""

from __future__ import annotations

import errno
import importlib.abc
import logging
import sys
from collections.abc import Callable

import pytest

from tests.simulation.machine import FIRST, V4
from tests.simulation.single import LATENCY
from tests.simulation.test_exact_surroundings import OTHER, UP, Machine
from wire_rawsse.hosts.consequences import Consequences


class Unloadable(importlib.abc.MetaPathFinder):
    """The import system, of which `error` keeps the module `consequences` while it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
        self.error: BaseException | None = error
        self.attempts = 0
        monkeypatch.delitem(sys.modules, "wire_rawsse.hosts.consequences")
        monkeypatch.setattr(sys, "meta_path", [self, *sys.meta_path])

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == "wire_rawsse.hosts.consequences" and self.error is not None:
            self.attempts += 1
            raise self.error

    def recover(self) -> None:
        self.error = None


START = ("a change of the machine", "the machine")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.message) for record in caplog.records if record.message.startswith(START)]


CAUSES: list[Callable[[Machine], None]] = [
    lambda scene: scene.machine.remove(FIRST[V4]),
    lambda scene: scene.machine.suspend(3600),
]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "no descriptor is left"), MemoryError()])
def test_a_change_that_cannot_be_looked_at_is_looked_at_later(
    error: BaseException,
    cause: Callable[[Machine], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wire_rawsse.log._said", set())
    caplog.set_level(logging.INFO, "wire_rawsse")
    imports = Unloadable(monkeypatch, error)
    scene = Machine()
    scene.machine.has_timer = True
    scene.at(20, scene.machine.add, V4, OTHER)
    scene.at(21, cause, scene)
    scene.at(22.5, scene.relay.post)
    scene.at(24.5, imports.recover)
    assert scene.run(24.25) == [2 * UP, 22.5 + LATENCY], "the stream goes on"
    assert scene.ends == []
    assert imports.attempts <= 6, "once a second"
    scene.run(40)
    ((when, _),) = scene.stale()
    assert 24.5 < when <= 25.5
    assert [level for level, _ in told(caplog)] == ["INFO"]
    assert scene.phase == "streaming"
    scene.close()


@pytest.mark.parametrize("cause", CAUSES)
def test_without_the_module_the_watch_ends_and_the_stream_goes_on(
    cause: Callable[[Machine], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade has removed the file, or the program's archive lacks it."""
    monkeypatch.setattr("wire_rawsse.log._said", set())
    caplog.set_level(logging.INFO, "wire_rawsse")
    imports = Unloadable(monkeypatch, ModuleNotFoundError("no such file"))
    scene = Machine()
    scene.machine.has_timer = True
    scene.at(21, cause, scene)
    scene.run(60)
    assert (scene.ends, scene.phase, imports.attempts) == ([], "streaming", 1)
    assert (scene.machine.sockets, scene.machine.timers) == ([], [])
    expected = "the machine is not watched any more (ModuleNotFoundError: no such file); clocks notice its changes"
    assert told(caplog) == [("WARNING", expected)]
    scene.machine.suspend(3600)
    scene.notice.network_changed()
    scene.run(90)
    assert (scene.ends, imports.attempts, len(told(caplog))) == ([], 2, 1), "it is tried again for each request"
    scene.close()


def test_a_module_of_another_version_ends_the_watch_and_no_stream(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade has replaced the file since the program began."""
    monkeypatch.setattr("wire_rawsse.log._said", set())
    monkeypatch.setattr(Consequences, "look", Consequences.run)
    scene = Machine()
    scene.at(20, scene.machine.remove, FIRST[V4])
    scene.run(60)
    assert (scene.ends, scene.phase, scene.machine.sockets) == ([], "streaming", [])
    assert [level for level, _ in told(caplog)] == ["WARNING"]
    scene.close()
