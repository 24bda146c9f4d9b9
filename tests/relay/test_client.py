"""The small client: what it raises for each way in which a relay can fail it, and what it never says."""

from __future__ import annotations

import socket
import ssl

import pytest

from tests.relay.conftest import Certified
from wire_rawsse.errors import (
    ConnectError,
    ConnectionBrokenError,
    InvalidRequestError,
    MalformedResponseError,
    ResponseTimeout,
    StatusError,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.testing import Fault, RelayClient, RelayProcess, Slot


def test_one_connection_serves_all_requests(client: RelayClient, slot: Slot) -> None:
    before = client.report()["accepted"]
    for number in range(5):
        assert client.post(slot, {"event_id": str(number)}) == (str(number), "stored")
    assert client.post(slot, {"event_id": "3"}) == ("3", "duplicate")
    assert client.post(slot, "no object") == (None, "stored")
    assert client.pull(slot, "2", 2) == [{"event_id": "3"}, {"event_id": "4"}]
    assert client.allocate("a handle") != client.allocate()
    assert client.report()["accepted"] == before


def test_a_kept_connection_that_is_gone_is_no_error(client: RelayClient, slot: Slot) -> None:
    for action in ("cut", "reset"):
        client.misbehave(Fault(action, at="request", count=1))
        assert client.post(slot, {"event_id": action}).status == "stored"
    client.close()
    assert client.post(slot, {"event_id": "cut"}).status == "duplicate"


@pytest.mark.parametrize(
    ("fault", "error", "told"),
    [
        (Fault("cut", at="request"), TruncatedError, "without an answer"),
        (Fault("cut", at="head"), TruncatedError, "within an answer"),
        (Fault("reset", at="request"), ConnectionBrokenError, "broke"),
        (Fault("silent"), ResponseTimeout, "within 1 s"),
        (Fault("garbage", at="request", text="SSH-2.0\r\n\r\n"), MalformedResponseError, "SSH-2.0"),
        (Fault("answer", status=500, text="out of tea"), StatusError, "500: out of tea"),
        (Fault("answer", status=201, text="no JSON"), MalformedResponseError, "JSON was expected.*no JSON"),
        (Fault("refuse"), ConnectError, "refused"),
    ],
)
def test_what_it_raises(
    fault: Fault, error: type[WireRawSSEError], told: str, relay: RelayProcess, client: RelayClient, slot: Slot
) -> None:
    with relay.client(timeout=1 if error is ResponseTimeout else 20) as hurt:
        client.misbehave(fault)
        for _ in range(2):
            with pytest.raises(error, match=told):
                hurt.post(slot, {"event_id": "x"})
        client.normal()
        hurt.post(slot, {"event_id": "x"})


def test_it_never_repeats_a_token(relay: RelayProcess, client: RelayClient, slot: Slot) -> None:
    assert slot.slot_token not in repr(slot) + str(slot)
    for fault in (
        Fault("answer", text=f"who is {slot.slot_token}?"),
        Fault("garbage", at="request", text=f"Bearer {slot.slot_token}\r\n\r\n"),
    ):
        client.misbehave(fault)
        with relay.client() as other, pytest.raises(WireRawSSEError) as caught:
            other.post(slot, {})
        assert slot.slot_token[:8] not in str(caught.value)
    with relay.client() as other, pytest.raises(InvalidRequestError) as refused:
        other.post(Slot("x", "secret\r\nX: y"), {})
    assert "secret" not in str(refused.value) and refused.value.__cause__ is None


def test_https_needs_trust(relay: RelayProcess, client: RelayClient, certified: Certified) -> None:
    with relay.client(relay.urls[1], tls=certified.trusting) as trusting:
        trusting.allocate()
    wary = relay.client(relay.urls[1], tls=ssl.create_default_context())
    with wary, pytest.raises(ConnectError, match="certificate"):
        wary.allocate()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "http://me:secret@127.0.0.1/"])
def test_urls_it_does_not_take(url: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RelayClient(url)
    assert "secret" not in str(caught.value)


def test_nobody_there() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = RelayClient(f"http://127.0.0.1:{bound.getsockname()[1]}")
        with client, pytest.raises(ConnectError, match=r"no connection to the relay at 127\.0\.0\.1"):
            client.allocate()
    with RelayClient("unix:///none/such.sock") as client, pytest.raises(ConnectError, match="No such file"):
        client.allocate()
