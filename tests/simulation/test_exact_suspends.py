"""The machine was suspended: what is renewed, and what is not, at exact times."""

from __future__ import annotations

import pytest

from tests.simulation.answers import silence
from tests.simulation.single import LATENCY
from tests.simulation.test_exact_surroundings import Machine
from wire_rawsse.errors import ConnectionBrokenError


@pytest.mark.parametrize("timer", [False, True])
def test_a_suspend_renews_every_connection(timer: bool) -> None:
    scene = Machine()
    scene.machine.has_timer = timer
    scene.at(20, scene.machine.suspend, 3600)
    scene.run(40)
    # Without a timer it is noticed with the next heartbeat.
    noticed = 20 if timer else 30 + 4 * LATENCY
    assert scene.stale() == [(noticed, "the machine was suspended for 3600 s")]
    assert scene.delays == [0.5]
    assert scene.begun[1:] == [noticed + 0.5]
    scene.close()


NUMERIC = "http://192.0.2.1/v1/stream"
"""Nothing is looked up, so an attempt opens its socket in its first step."""


def test_a_connection_that_is_begun_after_a_suspend_outlives_it() -> None:
    """The host was away for the suspend. It begins to connect before it looks at anything else."""
    scene = Machine(url=NUMERIC)
    scene.run(20)
    scene.machine.suspend(3600)
    scene.only.restart()
    scene.run(40)
    assert (scene.stale(), scene.begun[1:], scene.phase) == ([], [20], "streaming")
    scene.close()


def test_a_connection_that_is_begun_before_a_suspend_is_renewed() -> None:
    scene = Machine(url=NUMERIC)
    scene.run(20)
    scene.only.restart()
    scene.loop.run(0)
    assert scene.begun[1:] == [20]
    scene.machine.suspend(3600)
    scene.run(20.25)
    assert [when for when, _ in scene.stale()] == [20]
    scene.close()


def test_a_stream_that_was_reset_meanwhile_ends_for_that_reason() -> None:
    """The kernel tells an error once, and the look for received bytes is told it."""
    scene = Machine()
    scene.run(20)
    scene.machine.suspend(3600)
    scene.visit.connection.reset()
    scene.kernel.advance(1)
    scene.run(30)
    assert [type(error) for _, error, _ in scene.only.ends] == [ConnectionBrokenError]
    scene.close()


def test_a_suspend_ends_a_pause() -> None:
    scene = Machine()
    scene.machine.has_timer = True
    scene.there.refuses = 1
    scene.run(50)
    before = len(scene.begun)
    assert scene.phase == "backing off"
    scene.machine.suspend(600)
    scene.run(51)
    assert scene.begun[before:] == [50.5]
    scene.close()


@pytest.mark.parametrize("phase", ["connecting", "head"])
def test_a_suspend_ends_an_attempt(phase: str) -> None:
    scene = Machine(answer=silence)
    scene.machine.has_timer = True
    if phase == "connecting":
        scene.there.path.block(1)
    scene.run(5)
    assert scene.phase == phase
    scene.machine.suspend(600)
    scene.run(5.25)
    assert [when for when, _ in scene.stale()] == [5]
    scene.close()


def test_a_clock_that_is_set_and_a_stop_are_no_suspend() -> None:
    scene = Machine()
    scene.machine.has_timer = True
    for when, ahead in ((10, 3600.0), (11, -7200.0), (12, 0.0)):
        scene.at(when, scene.machine.set_wall_clock, ahead)
    scene.run(13)
    scene.kernel.advance(20)
    scene.at(15 + 20, scene.kernel.stop, 8)
    scene.run(60)
    assert scene.ends == []
    scene.close()


def test_short_suspends_are_outlived() -> None:
    scene = Machine()
    scene.machine.has_timer = True
    for number in range(10):
        scene.at(10 + number, scene.machine.suspend, 5)
    scene.run(60)
    assert scene.ends == []
    scene.close()
