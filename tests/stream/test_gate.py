"""The gate: how many streams connect at a time, who is next, and how fast they begin."""

from __future__ import annotations

import pytest

from wire_rawsse.gate import STARTS_A_SECOND, Gate


class Clock:
    """Of the gate, with the streams that it has called. No fixture: `tests.mutants` calls these tests."""

    def __init__(self) -> None:
        self.now = 100.0
        self.random = 0.5
        self.called: list[str] = []


def gate(most: int, clock: Clock) -> Gate:
    return Gate(most, clock.called.append, lambda: clock.now, lambda: clock.random)


def test_as_many_connect_as_may_and_the_others_follow_in_order() -> None:
    clock = Clock()
    one = gate(2, clock)
    assert [one.enter(name, "relay", name) for name in "abcd"] == [True, True, False, False]
    assert [one.has_turn(name) for name in "abcd"] == [True, True, False, False]
    one.leave("b", "relay")
    assert clock.called == ["c"] and one.has_turn("c") and not one.has_turn("b")
    one.leave("a", "relay")
    assert clock.called == ["c", "d"]
    one.leave("c", "relay")
    assert one.enter("e", "relay", "e")


def test_who_stops_waiting_has_no_turn() -> None:
    clock = Clock()
    one = gate(1, clock)
    for name in "abc":
        one.enter(name, "relay", name)
    one.leave("b", "relay")
    one.leave("b", "relay")
    one.leave("a", "relay")
    assert clock.called == ["c"]


def test_a_line_that_was_left_by_all_is_no_line() -> None:
    clock = Clock()
    one = gate(1, clock)
    one.enter("a", "relay", "a")
    one.enter("b", "relay", "b")
    one.leave("b", "relay")
    one.leave("a", "relay")
    assert one.enter("c", "relay", "c") and clock.called == []


def test_origins_take_turns() -> None:
    """A thousand streams to a dead relay hold up one to a healthy relay by a single attempt."""
    clock = Clock()
    one = gate(1, clock)
    one.enter("dead 0", "dead", "dead 0")
    for number in range(1, 1001):
        one.enter(f"dead {number}", "dead", f"dead {number}")
    one.enter("healthy", "healthy", "healthy")
    one.leave("dead 0", "dead")
    one.leave("dead 1", "dead")
    assert clock.called == ["dead 1", "healthy"]
    one.leave("healthy", "healthy")
    assert clock.called[2:] == ["dead 2"]


def test_a_stream_that_could_not_leave_keeps_its_place() -> None:
    """A signal handler raised at the wrong moment, and the stream starts over."""
    clock = Clock()
    one = gate(1, clock)
    assert one.enter("a", "relay", "a") and one.enter("a", "relay", "a")
    one.leave("a", "relay")
    assert one.enter("b", "relay", "b")


def test_a_few_streams_begin_at_once_and_thousands_are_spread() -> None:
    clock = Clock()
    one = gate(16, clock)
    delays = [one.delay("relay") for _ in range(10_000)]
    assert delays[:16] == [0] * 16
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx((10_000 - 17) / STARTS_A_SECOND, abs=0.001)
    assert one.delay("another") == 0
    clock.now += delays[-1] + 1
    assert [one.delay("relay") for _ in range(16)] == [0] * 16, "the burst is there again"


def test_the_spread_is_random() -> None:
    clock = Clock()
    one = gate(1, clock)
    gaps = []
    before = 0.0
    for part in (0.0, 0.25, 0.75, 0.999):
        clock.random = part
        one.delay("relay")
        after = one.delay("relay")
        gaps.append(after - before)
        before = after
    assert len({round(gap, 6) for gap in gaps}) > 1


def test_origins_are_forgotten() -> None:
    clock = Clock()
    one = gate(16, clock)
    for number in range(10_000):
        one.delay(number)
        clock.now += 0.1
    assert len(one._next) <= 128
