"""Fixtures of the hosts' tests: streams in each phase of their life, and a name service that hangs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.hosts.scenes import SCENES, Scene
from tests.hosts.support import NEVER, HungResolver, Server, blackhole
from tests.support.fixtures import Serve, authority, ca_file, serve, server_context
from tests.support.ports import CLOSED
from wire_rawsse.transport import resolve

__all__ = ["Serve", "authority", "ca_file", "serve", "server_context"]


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
            phase, url = "backing off", f"http://127.0.0.1:{CLOSED}/"
        else:
            phase = "streaming"
            server = serve(tls=scheme == "https")
            half = b"data: half an eve" if name == "mid-event" else b""
        yield Scene(phase, url or (server.url if server else ""), options, server, hung_resolver, half)
