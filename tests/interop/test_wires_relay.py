"""The subscriber against wire's own relay: its heartbeat, its refusals, its limits, and the ways in which it goes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.cli.command import PATIENCE
from tests.interop.support import Agent, WiresRelay, connected, until
from tests.support.listen import LENIENT, SOON, first, source, subscriber
from tests.wire.relay_files import file_of
from wire_rawsse import Backoff, Comment, StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber
from wire_rawsse.plan import Plan
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.testing import RelayClient, Slot
from wire_rawsse.wake_streams import WakeStreams

pytestmark = pytest.mark.interop

PER_SLOT = 256
"""As many streams does wire's relay allow on one slot."""


@pytest.mark.campaign
def test_its_heartbeat_comes_after_30_s_keeps_the_stream_and_wakes_nobody(wires: WiresRelay, slot: Slot) -> None:
    wake = WakeChannel()
    timeouts = Timeouts(read=45)  # Less than two heartbeats: the stream lives because of the first.
    listening = StreamSubscriber(wires.stream(slot), bearer_token=slot.slot_token, timeouts=timeouts)
    thread = spawn_stream_subscriber(wake, listening)
    try:
        assert wake.wait(PATIENCE)  # The connect.
        with source(wires.stream(slot), bearer_token=slot.slot_token, timeouts=timeouts) as reading:
            began = time.monotonic()
            comment = first(reading, Comment)
            took = time.monotonic() - began
        assert comment.text == "phyllis: still on the line"
        assert took > 29
        assert not wake.wait(1)
        state = listening.state
        assert connected(state) and state.reconnect_count == 0
        assert state.last_byte_at is not None and state.last_event_at is None
    finally:
        thread.stop()


def test_a_wrong_token_is_a_state_until_it_is_right(wires: WiresRelay, slot: Slot, client: RelayClient) -> None:
    wrong = "wr0ng-" + slot.slot_token[::-1]
    tokens = [wrong]
    with subscriber(wires.stream(slot), bearer_token=lambda: tokens[0]) as listening:
        _, wakes = until(listening, lambda state: state.reconnect_count >= 3)
        assert wakes == 0
        assert "403" in (listening.state.last_error or "")
        until(listening, lambda state: state.state == "error")
        assert wrong not in f"{listening.state} {listening!r}"
        tokens[0] = slot.slot_token
        until(listening, connected)
        client.post(slot, {"event_id": "e1"})
        assert listening.wait(PATIENCE)


@pytest.mark.parametrize(("status", "slot_id"), [("401", None), ("404", "0" * 32)], ids=["no token", "unknown slot"])
def test_what_it_refuses_is_tried_again_and_told_without_the_token(
    wires: WiresRelay, slot: Slot, status: str, slot_id: str | None
) -> None:
    asked = Slot(slot_id or slot.slot_id, slot.slot_token)
    token = None if slot_id is None else slot.slot_token
    with subscriber(wires.stream(asked), bearer_token=token) as listening:
        _, wakes = until(listening, lambda state: state.reconnect_count >= 3)
        assert wakes == 0
        assert status in (listening.state.last_error or "")
        until(listening, lambda state: state.state == "error")
        assert slot.slot_token not in f"{listening.state} {listening!r}"


def test_a_wrong_token_in_relay_json_is_in_no_file_of_ours(
    agent: Agent, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = agent.home / "config" / "wire" / "relay.json"
    kept = right.read_bytes()
    slot = agent.slot
    wrong = slot.slot_token[::-1]
    put(right, kept.replace(slot.slot_token.encode(), wrong.encode()))
    monkeypatch.setenv("WIRE_HOME", str(agent.home))
    with StreamSubscriber.from_wire(timeouts=LENIENT, backoff=SOON) as listening:
        until(listening, lambda state: state.reconnect_count >= 2)
        assert "403" in (listening.state.last_error or "")
        assert wrong not in f"{listening.state} {listening!r} {agent.stream_state.read_text()}"
        put(right, kept)
        until(listening, connected)  # At once: each phase is a reason to look at the file.
        client.post(slot, {"event_id": "e1"})
        assert listening.wait(PATIENCE)


def put(path: Path, data: bytes) -> None:
    """As wire does it: a file beside it, then rename(2)."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(data)
    fresh.replace(path)


def test_a_relay_stopped_and_continued(wires: WiresRelay, slot: Slot, client: RelayClient) -> None:
    """Its kernel accepts, acknowledges and answers probes all the while: only the clocks of ours can tell."""
    read, response = 2.0, 1.0
    listening = StreamSubscriber(
        wires.stream(slot),
        bearer_token=slot.slot_token,
        timeouts=Timeouts(connect=PATIENCE, response=response, read=read),
        backoff=Backoff(initial=0.1, maximum=0.4, healthy_after=0.5),
    )
    posted: list[str] = []
    with listening:
        until(listening, connected)
        alive = time.monotonic()
        while time.monotonic() < alive + 2 * read:
            posted.append(f"e{len(posted)}")
            client.post(slot, {"event_id": posted[-1]})
            assert listening.wait(PATIENCE)
            listening.wait(read / 4)
        assert listening.state.reconnect_count == 0

        wires.suspend()
        last_byte_at = listening.state.last_byte_at
        assert last_byte_at is not None
        _, wakes = until(listening, lambda state: not connected(state))
        noticed = time.time() - last_byte_at
        assert f"silent for read={read:g} s" in (listening.state.last_error or "")  # No other clock was sooner.
        assert read - 0.1 < noticed
        assert wakes == 0
        _, wakes = until(listening, lambda state: f"within response={response:g} s" in (state.last_error or ""))
        assert wakes == 0 and not connected(listening.state)

        wires.resume()
        client.post(slot, {"event_id": "meanwhile"})
        _, wakes = until(listening, connected)
        assert wakes or listening.wait(PATIENCE)  # The catch-up.
        assert [event["event_id"] for event in client.pull(slot)] == [*posted, "meanwhile"]
        client.post(slot, {"event_id": "after"})
        assert listening.wait(PATIENCE)


def test_256_streams_and_one_more(wires: WiresRelay, slot: Slot, client: RelayClient) -> None:
    plan = Plan(parse_url(wires.stream(slot)), bearer_token=slot.slot_token, timeouts=LENIENT, backoff=SOON)
    streams = WakeStreams()
    tasks = [streams.add(plan) for _ in range(PER_SLOT)]

    def run_until(connected: int, told: str = "") -> None:
        deadline = time.monotonic() + 2 * PATIENCE
        while True:
            states = streams.snapshots()
            refused = [state for state in states if state.state != "connected"]
            if len(states) - len(refused) == connected and all(told in (one.last_error or "") for one in refused):
                return
            assert time.monotonic() < deadline, f"{len(refused)} are not connected: {refused[:2]}"
            streams.loop.run(0.05)

    try:
        run_until(PER_SLOT)
        streams.add(plan)
        run_until(PER_SLOT, "503")
        assert streams.snapshots()[-1].last_wake_at is None
        client.post(slot, {"event_id": "e1"})
        deadline = time.monotonic() + PATIENCE
        while sum(state.last_event_at is not None for state in streams.snapshots()) < PER_SLOT:
            assert time.monotonic() < deadline
            streams.loop.run(0.05)
        assert all(state.reconnect_count == 0 for state in streams.snapshots()[:-1])
        # A place becomes free, and the one that was refused has it.
        streams.remove(tasks[0])
        run_until(PER_SLOT)
        client.post(slot, {"event_id": "e2"})
        deadline = time.monotonic() + PATIENCE
        while streams.snapshots()[-1].last_event_at is None:
            assert time.monotonic() < deadline
            streams.loop.run(0.05)
    finally:
        streams.loop.close()


def test_a_rotated_slot_is_noticed_though_the_old_stream_is_healthy(
    agent: Agent, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRE_HOME", str(agent.home))
    old = agent.slot
    with StreamSubscriber.from_wire(timeouts=LENIENT, backoff=SOON) as listening:
        until(listening, connected)
        # A look that the connect itself gave rise to would come too soon to show anything.
        until(listening, lambda _: '"connected"' in agent.stream_state.read_text())
        assert not listening.wait(1.5)
        agent.run("rotate-slot")
        new = agent.slot
        assert new.slot_id != old.slot_id
        client.post(old, {"event_id": "old"})
        until(listening, lambda state: state.last_event_at is not None)  # Makes a missed rotation visible.
        client.post(new, {"event_id": "posted to the new slot before it was heard of"})

        def moved() -> bool:
            endpoints = listening.state.endpoints
            return connected(listening.state) and all(new.slot_id in endpoint.url for endpoint in endpoints)

        _, wakes = until(listening, lambda _: moved(), seconds=30 + PATIENCE)  # The file is read within 29 s.
        assert wakes or listening.wait(PATIENCE)
        listening.wait(0.2)
        client.post(new, {"event_id": "e1"})
        assert listening.wait(PATIENCE)
        until(listening, lambda _: new.slot_id in json.loads(agent.stream_state.read_text())["endpoints"][0]["relay"])


def test_over_a_unix_socket(tmp_path: Path, socket_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """relay.json is written here: wire 0.17 itself cannot bind to a socket, its HTTP client knows no `unix://`."""
    with WiresRelay(tmp_path / "over-uds", uds=socket_path) as wires, wires.client() as client:
        slot = client.allocate()
        entry = {"relay_url": wires.url, "slot_id": slot.slot_id, "slot_token": slot.slot_token, "scope": "uds"}
        folder = tmp_path / "home" / "config" / "wire"
        folder.mkdir(parents=True)
        put(folder / "relay.json", file_of({"endpoints": [entry]}))
        monkeypatch.setenv("WIRE_HOME", str(tmp_path / "home"))
        with StreamSubscriber.from_wire(timeouts=LENIENT, backoff=SOON) as listening:
            until(listening, connected)
            listening.wait(0.2)
            client.post(slot, {"event_id": "e1"})
            assert listening.wait(PATIENCE)
            assert client.pull(slot) == [{"event_id": "e1"}]
            wires.kill()
            until(listening, lambda state: "refused" in (state.last_error or ""))
            wires.start()
            client.post(slot, {"event_id": "e2"})
            _, wakes = until(listening, connected)
            assert wakes or listening.wait(PATIENCE)
