"""The control call: absent unless asked for, clear about what it wants, truthful about what happened."""

from __future__ import annotations

import threading
import time

import pytest

from tests.relay.conftest import Connect, Subscriber
from wire_rawsse.errors import InvalidRequestError, ResponseTimeout, StatusError
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot


def test_there_is_none_unless_asked_for() -> None:
    with RelayProcess(control=False) as relay, relay.client() as client:
        assert relay.control_url is None
        assert client.request("POST", "/control", body=b'{"do": "report"}').status == 404
        with pytest.raises(InvalidRequestError, match="--control"):
            client.normal()


def test_it_is_on_loopback_and_not_on_the_other_listeners(relay: RelayProcess, client: RelayClient) -> None:
    assert relay.control_url is not None and relay.control_url.startswith("http://127.0.0.1:")
    for url in relay.urls[:1]:
        with RelayClient(url) as other:
            assert other.request("POST", "/control", body=b'{"do": "report"}').status == 404


def test_what_it_does_not_understand(relay: RelayProcess, client: RelayClient) -> None:
    assert relay.control_url is not None
    with RelayClient(relay.control_url) as control:
        assert control.request("GET", "/control").status == 405
        assert control.request("POST", "/", body=b"{}").status == 404
        # A web page can send this to us without asking the browser's leave, but not JSON.
        simple = [("Content-Type", "text/plain")]
        assert control.request("POST", "/control", fields=simple).status == 415
        assert control.request("POST", "/control", body=b"{").status == 400
    for call, told in (
        ({"do": "dance"}, "do must be one of misbehave, normal, release"),
        ({"do": "misbehave"}, "faults is missing"),
        ({"do": "misbehave", "faults": {}}, "faults must be a list"),
        ({"do": "misbehave", "faults": [{"action": "cut", "at": "tea"}]}, "cut must be at one of stream"),
        ({"do": "published", "slot_id": "x"}, "no such slot"),
        ({"do": "storm", "slot_id": "x", "prefix": "s"}, "no such slot"),
        ({"do": "published"}, "slot_id is missing"),
        ({"do": "adopt", "slot_id": "x"}, "slot_token is missing"),
        ({"do": "adopt", "slot_id": "", "slot_token": "y"}, "slot_id must be a string"),
        ({"do": "await", "counter": "clouds"}, "a counter is one of accepted, requests, strikes"),
        ({"do": "await", "counter": "open", "at_least": -1}, "at_least must be a number"),
        ({"do": "await", "counter": "open", "seconds": 1e9}, "seconds must be 0 to 600"),
    ):
        with pytest.raises(StatusError, match="400") as caught:
            client.control(**call)
        # The quotation is 80 characters long.
        assert told[:40] in str(caught.value)


def test_a_refused_list_of_faults_changes_nothing(client: RelayClient) -> None:
    client.misbehave(Fault("answer", count=3))
    with pytest.raises(StatusError):
        client.control("misbehave", faults=[{"action": "reset"}, {"action": "nonsense"}])
    assert client.report()["faults"] == [{"action": "answer", "at": "request", "scope": "new", "count": 3}]


def test_the_report_counts_truly(subscribe: Subscriber, connect: Connect, client: RelayClient, slot: Slot) -> None:
    before = client.report()
    raw = subscribe()
    client.post(slot, {"event_id": "a"})
    raw.until(b'"a"')
    after = client.report()
    assert after["accepted"] == before["accepted"] + 1
    assert after["requests"] == before["requests"] + 2
    assert after["streams"] == {slot.slot_id: 1}
    assert after["slots"][slot.slot_id] == {"events": 1, "bytes": len('{"event_id":"a"}')}
    [record] = [found for found in after["connections"] if found["peer"] == raw.local and not found["closed_at"]]
    assert record["slot_id"] == slot.slot_id
    assert record["sent"] == len(raw.wire)
    assert [what for _, what, _ in record["log"]] == ["request", "stream", "answer", "event"]
    times = [record["accepted_at"], *(when for when, _, _ in record["log"]), after["now"]]
    assert times == sorted(times)
    assert after["now"] <= time.monotonic()
    raw.socket.close()
    client.wait_until("streams", at_most=0, slot=slot)
    [record] = [found for found in client.report()["connections"] if found["number"] == record["number"]]
    assert [what for _, what, _ in record["log"]][-2:] == ["peer closed", "stream closed"]
    assert record["closed_at"] is not None
    assert slot.slot_token not in str(client.report())


def test_waiting_for_a_counter(relay: RelayProcess, connect: Connect, client: RelayClient, slot: Slot) -> None:
    with pytest.raises(ResponseTimeout, match=r"streams stood at 0 after 0\.05 s"):
        client.wait_until("streams", 1, slot=slot, seconds=0.05)
    values: list[int] = []

    def wait() -> None:
        with relay.client() as other:
            values.append(other.wait_until("streams", 2, slot=slot))

    waiting = threading.Thread(target=wait)
    waiting.start()
    for _ in range(2):
        connect().subscribe(slot)
    waiting.join()
    assert values == [2]


def test_one_who_waits_and_goes_is_forgotten(relay: RelayProcess, client: RelayClient) -> None:
    impatient = relay.client(timeout=0.05)
    with impatient, pytest.raises(ResponseTimeout):
        impatient.wait_until("accepted", 1_000_000, seconds=60)
    client.allocate()


def test_a_relay_that_was_started_again_takes_the_old_slots(tmp_path_factory: pytest.TempPathFactory) -> None:
    with RelayProcess() as first, first.client() as client:
        slot = client.allocate()
        client.post(slot, {"event_id": "lost"})
        place = first.url.removeprefix("http://")
        first.kill()
    with RelayProcess(bind=[place]) as second, second.client() as client:
        assert second.url == first.url
        with pytest.raises(StatusError, match="404"):
            client.pull(slot)
        client.adopt(slot)
        assert client.pull(slot) == []
        assert client.post(slot, {"event_id": "lost"}).status == "stored"


def test_stamps_of_events_that_nobody_heard(client: RelayClient, slot: Slot) -> None:
    before = time.monotonic()
    client.post(slot, {"event_id": "unheard"})
    client.post(slot, {"no": "id"})
    [(first, heard), (second, _)] = client.published(slot)
    assert (first, second) == ("unheard", None)
    assert before < heard < time.monotonic()


def test_what_is_held_is_let_go_while_the_faults_stay(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.misbehave(Fault("silent", at="event", scope="live"))
    client.post(slot, {"event_id": "first"})
    client.wait_until("injected", 1)
    client.misbehave(Fault("cut", at="event", scope="both", only="stream"))
    client.control("release")
    raw.until(b'first"}')
    assert client.report()["faults"], "the fault that was asked for is still in force"


def test_a_storm_is_many_events_in_one_moment(subscribe: Subscriber, client: RelayClient, slot: Slot) -> None:
    raw = subscribe()
    client.control("storm", slot_id=slot.slot_id, count=2000, prefix="s")
    raw.until(b'"s2000"')
    ids = [event["event_id"] for event in client.pull(slot, limit=1000)]
    assert ids == [f"s{number + 1}" for number in range(1000)]
