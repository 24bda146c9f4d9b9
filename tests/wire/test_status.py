"""The verdict of the status command on stream_state.json."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.test_state import endpoint
from wire_rawsse.state import NEAREST_FIRST, EndpointState, State, SubscriberState, summarise
from wire_rawsse.wire.relay_json import MOST_ENDPOINTS
from wire_rawsse.wire.state_file import StateFile, document, rfc3339
from wire_rawsse.wire.status import LARGEST, STALE_AFTER, assess, check

NOW = 1767225600.0  # 2026-01-01T00:00:00Z
PID = 4242
WELL = endpoint(
    url="https://a.example/v1/events/1/stream",
    phase="streaming",
    last_byte_at=NOW - 52,
    last_event_at=NOW - 100,
    reconnect_count=3,
)
BROKEN = endpoint(
    "error",
    url="http://127.0.0.1:8770/v1/events/2/stream",
    phase="backing off",
    last_error="the relay answered 403",
    next_attempt_in=52.0,
    reconnect_count=4,
)
STARTS = "stream: connected (last event 2025-12-31T23:58:20.000Z, reconnects 3)"


def written(*endpoints: EndpointState, ago: float = 40.0, **changed: object) -> dict[str, Any]:
    return {**document(summarise(endpoints), pid=PID, wall=NOW - ago), **changed}


def alive(pid: int) -> bool:
    assert pid == PID
    return True


def gone(pid: int) -> bool:
    return not alive(pid)


def test_connected() -> None:
    status = assess(written(WELL), NOW, alive)
    assert status.exit_code == 0
    assert status.line == f"{STARTS}; listening; written 40 s ago by process 4242, 12 s after the last byte"
    assert status.facts == {
        "verdict": "connected",
        "reason": None,
        "age": 40.0,
        "pid_alive": True,
        "document": written(WELL),
    }
    learned = assess(written(WELL._replace(heartbeat=30.0, read_limit=47.0)), NOW, alive)
    assert "; heartbeat every 30 s, silence ends it after 47 s; written" in learned.line
    both = assess(written(WELL, WELL._replace(url="http://other")), NOW, alive)
    assert both.exit_code == 0
    assert "; all 2 endpoints; " in both.line


def test_a_relay_that_is_null_is_no_fault_of_ours() -> None:
    facts = written(BROKEN, relay=None, last_error=None, phase=None, endpoints=None)
    status = assess(facts, NOW, alive)
    assert status.exit_code == 1
    assert "error" in status.line and "None" not in status.line


def test_any_endpoint_down_is_degraded() -> None:
    status = assess(written(WELL, BROKEN), NOW, alive)
    assert status.exit_code == 1
    assert status.facts["verdict"] == "degraded"
    assert status.line == (
        "stream: connected (last event 2025-12-31T23:58:20.000Z, reconnects 7); 1 of 2 endpoints down; "
        "http://127.0.0.1:8770/v1/events/2/stream error, waiting to try again, next attempt in 12 s, "
        "last error: the relay answered 403; written 40 s ago by process 4242, 12 s after the last byte"
    )


@pytest.mark.parametrize("word", [word for word in NEAREST_FIRST if word != "connected"])
def test_all_of_them_down_is_degraded_too(word: State) -> None:
    status = assess(written(BROKEN._replace(state=word)), NOW, alive)
    assert status.exit_code == 1
    assert status.line.startswith(f"stream: {word} (last event never, reconnects 4); http://127.0.0.1:8770/")
    assert "endpoints down" not in status.line


def test_no_endpoint_is_degraded_and_says_why() -> None:
    whole = summarise((), problem="relay.json does not exist yet; `wire up` makes it")
    status = assess(document(whole, pid=PID, wall=NOW), NOW, alive)
    assert status.exit_code == 1
    assert status.line == (
        "stream: error (last event never, reconnects 0); no endpoint, "
        "last error: relay.json does not exist yet; `wire up` makes it; written 0 s ago by process 4242"
    )


def test_a_state_above_that_contradicts_its_endpoints_is_not_believed_to_be_well() -> None:
    assert assess(written(WELL, state="reconnecting"), NOW, alive).exit_code == 1
    assert assess(written(BROKEN, state="connected"), NOW, alive).exit_code == 1


def test_a_writer_that_is_gone() -> None:
    status = assess(written(WELL), NOW, gone)
    assert status.exit_code == 2
    assert status.line == (
        "stream: stale (last event 2025-12-31T23:58:20.000Z, reconnects 3); "
        "it was connected, but process 4242, which wrote that 40 s ago, is gone"
    )
    assert (status.facts["verdict"], status.facts["pid_alive"]) == ("stale", False)
    assert status.facts["reason"] == "process 4242, which wrote that 40 s ago, is gone"


@pytest.mark.parametrize(
    ("ago", "code"),
    [
        (0, 0),
        (299, 0),
        (STALE_AFTER, 0),
        (STALE_AFTER + 0.01, 2),
        (86400 * 400, 2),
        (-1, 0),
        (-STALE_AFTER, 0),
        (-STALE_AFTER - 0.01, 2),
        (-86400 * 400, 2),
    ],
)
def test_two_refreshes_is_how_long_a_stamp_is_good(ago: float, code: int) -> None:
    assert STALE_AFTER == 600
    status = assess(written(WELL, ago=ago), NOW, alive)
    assert status.exit_code == code
    if code == 2:
        assert status.line.startswith("stream: stale (")
        assert ("in the future" in status.line) == (ago < 0)


def test_wires_own_file_is_understood() -> None:
    own = {
        "last_event_at": None,
        "reconnect_count": 0,
        "schema": "wire-daemon-stream-state-v1",
        "state": "connected",
        "ts": "2025-12-31T23:59:29.478695719Z",
    }
    status = assess(own, NOW, gone)
    assert status.exit_code == 0
    assert status.line == "stream: connected (last event never, reconnects 0); written 31 s ago"
    assert status.facts["pid_alive"] is None
    assert assess({**own, "state": "error"}, NOW, gone).exit_code == 1
    assert assess(own, NOW + 600, gone).exit_code == 2


@pytest.mark.parametrize(
    ("ts", "seconds"),
    [
        ("2026-01-01T00:00:00Z", 0),
        ("2026-01-01t00:00:00z", 0),
        ("2026-01-01 00:00:00Z", 0),
        ("2026-01-01T02:00:00+02:00", 0),
        ("2025-12-31T18:29:00.5-05:30", -59.5),
        ("2025-12-31T23:59:60Z", -1),
        ("2025-12-31T23:59:59.123456789Z", -0.876543211),
    ],
)
def test_every_form_of_rfc_3339_is_read(ts: str, seconds: float) -> None:
    assert assess(written(WELL, ts=ts), NOW, alive).facts["age"] == pytest.approx(-seconds, abs=0.001)


WRONG_VALUES: list[tuple[str, Any]] = [
    ("schema", None),
    ("schema", "wire-daemon-stream-state-v2"),
    ("state", None),
    ("state", "wibble"),
    ("state", ["connected"]),
    ("ts", None),
    ("ts", 5),
    ("ts", ""),
    ("ts", "yesterday"),
    ("ts", "2026-01-01"),
    ("ts", "2026-01-01T00:00:00"),
    ("ts", "2026-13-01T00:00:00Z"),
    ("ts", "2026-02-30T00:00:00Z"),
    ("ts", "2026-01-01T25:00:00Z"),
    ("ts", "0000-01-01T00:00:00Z"),
    ("ts", "२०२६-01-01T00:00:00Z"),
    ("last_event_at", 5),
    ("reconnect_count", None),
    ("reconnect_count", -1),
    ("reconnect_count", True),
    ("reconnect_count", 1.5),
    ("pid", 0),
    ("pid", -1),
    ("pid", True),
    ("pid", "4242"),
    ("phase", 5),
    ("last_byte_at", 5),
    ("last_error", {}),
    ("reconnect_in", "soon"),
    ("reconnect_in", float("inf")),
    ("reconnect_in", float("nan")),
    ("endpoints", {}),
    ("endpoints", ["https://a"]),
    ("endpoints", [{}]),
    ("endpoints", [{"state": "connected", "reconnect_count": 0}]),
]


@pytest.mark.parametrize(("key", "value"), WRONG_VALUES)
def test_a_wrong_shape_is_unknown_and_named(key: str, value: Any) -> None:
    status = assess(written(WELL, **{key: value}), NOW, alive)
    assert status.exit_code == 2
    assert status.line.startswith("stream: unknown (")
    assert key in status.line
    assert status.facts["verdict"] == "unknown"


@pytest.mark.parametrize("value", [[], "connected", 5, True, [written(WELL)]])
def test_what_is_no_object_is_unknown(value: Any) -> None:
    status = assess(value, NOW, alive)
    assert (status.exit_code, status.facts["verdict"]) == (2, "unknown")


def test_without_a_document_the_reason_given_is_told() -> None:
    assert assess(None, NOW, alive).line == "stream: unknown (there is no stream_state.json)"
    assert assess(None, NOW, alive, "the disk is on fire").facts["reason"] == "the disk is on fire"


def test_nothing_unprintable_reaches_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\r\n\u202e" + "x" * 5000
    broken = BROKEN._replace(url=evil, phase=evil, last_error=evil)
    status = assess(written(WELL, broken, last_event_at=evil, last_byte_at=evil), NOW, alive)
    assert status.line.isprintable()
    assert len(status.line) < 2000


# --- from the file --------------------------------------------------------------------------------------------------


def test_the_files_that_we_write(tmp_path: Path) -> None:
    path = tmp_path / "stream_state.json"
    file = StateFile(path, pid=os.getpid())
    file.offer(summarise([WELL]), 0.0)
    file.flush(0.0)
    assert check(path).exit_code == 0
    assert check(str(path), time.time() + 601).exit_code == 2
    file.offer(summarise([WELL, BROKEN]), 1.0)
    file.close(1.0)
    assert check(path).exit_code == 1
    json.dumps(check(path).facts, allow_nan=False)


def test_a_daemon_that_was_killed_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "stream_state.json"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as daemon:
        file = StateFile(path, pid=daemon.pid)
        file.offer(summarise([WELL]), 0.0)
        file.flush(0.0)
        assert check(path).exit_code == 0
        daemon.kill()
        daemon.wait()
        status = check(path)
    assert status.exit_code == 2
    assert f"process {daemon.pid}, which wrote that" in status.line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON, or not all of it is there"),
        (b'{"schema": "wire-daemon-str', "is not JSON, or not all of it is there"),
        (b"\xff\xfe\x00", "is not JSON, or not all of it is there"),
        (b"[" * 100_000, "is not JSON, or not all of it is there"),
        (b'{"age": NaN}', "is not JSON, or not all of it is there"),
        (b"9" * 5000, "is not JSON, or not all of it is there"),
        (b"null", "holds null, expected an object"),
        (b"[]", "expected an object in stream_state.json"),
        (b" " * LARGEST + b"{}", f"expected at most {LARGEST} bytes, found more"),
    ],
)
def test_a_file_that_says_nothing(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "stream_state.json"
    path.write_bytes(content)
    status = check(path)
    assert status.exit_code == 2
    assert told in status.line
    assert "\n" not in status.line


def test_a_file_that_is_not_there_and_a_folder_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "stream_state.json"
    assert check(path).line == (
        f"stream: unknown (there is no {path}: no subscriber has run here yet; "
        "a daemon with a URL writes to its --state-file)"
    )
    path.mkdir()
    assert "expected a regular file, found a folder" in check(path).line
    assert check(path).exit_code == 2


def test_every_half_of_a_file_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "stream_state.json"
    whole = json.dumps(written(WELL)).encode()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert check(path, NOW).exit_code == 2


# --- anything at all ------------------------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(NEAREST_FIRST),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.data())
def test_any_document_gets_one_line_and_one_of_three_answers(data: st.DataObject) -> None:
    facts = copy.deepcopy(written(WELL, BROKEN))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.sampled_from([facts, *facts["endpoints"]] if _list_of_objects(facts) else [facts]))
        place[data.draw(st.sampled_from(sorted(facts)))] = data.draw(anything)
    status = assess(facts, NOW, lambda pid: True)
    assert status.exit_code in (0, 1, 2)
    assert status.line.isprintable()
    assert status.line.startswith("stream: ")
    assert (status.exit_code == 2) == (status.facts["verdict"] in ("stale", "unknown"))


def _list_of_objects(facts: dict[str, Any]) -> bool:
    endpoints = facts.get("endpoints")
    return isinstance(endpoints, list) and all(isinstance(one, dict) for one in endpoints)


@given(anything)
def test_any_value_gets_an_answer(value: Any) -> None:
    assert assess(value, NOW, lambda pid: True).exit_code == 2


@given(st.floats(0, 4e9))
def test_what_is_written_is_read_back(moment: float) -> None:
    whole = {**written(WELL), "ts": rfc3339(moment)}
    assert assess(whole, moment, alive).facts["age"] == pytest.approx(0, abs=0.0011)


def test_the_answer_is_frozen() -> None:
    status = assess(None, NOW, alive)
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.exit_code = 0  # type: ignore[misc]  # that is what must fail


def test_a_subscriber_state_comes_with_every_key_that_is_checked() -> None:
    assert isinstance(summarise([WELL]), SubscriberState)
    assert assess(written(WELL), NOW, alive).facts["document"].keys() >= {"phase", "last_byte_at", "endpoints"}


def test_as_many_endpoints_as_are_followed_fit_into_the_file_and_the_line_is_short(tmp_path: Path) -> None:
    many = [BROKEN._replace(url=f"http://a/{number}/{'x' * 10_000}") for number in range(MOST_ENDPOINTS)]
    path = tmp_path / "stream_state.json"
    file = StateFile(path, pid=os.getpid())
    file.offer(summarise(many), 0.0)
    assert file.flush(0.0)
    status = check(path)
    assert status.exit_code == 1 and "1000 of 1000 endpoints down" in status.line and "and 990 more" in status.line
    assert len(status.line) < 10_000


def test_a_url_that_the_error_names_is_not_repeated() -> None:
    url = "http://127.0.0.1:8770/v1/events/2/stream"
    status = assess(written(BROKEN._replace(last_error=f"{url} answered 404 Not Found")), NOW, alive)
    assert status.line.count(url) == 1
    assert f"; error, waiting to try again, next attempt in 12 s, last error: {url}" in status.line


def test_trouble_with_the_command_is_told_first() -> None:
    whole = {**written(WELL), "failures_in_row": 3, "last_run_error": "ended with exit status 3"}
    status = assess(whole, NOW, alive)
    assert (status.exit_code, status.facts["verdict"]) == (1, "degraded")
    assert f"{STARTS}; the last 3 runs of the command failed: ended with exit status 3; listening" in status.line
    assert assess({**whole, "failures_in_row": 2}, NOW, alive).exit_code == 0
    assert assess({**whole, "failures_in_row": 0, "run_overdue": True}, NOW, alive).exit_code == 1


def test_a_writer_that_is_stopped_is_degraded() -> None:
    status = assess(written(WELL), NOW, alive, stopped=lambda pid: pid == 4242)
    assert (status.exit_code, status.facts["verdict"]) == (1, "degraded")
    assert status.line.startswith("stream: stopped (") and "kill -CONT 4242" in status.line


def test_a_writer_that_holds_the_lock_and_writes_nothing_is_degraded() -> None:
    """As after two of its refreshes; a process id alone may be another process's by now."""
    old = NOW + 601
    assert assess({**written(WELL), "locked": True}, old, alive).exit_code == 1
    assert assess({**written(WELL), "locked": True}, old, lambda pid: None).exit_code == 2
    assert assess({**written(WELL), "locked": True}, old, lambda pid: False).exit_code == 2
    assert assess(written(WELL), old, alive).exit_code == 2
