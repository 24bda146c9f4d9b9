"""A verdict must be able to fail: each check against what would break it."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest

from tests.faults import bounds
from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.catalogue.relays import RelayStopped
from tests.faults.cell import Measured
from tests.faults.lines import Line
from tests.faults.look import Held
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
        Line(3.0, "wake", ""),
        Line(3.0, "pulled", "a"),
        Line(7.5, "failed", "read heard=5.0 pause=0.4 ReadTimeout: silent"),
        Line(7.5, "state", "backing-off"),
        Line(8.0, "state", "streaming"),
        Line(8.0, "wake", ""),
        Line(8.1, "pulled", "b c"),
        Line(12.0, "over", ""),
    ]
    found = Measured(
        bounds.promise(Expectation(Kind.SILENCE, "streaming"), SETUP),
        injected=5.2,
        struck=5.2,
        lifted=7.8,
        noticed=lines[5],
        back=lines[7],
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


def test_half_a_state_file() -> None:
    watch = Watch((0.95, "connecting"), (1.1, "connected"), (7.6, "error"), (8.2, "connected"))
    watch.broken.append("b'{'")
    assert broken(good(watch=watch)) == {"state whole"}


def test_an_excuse_is_shown_and_counts() -> None:
    class Excused(RelayStopped):
        excuses: ClassVar[dict[str, str]] = {"cpu": "it is a storm"}

    [cpu] = [check for check in judge(good(cpu=0.5), SETUP, Excused()) if check.name == "cpu"]
    assert cpu.kept and cpu.excuse and cpu.found > cpu.bound


def test_what_is_to_be_survived_must_cost_no_reconnect() -> None:
    survived = bounds.promise(Expectation(Kind.SURVIVED, "streaming"), SETUP)
    soon = late(6.0, "peer heard=5.9 Truncated")
    assert "no reconnect" in broken(good(promise=survived, **soon))
    assert "no reconnect" not in broken(good(promise=survived)), "silence of 0.8 × read and more excuses it"


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
