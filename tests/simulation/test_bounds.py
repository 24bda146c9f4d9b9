"""The two bounds from above: how many connections an hour may have, and how many wakes a host."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tests.simulation import cap
from tests.simulation.kernel import Kernel, Violation
from tests.simulation.wakes import DataLines, Wakes
from wire_rawsse.policy import Backoff, TokenBucket

# Connections.


@pytest.mark.parametrize(
    "good, redirects, most",
    [(0, 0, 169), (1, 0, 170), (2, 0, 171), (100, 0, 269), (300, 0, 345), (500, 0, 345), (0, 10, 179), (500, 10, 355)],
)
def test_a_good_stream_allows_one_more_and_all_of_them_no_more_than_their_own_bound(
    good: int, redirects: int, most: int
) -> None:
    assert cap.most(Backoff(), good, redirects) == most


def test_the_cap_follows_the_settings() -> None:
    assert cap.most(Backoff(maximum=3600), 0) == 10
    assert cap.most(Backoff(initial=0.25, maximum=5, healthy_after=2), 0) == 969
    assert cap.most(Backoff(healthy_after=60), 60) == 169  # Healthy streams come no faster than others.
    assert cap.most(Backoff(healthy_after=0), 60) == 169  # All are healthy at once, so health earns nothing.


class Life(NamedTuple):
    """One attempt: seconds, connections, and whether it brought an event."""

    seconds: float
    connections: int = 1
    delivered: bool = False


def as_fast_as_it_goes(pace: TokenBucket, lives: Sequence[Life]) -> str | None:
    """The cap's verdict on attempts that pause only as the token bucket demands."""
    watched, now = cap.Cap(Backoff()), 0.0
    now = pace.delay(now)
    for life in lives:
        pace.begin(now)
        for connection in range(life.connections):
            pace.started()
            said = watched.begun(now, connection)
            if said is not None:
                return said
        now += life.seconds
        if life.delivered or life.seconds >= Backoff().healthy_after:
            watched.proved_good(now, life.connections)
        pace.ended(life.seconds, life.delivered)
        now += pace.delay(now)
    return None


def lives(seed: int) -> list[Life]:
    dice = random.Random(seed)
    healthy, longest = dice.choice([0.0, 0.05, 0.5, 0.95]), dice.choice([10.5, 30.0, 600.0])
    redirects, delivers = dice.choice([0, 0, 1, 3, 10]), dice.choice([0.0, 0.1, 0.5, 1.0])

    def life() -> Life:
        seconds = dice.uniform(10.0, longest) if dice.random() < healthy else dice.uniform(0.0, 1.0)
        return Life(seconds, 1 + dice.randint(0, redirects), dice.random() < delivers)

    return [life() for _ in range(1000)]


@pytest.mark.parametrize("seed", range(60))
def test_the_shipped_pace_stays_below_the_cap_whatever_lives_how_long(seed: int) -> None:
    assert as_fast_as_it_goes(TokenBucket(Backoff()), lives(seed)) is None


def test_a_pace_that_gives_more_than_was_earned_does_not() -> None:
    class Generous(TokenBucket):
        """All that is paid is given back."""

        def ended(self, healthy: float, delivered: bool = False) -> None:
            super().ended(healthy, True)

    class Forgetful(TokenBucket):
        """As it was allowed once: a single healthy stream, and the hour has 360."""

        def ended(self, healthy: float, delivered: bool = False) -> None:
            self._failures.every = self._all.every
            super().ended(healthy, delivered)

    class Lenient(TokenBucket):
        """As it was once: redirects cost nothing."""

        def started(self) -> None:
            self._reserved = True
            super().started()

    for wrong in (Generous, Forgetful, Lenient):
        said = [as_fast_as_it_goes(wrong(Backoff()), lives(seed)) for seed in range(60)]
        assert any("connections within an hour" in one for one in said if one), wrong
    assert as_fast_as_it_goes(Forgetful(Backoff()), [Life(10.0), *[Life(0.5)] * 400]) is not None


# Wakes.


@pytest.mark.parametrize("size", range(1, 40))
def test_data_lines_are_the_same_however_they_are_cut(size: int) -> None:
    body = b'data: 1\n\nid: 2\rdata: {"x": "data"}\r\r\ndat: a\r\ndatabase: no\r\n: data\r\nxdata: \ndata\n'
    # Four lines begin with the letters (one of them is called `database`), and two go on with the colon.
    expected = [4, 5, 19, 20, 49, 79]
    assert [body[end - 4 : end] for end in expected] == [b"data", b"ata:", b"data", b"ata:", b"data", b"data"]
    lines = DataLines()
    found = [start + end for start in range(0, len(body), size) for end in lines.ends(body[start : start + size])]
    assert found == expected


def wakes(streams: int) -> tuple[Wakes, list[int]]:
    news = [0] * streams
    return Wakes(Kernel("0"), [lambda number=number: news[number] for number in range(streams)]), news  # type: ignore[misc]


def test_a_wake_without_news_is_one_too_many() -> None:
    counted, news = wakes(1)
    news[0] = 5  # A storm is one wake, and excuses no other.
    counted.given()
    counted.given()
    with pytest.raises(Violation, match="no news"):
        counted.before_sleep()


def test_each_of_several_streams_may_tell_its_own_until_the_next_sleep() -> None:
    counted, news = wakes(3)
    news[0] = news[1] = 1
    counted.given()
    counted.given()
    counted.before_sleep()
    counted.given()
    with pytest.raises(Violation, match="no news"):
        counted.before_sleep()


def test_news_that_nobody_was_woken_for_excuses_no_wake_after_a_sleep() -> None:
    counted, news = wakes(2)
    news[1] = 1
    counted.before_sleep()
    counted.given()
    with pytest.raises(Violation, match="no news"):
        counted.before_sleep()
