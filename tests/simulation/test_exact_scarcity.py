"""A part of the watch cannot be loaded, or a descriptor is missing: the stream goes on, and it is told once."""

from __future__ import annotations

import errno
import importlib.abc
import logging
import sys
from collections.abc import Callable

import pytest

from tests.simulation.machine import FIRST, V4
from tests.simulation.single import LATENCY, elsewhere
from tests.simulation.test_exact_surroundings import OTHER, UP, Machine
from wire_rawsse.errors import StaleConnectionError
from wire_rawsse.hosts.consequences import Consequences


class Unloadable(importlib.abc.MetaPathFinder):
    """The import system, of which `error` keeps one module while it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, module: str = "consequences") -> None:
        self.error: BaseException | None = error
        self.attempts = 0
        self._name = f"wire_rawsse.hosts.{module}"
        monkeypatch.delitem(sys.modules, self._name)
        monkeypatch.setattr(sys, "meta_path", [self, *sys.meta_path])

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == self._name and self.error is not None:
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
    monkeypatch.setattr(Consequences, "look", Consequences.resume)
    scene = Machine()
    scene.at(20, scene.machine.remove, FIRST[V4])
    scene.run(60)
    assert (scene.ends, scene.phase, scene.machine.sockets) == ([], "streaming", [])
    assert [level for level, _ in told(caplog)] == ["WARNING"]
    scene.close()


def noticed(scene: Machine) -> list[float]:
    """When a suspend at 100 s and the loss of the address at 200 s ended the connection."""
    scene.at(100, scene.machine.suspend, 3600)
    scene.at(199, scene.machine.add, V4, OTHER)
    scene.at(200, scene.machine.remove, FIRST[V4])
    scene.run(300)
    scene.close()
    return [when for when, _ in scene.stale()]


def test_a_watch_without_a_descriptor_is_tried_again_at_the_next_connection() -> None:
    scene = Machine()
    scene.machine.has_timer = True
    scene.machine.no_descriptor_is_left = True
    scene.run(20)
    scene.machine.no_descriptor_is_left = False
    scene.run(40)
    assert (scene.machine.sockets, scene.machine.timers) == ([], [])
    scene.only.restart()
    assert noticed(scene) == [100, 200]


def test_a_watch_without_room_in_the_poller_is_tried_again_at_the_next_connection() -> None:
    scene = Machine()
    scene.machine.has_timer = True
    scene.kernel.most_watched = 1
    scene.loop.run(0)
    assert (scene.machine.sockets, scene.machine.timers) == ([], [])
    scene.kernel.most_watched = 1 << 16
    scene.only.restart()
    assert noticed(scene) == [100, 200]


def test_a_watch_that_could_not_be_loaded_is_tried_again_at_the_next_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wire_rawsse.log._said", set())
    caplog.set_level(logging.INFO, "wire_rawsse")
    imports = Unloadable(monkeypatch, OSError(errno.EMFILE, "no descriptor is left"), "surroundings")
    scene = Machine()
    scene.machine.has_timer = True
    scene.run(20)
    scene.only.restart()
    scene.run(40)
    assert imports.attempts == 3, "at the beginning, and at each connection"
    imports.recover()
    scene.run(60)
    assert scene.machine.sockets == []
    scene.only.restart()
    assert noticed(scene) == [100, 200]
    assert told(caplog) == [("INFO", "the machine is not watched (OSError); clocks notice its changes")]


def test_changes_before_a_late_watch_are_looked_for() -> None:
    """Of another stream, which lives on meanwhile."""
    scene = Machine()
    elsewhere(scene, "other.test", "192.0.2.3")
    other = scene.stream("http://other.test/")
    other.keep_journal()
    scene.machine.no_descriptor_is_left = True
    scene.at(20, scene.machine.add, V4, OTHER)
    scene.at(21, scene.machine.remove, FIRST[V4])
    scene.run(30)
    scene.machine.no_descriptor_is_left = False
    scene.only.restart()
    scene.run(31)
    ((when, error, _),) = other.ends
    assert isinstance(error, StaleConnectionError) and when - scene.kernel.start < 30.5
    scene.close()


def test_a_watch_that_is_forbidden_is_not_tried_again() -> None:
    scene = Machine()
    scene.machine.announces = False
    scene.run(20)
    scene.machine.announces = True
    scene.only.restart()
    scene.run(40)
    assert scene.machine.sockets == []
    scene.close()
