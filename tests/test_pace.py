"""The pace: how often the shipped loop connects, under whatever a server can think of."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wire_rawsse import reconnect
from wire_rawsse.errors import ConnectionBrokenError
from wire_rawsse.plan import Plan, make_plan
from wire_rawsse.policy import LONGEST_WISH, Backoff, Keepalive, Timeouts, TokenBucket
from wire_rawsse.reconnect import reconnect_forever
from wire_rawsse.record import Record
from wire_rawsse.waits import WAKE, Coroutine, Pause, Wait
from wire_rawsse.wake_streams import WakeSink

# Only the stream itself is a puppet: it lives as long as it is told.


class Life(NamedTuple):
    """One connection: seconds until it is accepted (None: never), how long it speaks, how it ends."""

    accepted_after: float | None
    lives: float
    clean: bool
    retry: int | None = None
    dice: float = 0.0
    delivers: bool = False
    redirects: int = 0


class Puppets:
    """A world in which connections live as listed, over and over, and a host that is always on time."""

    def __init__(self, lives: list[Life], network_changes_every: float = math.inf) -> None:
        self.lives = lives
        self.every = network_changes_every
        self.clock = 1000.0
        self.begun: list[float] = []
        self.good: list[tuple[float, float]] = []
        """When a stream began and ended that lived long enough or brought an event."""
        self.polls: list[float] = []
        """When a server asked for the next connection."""
        self._next = 0
        self.present = lives[0]

    def now(self) -> float:
        return self.clock

    def time(self) -> float:
        return self.clock

    def random(self) -> float:
        return self.present.dice

    def one_stream(self, world: object, plan: Plan, record: Record, sink: WakeSink, renew: object) -> Coroutine[None]:
        self.present = life = self.lives[self._next % len(self.lives)]
        self._next += 1
        began = self.clock
        for hop in range(1 + life.redirects):
            if hop:
                yield Wait({}, self.clock + 0.01)
            record.enter("connecting", self.clock)
            self.begun.append(self.clock)
            record.enter("head", self.clock)
        if life.accepted_after is None:
            yield Wait({}, self.clock + life.lives)
            raise ConnectionBrokenError("never accepted")
        yield Wait({}, self.clock + life.accepted_after)
        record.accepted(self.clock, self.clock)
        yield WAKE
        sink.parser.retry_ms = life.retry
        sink.parser.delivered = life.delivers
        yield Wait({}, self.clock + life.lives)
        record.heard(self.clock, self.clock, False)
        if life.delivers or record.healthy_for >= plan.backoff.healthy_after:
            self.good.append((began, self.clock))
        if not life.clean:
            raise ConnectionBrokenError("broken")
        if life.delivers and life.retry is not None:
            self.polls.append(self.clock)

    def begin(self, record: Record) -> Coroutine[None]:
        plan = make_plan(
            "http://relay.test/",
            headers=None,
            method="GET",
            body=None,
            bearer_token=None,
            timeouts=Timeouts(),
            keepalive=Keepalive(),
            backoff=Backoff(),
            tls=None,
        )
        return reconnect_forever(self, plan, record, WakeSink(), persistent=True)  # type: ignore[arg-type]  # opens nothing

    def run(self, hours: float) -> None:
        coroutine = self.begin(Record("", Backoff()))
        until = self.clock + hours * 3600
        step = next(coroutine)
        while self.clock < until:
            if isinstance(step, Pause) and self.clock + self.every < step.deadline:
                self.clock += self.every
                step = coroutine.send(())
                continue
            if isinstance(step, Wait):
                self.clock = step.deadline
            step = next(coroutine)
        coroutine.close()

    def windows(self) -> Iterator[tuple[int, bool, int]]:
        """For each hour that begins with a connection: how many there were, whether a stream was good, how many polls.

        An attempt that a server asked for may be redirected, and counts with all its connections.
        """
        last = 0
        most = 1 + max(life.redirects for life in self.lives)
        ends = [ended for _, ended in self.good]
        for first, start in enumerate(self.begun):
            while last < len(self.begun) and self.begun[last] <= start + 3600:
                last += 1
            next_good = bisect_left(ends, start)
            good = next_good < len(ends) and self.good[next_good][0] <= start + 3600
            polls = bisect_right(self.polls, start + 3600) - bisect_left(self.polls, start - LONGEST_WISH)
            yield last - first, good, most * polls


class TestAFaultOfOurOwn:
    """It ends nothing: the stream starts again after the longest pause, and a close in that pause takes effect."""

    @pytest.fixture(autouse=True)
    def faulty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> Coroutine[None]:
            raise LookupError("a slip of ours")

        monkeypatch.setattr(reconnect, "_one_after_another", fail)

    def test_closed_in_the_pause(self) -> None:
        record = Record("", Backoff())
        coroutine = Puppets([CLOSED_AT_ONCE]).begin(record)
        assert isinstance(next(coroutine), Wait)
        phases = [record.phase]
        coroutine.close()
        assert [*phases, record.phase] == ["backing off", "closed"]

    def test_a_log_that_fails_too_makes_no_haste(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: str) -> None:
            raise ValueError("a filter of the host's")

        monkeypatch.setattr(reconnect, "warn", fail)
        world = Puppets([CLOSED_AT_ONCE])
        coroutine = world.begin(Record("", Backoff()))
        for _ in range(3):
            step = next(coroutine)
            assert isinstance(step, Wait)
            assert step.deadline == world.clock + Backoff().maximum
            world.clock = step.deadline


def play(lives: list[Life], hours: float, network_changes_every: float = math.inf) -> Puppets:
    world = Puppets(lives, network_changes_every)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconnect, "one_stream", lambda world, *rest: world.one_stream(world, *rest))
        patch.setattr(logging.getLogger("wire_rawsse"), "disabled", True)
        world.run(hours)
    return world


LIVES = st.builds(
    Life,
    st.sampled_from([None, 0.0, 0.01, 5.0]),
    st.sampled_from([0.0, 0.01, 1.0, 9.99, 10.0, 10.01, 10.3, 11.0, 20.0, 30.0, 600.0, 7200.0]),
    st.booleans(),
    st.sampled_from([None, None, 2000, 10_000]),
    st.sampled_from([0.0, 0.5, 0.999]),
    st.booleans(),
    st.sampled_from([0, 0, 1, 2, 10]),
)
CLOSED_AT_ONCE = Life(0.0, 0.0, True, 100)
CLOSED_WHEN_HEALTHY = Life(0.0, 10.0, True, 100)
ONE_EVENT = Life(0.0, 0.0, True, None, delivers=True)
POLL = Life(0.0, 0.0, True, 500, delivers=True)


@settings(max_examples=100, deadline=None)
@given(lives=st.lists(LIVES, min_size=1, max_size=12))
@example(lives=[CLOSED_AT_ONCE])
@example(lives=[CLOSED_WHEN_HEALTHY])
@example(lives=[CLOSED_WHEN_HEALTHY, CLOSED_AT_ONCE])
@example(lives=[Life(0.0, 7200.0, True, 100), *[CLOSED_AT_ONCE] * 20])
@example(lives=[Life(None, 0.0, False, None, 0.999)])
@example(lives=[ONE_EVENT])
@example(lives=[ONE_EVENT, CLOSED_AT_ONCE])
@example(lives=[ONE_EVENT, Life(0.0, 0.0, False, None, 0.999)])
@example(lives=[POLL, *[CLOSED_AT_ONCE] * 20])
@example(lives=[Life(None, 0.0, False, None, 0.999, redirects=10)])
@example(lives=[Life(0.0, 0.0, True, None, 0.0, True, redirects=1)])
def test_no_server_can_make_us_connect_faster_than_the_pace(lives: list[Life]) -> None:
    """At most 180 an hour while nothing is good, at most 360 otherwise, and more only where `retry:` asks for it.

    Nor can a network that changes all the time.
    """
    for every in (math.inf, 0.3):
        for count, good, polls in play(lives, 3, every).windows():
            assert count <= (360 if good else 180) + polls


NEVER = Life(None, 0.0, False, None, 0.5)


def test_a_change_of_the_network_ends_a_pause_within_a_second() -> None:
    def gaps(every: float) -> list[float]:
        begun = play([NEVER], 0.05, every).begun
        return [after - before for before, after in pairwise(begun)][3:7]

    assert gaps(math.inf) == [6, 12, 22.5, 22.5]
    assert gaps(4.0) == [4.5] * 4, "while there are tokens"


def test_a_change_of_the_network_does_not_shorten_what_the_server_has_asked_for() -> None:
    begun = play([Life(0.0, 0.0, False, 10_000)], 0.05, 0.1).begun
    assert min(after - before for before, after in pairwise(begun)) >= 10


def test_a_change_of_the_network_does_not_shorten_the_pause_of_a_server_that_is_polled() -> None:
    assert play([POLL], 0.01).begun == play([POLL], 0.01, 0.1).begun


def test_the_pace_comes_near_its_bounds() -> None:
    """So that a slower one, which would cost reconnects for nothing, is noticed as well."""
    for life, least, most in [
        (Life(0.0, 0.0, False, 100, 0.999), 160, 180),
        (Life(0.0, 0.0, False, 100, 0.999, redirects=1), 160, 180),
        (CLOSED_WHEN_HEALTHY, 340, 360),
        (ONE_EVENT, 340, 360),
    ]:
        assert least <= max(count for count, _, _ in play([life], 4).windows()) <= most


def test_a_server_that_is_polled_is_asked_as_often_as_it_says() -> None:
    """And no more often: each response brings an event, names a `retry:` of half a second and ends cleanly."""
    for dice in (0.0, 0.999):
        begun = play([POLL._replace(dice=dice)], 1).begun
        gaps = [after - before for before, after in pairwise(begun)]
        assert min(gaps) == pytest.approx(0.5 + 0.125 * dice)
        assert max(gaps) == pytest.approx(0.5 + 0.125 * dice)


def test_a_poll_that_is_free_does_not_pay_for_what_fails_after_it() -> None:
    counts = [count for count, _, _ in play([POLL] * 600 + [CLOSED_AT_ONCE] * 1000, 2).windows()]
    assert counts[700] <= 180


def test_redirects_are_paid_for_before_the_next_attempt() -> None:
    pace = TokenBucket(Backoff())
    for _ in range(2):
        pace.delay(1000.0)
        for _ in range(4):
            pace.started()
        pace.ended(0.0)
    assert pace.delay(1000.0) == pytest.approx(22.5)
    for _ in range(11):
        pace.started()
    pace.ended(0.0)
    assert pace.delay(1022.5) == pytest.approx(11 * 22.5)


def test_restarts_in_the_pause_take_no_token() -> None:
    pace = TokenBucket(Backoff())
    for _ in range(50):
        assert pace.delay(1000.0) == 0
        pace.excuse()  # `restart()` in the pause.
        pace.begin(1000.0)
        pace.started()
        pace.ended(0.0)
    assert pace.delay(1000.0) == 0


def test_a_restart_that_is_free_gives_nothing_back() -> None:
    pace = TokenBucket(Backoff())
    for _ in range(8):
        assert pace.delay(1000.0) == 0
        pace.started()
        pace.ended(0.0)
    for _ in range(5):  # Restarts: nothing is asked for, and each stream brings an event.
        pace.started()
        pace.ended(0.0, delivered=True)
    assert pace.delay(1000.0) == pytest.approx(22.5)


def test_interruptions_leave_no_debt() -> None:
    pace = TokenBucket(Backoff())
    for now in range(100):
        pace.delay(1000.0 + now)
    assert pace.delay(1100.0) <= 22.5
    assert pace.delay(1100.0 + 22.5) <= 22.5


def test_a_stream_that_was_healthy_for_long_may_reconnect_at_once() -> None:
    pace = TokenBucket(Backoff())
    for _ in range(8):
        assert pace.delay(1000.0) == 0
        pace.started()
    assert pace.delay(1000.0) == pytest.approx(22.5)
    pace.ended(3600.0)
    assert pace.delay(1000.0 + 3600) == 0
