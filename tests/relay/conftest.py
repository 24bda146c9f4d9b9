"""One relay with every kind of listener for the whole run, brought back to normal after each test; and wire's own."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
import trustme

from tests.conftest import missing
from tests.relay.raw import Raw
from tests.support.ports import free_port
from wire_rawsse.testing import RelayClient, RelayProcess, Slot


class Certified:
    """A certificate for 127.0.0.1 as PEM files, and what a client needs to trust it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.certificate = str(folder / "certificate.pem")
        self.key = str(folder / "key.pem")
        self.ca = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca)
        issued.cert_chain_pems[0].write_to_path(self.certificate)
        issued.private_key_pem.write_to_path(self.key)
        self.trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.trusting)


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def everywhere(certified: Certified, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """Plain, TLS and Unix-domain socket, in this order."""
    with RelayProcess(
        bind=["127.0.0.1:0"],
        bind_tls=["127.0.0.1:0"],
        uds=[str(tmp_path_factory.mktemp("relay") / "relay.sock")],
        certificate=certified.certificate,
        key=certified.key,
        allocate_rate=1000,
        allocate_burst=1000,
    ) as relay:
        yield relay


@pytest.fixture
def relay(everywhere: RelayProcess) -> Iterator[RelayProcess]:
    """The shared relay, without faults before and after, and with no connection left open."""
    yield everywhere
    with everywhere.client() as client:
        client.normal()
        client.wait_until("open", at_most=0)


@pytest.fixture
def client(relay: RelayProcess) -> Iterator[RelayClient]:
    with relay.client() as client:
        yield client


@pytest.fixture
def slot(client: RelayClient) -> Slot:
    return client.allocate()


@pytest.fixture
def connect(relay: RelayProcess, certified: Certified) -> Iterator[Connect]:
    opened: list[Raw] = []

    def connect(scheme: str = "http", *, shake: bool = True) -> Raw:
        url = relay.urls[("http", "https", "uds").index(scheme)]
        opened.append(Raw(url, certified.trusting if scheme == "https" else None, shake=shake))
        return opened[-1]

    yield connect
    for raw in opened:
        raw.socket.close()


class Connect(Protocol):
    """Opens connections that the test sees the bytes of: http, https or uds."""

    def __call__(self, scheme: str = "http", *, shake: bool = True) -> Raw: ...


class Subscriber:
    """Opens streams on the test's slot that have got their head already."""

    def __init__(self, connect: Connect, client: RelayClient, slot: Slot) -> None:
        self._connect = connect
        self._client = client
        self._slot = slot
        self._streams = 0

    def __call__(self, scheme: str = "http", *fields: str, version: str = "1.1") -> Raw:
        raw = self._connect(scheme)
        raw.subscribe(self._slot, *fields, version=version)
        status, _ = raw.head()
        assert status == 200
        self._streams += 1
        self._client.wait_until("streams", self._streams, slot=self._slot)
        return raw


@pytest.fixture
def subscribe(connect: Connect, client: RelayClient, slot: Slot) -> Subscriber:
    return Subscriber(connect, client, slot)


def wire_program() -> str:
    """The path of wire's own program."""
    found = os.environ.get("WIRE_BIN") or shutil.which("wire")
    return found or missing("wire's own relay: cargo install slancha-wire --locked, then set WIRE_BIN to its path")


@pytest.fixture(scope="session")
def wires_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of wire's own relay."""
    program = wire_program()
    place = f"127.0.0.1:{free_port()}"
    with subprocess.Popen(
        [program, "relay-server", "--bind", place, "--local-only"],
        env={**os.environ, "WIRE_HOME": str(tmp_path_factory.mktemp("wire"))},
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline(), "wire's relay did not start"
            yield f"http://{place}"
        finally:
            process.kill()


STORED_EVENTS: list[dict[str, Any]] = [
    {"event_id": "E1", "text": "é\u2028/"},
    {"event_id": "E 2&=+", "b": 1, "a": [1.5, None, True]},
    {"event_id": "E3"},
    {"event_id": "E4"},
]


class Target(NamedTuple):
    """A relay with two slots: one that only the pulls look at, with `STORED_EVENTS`, and one to post to."""

    url: str
    client: RelayClient
    pulled: Slot
    posted: Slot


def target(url: str) -> Iterator[Target]:
    with RelayClient(url) as client:
        pulled, posted = client.allocate(), client.allocate()
        for slot in (pulled, posted):
            for event in STORED_EVENTS:
                client.post(slot, event)
        yield Target(url, client, pulled, posted)


@pytest.fixture(scope="module")
def ours() -> Iterator[Target]:
    with RelayProcess() as relay:
        yield from target(relay.url)


@pytest.fixture(scope="module")
def wires(wires_relay: str) -> Iterator[Target]:
    yield from target(wires_relay)
