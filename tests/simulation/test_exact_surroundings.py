"""The machine's announcements to a loop, and their effect on its streams, at exact times."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any
from unittest import mock

import pytest

from tests.simulation.machine import FIRST, V4, V6
from tests.simulation.relay import Relay
from tests.simulation.single import LATENCY, Single, elsewhere
from wire_rawsse import Closed, Event, Opened
from wire_rawsse.errors import ConnectionBrokenError, StaleConnectionError
from wire_rawsse.event_source import EventSink
from wire_rawsse.hosts.consequences import DOUBT, MOST_AT_ONCE, Consequences
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.hosts.surroundings import EVERY
from wire_rawsse.transport.netlink import NetworkChange

UP = 2 * LATENCY
"""Seconds from an attempt to a live stream: one round trip for TCP, and one for the head comes on top."""
OTHER = "198.51.100.2"


class Machine(Single):
    """A stream to one relay, and a loop that watches its machine. `dice`: all random numbers."""

    def __init__(self, *, watch: bool = True, dice: float = 0.5, **settings: object) -> None:
        super().__init__(dice=dice, **settings)  # type: ignore[arg-type]
        self.notice = Notice(self.loop, watch)

    def stale(self) -> list[tuple[float, str]]:
        """When connections were given up, and why."""
        return [
            (when - self.kernel.start, str(error).partition(" (connected")[0])
            for when, error, _ in self.only.ends
            if isinstance(error, StaleConnectionError)
        ]

    def mute(self) -> None:
        """Nothing comes from the relay any more."""
        self.there.path.block(1)


@pytest.mark.parametrize("heard", [True, False])
def test_a_lost_address_is_noticed_at_once(heard: bool) -> None:
    scene = Machine()
    scene.at(20, scene.machine.add, V4, OTHER)
    scene.at(21, scene.machine.remove, FIRST[V4])
    if not heard:
        scene.at(20.5, scene.mute)
        scene.at(21.5, scene.there.path.unblock, 1)
    scene.run(30)
    assert scene.stale() == [(21, f"its local address {FIRST[V4]} is gone")]
    assert scene.delays == [0]
    assert isinstance(scene.end[1], ConnectionBrokenError)
    assert scene.begun[1:] == [21]
    assert scene.phase == "streaming"
    scene.close()


def test_a_lost_address_that_came_back_loses_no_stream() -> None:
    scene = Machine()

    def blip() -> None:
        scene.machine.remove(FIRST[V4])
        scene.machine.add(V4, FIRST[V4])

    scene.at(20, blip)
    scene.run(40)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_the_address_of_another_stream_is_not_asked_for() -> None:
    scene = Machine()
    scene.run(10)
    for address in ("203.0.113.1", "2001:db8::1"):
        scene.machine.tell(gone=[address], up=[V4, V6])
        scene.run(scene.time + 1)
    assert (scene.machine.questions, scene.ends) == (0, [])
    scene.close()


def test_a_network_that_comes_up_ends_a_pause_within_a_second() -> None:
    scene = Machine()
    scene.network.down = 1
    scene.run(50)
    before = len(scene.begun)
    assert scene.phase == "backing off"
    scene.network.down = 0
    scene.machine.tell(up=[V4])
    scene.run(51)
    assert scene.begun[before:] == [50.5]
    scene.close()


def test_a_network_of_another_family_leaves_it_alone() -> None:
    scene = Machine()
    scene.network.down = 1
    scene.run(50)
    before = len(scene.begun)
    scene.machine.tell(up=[V6])
    scene.run(52)
    assert len(scene.begun) == before
    scene.close()


def test_a_name_that_could_not_be_looked_up_is_of_any_family() -> None:
    scene = Machine()
    scene.names.known.clear()
    scene.run(50)
    before = len(scene.begun)
    scene.machine.tell(up=[V6])
    scene.run(51)
    assert scene.begun[before:] == [50.5]
    scene.close()


def test_a_connection_that_would_leave_from_elsewhere_must_speak() -> None:
    scene = Machine()
    scene.run(12)
    scene.visit.over = True
    scene.machine.route_over(V4, OTHER)
    scene.run(30)
    expected = f"it was silent for 10 s, and new connections to 192.0.2.1 leave from {OTHER}, this one from {FIRST[V4]}"
    doubted, error, pause = scene.doubt
    assert (doubted, str(error).partition(" (connected")[0], pause) == (12 + DOUBT, expected, 0)
    assert isinstance(error, StaleConnectionError) and error.in_doubt
    assert (scene.ends, scene.renewals) == ([], [12 + DOUBT + 2 * UP])
    assert dict(scene.only.record.ends) == {"StaleConnectionError": 1}
    scene.close()


def test_a_sign_of_life_ends_the_doubt() -> None:
    scene = Machine()
    scene.run(12)
    scene.machine.route_over(V4, OTHER)
    scene.at(12 + DOUBT - 1, scene.relay.post)
    scene.run(60)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_a_source_that_was_seen_before_raises_no_doubt() -> None:
    """As with routes of several paths, where each question may be answered otherwise than the connection's own."""
    scene = Machine()
    scene.run(5)
    scene.machine.route_over(V4, OTHER)
    scene.at(5 + DOUBT / 2, scene.relay.post)
    scene.run(31)  # After the second heartbeat.
    for _ in range(20):
        scene.machine.tell(routes=[V4])
        scene.run(scene.time + 1.25)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_another_address_of_the_same_prefix_raises_no_doubt() -> None:
    """A temporary IPv6 address is replaced by the next (RFC 8981), and works until it is removed."""
    scene = Machine()
    scene.there.path, place = scene.there.path, scene.there
    scene.network.places["2001:db8::7", 80] = place
    scene.name("relay.test", "2001:db8::7")
    scene.run(5)
    assert scene.phase == "streaming"
    scene.machine.route_over(V6, FIRST[V6] + "ff")
    scene.run(25)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.machine.route_over(V6, "2001:db8:2::1")
    scene.run(25 + DOUBT)
    assert (scene.stale(), scene.only.doubts) == ([], [])  # The heartbeat at 30.
    scene.close()


def test_a_late_host_judges_a_doubt_only_after_it_has_looked() -> None:
    scene = Machine()
    scene.run(5)
    scene.machine.route_over(V4, OTHER)
    scene.run(6)
    scene.kernel.advance(DOUBT + 20)  # The heartbeat comes meanwhile.
    scene.run(scene.time + 5)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_lost_announcements_mean_that_everything_is_looked_at() -> None:
    scene = Machine()
    scene.run(5)
    scene.machine.addresses[V4] = [OTHER]
    scene.machine.tell(everything=True)
    scene.run(6)
    assert [when for when, _ in scene.stale()] == [5]
    scene.close()


def test_a_thousand_announcements_a_second_are_looked_at_four_times() -> None:
    scene = Machine()
    scene.run(5)
    for number in range(10_000):
        scene.at(5 + number / 1000, scene.machine.tell)
    polls = scene.kernel.polls
    scene.run(15)
    assert scene.machine.reads <= 10 / EVERY + 2
    assert scene.kernel.polls - polls <= 4 * 10 / EVERY
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.close()


def test_without_news_nothing_wakes() -> None:
    quiet, watching = Machine(watch=False), Machine()
    for scene in (quiet, watching):
        scene.run(7200)
        scene.close()
    assert watching.kernel.sleeps == quiet.kernel.sleeps
    assert (watching.machine.reads, watching.machine.questions) == (0, 0)


def test_a_storm_in_which_the_address_is_lost_hides_nothing() -> None:
    scene = Machine()
    scene.machine.add(V4, OTHER)
    scene.run(5)
    for number in range(2000):
        scene.at(5 + number / 1000, scene.machine.tell)
    scene.at(6.1, scene.machine.remove, FIRST[V4])
    scene.run(8)
    ((when, _),) = scene.stale()
    assert 6.1 <= when <= 6.1 + EVERY
    scene.close()


def test_a_network_that_comes_and_goes_costs_no_more_than_the_pace() -> None:
    scene = Machine()
    for number in range(600):
        scene.at(10 + 6 * number, scene.machine.route_over, V4, f"198.51.100.{number % 250 + 1}")
        scene.at(11 + 6 * number, scene.machine.remove, f"198.51.100.{number % 250}")
    scene.run(3600)
    assert len(scene.begun) <= 360
    scene.close()


def test_many_streams_are_checked_and_dropped_in_parts() -> None:
    """Each time the loop looks whether there is a wake, it has done a bounded part of the work."""
    count = 5 * MOST_AT_ONCE
    scene = Machine()
    relay = elsewhere(scene, "other.test", "192.0.2.3")
    streams = [scene.stream("http://other.test/") for _ in range(count)]
    scene.run(20)
    assert {stream.phase for stream in streams} == {"streaming"}
    checked: Counter[int] = Counter()
    dropped: Counter[int] = Counter()
    examine, interrupt = Consequences._examine, scene.loop.interrupt

    def count_checked(*arguments: Any) -> None:
        checked[scene.kernel.polls] += 1
        examine(*arguments)

    def count_dropped(*arguments: Any) -> None:
        dropped[scene.kernel.polls] += 1
        interrupt(*arguments)

    with mock.patch.object(Consequences, "_examine", count_checked):
        vars(scene.loop)["interrupt"] = count_dropped
        scene.notice.network_changed()
        scene.run(21)
        assert (checked.total(), max(checked.values()), scene.ends) == (count + 1, MOST_AT_ONCE, [])
        scene.machine.addresses[V4] = [OTHER]
        scene.notice.network_changed()
        scene.run(40)
    assert (dropped.total(), max(dropped.values())) == (count + 1, MOST_AT_ONCE)
    assert all(stream.record.reconnect_count == 1 for stream in streams)
    assert len(relay.visits) == count
    scene.close()


def test_what_a_sandbox_forbids_is_told_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire_rawsse.log._said", set())
    caplog.set_level(logging.INFO, "wire_rawsse")
    for _ in range(2):
        scene = Machine()
        scene.machine.announces = False
        scene.run(60)
        assert (scene.phase, scene.ends) == ("streaming", [])
        scene.close()
    said = [record for record in caplog.records if "announced" in record.message]
    assert [(record.levelname, record.message) for record in said] == [
        ("INFO", "network changes are not announced here (Operation not permitted); clocks notice them")
    ]


def test_a_socket_that_fails_later_is_closed() -> None:
    scene = Machine()
    scene.run(5)
    (sock,) = scene.machine.sockets
    sock.error = 5
    sock.put(NetworkChange())
    scene.run(60)
    assert (scene.machine.sockets, scene.ends) == ([], [])
    scene.close()


def test_a_socket_that_cannot_be_watched_for_a_while_is_read_all_the_same() -> None:
    scene = Machine()
    scene.machine.add(V4, OTHER)
    scene.run(5)
    for when in (5.0, 5.125):  # The second is too soon for another look, so the socket leaves the poller.
        scene.at(when, scene.machine.tell)
    scene.run(5.1875)
    scene.kernel.most_watched = 1
    scene.run(7.5)
    scene.machine.remove(FIRST[V4])
    scene.run(8.5)
    ((when, _),) = scene.stale()
    assert 7.5 <= when <= 8.5
    scene.close()


@pytest.mark.parametrize("watch", [False, True])
def test_a_host_that_knows_better_says_so(watch: bool) -> None:
    scene = Machine(watch=watch)
    scene.run(5)
    scene.machine.addresses[V4] = [OTHER]
    scene.run(6)
    assert (scene.ends, scene.only.doubts) == ([], [])
    scene.notice.network_changed()
    scene.run(7)
    assert [when for when, _ in scene.stale()] == [6]
    assert bool(scene.machine.sockets) is watch
    scene.close()


def test_a_host_that_knows_better_ends_a_pause() -> None:
    scene = Machine(watch=False)
    scene.there.refuses = 1
    scene.run(50)
    before = len(scene.begun)
    scene.notice.network_changed()
    scene.run(51)
    assert scene.begun[before:] == [50.5]
    scene.close()


@pytest.mark.parametrize("count", [1, 2000])
def test_what_was_received_before_the_drop_is_handed_out_first(count: int) -> None:
    sink = EventSink("", 1 << 20)
    scene = Machine(sink=sink)
    scene.run(20)
    sink.items.clear()
    scene.relay.post(count)
    scene.kernel.advance(1)
    scene.machine.remove(FIRST[V4])
    scene.run(22)
    assert [type(item) for item in sink.items] == [Event] * count + [Closed, Opened]
    assert scene.stale() == [(21, f"its local address {FIRST[V4]} is gone")]
    scene.close()


def test_a_peer_that_never_stops_cannot_put_off_the_drop() -> None:
    scene = Machine()
    scene.machine.has_timer = True
    scene.run(20)
    scene.kernel.granularity = scene.kernel.tick = 0.001
    for number in range(5000):
        scene.at(20 + number / 1000, scene.relay.post)
    scene.at(21, scene.machine.suspend, 60)
    scene.run(24)
    ((when, _),) = scene.stale()
    assert 21 <= when < 21.2
    scene.close()


def test_unix_sockets_have_no_network() -> None:
    scene = Machine(url="unix:///run/relay.sock?path=/x")
    relay = Relay(scene.kernel, scene.relay.answer)
    relay.gate.program = relay
    scene.network.places["/run/relay.sock"] = scene.there
    scene.run(5)
    scene.machine.tell(everything=True)
    scene.run(10)
    assert (scene.ends, scene.phase, scene.machine.questions) == ([], "streaming", 0)
    scene.close()
