"""The fixtures that the folders' conftest.py files import: servers, authorities, a place for a socket."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.ports import has_ipv6
from tests.support.server import Script, Server, Stage
from tests.support.server import stage as script_for
from tests.support.trust import Authority
from wire_rawsse.transport import contexts
from wire_rawsse.transport.certificates import Place


class Serve(Protocol):
    """Starts a server, which the fixture ends: see `tests.support.server`.

    It follows its scripts. Without any its connections go as far as `stage`, over TLS if `tls`: the test holds them.
    """

    def __call__(
        self,
        *scripts: Script,
        host: str = "127.0.0.1",
        path: str | None = None,
        tls: bool = False,
        stage: Stage = "streaming",
    ) -> Server: ...


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(
        *scripts: Script,
        host: str = "127.0.0.1",
        path: str | None = None,
        tls: bool = False,
        stage: Stage = "streaming",
    ) -> Server:
        if ":" in host and not has_ipv6():
            pytest.skip("this machine has no IPv6")
        context: ssl.SSLContext | None = request.getfixturevalue("server_context") if tls else None
        script = script_for(stage, context)
        server = Server(*(scripts or (script,)), host=host, path=path, scheme="https" if tls else "http")
        server.stage = None if scripts else stage
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()
    for server in servers:
        for fault in server.faults:
            raise fault


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def ca_file(authority: Authority) -> str:
    """The file that a client must trust."""
    return str(authority.file)


@pytest.fixture(scope="session")
def server_context(authority: Authority) -> ssl.SSLContext:
    return authority.server()


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no client here trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def fresh_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TLS context has been built yet."""
    monkeypatch.setattr(contexts, "_contexts", {})


@pytest.fixture
def contexts_built(fresh_contexts: None, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The settings of each TLS context that is built from now on."""
    built: list[object] = []
    build = contexts._build

    def counting(setting: contexts.Setting, places: Sequence[Place]) -> tuple[ssl.SSLContext, int, frozenset[str]]:
        built.append(setting)
        return build(setting, places)

    monkeypatch.setattr(contexts, "_build", counting)
    return built


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    """Short enough for sockaddr_un, or the test is skipped."""
    path = str(tmp_path / "s")
    if len(path) > 100:
        pytest.skip("the temporary folder's path is too long for a Unix-domain socket")
    return path
