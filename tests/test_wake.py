"""`WakeChannel`: at most one pending wake, none lost, none invented, with a descriptor for hosts that sleep in poll."""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from tests.hosts.support import Striker
from wire_rawsse import WakeChannel

PATIENCE = 20.0


def readable(channel: WakeChannel, timeout: float = 0) -> bool:
    return bool(select.select([channel.fileno()], [], [], timeout)[0])


New = Callable[[], WakeChannel]


@pytest.fixture(params=[False, True], ids=["plain", "with a descriptor"])
def new(request: pytest.FixtureRequest) -> New:
    """Makes a channel, which the test alone holds: it has no `close`, and ends with its last reference."""

    def make() -> WakeChannel:
        made = WakeChannel()
        if request.param:
            made.fileno()
        return made

    return make


class TestWait:
    def test_takes_the_wake(self, new: New) -> None:
        channel = new()
        assert channel.wait(0) is False
        channel.set()
        assert channel.wait(0) is True
        assert channel.wait(0) is False

    def test_wakes_coalesce(self, new: New) -> None:
        channel = new()
        for _ in range(1000):
            channel.set()
        assert channel.wait(PATIENCE) is True
        assert channel.wait(0) is False

    @pytest.mark.parametrize("timeout", [0, 0.0, -1, -1e300, -float("inf")])
    def test_without_time_it_only_looks(self, new: New, timeout: float) -> None:
        channel = new()
        assert channel.wait(timeout) is False
        channel.set()
        assert channel.wait(timeout) is True

    @pytest.mark.parametrize("timeout", [None, PATIENCE, 1e6, 1e10, 1e300, float("inf")])
    def test_returns_at_once_on_a_wake(self, new: New, timeout: float | None) -> None:
        """However long it would have waited: longer than a lock can."""
        channel = new()
        setter = threading.Timer(0.02, channel.set)
        setter.start()
        began = time.monotonic()
        assert channel.wait(timeout) is True
        assert time.monotonic() - began < PATIENCE / 2
        setter.join()

    def test_never_returns_early(self, new: New) -> None:
        channel = new()
        for timeout in (0.001, 0.02, 0.1):
            began = time.monotonic()
            assert channel.wait(timeout) is False
            assert time.monotonic() - began >= timeout - 0.001  # The two clocks may differ by their resolution.

    @pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals between threads")
    def test_a_signal_is_no_wake(self, new: New) -> None:
        """The wait goes on (PEP 475), whether the handler does nothing or something else."""
        channel = new()
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        main = threading.get_ident()
        timers = [threading.Timer(at, signal.pthread_kill, (main, signal.SIGUSR1)) for at in (0.02, 0.05)]
        try:
            for timer in timers:
                timer.start()
            began = time.monotonic()
            assert channel.wait(0.1) is False
            assert time.monotonic() - began >= 0.099
        finally:
            for timer in timers:
                timer.join()
            signal.signal(signal.SIGUSR1, before)

    @pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals between threads")
    def test_set_by_the_handler_that_interrupts_it(self, new: New) -> None:
        channel = new()
        before = signal.signal(signal.SIGUSR1, lambda *_: channel.set())
        try:
            for _ in range(20):
                timer = threading.Timer(0.002, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
                timer.start()
                assert channel.wait(PATIENCE) is True
                timer.join()
            assert channel.wait(0) is False
        finally:
            signal.signal(signal.SIGUSR1, before)

    @pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals between threads")
    def test_set_by_a_handler_within_set(self, new: New) -> None:
        """At any moment of the setting itself: never a deadlock, never a lost wake."""
        channel = new()
        before = signal.signal(signal.SIGUSR1, lambda *_: channel.set())
        over = threading.Event()
        main = threading.get_ident()

        def strike() -> None:
            while not over.wait(0.0005):
                signal.pthread_kill(main, signal.SIGUSR1)

        striker = threading.Thread(target=strike)
        striker.start()
        try:
            for _ in range(20_000):
                channel.set()
                assert channel.wait(0) is True
        finally:
            over.set()
            striker.join()
            signal.signal(signal.SIGUSR1, before)


class TestFileno:
    def test_is_made_when_it_is_first_asked_for(self) -> None:
        if sys.platform != "linux":
            pytest.skip("only Linux lists its descriptors there")
        channel = WakeChannel()
        before = os.listdir("/proc/self/fd")
        channel.set()
        channel.wait(0)
        assert os.listdir("/proc/self/fd") == before
        descriptor = channel.fileno()
        assert channel.fileno() == descriptor
        assert not os.get_inheritable(descriptor)
        del channel
        assert os.listdir("/proc/self/fd") == before

    def test_is_readable_while_a_wake_is_pending(self) -> None:
        channel = WakeChannel()
        assert not readable(channel)
        for _ in range(3):
            channel.set()
            channel.set()
            assert readable(channel)
            assert readable(channel), "looking at it takes nothing"
            assert channel.wait(0) is True
            assert not readable(channel)

    def test_knows_of_a_wake_that_came_before_it(self) -> None:
        channel = WakeChannel()
        channel.set()
        assert readable(channel)
        assert channel.wait(0) is True
        assert not readable(channel)

    def test_wakes_a_select(self) -> None:
        channel = WakeChannel()
        timer = threading.Timer(0.02, channel.set)
        channel.fileno()
        timer.start()
        assert readable(channel, PATIENCE)
        assert channel.wait(0) is True
        timer.join()

    def test_a_long_life_of_wakes_leaves_nothing_behind(self) -> None:
        """Neither an eventfd that counts up nor a pair of sockets that fills up."""
        channel = WakeChannel()
        channel.fileno()
        for _ in range(10_000):
            channel.set()
            assert channel.wait(0) is True
        assert not readable(channel)


def test_it_can_be_referred_to_weakly_and_frees_everything() -> None:
    channel = WakeChannel()
    channel.fileno()
    reference = weakref.ref(channel)
    del channel
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("with_descriptor", [False, True])
def test_many_setters_and_many_waiters(with_descriptor: bool) -> None:
    """Each wake is taken once, none is invented, and the last is never lost."""
    channel = WakeChannel()
    if with_descriptor:
        channel.fileno()
    sets_each, setters, waiters = 3000, 4, 4
    over = threading.Event()
    taken = [0] * waiters

    def wait(number: int) -> None:
        while not over.is_set():
            taken[number] += channel.wait(0.02)

    def set_() -> None:
        for _ in range(sets_each):
            channel.set()

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(waiters)]
    setting = [threading.Thread(target=set_) for _ in range(setters)]
    for thread in threads + setting:
        thread.start()
    for thread in setting:
        thread.join()
    end = time.monotonic() + PATIENCE
    while channel._pending.acquire(False):
        channel._pending.release()
        assert time.monotonic() < end, "the last wake was not taken"
        time.sleep(0.001)
    over.set()
    for thread in threads:
        thread.join()
    assert 1 <= sum(taken) <= sets_each * setters
    assert channel.wait(0) is False


@pytest.mark.parametrize("hosts", [1, 3])
def test_a_select_loop_misses_none(hosts: int) -> None:
    """Ping-pong through the descriptor: each answer waits for its wake, so a lost one would stop the game."""
    channel = WakeChannel()
    channel.fileno()
    answered = threading.Semaphore(0)
    over = threading.Event()

    def host() -> None:
        while not over.is_set():
            if readable(channel, 0.05) and channel.wait(0):
                answered.release()

    threads = [threading.Thread(target=host) for _ in range(hosts)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5000):
            channel.set()
            assert answered.acquire(timeout=PATIENCE), "a wake was left behind an unreadable descriptor"
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not answered.acquire(blocking=False), "a wake was invented"


def test_a_first_fileno_from_many_threads() -> None:
    """All get the same descriptor, and a wake set meanwhile shows in it."""
    for _ in range(200):
        channel = WakeChannel()
        start = threading.Barrier(5)
        got: list[int] = []

        def ask(channel: WakeChannel = channel, start: threading.Barrier = start, got: list[int] = got) -> None:
            start.wait()
            got.append(channel.fileno())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        start.wait()
        channel.set()
        for thread in threads:
            thread.join()
        assert len(set(got)) == 1
        assert select.select([got[0]], [], [], PATIENCE)[0]
        assert channel.wait(0)


class TestStruck:
    """By a signal handler that raises inside `wait`, at each point at which CPython may run one."""

    def test_no_wake_is_lost(self, new: New) -> None:
        for point in range(1, 1000):
            channel = new()
            channel.set()
            striker = Striker(point)
            got: list[bool] = []
            if not striker.strikes(lambda: got.append(channel.wait(PATIENCE))):  # noqa: B023  # called before the loop goes on
                break
            assert got or readable(channel), f"the descriptor has fallen silent: {striker.struck}"
            assert got or channel.wait(0), f"the wake was lost: {striker.struck}"
        assert point > 2

    def test_a_wake_that_came_in_the_sleep_is_not_lost(self, new: New) -> None:
        """Taken, and struck before anybody has it."""
        channel = new()
        striker = Striker(1, after=channel._pending.acquire)
        setter = threading.Timer(0.05, channel.set)
        setter.start()
        assert striker.strikes(lambda: channel.wait(PATIENCE))
        setter.join()
        assert readable(channel), striker.struck
        assert channel.wait(0), striker.struck
        assert not channel.wait(0)

    def test_no_wake_is_invented(self, new: New) -> None:
        for point in range(1, 1000):
            channel = new()
            striker = Striker(point)
            if not striker.strikes(lambda: channel.wait(0.001)):  # noqa: B023  # called before the loop goes on
                break
            assert not channel.wait(0), striker.struck
        assert point > 2

    def test_the_next_wake_is_heard(self, new: New) -> None:
        for point in range(1, 1000):
            channel = new()
            striker = Striker(point)
            if not striker.strikes(lambda: channel.wait(0)):  # noqa: B023  # called before the loop goes on
                break
            channel.wait(0)
            channel.set()
            assert readable(channel)
            assert channel.wait(0)
        assert point > 2
