"""A verdict must be able to fail: each check against what would break it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.faults import bounds
from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.relays import RelayStopped
from tests.faults.check import Check
from tests.faults.lines import Line
from tests.faults.look import Held
from tests.faults.measured import Measured
from tests.faults.stage import Post
from tests.faults.verdict import judge

SETUP = Setup()
HELD = Held(threads=2, descriptors=7, sockets=2, memory=9000, cpu=0.1)


class Watch:
    """A `StateWatch` that has seen this."""

    def __init__(self, *seen: tuple[float, str]) -> None:
        self.seen = list(seen)
        self.broken: list[str] = []
        self.reads = 100


def good(**changes: Any) -> Measured:
    """A stream that opened at 1, fell silent after 5, was found dead at 7.5 and was back at 8."""
    lines = [
        Line(0.9, "state", "head"),
        Line(1.0, "state", "streaming"),
        Line(1.0, "wake", ""),
        Line(1.0, "waits", ""),
        Line(3.0, "wake", ""),
        Line(3.0, "pulled", "a"),
        Line(3.0, "waits", ""),
        Line(7.5, "failed", "read heard=5.0 pause=0.4 ReadTimeout: silent"),
        Line(7.5, "state", "backing-off"),
        Line(8.0, "state", "streaming"),
        Line(8.0, "wake", ""),
        Line(8.1, "pulled", "b c"),
        Line(8.1, "waits", ""),
        Line(12.0, "over", ""),
    ]
    found = Measured(
        bounds.promise(Expectation(Kind.SILENCE, "streaming"), SETUP),
        injected=5.2,
        struck=5.2,
        lifted=7.8,
        flowed=8.2,
        noticed=next(line for line in lines if line.word == "failed"),
        back=next(line for line in lines if line.at == 8.0),
        mend_bound=1.1,
        round_began=0.9,
        lines=lines,
        calm=[Post("a", 2.99, 3.0)],
        posts=[Post("a", 2.99, 3.0), Post("b", 6.0, 6.0), Post("c", 6.5, 6.5)],
        stored=["a", "b", "c"],
        living=HELD,
        idle=HELD,
        living_after=HELD,
        idle_after=HELD,
        per_connection=0.01,
        per_event=0.001,
        cpu=0.02,
        wall=11.0,
        watch=Watch((0.95, "connecting"), (1.1, "connected"), (7.6, "error"), (8.2, "connected")),  # type: ignore[arg-type]  # a stand-in for the reader
    )
    return dataclasses.replace(found, **changes)


def broken(found: Measured, setup: Setup = SETUP) -> set[str]:
    fault = RelayStopped()
    return {check.name for check in judge(found, setup, fault) if not check.kept}


def without(*words: str) -> list[Line]:
    return [line for line in good().lines if line.word not in words]


def test_a_good_run_keeps_everything() -> None:
    assert broken(good()) == set()


def late(at: float, words: str) -> dict[str, Any]:
    line = Line(at, "failed", words)
    return {"noticed": line, "lines": [line if one.word == "failed" else one for one in good().lines]}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (late(7.8, "read heard=5.0 ReadTimeout"), {"noticed"}),
        (late(7.0, "read heard=5.0 ReadTimeout"), {"noticed"}),
        (late(7.5, "connect heard=5.0 luck"), {"clock"}),
        ({"noticed": None}, {"noticed"}),
        ({"mend_bound": 0.1}, {"mended"}),
        ({"back": None}, {"mended"}),
        ({"back": None, "wall": 0.0, "cpu": 0.0}, {"mended"}),  # It never came back, so the round has no end.
        ({"own": [Check("other address", False, 2, 1)]}, {"other address"}),
        ({"lines": without("wake")}, {"each wakes"}),
        ({"stored": ["a", "b", "c", "d"]}, {"none lost"}),
        ({"lines": [*good().lines, Line(9.0, "pulled", "b")]}, {"none twice"}),
        ({"living_after": dataclasses.replace(HELD, threads=3)}, {"held"}),
        ({"living_after": dataclasses.replace(HELD, memory=12_000)}, {"held"}),
        ({"idle_after": dataclasses.replace(HELD, sockets=3)}, {"left"}),
        ({"idle_after": dataclasses.replace(HELD, descriptors=8)}, {"left"}),
        ({"ended": None}, {"ends"}),
        ({"cpu": 0.5}, {"cpu"}),
        ({"watch": Watch((0.95, "connecting"), (1.1, "connected"), (7.6, "error"))}, {"state true"}),
        ({"watch": Watch((1.1, "connecting"), (8.2, "connected"))}, {"state true"}),
    ],
)
def test_what_breaks_each_promise(changes: dict[str, Any], names: set[str]) -> None:
    assert broken(good(**changes)) == names


def wakes(*moments: float, post: tuple[float, float] = (9.0, 9.1), **changes: Any) -> set[str]:
    """Judged with wakes at these moments alone, and one event more, "d"."""
    lines = [line for line in good().lines if line.word not in ("wake", "waits")]
    lines += [line for at in moments for line in (Line(at, "wake", ""), Line(at, "waits", ""))]
    found = good(lines=sorted([*lines, Line(9.5, "pulled", "d")]), posts=[*good().posts, Post("d", *post)])
    return broken(dataclasses.replace(found, stored=[*found.stored, "d"], **changes))


def test_every_event_has_a_wake_of_its_time() -> None:
    assert wakes(1.0, 3.0, 8.0, 9.1) == set()
    assert wakes(1.0, 3.0, 8.0, 10.05) == set()
    assert wakes(1.0, 3.0, 8.0, 10.2) == {"each wakes", "wakes owed"}, "this one belongs to no one"
    assert wakes(1.0, 3.0, 8.0) == {"each wakes"}, "d is owed one"
    assert wakes(1.0, 8.0, 9.1) == {"each wakes"}, "so is a, which came before the fault"
    assert wakes(3.0, 8.0, 9.1) == wakes(1.0, 3.0, 9.1) == {"each wakes"}, "and each opening"
    assert wakes(1.0, 3.0, 5.1, 8.0, post=(5.0, 5.1)) == set(), "at once, though the fault came next"
    assert wakes(1.0, 3.0, 8.0, post=(5.0, 5.1)) == set(), "or with the next stream"


def test_what_is_posted_in_a_fault_that_is_lived_through_wakes_once_packets_pass() -> None:
    lived = [line for line in good().lines if line.at < 7.0 or line.at > 8.0]
    posted = [Post("a", 2.99, 3.0), Post("d", 6.0, 6.0)]

    def judged(**changes: Any) -> bool:
        found = good(lines=sorted([*lived, Line(8.3, "wake", "")]), posts=posted, **changes)
        return "each wakes" not in broken(found)

    assert judged()
    assert not judged(flowed=7.2)
    assert not judged(spared=True), "nothing kept it"


def test_no_wake_comes_of_nothing() -> None:
    assert wakes(1.0, 3.0, 4.0, 8.0, 9.1) == {"wakes owed"}
    assert wakes(1.0, 3.0, 8.0, 8.0, 9.1) == set(), "b or c may have come late"
    assert wakes(1.0, 3.0, 8.0, 8.0, 8.0, 8.1, 9.1) == {"wakes owed"}
    assert wakes(1.0, 3.0, 8.0, 9.1, 9.2) == {"wakes owed"}, "what b and c owed was over"
    assert wakes(1.0, 3.0, 8.0, 8.0, 8.0, 8.1, post=(7.6, 7.7)) == {"wakes owed"}, "nobody listened to d"


def test_half_a_state_file() -> None:
    watch = Watch((0.95, "connecting"), (1.1, "connected"), (7.6, "error"), (8.2, "connected"))
    watch.broken.append("b'{'")
    assert broken(good(watch=watch)) == {"state whole"}


def blind(*seen: tuple[float, str], lifted: float = 7.8, over: float = 12.0) -> set[str]:
    """Nobody could write from 5.2 until it was lifted; the stream was away from 7.5 to 8."""

    class Blind(RelayStopped):
        blinds = True

    lines = [line._replace(at=over) if line.word == "over" else line for line in good().lines]
    found = good(watch=Watch((0.95, "connecting"), (1.1, "connected"), *seen), lines=lines, lifted=lifted)
    return {check.name for check in judge(found, SETUP, Blind()) if not check.kept}


def test_a_daemon_that_pulls_when_the_file_is_due_writes_it_when_it_is_back() -> None:
    """The stream was back at 8; the pull for that wake lasts until `back`, and the file says so at 9.5."""
    lines = [line for line in good().lines if line.word not in ("pulled", "waits")]
    said = ((0.95, "connecting"), (1.1, "connected"), (7.6, "error"), (9.5, "connected"))

    def judged(back: float, host: str = "inline") -> set[str]:
        waits = [Line(1.1, "waits", ""), Line(3.1, "waits", ""), Line(back, "waits", "")]
        told = sorted([*lines, *waits, Line(9.0, "pulled", "a b c")])
        found = good(lines=told, watch=Watch(*said))
        return {name for name in broken(found, dataclasses.replace(SETUP, host=host)) if name.startswith("state")}

    assert judged(9.4) == set()
    assert judged(9.1) == {"state true"}, "it was back, and had 250 ms"
    assert judged(8.9) == {"state true"}, "it was there when the file was due"
    assert judged(9.4, host="thread") == {"state true"}, "the stream has a thread of its own"


def test_after_a_time_in_which_nobody_could_write_the_bound_begins_again() -> None:
    assert blind() == set(), "it said connected all the time, and was never wrong for long outside of it"
    assert blind((8.1, "error"), (9.0, "connected")) == set()
    assert blind((7.9, "error"), (9.5, "connected")) == {"state true"}, "what is wrong later has no such reason"
    assert blind((5.0, "error"), (8.1, "connected"), lifted=6.0) == {"mended", "state true again"}
    assert blind((3.0, "error"), (8.0, "connected")) == {"state true"}, "it was wrong for too long before"
    assert blind(over=8.5) == {"state true again"}, "a round that ends too soon has shown nothing"


def test_what_moves_bytes_is_held_against_the_same_bytes_without_it() -> None:
    storm = good(cpu=2.5, bulk=2.1)
    assert broken(storm) == set(), "0.11 s for the round, and 0.315 between two runs of the same bytes"
    assert broken(dataclasses.replace(storm, bulk=2.0)) == {"cpu"}
    # Wakes have their price in both.
    dear = dataclasses.replace(storm, per_event=0.01, bulk_events=3)
    assert broken(dear) == set(), "3 wakes here and there"
    assert broken(dataclasses.replace(dear, bulk_events=30)) == {"cpu"}


def test_a_connection_that_came_as_far_as_its_request_has_the_price_of_a_calm_one() -> None:
    """Up to 0.11 s are 1 % of this round."""
    twice = good(cpu=0.2, per_connection=0.1, per_event=1e-9)
    assert broken(twice) == set(), "one connection, and 0.1 s more"
    again = sorted([*twice.lines, Line(7.9, "state", "head")])
    assert broken(dataclasses.replace(twice, cpu=0.3)) == {"cpu"}
    assert broken(dataclasses.replace(twice, cpu=0.3, lines=again)) == set(), "a second one"
    cut = sorted([*twice.lines, Line(7.9, "state", "handshake")])
    assert broken(dataclasses.replace(twice, cpu=0.3, lines=cut)) == {"cpu"}, "what failed before is the fault's"


def test_what_must_be_survived_must_cost_no_reconnect() -> None:
    survived = bounds.promise(Expectation(Kind.SURVIVED, "streaming"), SETUP)
    soon = late(6.0, "peer heard=5.9 TruncatedError")
    assert "no reconnect" in broken(good(promise=survived, **soon))
    assert "no reconnect" in broken(good(promise=survived)), "whatever the daemon says that it has not heard"
    assert "no reconnect" in broken(good(promise=survived, silence=1.9))
    assert "no reconnect" not in broken(good(promise=survived, silence=2.0)), "0.8 × read and more, on the wire"
    assert "no reconnect" in broken(good(promise=survived, silence=2.0, **soon)), "but not by another clock"


SOURCE = Setup(consumer="source")
REPLAYED = Setup(consumer="source-ids")


def events(*words: str) -> Measured:
    """`a` `b` … handed over, `<` closed, `>` opened."""
    said = {"<": ("closed", "read"), ">": ("opened", "")}
    told = [Line(2.0 + number, *said.get(name, ("event", name))) for number, name in enumerate(words)]
    state = [line for line in good().lines if line.word in ("state", "failed")]
    return good(lines=[*state, *told, Line(90.0, "over", "")], stored=["a", "b", "c", "d"], calm=[], known=set())


@pytest.mark.parametrize(
    ("told", "setup", "names"),
    [
        ((">", "a", "b", "c", "d"), SOURCE, set()),
        ((">", "a", "<", ">", "d"), SOURCE, set()),
        ((">", "a", "d"), SOURCE, {"none lost"}),
        ((">", "a", "b", "b", "c", "d"), SOURCE, {"none twice"}),
        ((">", "a", "<", ">", "b", "c", "d"), REPLAYED, set()),
        ((">", "a", "<", ">", "d"), REPLAYED, {"none lost"}),
        ((">", "a", "b", "c"), SOURCE, {"none lost"}),
    ],
)
def test_an_event_source_is_told_of_its_gaps(told: tuple[str, ...], setup: Setup, names: set[str]) -> None:
    assert broken(events(*told), setup) == names
