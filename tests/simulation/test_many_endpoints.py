"""The cost of many endpoints, in executed lines of Python: proportional to their number, through every rotation."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tests.simulation.test_exact_files import Wired
from wire_rawsse.wire import relay_json
from wire_rawsse.wire.relay_json import MOST_ENDPOINTS

COUNTED = (
    "/wire_rawsse/wire/",
    "/wire_rawsse/state.py",
    "/wire_rawsse/stream_set.py",
    "/wire_rawsse/wake_streams.py",
    "/wire_rawsse/hosts/poller.py",
)


class Lines:
    """Counts the lines that are run in `COUNTED` while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Lines:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        return self._line if any(part in frame.f_code.co_filename for part in COUNTED) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        self.count += 1
        return self._line


def life(endpoints: int) -> int:
    """A connection to each endpoint, a rotation of all slots, and the end of all of them."""
    scene = Wired(slots=endpoints)
    scene.streams._gate = None  # While streams connect the state file is written each second: as long for all numbers.
    scene.at(20, scene.write, *(f"other-{number}" for number in range(endpoints)))
    scene.at(71, scene.write, "the last one")
    with Lines() as lines:
        scene.run(70)
        assert len(scene.said["endpoints"]) == endpoints and scene.said["state"] == "connected"
        scene.run(110)
        assert len(scene.said["endpoints"]) == 1
        scene.close()
    return lines.count


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.CRITICAL, "wire_rawsse"):
        yield


@pytest.mark.campaign
def test_twice_the_endpoints_cost_twice_as_much() -> None:
    once, twice = life(150), life(300)
    assert twice < 2.2 * once, f"{once} lines for 150 endpoints, {twice} for 300"


def test_more_endpoints_than_are_followed_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_json, "MOST_ENDPOINTS", 5)
    scene = Wired(slots=7)
    scene.run(5)
    assert [slot for _, slot in scene.joined] == [f"slot-{number}" for number in range(5)]
    told = scene.follower.state().last_error
    assert told is not None and "expected at most 5 endpoints, found 7" in told
    assert scene.said["last_error"] == told and len(scene.said["endpoints"]) == 5
    scene.at(6, scene.write, "slot-6")
    scene.run(50)
    assert scene.joined[-1][1] == "slot-6" and scene.follower.state().last_error is None
    scene.close()


def test_the_bound_is_what_a_process_has_room_for() -> None:
    assert MOST_ENDPOINTS == 1000
