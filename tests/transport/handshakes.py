"""A TLS handshake as a dial makes it, with a scripted server: what was agreed on, or how it failed."""

from __future__ import annotations

import socket

import pytest

from tests.support.drive import drive
from tests.support.fixtures import Serve
from tests.support.server import PATIENCE, Step
from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.policy import Keepalive
from wire_rawsse.services import HostServices
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial
from wire_rawsse.transport.tls import secure
from wire_rawsse.transport.trust import AnyTrust
from wire_rawsse.waits import Address, Coroutine


def shake_hands(port: int, trust: AnyTrust, host: str = "localhost", within: float = PATIENCE) -> tuple[str, str]:
    """The version and the ALPN protocol that were agreed on."""
    place = "::1" if host == "::1" else "127.0.0.1"

    def start(services: HostServices) -> Coroutine[tuple[str, str]]:
        family = socket.AF_INET6 if ":" in place else socket.AF_INET
        address = Address(family, socket.SOCK_STREAM, 6, (place, port))
        budget = Deadline(services.now(), within, "https://relay")
        sock = yield from dial(services, [address], budget, Keepalive())
        secured = yield from secure(services, sock, context_for(trust), host, budget)
        agreed = secured.session.version() or "", secured.session.selected_alpn_protocol() or ""
        services.release(sock)
        return agreed

    return drive(start)


def fails(serve: Serve, steps: list[Step], trust: AnyTrust, host: str = "localhost") -> WireRawSSEError:
    server = serve(steps)
    with pytest.raises(WireRawSSEError) as failed:
        shake_hands(server.port, trust, host)
    assert "https://relay" in str(failed.value), "it does not say with whom"
    assert isinstance(failed.value, ConnectionError)
    return failed.value
