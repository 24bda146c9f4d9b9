"""`StreamSubscriber.from_wire()`: endpoints followed while connected, and a state file that is never wrong for long."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wire_rawsse import Backoff, StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber
from wire_rawsse.testing import RelayClient, RelayProcess, Slot
from wire_rawsse.wire import follow, paths, state_file

TIMEOUTS = Timeouts(connect=2, response=2, read=5, min_rate=0)
BACKOFF = Backoff(initial=0.05, maximum=0.2, healthy_after=0.5)
PATIENCE = 15.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WIRE_HOME", str(tmp_path))
    (tmp_path / "config" / "wire").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """relay.json is looked at ten times a second instead of every ten to 29 seconds."""
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(follow, "LOOK_WITHIN", 0.1)


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(allocate_rate=1000, allocate_burst=1000) as process:
        yield process


@pytest.fixture
def client(relay: RelayProcess) -> Iterator[RelayClient]:
    with relay.client() as client:
        client.normal()
        yield client


def from_wire() -> StreamSubscriber:
    return StreamSubscriber.from_wire(timeouts=TIMEOUTS, backoff=BACKOFF)


def entry(url: str, slot: Slot, scope: str = "local") -> dict[str, str]:
    return {"relay_url": url, "slot_id": slot.slot_id, "slot_token": slot.slot_token, "scope": scope}


def write(home: Path, own: Any, whole: bool = True) -> None:
    """As wire does it: temp and rename."""
    path = home / "config" / "wire" / "relay.json"
    text = json.dumps({"self": own, "peers": {}})
    path.with_suffix(".tmp").write_text(text if whole else text[: len(text) // 2])
    os.replace(path.with_suffix(".tmp"), path)


def state(home: Path) -> dict[str, Any]:
    value = json.loads((home / "state" / "wire" / "stream_state.json").read_text())
    assert isinstance(value, dict)
    return value


def until(subscriber: StreamSubscriber, condition: Callable[[], bool]) -> int:
    """Wait on the subscriber until `condition`; the wakes that came."""
    wakes, end = 0, time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, subscriber.state
        wakes += subscriber.wait(0.05)
    return wakes


def connected(subscriber: StreamSubscriber, slot: Slot) -> bool:
    return any(slot.slot_id in one.url and one.state == "connected" for one in subscriber.state.endpoints)


def test_every_endpoint_of_self_wakes(home: Path, relay: RelayProcess, client: RelayClient) -> None:
    slots = [client.allocate() for _ in range(3)]
    write(home, {"endpoints": [entry(relay.url, slot) for slot in slots]})
    with from_wire() as subscriber:
        until(subscriber, lambda: all(connected(subscriber, slot) for slot in slots))
        while subscriber.wait(0.1):
            pass
        for slot in slots:
            client.post(slot, {"hello": 1})
            assert subscriber.wait(PATIENCE)


def test_a_rotated_slot_is_noticed_although_the_old_stream_is_healthy(
    home: Path, relay: RelayProcess, client: RelayClient, often: None
) -> None:
    old, kept, new = client.allocate(), client.allocate(), client.allocate()
    write(home, {"endpoints": [entry(relay.url, old), entry(relay.url, kept)]})
    with from_wire() as subscriber:
        until(subscriber, lambda: connected(subscriber, old) and connected(subscriber, kept))
        before = next(one for one in subscriber.state.endpoints if kept.slot_id in one.url)
        write(home, {"endpoints": [entry(relay.url, new), entry(relay.url, kept)]})
        until(subscriber, lambda: connected(subscriber, new))
        shown = [one.url for one in subscriber.state.endpoints]
        assert len(shown) == 2 and not any(old.slot_id in url for url in shown)
        after = next(one for one in subscriber.state.endpoints if kept.slot_id in one.url)
        assert (after.since, after.reconnect_count) == (before.since, 0), "the healthy one was disturbed"
        while subscriber.wait(0.1):
            pass
        client.post(new, {"hello": 1})
        assert subscriber.wait(PATIENCE)


def test_a_new_token_of_the_same_slot_is_used(
    home: Path, relay: RelayProcess, client: RelayClient, often: None
) -> None:
    slot = client.allocate()
    write(home, {"endpoints": [entry(relay.url, Slot(slot.slot_id, "wrong-token"))]})
    with from_wire() as subscriber:
        until(subscriber, lambda: "403" in (subscriber.state.last_error or ""))
        assert "wrong-token" not in repr(subscriber.state)
        write(home, {"endpoints": [entry(relay.url, slot)]})
        until(subscriber, lambda: connected(subscriber, slot))


def test_it_is_looked_for_within_the_half_minute_that_is_promised() -> None:
    assert follow.LOOK_EVERY <= 10 and follow.LOOK_WITHIN < 30


@pytest.mark.parametrize("broken", ["missing", "null", "half", "folder", "huge"])
def test_a_file_that_says_nothing_is_a_state_a_line_and_a_retry(
    home: Path,
    relay: RelayProcess,
    client: RelayClient,
    often: None,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    slot = client.allocate()
    path = home / "config" / "wire" / "relay.json"
    if broken == "null":
        write(home, None)
    elif broken == "half":
        write(home, {"endpoints": [entry(relay.url, slot)]}, whole=False)
    elif broken == "folder":
        path.mkdir()
    elif broken == "huge":
        path.write_bytes(b" " * (10 * 1024 * 1024 + 1))
    with caplog.at_level(logging.WARNING, "wire_rawsse"), from_wire() as subscriber:
        for _ in range(12):
            assert not subscriber.wait(0.05)
        assert subscriber.state.state == "error" and subscriber.state.endpoints == ()
        assert "relay.json" in (subscriber.state.last_error or "")
        assert state(home)["state"] == "error" and "relay.json" in state(home)["last_error"]
        assert len(caplog.records) == 1, "said once"
        assert slot.slot_token not in caplog.text
        if path.is_dir():
            path.rmdir()
        write(home, {"endpoints": [entry(relay.url, slot)]})
        until(subscriber, lambda: connected(subscriber, slot))
        assert subscriber.state.last_error is None


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without any home."""
    for name in ("HOME", "USERPROFILE", "WIRE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(paths, "_home_of_user", lambda: None)


def test_without_any_home_that_is_told_and_wires_own_is_found_once_it_is_named(
    home: Path, relay: RelayProcess, client: RelayClient, often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = client.allocate()
    write(home, {"endpoints": [entry(relay.url, slot)]})
    nobody(monkeypatch)
    with from_wire() as subscriber:
        assert not subscriber.wait(0.3)
        assert subscriber.state.state == "error" and "WIRE_HOME" in (subscriber.state.last_error or "")
        monkeypatch.setenv("WIRE_HOME", str(home))
        until(subscriber, lambda: connected(subscriber, slot))
        assert subscriber.state.last_error is None


def test_a_signal_handler_that_raised_does_not_have_a_home_looked_for_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Struck(BaseException):
        pass

    looked, find = [0], paths.relay_json

    def striking(*arguments: Any) -> str:
        looked[0] += 1
        if looked[0] == 1:
            raise Struck
        return find(*arguments)

    nobody(monkeypatch)
    monkeypatch.setattr(paths, "relay_json", striking)
    with from_wire() as subscriber:
        with pytest.raises(Struck):
            subscriber.wait(1)
        assert not subscriber.wait(0.3)
        assert looked == [2]


def test_a_file_that_becomes_unreadable_leaves_the_streams_alone(
    home: Path, relay: RelayProcess, client: RelayClient, often: None
) -> None:
    slot = client.allocate()
    write(home, {"endpoints": [entry(relay.url, slot)]})
    with from_wire() as subscriber:
        until(subscriber, lambda: connected(subscriber, slot))
        write(home, {"endpoints": [entry(relay.url, slot)]}, whole=False)
        until(subscriber, lambda: "relay.json" in (subscriber.state.last_error or ""))
        assert connected(subscriber, slot) and subscriber.state.state == "connected"
        client.post(slot, {"hello": 1})
        assert until(subscriber, lambda: subscriber.state.last_event_at is not None)


def test_an_endpoint_that_goes_is_ended_and_what_was_counted_stays(
    home: Path, relay: RelayProcess, client: RelayClient, often: None
) -> None:
    slot = client.allocate()
    write(home, {"endpoints": [entry(relay.url, slot)]})
    with from_wire() as subscriber:
        until(subscriber, lambda: connected(subscriber, slot))
        client.post(slot, {"hello": 1})
        until(subscriber, lambda: subscriber.state.last_event_at is not None)
        last = subscriber.state.last_event_at
        write(home, None)
        until(subscriber, lambda: subscriber.state.endpoints == ())
        assert client.wait_until("streams", at_most=0, slot=slot) == 0
        assert subscriber.state.last_event_at == last


def test_the_state_file_tells_the_truth_and_is_whole_at_every_moment(
    home: Path, relay: RelayProcess, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = client.allocate()
    write(home, {"endpoints": [entry(relay.url, slot)]})
    seen: list[dict[str, Any]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                seen.append(state(home))
            except FileNotFoundError:
                pass  # Not yet.
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with from_wire() as subscriber:
            until(subscriber, lambda: connected(subscriber, slot))
            until(subscriber, lambda: state(home)["state"] == "connected")
            assert state(home)["pid"] == os.getpid()
            client.post(slot, {"hello": 1})
            assert subscriber.wait(PATIENCE)
            restarted = time.monotonic()
            subscriber.restart()
            until(subscriber, lambda: state(home)["reconnect_count"] == 1 and state(home)["state"] == "connected")
            assert time.monotonic() - restarted < PATIENCE
            assert state(home)["last_event_at"] is not None
        assert state(home)["state"] != "connected", "closed, and it says so"
    finally:
        stop.set()
        watcher.join()
    assert {"connecting", "connected"} <= {one["state"] for one in seen}
    assert all(one["schema"] == state_file.SCHEMA for one in seen)
    assert (home / "state" / "wire" / "stream_state.json").stat().st_mode & 0o777 == 0o600


def test_a_state_folder_that_cannot_be_written_changes_nothing_else(
    home: Path, relay: RelayProcess, client: RelayClient, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "state").write_text("a file where the folder should be")
    slot = client.allocate()
    write(home, {"endpoints": [entry(relay.url, slot)]})
    with caplog.at_level(logging.WARNING, "wire_rawsse"), from_wire() as subscriber:
        until(subscriber, lambda: connected(subscriber, slot))
        client.post(slot, {"hello": 1})
        until(subscriber, lambda: subscriber.state.last_event_at is not None)
        subscriber.restart()
        until(subscriber, lambda: subscriber.state.reconnect_count == 1 and connected(subscriber, slot))
    assert len([record for record in caplog.records if "stream_state.json" in record.getMessage()]) == 1


def test_nothing_is_touched_before_the_first_wait_nor_by_a_plain_subscriber(home: Path) -> None:
    with from_wire(), StreamSubscriber("http://127.0.0.1:9/") as plain:
        plain.wait(0)
        assert not (home / "state").exists()


def test_the_thread_follows_wire_where_no_subscriber_is_given(
    home: Path, relay: RelayProcess, client: RelayClient
) -> None:
    slot = client.allocate()
    write(home, entry(relay.url, slot))
    wake = WakeChannel()
    thread = spawn_stream_subscriber(wake)
    try:
        assert thread.name == "wire-stream-sub" and thread.daemon
        assert wake.wait(PATIENCE), "the wake for the connection"
        client.post(slot, {"hello": 1})
        assert wake.wait(PATIENCE)
    finally:
        thread.stop()
    assert not thread.is_alive()


def test_a_unix_domain_socket_is_an_endpoint_like_any_other(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    with RelayProcess(bind=["127.0.0.1:0"], uds=[str(path)]) as relay, relay.client() as client:
        slot = client.allocate()
        write(home, {"endpoints": [entry(f"unix://{path}", slot, "uds")]})
        with from_wire() as subscriber:
            until(subscriber, lambda: connected(subscriber, slot))
            while subscriber.wait(0.1):
                pass
            client.post(slot, {"hello": 1})
            assert subscriber.wait(PATIENCE)


def test_a_quiet_host_looks_without_any_other_reason(
    home: Path, relay: RelayProcess, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One long `wait`, nothing on the stream: the new endpoint is found all the same."""
    monkeypatch.setattr(follow, "LOOK_WITHIN", 0.2)
    first, second = client.allocate(), client.allocate()
    write(home, {"endpoints": [entry(relay.url, first)]})
    with from_wire() as subscriber:
        until(subscriber, lambda: connected(subscriber, first))
        while subscriber.wait(0.3):
            pass
        timer = threading.Timer(0.3, write, (home, {"endpoints": [entry(relay.url, first), entry(relay.url, second)]}))
        timer.start()
        assert subscriber.wait(PATIENCE), "the connection to the second is a wake"
        timer.join()
        assert connected(subscriber, second)


def test_the_insecure_switch_of_wires_environment_is_for_wires_endpoints_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import trustme

    issued = trustme.CA().issue_cert("somebody.else.example")
    chain, key = str(tmp_path / "chain.pem"), str(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    with RelayProcess(bind=["127.0.0.1:0"], bind_tls=["127.0.0.1:0"], certificate=chain, key=key) as relay:
        with relay.client() as client:
            slot = client.allocate()
        secure = relay.urls[1]
        write(home, {"endpoints": [entry(secure, slot)]})
        with from_wire() as strict:
            until(strict, lambda: "does not verify" in (strict.state.last_error or ""))
        monkeypatch.setenv("WIRE_INSECURE_SKIP_TLS_VERIFY", "YES")
        with from_wire() as trusting:
            until(trusting, lambda: connected(trusting, slot))
        url = f"{secure}/v1/events/{slot.slot_id}/stream"
        with StreamSubscriber(url, bearer_token=slot.slot_token, timeouts=TIMEOUTS, backoff=BACKOFF) as plain:
            until(plain, lambda: "does not verify" in (plain.state.last_error or ""))


def test_an_address_nobody_listens_on_disturbs_nobody(home: Path, relay: RelayProcess, client: RelayClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        slot = client.allocate()
        write(home, {"endpoints": [entry(nowhere, slot), entry(relay.url, slot)]})
        with from_wire() as subscriber:
            until(subscriber, lambda: connected(subscriber, slot))
            until(subscriber, lambda: "refused" in (subscriber.state.last_error or "").lower())
            while subscriber.wait(0.1):
                pass
            client.post(slot, {"hello": 1})
            assert subscriber.wait(PATIENCE)
            assert subscriber.state.state == "connected"
