"""wire's files to the second: when a rotated slot is heard of, what a broken file costs, when a state is written."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from tests.simulation.answers import short_lived, silence, well
from tests.simulation.disk import RELAY_JSON, STREAM_STATE, MemoryDisk
from tests.simulation.relay import Relay, Visit
from tests.simulation.scene import Joined, Scene
from tests.simulation.single import LATENCY
from wire_rawsse import policy, reconnect
from wire_rawsse.policy import Backoff, Decision, Keepalive, Timeouts
from wire_rawsse.wire import follow, paths
from wire_rawsse.wire.follow import LOOK_EVERY, LOOK_WITHIN, Follower

ROUND_TRIP = 2 * LATENCY
HOUR = 3600.0


class Wired(Scene):
    """A daemon of wire's, and the one relay that it knows; both only speak when spoken to."""

    def __init__(self, slots: int = 1, backoff: Backoff = Backoff(), read: float = 1e8) -> None:
        super().__init__()
        self.kernel.dice = lambda: 0.5
        self.relay = Relay(self.kernel, well(), heartbeat=1e9)
        self.relay.gate.program = self.relay
        self.there = self.place("192.0.2.1", 80, self.relay.gate, LATENCY)
        self.found = self.name("relay.test", "192.0.2.1")
        self.disk = MemoryDisk(self.kernel)
        self.joined: list[tuple[float, str]] = []
        self.streams.joined = self._join
        self.network.keep_dialled = True
        timeouts = Timeouts(read=read)
        self.follower = Follower(
            self.streams, timeouts=timeouts, keepalive=Keepalive(), backoff=backoff, trust=None, file_system=self.disk
        )
        self.loop.add_housekeeping(self.follower)
        self.write(*(f"slot-{number}" for number in range(slots)))

    @property
    def time(self) -> float:
        return self.kernel.now - self.kernel.start

    def write(self, *slots: str) -> None:
        endpoints = [{"relay_url": "http://relay.test", "slot_id": slot, "slot_token": "t"} for slot in slots]
        self.disk.put(RELAY_JSON, json.dumps({"self": {"endpoints": endpoints}}).encode())

    @property
    def visit(self) -> Visit:
        """The one connection that the relay has."""
        (only,) = self.relay.visits.values()
        return only

    def at(self, when: float, call: Callable[..., object], *args: object) -> None:
        self.kernel.at(self.kernel.start + when, call, *args)

    def run(self, until: float) -> None:
        while self.time < until:
            self.loop.run(until - self.time)

    @property
    def said(self) -> Any:
        return json.loads(self.disk.files[STREAM_STATE].content)

    @property
    def connections(self) -> list[float]:
        return [when - self.kernel.start for when, _ in self.network.dialled]

    def close(self) -> None:
        self.loop.close()
        assert not self.kernel.descriptors and not self.network.open_sockets
        assert list(self.disk.files) == [RELAY_JSON, STREAM_STATE]

    def _join(self, joined: Joined) -> None:
        self.joined.append((self.time, joined.plan.url.target.split("/")[3]))


# relay.json.


def test_a_rotated_slot_is_joined_at_the_next_look() -> None:
    scene = Wired()
    scene.at(20, scene.write, "another")
    scene.run(60)
    assert scene.joined == [(0.0, "slot-0"), (LOOK_WITHIN + 1.0, "another")]  # A state was written after 1 s.
    assert [one["relay"] for one in scene.said["endpoints"]] == ["http://relay.test/v1/events/another/stream"]
    scene.close()


def test_a_daemon_without_a_home_sleeps_as_long_as_ever_and_joins_once_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "_home_of_user", lambda: None)
    scene = Wired()
    scene.disk.lose_home()
    scene.run(HOUR)
    assert scene.joined == [] and list(scene.disk.files) == [RELAY_JSON] and scene.disk.reads == 0
    assert scene.kernel.sleeps <= HOUR / LOOK_WITHIN + 2
    problem = scene.follower.state().last_error
    assert problem is not None and "no home folder" in problem
    scene.disk.find_home()
    scene.run(HOUR + LOOK_WITHIN + 2)
    assert [slot for _, slot in scene.joined] == ["slot-0"] and scene.said["state"] == "connected"
    scene.close()


def test_a_wake_looks_at_relay_json_once_ten_seconds_have_passed() -> None:
    scene = Wired()
    scene.run(5)
    scene.write("another")
    for when in (8, 12):
        scene.kernel.at(
            scene.kernel.start + when - LATENCY, lambda: next(iter(scene.relay.visits.values())).write(b":\n")
        )
    scene.run(20)
    assert scene.joined[1:] == [(12.0, "another")]
    scene.close()


@pytest.mark.parametrize("every", [0.5, 7.0, 13.0])
def test_a_relay_json_that_flips_does_not_have_the_relay_hammered(every: float) -> None:
    """The pace is the relay's: it outlives each of the slots."""
    scene = Wired()
    scene.relay.answer = short_lived(3.0, Visit.finish)
    number = 0
    while scene.time < HOUR:
        scene.run(scene.time + every)
        number += 1
        scene.write(f"slot-{number % 2 if every == 7.0 else number}")
    assert 100 < len(scene.connections) <= 180
    scene.close()


def test_what_was_reserved_for_a_connection_that_never_began_is_given_back() -> None:
    """Two slots in turn, faster than the slowest pace: neither starves."""
    scene = Wired()
    scene.relay.answer = silence
    while scene.time < HOUR:
        scene.run(scene.time + 15)
        scene.write(f"slot-{int(scene.time) // 15 % 2}")
    gaps = [after - before for before, after in zip(scene.connections, scene.connections[1:], strict=False)]
    assert max(gaps) < 100
    assert len(scene.connections) <= 180
    scene.close()


def test_sixteen_slots_at_one_relay_begin_at_once_and_the_others_in_their_turn() -> None:
    """A turn takes as long as the connection and the head: four latencies."""
    scene = Wired(slots=40)
    scene.run(2)
    assert scene.connections == [0.0] * 16 + [4 * LATENCY] * 16 + [8 * LATENCY] * 8
    assert {one.phase for one in scene.follower.state().endpoints} == {"streaming"}
    scene.close()


def test_a_name_that_hangs_costs_one_thread_however_often_slots_are_rotated() -> None:
    scene = Wired(slots=2)
    scene.found.silent = 1
    for number in range(6):
        scene.run(scene.time + 5)
        scene.write(f"a-{number}", f"b-{number}")
        assert scene.kernel.threads <= 1
    scene.found.silent = 0
    scene.run(scene.time + 120)
    assert {one["state"] for one in scene.said["endpoints"]} == {"connected"}
    scene.close()


def test_two_streams_that_wait_for_one_name_both_hear_of_it() -> None:
    scene = Wired(slots=2)
    scene.found.delay = 2.0
    scene.run(5)
    assert scene.connections == [2.0, 2.0]
    scene.close()


def test_a_broken_relay_json_is_read_once_and_not_at_each_change_of_a_phase() -> None:
    scene = Wired()
    scene.relay.answer = short_lived(1.0, Visit.finish)
    scene.run(30)
    scene.disk.put(RELAY_JSON, b'{"self": ' + b"[" * 1000)
    before = scene.disk.reads
    scene.run(HOUR)
    assert scene.disk.reads - before <= 2, "once, and once more when its stamps are final"
    assert "relay.json" in (scene.follower.state().last_error or "")
    scene.write("slot-0")
    scene.run(HOUR + LOOK_WITHIN)
    assert "relay.json" not in (scene.follower.state().last_error or "")
    scene.close()


def test_a_relay_json_that_cannot_be_read_is_tried_again_but_not_at_each_change_of_a_phase() -> None:
    scene = Wired()
    scene.relay.answer = short_lived(1.0, Visit.finish)
    scene.run(30)
    scene.disk.failing = 1
    scene.write("another")
    before, reads = scene.time, scene.disk.reads
    scene.run(before + HOUR)
    assert HOUR / LOOK_WITHIN - 1 <= scene.disk.reads - reads <= HOUR / LOOK_EVERY + 2
    assert scene.joined == [(0.0, "slot-0")]
    scene.disk.failing = 0
    scene.run(scene.time + LOOK_WITHIN)
    assert scene.joined[1][1] == "another"
    scene.close()


def test_a_relay_json_that_can_be_read_again_is_read_though_phases_change_all_the_time() -> None:
    """Each change is an occasion to look, and none of them may put off the next attempt to read."""
    scene = Wired()
    scene.run(30)
    scene.disk.failing = 1
    scene.write("another")

    def restart() -> None:
        scene.streams.restart()
        scene.at(scene.time + 2, restart)

    scene.at(31, restart)
    scene.run(35)
    assert "relay.json" in (scene.follower.state().last_error or "")
    scene.disk.failing = 0
    scene.run(35 + LOOK_WITHIN)
    assert scene.joined[1][1] == "another"
    scene.close()


def test_no_descriptor_for_relay_json_is_no_end() -> None:
    scene = Wired()
    scene.run(20)
    scene.kernel.most_descriptors = len(scene.kernel.descriptors)
    scene.write("another")
    scene.run(100)
    assert len(scene.joined) == 1
    scene.kernel.most_descriptors = 1000
    scene.run(100 + LOOK_WITHIN)
    assert [slot for _, slot in scene.joined] == ["slot-0", "another"]
    scene.close()


def test_bad_entries_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    scene = Wired()
    good = {"relay_url": "http://relay.test", "slot_id": "a", "slot_token": "t"}
    for number in range(3):
        content = json.dumps({"self": {"endpoints": [good, {}, {**good, "relay_url": "http://[::1"}]}}).encode()
        scene.disk.put(RELAY_JSON, content + b" " * number)
        with caplog.at_level(logging.WARNING):
            scene.run(scene.time + 40)
    [line] = [record.getMessage() for record in caplog.records]
    assert "self.endpoints[1]" in line and "self.endpoints[2]: no stream can be asked for" in line
    assert scene.follower.state().last_error == line
    scene.close()


def test_a_fault_of_ours_while_following_is_told_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Wired()
    scene.run(20)
    with monkeypatch.context() as patch:
        patch.setattr(follow, "read_endpoints", lambda *args, **named: 1 / 0)
        scene.write("another")
        scene.run(100)
        assert "internal error (ZeroDivisionError)" in (scene.follower.state().last_error or "")
    scene.run(200)
    assert scene.follower.state().last_error is None
    assert [slot for _, slot in scene.joined] == ["slot-0", "another"]
    scene.close()


# stream_state.json.


def test_a_change_is_written_a_second_after_the_last_at_the_latest() -> None:
    scene = Wired()
    writes: list[tuple[float, str]] = []
    scene.disk.watched = lambda path: writes.append((scene.time, scene.said["phase"])) if path == STREAM_STATE else None
    scene.relay.answer = silence
    scene.run(15 + 2 * ROUND_TRIP + 0.5)
    # Joined, and then waiting for a head: what lies between is over within the second. Then the head's clock runs out.
    assert writes == [(0.0, "idle"), (1.0, "head"), (15 + ROUND_TRIP, "backing off")]
    scene.close()


def test_a_full_disk_leaves_the_old_state_whole_and_is_tried_again() -> None:
    scene = Wired()
    scene.run(20)
    assert scene.said["state"] == "connected"
    scene.disk.full, scene.disk.room = 1, 100
    scene.visit.reset()
    scene.relay.answer = silence
    scene.run(30)
    assert scene.said["state"] == "connected", "the old one, and no half"
    scene.disk.full = 0
    scene.run(30 + 31)
    assert scene.said["state"] != "connected"
    scene.close()


@pytest.mark.parametrize("what", ["read_only", "no_inodes"])
def test_a_folder_that_cannot_be_written_is_told_once_and_repaired(what: str, caplog: pytest.LogCaptureFixture) -> None:
    scene = Wired()
    setattr(scene.disk, what, 1)
    with caplog.at_level(logging.WARNING):
        scene.run(400)
    assert [record.getMessage() for record in caplog.records if "stream_state" in record.getMessage()] != []
    assert len(caplog.records) == 1
    assert STREAM_STATE not in scene.disk.files
    setattr(scene.disk, what, 0)
    scene.run(431)
    assert scene.said["state"] == "connected"
    scene.close()


def test_the_state_is_refreshed_every_five_minutes_and_closed_at_the_end() -> None:
    scene = Wired()
    stamps: set[str] = set()
    scene.disk.watched = lambda path: stamps.add(scene.said["ts"]) if path == STREAM_STATE else None
    scene.run(1000)
    assert len(stamps) == 2 + 3
    scene.close()
    assert scene.said["state"] == "error"


# Exceptions raised by the host's own signal handlers.


class Struck(BaseException):
    pass


def struck(scene: Wired, until: float) -> int:
    """Run until then; how often a handler raised."""

    def strike() -> NoReturn:
        raise Struck

    scene.disk.strike = strike
    times = 0
    while scene.time < until:
        try:
            scene.run(until)
        except Struck:
            times += 1
    return times


@pytest.mark.parametrize("call", range(8))
def test_a_handler_that_raises_in_a_file_operation_delays_nothing(call: int) -> None:
    """The rotated slot, and what has become of it, are there as soon as if nothing had been."""
    scene = Wired()
    scene.at(20, scene.write, "another")
    scene.at(25, setattr, scene.disk, "calls_left", call)
    assert struck(scene, 32) == 1
    assert scene.joined == [(0.0, "slot-0"), (LOOK_WITHIN + 1.0, "another")]
    (endpoint,) = scene.said["endpoints"]
    assert (endpoint["relay"], endpoint["state"]) == ("http://relay.test/v1/events/another/stream", "connected")
    scene.close()


@pytest.mark.parametrize("call", range(16))
def test_a_handler_that_raises_at_the_beginning_leaves_nothing_undone(call: int) -> None:
    scene = Wired()
    scene.disk.put(f"{STREAM_STATE}.99-1.tmp", b"{")  # Of a process that is gone.
    scene.disk.calls_left = call
    assert struck(scene, 5) == 1
    assert scene.said["state"] == "connected"
    scene.close()


# Faults of ours outside a stream.


def test_a_fault_between_two_streams_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `decide`: an exception there is reported, and the stream starts again after the longest pause."""
    scene = Wired()
    scene.relay.answer = short_lived(20.0, Visit.finish)
    real, faults = policy.decide, [ZeroDivisionError(), OSError(errno.EIO, "what?")]

    def decide(*args: Any, **named: Any) -> Decision:
        if faults:
            raise faults.pop()
        return real(*args, **named)

    monkeypatch.setattr(reconnect, "decide", decide)
    scene.run(22)
    [state] = scene.follower.state().endpoints
    assert state.state == "error" and "internal error (OSError)" in (state.last_error or "")
    scene.run(70)
    [state] = scene.follower.state().endpoints
    assert state.state == "connected"
    scene.run(1000)
    assert not faults and len(scene.connections) > 10
    scene.close()


def test_a_fault_that_stays_costs_no_busy_loop_and_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Wired()
    scene.relay.answer = short_lived(20.0, Visit.finish)
    monkeypatch.setattr(reconnect, "decide", lambda *args, **named: 1 / 0)
    scene.run(1000)
    assert len(scene.connections) == 1000 // 50
    scene.streams.restart()
    scene.run(scene.time + 1)
    assert len(scene.connections) == 1000 // 50 + 1, "a restart is one here, too"
    scene.close()
