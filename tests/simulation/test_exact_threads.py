"""Other threads, which run while one is in a system call: bells that are rung twice, and what an end leaves behind."""

from __future__ import annotations

import os
import select
from unittest import mock

from tests.simulation.kernel import MemoryWakeupFd
from tests.simulation.scene import Scene
from tests.simulation.single import HTTP, LATENCY, Single, elsewhere
from wire_rawsse import StreamSubscriber, subscriber
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.hosts.thread import SubscriberThread
from wire_rawsse.state import SubscriberState, summarise
from wire_rawsse.waits import READ
from wire_rawsse.wake import WakeChannel


def test_a_host_that_is_quicker_than_the_thread_that_tells_it_of_an_answer_finds_it() -> None:
    scene = Single()
    scene.found.delay = 1.0
    scene.loop.run(0)
    scene.kernel.behind_ring.append(lambda: scene.loop.run(0))  # It looks before the thread goes on.
    scene.kernel.advance(2.0)
    scene.run(15)
    assert scene.phase == "streaming" and scene.only.ends == []
    scene.close()


def test_who_rings_while_another_rings_is_heard_all_the_same() -> None:
    """The host has answered the first ring, and sleeps again before the thread that rang goes on."""
    scene = Single()
    scene.run(20)

    def meanwhile() -> None:
        scene.loop.run(0)
        scene.only.restart()

    scene.kernel.behind_ring.append(meanwhile)
    scene.loop.request(lambda: None)
    (poller,) = scene.kernel.pollers
    assert poller.mask() == READ
    scene.run(21)
    assert scene.begun[1:] == [20.0]
    scene.close()


def test_who_closes_while_another_rings_leaves_nothing() -> None:
    scene = Single()
    scene.run(20)
    scene.kernel.behind_ring.append(scene.loop.close)
    scene.only.restart()
    assert not scene.kernel.descriptors
    scene.close()


def test_a_wake_that_was_taken_before_its_ring_leaves_nothing_to_be_looked_for() -> None:
    """The descriptor may be readable once for nothing; a select loop that finds it so for ever is a busy one."""
    scene = Single()
    scene.run(20)
    channel, taken = WakeChannel(), []
    wakeup = channel._wakeup = MemoryWakeupFd(scene.kernel)
    scene.kernel.before_ring.append(lambda: taken.append(channel.wait(0)))
    scene.at(21, scene.relay.post)
    assert scene.loop.run(5, channel.set)
    assert taken == [True]
    looks = 0
    while scene.kernel.descriptors[wakeup.fileno()].mask() and looks < 5:
        assert not channel.wait(0)
        looks += 1
    assert looks <= 1
    wakeup.close()
    scene.close()


class Employer:
    """A subscriber, as its thread knows it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def wait(self, timeout: float | None = None) -> bool:
        return self._loop.run(timeout)

    @property
    def state(self) -> SubscriberState:
        return summarise(())

    def restart(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._loop.close()

    def _failed(self, error: Exception, pause: float) -> None:
        raise error


def test_the_end_of_a_subscriber_is_no_wake() -> None:
    """The channel outlives it, and says nothing about it."""
    scene = Single()
    channel = WakeChannel()
    taken: list[bool] = []
    thread = SubscriberThread(channel, Employer(scene.loop), scene.loop)
    for when in (10, 20):
        scene.at(when, lambda: taken.append(channel.wait(0)))
    scene.at(15, scene.relay.post)
    scene.at(30, thread.subscriber.close)
    thread.run()  # The shipped loop of the thread, in this one.
    assert taken == [True, True]
    assert not channel.wait(0) and not select.select([channel.fileno()], [], [], 0)[0]
    scene.close()


def test_a_subscriber_that_nobody_waits_on_gives_everything_back_when_it_is_closed() -> None:
    scene = Scene()
    relay = elsewhere(scene, "relay.test", "192.0.2.1")
    with (
        mock.patch.object(subscriber, "WakeStreams", lambda **_: scene.streams),
        mock.patch.dict(os.environ, clear=True),
    ):
        one = StreamSubscriber(HTTP)
        assert one.wait(5)
        assert not one.wait(5) and one.state.state == "connected"
        one.close()
        assert not scene.kernel.descriptors and not scene.kernel.pollers and not scene.network.open_sockets
        assert one.state.phase == "closed"
        scene.kernel.advance(LATENCY)
        assert not relay.visits
