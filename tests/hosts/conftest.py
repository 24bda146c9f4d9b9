"""Fixtures of the hosts' tests: a certificate authority, and servers that end with their test."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.hosts.support import HungResolver, Server, Stage
from wire_rawsse.transport import resolve


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a client has to trust."""
    path: Path = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


Serve = Callable[..., Server]


@pytest.fixture
def serve(server_context: ssl.SSLContext) -> Iterator[Serve]:
    """`serve(tls=False, stage="streaming")` makes a server."""
    made: list[Server] = []

    def make(*, tls: bool = False, stage: Stage = "streaming") -> Server:
        server = Server(server_context if tls else None, stage)
        made.append(server)
        return server

    yield make
    for server in made:
        server.close()


@pytest.fixture(params=[False, True], ids=["http", "https"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def hung_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[HungResolver]:
    """The system's name service hangs. Released at the end, so that the thread it holds can go."""
    resolver = HungResolver()
    real = resolve.Resolver.__init__
    monkeypatch.setattr(resolve.Resolver, "__init__", lambda self, announce: real(self, announce, resolver))
    yield resolver
    resolver.release()
