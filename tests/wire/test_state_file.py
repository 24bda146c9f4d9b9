"""stream_state.json: what it holds, and when it is written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.states import NEW_YEAR, PID, held, snapshot
from tests.wire.test_state import endpoint
from wire_rawsse.state import summarise
from wire_rawsse.wire.state_file import StateFile, document, rfc3339


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stream_state.json"


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every file that was really put in place."""
    seen: list[str] = []
    really = os.replace

    def replace(source: str, target: str) -> None:
        really(source, target)
        seen.append(target)

    monkeypatch.setattr(os, "replace", replace)
    yield seen


# --- what it holds --------------------------------------------------------------------------------------------------


def test_version_1_and_what_we_add() -> None:
    well = endpoint(
        url="https://a.example/v1/events/1/stream",
        phase="streaming",
        last_byte_at=NEW_YEAR - 1.25,
        last_wake_at=NEW_YEAR - 2,
        last_event_at=NEW_YEAR - 3,
        last_error="it was reset",
        reconnect_count=3,
        heartbeat=30.1234,
        read_limit=47.1851,
        wake_count=9,
        early_wakes=4,
        spurious_wakes=1,
        event_count=5,
        ends=(("ReadTimeout", 2), ("end", 1)),
    )
    broken = endpoint(
        "error",
        url="unix:///r.sock:/v1/events/2/stream",
        phase="backing off",
        last_error="403 Forbidden",
        next_attempt_in=12.3456,
        reconnect_count=4,
    )
    assert document(summarise([well, broken]), pid=PID, wall=NEW_YEAR + 0.5, elapsed=2.0) == {
        "schema": "wire-daemon-stream-state-v1",
        "ts": "2026-01-01T00:00:00.500Z",
        "state": "connected",
        "last_event_at": "2025-12-31T23:59:57.000Z",
        "reconnect_count": 7,
        "pid": PID,
        "phase": "streaming",
        "last_byte_at": "2025-12-31T23:59:58.750Z",
        "last_error": "403 Forbidden",
        "reconnect_in": 10.346,
        "endpoints": [
            {
                "relay": "https://a.example/v1/events/1/stream",
                "state": "connected",
                "last_event_at": "2025-12-31T23:59:57.000Z",
                "reconnect_count": 3,
                "phase": "streaming",
                "last_byte_at": "2025-12-31T23:59:58.750Z",
                "last_error": "it was reset",
                "reconnect_in": None,
                "heartbeat": 30.123,
                "read_limit": 47.185,
                "wakes": 9,
                "events": 5,
                "early_wakes": 4,
                "spurious_wakes": 1,
                "ends": {"ReadTimeout": 2, "end": 1},
            },
            {
                "relay": "unix:///r.sock:/v1/events/2/stream",
                "state": "error",
                "last_event_at": None,
                "reconnect_count": 4,
                "phase": "backing off",
                "last_byte_at": None,
                "last_error": "403 Forbidden",
                "reconnect_in": 10.346,
                "heartbeat": None,
                "read_limit": None,
                "wakes": 0,
                "events": 0,
                "early_wakes": 0,
                "spurious_wakes": 0,
                "ends": {},
            },
        ],
    }


def test_a_limit_beyond_all_reason_is_left_out() -> None:
    facts = document(summarise([endpoint(read_limit=1e300)]), pid=PID, wall=NEW_YEAR)
    assert facts["endpoints"][0]["read_limit"] is None


def test_no_endpoint() -> None:
    facts = document(summarise((), problem="relay.json does not exist yet"), pid=PID, wall=NEW_YEAR)
    assert (facts["state"], facts["endpoints"]) == ("error", [])
    assert (facts["last_error"], facts["phase"]) == ("relay.json does not exist yet", "no endpoint")
    assert (facts["last_event_at"], facts["reconnect_count"]) == (None, 0)


@pytest.mark.parametrize("wait", [float("inf"), float("nan"), -5.0, 1.0])
def test_it_is_json_whatever_the_numbers(wait: float) -> None:
    facts = document(snapshot("error", next_attempt_in=wait), pid=PID, wall=NEW_YEAR, elapsed=2.0)
    json.dumps(facts, allow_nan=False)
    assert facts["reconnect_in"] in (None, 0.0)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (NEW_YEAR - 0.0004, "2025-12-31T23:59:59.999Z"),  # Cut, not rounded: an event is never from the future.
        (951782400.25, "2000-02-29T00:00:00.250Z"),
        (-5.0, "1970-01-01T00:00:00.000Z"),
        (float("nan"), "1970-01-01T00:00:00.000Z"),
        (1e300, "9999-12-31T23:59:59.000Z"),
        (float("inf"), "9999-12-31T23:59:59.000Z"),
    ],
)
def test_moments(moment: float, text: str) -> None:
    assert rfc3339(moment) == text


def test_a_moment_that_the_c_library_cannot_break_down(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.gmtime

    def gmtime(seconds: float) -> time.struct_time:
        if seconds >= 1 << 31:
            raise OverflowError("timestamp out of range for platform time_t")
        return real(seconds)

    monkeypatch.setattr(time, "gmtime", gmtime)
    assert rfc3339(1e300) == "2038-01-19T03:14:07.000Z"


# --- when it is written ---------------------------------------------------------------------------------------------


def test_nothing_is_due_before_anything_was_offered(path: Path) -> None:
    file = StateFile(path, pid=PID)
    assert file.due() is None
    assert not file.flush(1e9)
    assert not file.close(1e9)
    assert list(path.parent.iterdir()) == []


def test_the_first_state_is_due_at_once(path: Path) -> None:
    file = StateFile(path, pid=PID, wall=lambda: NEW_YEAR)
    file.offer(snapshot("connecting"), 100.0)
    assert file.due() == 100.0
    assert not file.flush(99.9)
    assert not path.exists()
    assert file.flush(100.0)
    assert held(path) == document(snapshot("connecting"), pid=PID, wall=NEW_YEAR)


def test_at_most_one_write_a_second_and_the_last_one_is_not_lost(path: Path) -> None:
    file = StateFile(path, pid=PID)
    file.offer(snapshot("connecting"), 100.0)
    assert file.flush(100.0)
    for moment, word in ((100.1, "connected"), (100.2, "reconnecting"), (100.3, "error")):
        file.offer(snapshot(word), moment)  # type: ignore[arg-type]  # a loop variable loses its literal type
        assert file.due() == 101.0
        assert not file.flush(moment)
    assert not file.flush(100.99)
    assert held(path)["state"] == "connecting"
    assert file.flush(101.0)
    assert held(path)["state"] == "error"
    assert file.due() == 401.0


def test_a_state_that_came_and_went_within_the_second_is_no_news(path: Path) -> None:
    file = StateFile(path, pid=PID)
    file.offer(snapshot("connected"), 100.0)
    file.flush(100.0)
    file.offer(snapshot("reconnecting"), 100.2)
    file.offer(snapshot("connected"), 100.4)
    assert file.due() == 400.0


TRANSITIONS = {
    "state": {"word": "reconnecting"},
    "error": {"last_error": "it was reset"},
    "count": {"reconnect_count": 1},
    "endpoint": {"url": "https://other.example/v1/events/b/stream"},
}


@pytest.mark.parametrize("changed", TRANSITIONS.values(), ids=TRANSITIONS)
@pytest.mark.parametrize("second", [False, True], ids=["the only one", "one of two"])
def test_what_is_a_transition(path: Path, changed: dict[str, Any], second: bool) -> None:
    beside = [endpoint(reconnect_count=5)] if second else []
    file = StateFile(path, pid=PID)
    file.offer(summarise([endpoint(), *beside]), 100.0)
    file.flush(100.0)
    file.offer(summarise([endpoint(**changed), *beside]), 110.0)
    assert file.due() == 101.0
    assert file.flush(110.0)
    file.offer(summarise([endpoint(**changed), endpoint(), *beside]), 120.0)
    assert file.due() == 111.0


def test_a_phase_is_a_transition_only_of_what_is_not_connected(path: Path) -> None:
    file = StateFile(path, pid=PID)
    file.offer(snapshot("connecting", phase="resolving"), 100.0)
    file.flush(100.0)
    file.offer(snapshot("connecting", phase="handshake"), 102.0)
    assert file.flush(102.0)
    file.offer(snapshot("connected", phase="idle"), 104.0)
    assert file.flush(104.0)
    file.offer(snapshot("connected", phase="in an event"), 106.0)
    assert file.due() == 404.0


def test_events_and_heartbeats_ride_along(path: Path) -> None:
    file = StateFile(path, pid=PID)
    file.offer(snapshot(), 100.0)
    file.flush(100.0)
    moved = snapshot(
        last_byte_at=NEW_YEAR, last_event_at=NEW_YEAR, last_wake_at=NEW_YEAR, next_attempt_in=3.0, since=1.0
    )
    file.offer(moved, 150.0)
    assert file.due() == 400.0
    assert not file.flush(399.9)
    assert file.flush(400.0)
    assert held(path)["last_event_at"] == rfc3339(NEW_YEAR)


def test_the_refresh_renews_the_stamp_of_what_did_not_change(path: Path) -> None:
    wall = iter([NEW_YEAR, NEW_YEAR + 300, NEW_YEAR + 301])
    file = StateFile(path, pid=PID, wall=lambda: next(wall))
    file.offer(snapshot("error", next_attempt_in=3600.0), 100.0)
    file.flush(100.0)
    before = held(path)
    assert file.flush(400.0)
    after = held(path)
    assert (before["ts"], after["ts"]) == (rfc3339(NEW_YEAR), rfc3339(NEW_YEAR + 300))
    assert (before["reconnect_in"], after["reconnect_in"]) == (3600.0, 3300.0)


@pytest.mark.parametrize("period", [30, 1], ids=["heartbeats", "an event each second"])
def test_a_day_costs_at_most_300_writes(path: Path, replaced: list[str], period: int) -> None:
    file = StateFile(path, pid=PID, wall=lambda: NEW_YEAR + now)
    now = 0.0
    file.offer(snapshot("connecting"), now)
    file.flush(now)
    connected = snapshot("connected")
    while now < 86400:
        # The host's loop: it sleeps until the next byte or the next deadline, whichever is first.
        due = file.due()
        assert due is not None
        coming = min(due, (now // period + 1) * period)
        assert coming > now
        now = coming
        event_at = NEW_YEAR + now if period == 1 else None
        file.offer(connected._replace(last_byte_at=NEW_YEAR + now, last_event_at=event_at), now)
        file.flush(now)
    assert 280 <= len(replaced) <= 300
    assert held(path)["ts"] >= rfc3339(NEW_YEAR + 86400 - 300)


def test_an_hour_of_flapping_costs_at_most_a_write_a_second(path: Path, replaced: list[str]) -> None:
    file = StateFile(path, pid=PID)
    for tick in range(36000):
        now = tick / 10
        file.offer(snapshot("error", reconnect_count=tick), now)
        file.flush(now)
    assert 3500 <= len(replaced) <= 3600
    assert file.close(3600.0)
    assert held(path)["reconnect_count"] == 35999


def test_close_writes_the_last_state_whether_due_or_not(path: Path, replaced: list[str]) -> None:
    file = StateFile(path, pid=PID)
    file.offer(snapshot(), 100.0)
    file.flush(100.0)
    file.offer(snapshot("error", last_error="closed"), 100.1)
    assert file.close(100.2)
    assert held(path)["last_error"] == "closed"
    assert file.due() is None
    file.offer(snapshot("connected"), 200.0)
    assert file.due() is None
    assert not file.flush(1e9)
    assert not file.close(1e9)
    assert held(path)["last_error"] == "closed"
    assert len(replaced) == 2
    unchanged = StateFile(path, pid=PID)
    unchanged.offer(snapshot(), 100.0)
    unchanged.flush(100.0)
    assert unchanged.close(100.1)
    assert len(replaced) == 4
