"""wire's own relay for each test, which may stop, kill and fill it as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.support import Agent, WiresRelay
from tests.support.fixtures import socket_path
from wire_rawsse.testing import RelayClient, Slot

__all__ = ["socket_path"]


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[WiresRelay]:
    with WiresRelay(tmp_path / "relay") as relay:
        yield relay


@pytest.fixture
def client(wires: WiresRelay) -> Iterator[RelayClient]:
    with wires.client() as client:
        yield client


@pytest.fixture
def slot(client: RelayClient) -> Slot:
    return client.allocate()


@pytest.fixture
def agent(wires: WiresRelay, tmp_path: Path) -> Agent:
    return Agent(tmp_path, wires.url)
