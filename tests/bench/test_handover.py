"""How a peer's thread wakes the main thread: by each of the primitives that the floors measure."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from bench import roster
from bench.clients import _handover
from bench.clients._probe import Probe


@pytest.mark.parametrize("name", roster.HANDOVERS)
def test_every_event_wakes_a_sleeper_and_a_failure_reaches_the_main_thread(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "eventfd" and not hasattr(os, "eventfd"):
        pytest.skip("this platform has no eventfd")
    monkeypatch.setenv(roster.HANDOVER_CHOICE, name)
    monkeypatch.setattr(_handover, "SLEEP_SECONDS", 20.0)
    awake = threading.Semaphore(0)

    def events(url: str) -> Iterator[str]:
        for number in range(3):
            yield f"{url} {number}"
            # The next one only when this one's wake is done with: none of them may ride on another's.
            if not awake.acquire(timeout=10):
                raise TimeoutError("nobody woke")
        raise ValueError("the peer's own")

    made: list[_handover.HandOver] = []
    chosen = _handover.chosen

    def note(probe: Probe) -> _handover.HandOver:
        hand_over = chosen(probe)
        clear = hand_over._clear

        def clear_and_tell() -> None:
            if clear is not None:
                clear()
            awake.release()

        hand_over._clear = clear_and_tell
        made.append(hand_over)
        return hand_over

    monkeypatch.setattr(_handover, "chosen", note)
    probe = Probe("event", "x", None)
    with pytest.raises(ValueError, match="the peer's own"):
        _handover.in_thread(probe, events)
    made[0].close()
    assert len(probe.stamps) == 4, "three events, and the failure"
    assert probe.kind == ("event" if name == "simplequeue" else "wake")


@pytest.mark.parametrize("name", roster.HANDOVERS)
def test_more_wakes_than_are_taken_are_no_failure(name: str) -> None:
    if name == "eventfd" and not hasattr(os, "eventfd"):
        pytest.skip("this platform has no eventfd")
    hand_over = _handover.HandOver(name)
    for _ in range(3):
        hand_over.fail(OSError("many at once"))
    with pytest.raises(OSError, match="many at once"):
        hand_over.wake_for_each(Probe("wake", "x", None))
    hand_over.close()


def test_the_peers_get_one_that_there_is() -> None:
    given = {
        *roster.FLOORS_HANDOVER.values(),
        roster.CHEAPEST_HANDOVER,
        *(one.handover for one in roster.AT_THEIR_BEST),
    }
    assert given <= set(roster.HANDOVERS)
    assert {f"floor_{name}" for name in roster.HANDOVERS} == set(roster.THREAD_FLOORS)
    for name in given:
        _handover.HandOver(name).close()
