"""The parameters of one life, drawn from its seed: clocks, host, streams, relay, the rate of faults."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Final

from tests.simulation import habits, weather
from wire_rawsse.policy import Backoff, Timeouts


@dataclass(frozen=True)
class Setting:
    """The parameters of one life."""

    days: float
    host: str
    interval: float
    work: float
    streams: int
    scheme: str
    addresses: int
    sink: str
    timeouts: Timeouts
    heartbeat: float
    post_every: float
    fault_every: float
    tick: float
    ids: bool
    """Events carry ids, whether or not they are replayed."""
    twice: bool = False
    """A host that only looks in does so twice in a row."""
    backoff: Backoff = Backoff()
    torn: bool = False
    """Each receive returns little data, so that TLS records are cut."""
    """Its `ssl` tells each error of a read as an end."""
    season: str = "none"
    """One of the weather's."""
    long_spells: bool = False
    """Faults last longer."""
    homeless: bool = False
    """A daemon of wire's begins without any home folder: the user has none, or nobody knows of it yet."""
    habit: str = "steady"
    """One of the relay's `habits`."""
    watch: bool = False
    """Its loop hears of the network and of suspends."""
    has_timer: bool = False
    """And of a resume at once, as on CPython 3.13."""


def _often(season: str, sink: str) -> int:
    return (3 if sink == "wire" else 0) if season == "files" else 1


QUICK: Final = Backoff(initial=0.25, maximum=5.0, healthy_after=2.0)


def draw(seed: str) -> Setting:
    """The parameters of the life of this seed. A seed that begins with "storm" has many faults and a short life."""
    dice = random.Random(f"{seed}/setting")
    stormy = seed.startswith("storm")
    pace = dice.choices(["default", "long", "short"], [6, 3, 1])[0]
    timeouts, heartbeat, days = {
        "default": (Timeouts(), 30.0, dice.uniform(4, 9)),
        "long": (Timeouts(connect=30, response=60, read=300), 120.0, dice.uniform(12, 24)),
        "short": (Timeouts(connect=2, response=3, read=10), 4.0, dice.uniform(0.2, 0.6)),
    }[pace]
    streams = dice.choices([1, 2, 3, 20], [12, 3, 2, 1])[0]
    host = dice.choices(["inline", "select", "thread", "looks"], [5, 3, 3, 3 if stormy else 2])[0]
    interval = dice.choices([5.0, 300.0, 3600.0], [1, 2, 2])[0]
    if host == "looks":
        # In step with a clock, too, or always later than a silence may last.
        interval = dice.choice([0.5, 1.5, 5.0, 20.0, timeouts.connect / 2, *[1.5 * timeouts.read] * 2])
    scheme = dice.choices(["http", "https", "unix", "http by proxy", "https by proxy"], [4, 6, 1, 1, 3])[0]
    sink = dice.choices(["wakes", "events", "replayed events", "wire"], [3, 1, 2, 2])[0]
    days = days / (streams if host != "looks" else streams * 3 / interval + 1) / (3 if interval == 5.0 else 1)
    if stormy:
        streams = dice.choice([1, 1, 2, 3])
        days = dice.uniform(0.1, 0.35) * timeouts.read / 75 / (1 if host != "looks" else 1 / interval + 1)
    if sink == "wire" and scheme.endswith("proxy"):
        streams = 1  # They would all have the same proxy.
    seasons = [season for season in weather.SEASONS for _ in range(_often(season, sink))]
    drawn = Setting(
        days=days,
        host=host,
        interval=interval,
        work=dice.choice([0.0, 0.05, 3.0, 2 * timeouts.connect if sink in ("wakes", "wire") else 0.5]),
        streams=streams,
        scheme=scheme,
        addresses=dice.choices([0, 1, 2, 4], [1, 4, 3, 1])[0],
        sink=sink,
        timeouts=timeouts,
        heartbeat=heartbeat,
        post_every=dice.choices([20.0, 300.0, 3600.0], [1, 2, 2])[0] * (timeouts.read / 75),
        fault_every=(
            dice.choice([100.0, 200.0, 600.0]) if stormy else dice.choices([900.0, 3600.0, 14400.0], [1, 2, 2])[0]
        )
        * (timeouts.read / 75),
        tick=dice.choice([0.0, 1e-6, 2e-5]),
        ids=dice.random() < 0.5,
        twice=dice.random() < 0.5,
        backoff=dice.choices([Backoff(), QUICK], [2 if stormy else 5, 1])[0],
        torn=dice.random() < 0.3,
        season=dice.choice(seasons) if stormy or dice.random() < 0.5 else "none",
        long_spells=dice.random() < (0.4 if stormy else 0.1),
        homeless=dice.random() < 0.15,  # Each further draw is the last, so that lives stay what they were.
    )
    habit = dice.choice([*habits.ALL, "steady"])
    watch, has_timer, ages = dice.random() < 0.7, dice.random() < 0.5, dice.random() < 0.2
    if ages:
        age = dice.choice([400.0, 3000.0, 86400.0]) * timeouts.read / 75
        timeouts = Timeouts(timeouts.connect, timeouts.response, timeouts.read, max_age=age)
    return dataclasses.replace(drawn, habit=habit, watch=watch, has_timer=has_timer, timeouts=timeouts)
