"""One relay for all tests of the command, and for each a slot, a client and an empty home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import authority, serve, socket_path
from wire_rawsse.testing import RelayClient, RelayProcess, Slot

__all__ = ["authority", "serve", "socket_path"]


@pytest.fixture(scope="session")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(heartbeat=0.2, allocate_rate=1000, allocate_burst=1000) as relay:
        yield relay


@pytest.fixture
def client(relay: RelayProcess) -> Iterator[RelayClient]:
    """A client of the relay, which misbehaves no more when the test is over."""
    with relay.client(timeout=60) as client:
        yield client
        client.normal()


@pytest.fixture
def slot(client: RelayClient) -> Slot:
    return client.allocate()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder that is `HOME` and `WIRE_HOME`."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
