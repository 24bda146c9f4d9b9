"""Fixtures of the hosts' tests: a certificate authority, and servers that end with their test."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.hosts.scenes import SCENES, Scene
from tests.hosts.support import NEVER, HungResolver, Server, Stage, blackhole, closed_port
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


@pytest.fixture(params=SCENES)
def scene(
    request: pytest.FixtureRequest,
    serve: Serve,
    ca_file: str,
    hung_resolver: HungResolver,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    name, _, scheme = request.param.partition(" ")
    options: dict[str, Any] = {"tls": ca_file, "backoff": NEVER}
    server: Server | None = None
    phase, url, half = name, "", b""
    with ExitStack() as stack:
        if name == "resolving":
            url = "http://relay.test/"
        elif name == "connecting":
            url = f"http://127.0.0.1:{stack.enter_context(blackhole())}/"
        elif name == "tunnel":
            server = serve(stage="asked")
            monkeypatch.setenv("HTTPS_PROXY", server.url)
            url = "https://relay.test/"
        elif name == "handshake":
            server = serve(tls=True, stage="accepted")
        elif name == "head":
            server = serve(tls=scheme == "https", stage="asked")
        elif name == "backing":
            phase, url = "backing off", f"http://127.0.0.1:{closed_port()}/"
        else:
            phase = "streaming"
            server = serve(tls=scheme == "https")
            half = b"data: half an eve" if name == "mid-event" else b""
        yield Scene(phase, url or (server.url if server else ""), options, server, hung_resolver, half)
