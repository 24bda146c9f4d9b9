"""The probe before the relay that misbehaves: each fault is named rightly. Faults at `accept` need no stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.probe.support import Probed, probe
from tests.relay.conftest import Certified
from wire_rawsse.testing.client import RelayClient, Slot
from wire_rawsse.testing.faults import Fault
from wire_rawsse.testing.process import RelayProcess

HEARTBEAT = 0.2
"""Seconds, of the relay that the fixture starts."""


@pytest.fixture
def token_file(slot: Slot, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(slot.slot_token)
    path.chmod(0o600)
    return path


def stream_of(relay: RelayProcess, slot: Slot) -> str:
    return f"{relay.url}{slot.path}/stream"


FAULTS: list[tuple[str, Fault]] = [
    ("no-head", Fault("silent", at="accept")),
    ("no-head", Fault("silent", at="request")),
    ("head-held", Fault("silent", at="request", only="stream")),
    ("head-stalls", Fault("silent", at="head")),
    ("head-stalls", Fault("drip", at="head", seconds=0.3)),
    ("wedged", Fault("silent", at="stream", after=0.9)),
    ("closed", Fault("cut", at="accept")),
    ("closed", Fault("reset", at="accept")),
    ("closed", Fault("cut", at="request")),
    ("closed", Fault("cut", at="head")),
    ("closed", Fault("reset", at="head")),
    ("cut", Fault("cut", at="stream", after=0.5)),
    ("cut", Fault("reset", at="stream", after=0.5)),
    ("ends", Fault("cut", at="end", after=0.5)),
    ("not-http", Fault("garbage", at="accept")),
    ("not-http", Fault("garbage", at="request")),
    ("malformed", Fault("garbage", at="stream", after=0.5)),
    ("drips", Fault("drip", at="line", seconds=0.2)),
    ("framing-drips", Fault("drip", at="extension", seconds=0.2)),
    ("framing-drips", Fault("drip", at="trailer", seconds=0.2)),
    ("refused", Fault("refuse")),
    ("status-503", Fault("answer", status=503, retry_after="30", text="down for repair")),
    ("status-429", Fault("answer", status=429, retry_after="60")),
    ("status-404", Fault("answer", status=404)),
    ("not-a-stream", Fault("answer", status=200, content_type="application/json", text="{}")),
    ("web-page", Fault("answer", status=200, content_type="text/html", text="<title>Welcome to the hotel</title>")),
]


def enough(code: str) -> float:
    """Seconds for the probe, of which a busy machine takes some for its start: silence must last to be told."""
    return 8 if code == "wedged" else 3


def name(value: object) -> str:
    return f"{value.action}-{value.place}" if isinstance(value, Fault) else str(value)


@pytest.mark.parametrize(("code", "fault"), FAULTS, ids=name)
def test_each_fault_is_named(
    code: str, fault: Fault, relay: RelayProcess, client: RelayClient, slot: Slot, token_file: Path, home: Path
) -> None:
    client.misbehave(fault)
    found = probe(stream_of(relay, slot), "--token-file", str(token_file), home=home, seconds=enough(code))
    assert found.first["code"] == code, found.told
    assert found.status == {"broken": 2, "doubtful": 1}[found.first["severity"]]
    assert found.first["change"]


def test_a_healthy_stream_is_well(relay: RelayProcess, slot: Slot, token_file: Path, home: Path) -> None:
    found = probe(stream_of(relay, slot), "--token-file", str(token_file), home=home)
    assert (found.status, found.codes) == (0, []), found.told
    assert found.report["verdict"] == "well" and found.report["change"] is None
    assert found.report["heartbeat"]["period"] >= HEARTBEAT / 2


def test_a_relay_that_is_stopped_answers_only_by_its_kernel(home: Path, tmp_path: Path) -> None:
    with RelayProcess(heartbeat=HEARTBEAT) as own, own.client() as client:
        slot = client.allocate()
        own.suspend()
        found = probe(stream_of(own, slot), home=home)
    assert found.first["code"] == "no-head", found.told


def test_half_an_event(relay: RelayProcess, client: RelayClient, slot: Slot, token_file: Path, home: Path) -> None:
    with RelayProcess(heartbeat=30, replay_ids=True) as own, own.client() as to_own:
        slot = to_own.allocate()
        token_file.write_text(slot.slot_token)
        to_own.post(slot, {"large": "x" * 2000})
        to_own.misbehave(Fault("silent", at="event", scope="new"))
        found = probe(stream_of(own, slot), "--token-file", str(token_file), "--last-event-id", "0", home=home)
    assert found.first["code"] == "half-event", found.told


def replayed(ids: bool, home: Path, token_file: Path) -> Probed:
    with RelayProcess(heartbeat=HEARTBEAT, replay_ids=ids) as own, own.client() as client:
        slot = client.allocate()
        token_file.write_text(slot.slot_token)
        for number in range(3):
            client.post(slot, {"number": number})
        return probe(stream_of(own, slot), "--token-file", str(token_file), "--last-event-id", "0", home=home)


def test_a_replay_is_asked_for_and_got(home: Path, token_file: Path) -> None:
    found = replayed(True, home, token_file)
    assert found.measured["replay"]["result"] == "resumes", found.measured["replay"]
    assert "no-replay" not in found.codes


def test_a_token_that_is_refused_is_told_and_never_shown(
    relay: RelayProcess, slot: Slot, home: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong-token-0123456789")
    wrong.chmod(0o600)
    found = probe(stream_of(relay, slot), "--token-file", str(wrong), home=home)
    assert found.first["code"] in ("status-401", "status-403"), found.told
    assert "0123456789" not in str(found.report)


def test_without_a_token_the_change_names_the_option(relay: RelayProcess, slot: Slot, home: Path) -> None:
    found = probe(stream_of(relay, slot), home=home)
    assert found.first["code"] in ("status-401", "status-403"), found.told
    assert "token" in found.first["change"]


OVER_TLS: list[tuple[str, Fault]] = [
    ("tls-timeout", Fault("silent", at="handshake")),
    ("no-head", Fault("silent", at="handshake", flights=1)),
    ("tls", Fault("cut", at="handshake")),
    ("tls", Fault("reset", at="handshake")),
    ("not-tls", Fault("garbage", at="accept", text="HTTP/1.1 400 Bad Request\r\n\r\n")),
    ("cut", Fault("cut", at="stream", after=0.5)),
    ("wedged", Fault("silent", at="stream", after=0.9)),
]


@pytest.fixture(scope="module")
def secure(certified: Certified) -> Iterator[RelayProcess]:
    """A relay for https."""
    listening = {"bind_tls": ["127.0.0.1:0"], "certificate": certified.certificate, "key": certified.key}
    with RelayProcess(heartbeat=HEARTBEAT, allocate_rate=1000, allocate_burst=1000, **listening) as relay:  # type: ignore[arg-type]
        yield relay


@pytest.mark.parametrize(("code", "fault"), OVER_TLS, ids=name)
def test_each_fault_is_named_over_tls(
    code: str, fault: Fault, secure: RelayProcess, certified: Certified, home: Path, token_file: Path
) -> None:
    with secure.client(tls=certified.trusting) as client:
        client.normal()
        slot = client.allocate()
        token_file.write_text(slot.slot_token)
        client.misbehave(fault)
        options = ("--cacert", certified.ca, "--token-file", str(token_file))
        found = probe(stream_of(secure, slot), *options, home=home, seconds=enough(code))
    assert found.first["code"] == code, found.told
    assert found.status == 2
