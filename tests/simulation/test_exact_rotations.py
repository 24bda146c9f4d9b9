"""wire's files, beyond one change at a time: stamps that do not differ, writes that are cut short, and what is kept."""

from __future__ import annotations

import json

from tests.simulation import cap
from tests.simulation.disk import RELAY_JSON
from tests.simulation.test_exact_files import HOUR, Wired
from wire_rawsse.policy import Backoff
from wire_rawsse.wire.follow import LOOK_WITHIN
from wire_rawsse.wire.relay_json import GRANULE
from wire_rawsse.wire.state_file import rfc3339


def in_place(scene: Wired, slot: str) -> None:
    """As an editor writes it: the same inode, and the same size."""
    endpoint = {"relay_url": "http://relay.test", "slot_id": slot, "slot_token": "t"}
    scene.disk.put(RELAY_JSON, json.dumps({"self": {"endpoints": [endpoint]}}).encode(), in_place=True)


def test_a_slot_that_is_rotated_twice_in_one_tick_of_the_disks_clock_is_joined() -> None:
    """The file is read in between, and its time stamps are the same after the second rotation."""
    for first in (40.0, 40.5, 41.0):
        scene = Wired()
        scene.disk.granule = 2 * 10**9
        scene.at(first, in_place, scene, "slot-1")
        scene.at(first + 0.125, lambda scene=scene: scene.visit.write(b":\n"))  # Wakes the loop.
        scene.at(first + 0.5, in_place, scene, "slot-2")
        scene.run(first + GRANULE + LOOK_WITHIN + 2)
        assert [slot for _, slot in scene.joined] == ["slot-0", "slot-1", "slot-2"]
        scene.close()


def test_a_state_is_whole_however_little_of_it_a_write_takes() -> None:
    for takes in (1, 100):
        scene = Wired()
        scene.disk.takes = takes
        scene.run(5)
        assert scene.said["state"] == "connected"
        scene.close()


def test_a_file_that_is_closed_right_after_a_write_says_so() -> None:
    """The least interval between two writes does not hold for the last one."""
    scene = Wired()
    scene.run(0.125)
    while scene.said["state"] != "connected":
        scene.run(scene.time + 0.125)
    scene.close()
    assert scene.said["state"] != "connected"


def test_the_last_event_of_a_slot_that_is_gone_is_not_forgotten() -> None:
    scene = Wired()
    scene.at(10, scene.relay.post)
    scene.at(20, scene.write, "another")
    scene.run(60)
    assert [slot for _, slot in scene.joined] == ["slot-0", "another"]
    came = scene.visit.connection.path.latency + 10 + scene.kernel.start + scene.kernel.wall_ahead
    assert scene.said["last_event_at"] == scene.said["last_byte_at"] == rfc3339(came)
    assert [one["last_event_at"] for one in scene.said["endpoints"]] == [None]
    scene.close()


def test_slots_that_are_rotated_under_a_host_that_was_away_for_an_hour_stay_below_the_pace() -> None:
    """A stream's clock stands still meanwhile: what it lags behind is no rest of the one that takes its place."""
    for away in (0.0, HOUR):
        scene = Wired(read=75)
        scene.kernel.dice = lambda: 0.999
        scene.relay.heartbeat = 30.0
        scene.run(50)
        scene.kernel.advance(away)
        scene.run(away + 200)
        scene.there.refuses = 1
        scene.visit.reset()
        began = scene.time
        scene.run(began + 300)  # By now what it may do at once has been used up.
        number = 0
        while scene.time < began + HOUR:
            number += 1
            scene.write(f"slot-{number}")
            scene.run(scene.time + 15)
        assert 100 < sum(when > began for when in scene.connections) <= cap.most(Backoff(), 0)
        scene.close()
