"""Several streams in one loop: whose deadline is kept, and that the simulation looks for it."""

from __future__ import annotations

import pytest

from tests.simulation.kernel import Violation
from tests.simulation.single import LATENCY, Single, elsewhere, stop
from wire_rawsse.errors import ReadTimeout
from wire_rawsse.hosts.schedule import Schedule


def test_every_deadline_of_many_silent_streams_is_kept_to_the_last_bit() -> None:
    scene = Single()
    relays = [elsewhere(scene, f"relay-{number}.test", f"198.51.100.{number}") for number in range(40)]
    streams = [scene.stream(f"http://relay-{number}.test/") for number in range(40)]
    for number, (relay, stream) in enumerate(zip(relays, streams, strict=True)):
        stream.keep_journal()
        relay.heartbeat = 1e9
        scene.at(20 + number, stop, relay)
    scene.run(20)
    for number, relay in enumerate(relays):
        for visit in relay.visits.values():
            scene.at(20 + number / 2, visit.write, b":\n")
    scene.run(200)
    for number, stream in enumerate(streams):
        when, error, _ = stream.ends[0]
        assert isinstance(error, ReadTimeout)
        assert when - scene.kernel.start == 20 + number / 2 + LATENCY + 75
    scene.close()


def test_a_deadline_that_the_heap_has_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Single()
    elsewhere(scene, "other.test", "192.0.2.3")
    scene.stream("http://other.test/")
    scene.run(20)
    monkeypatch.setattr(Schedule, "earliest", lambda self: 1e9 + scene.kernel.now)
    with pytest.raises(Violation, match="a task is due at"):
        scene.run(100)
