"""Somebody else in the client's host, who opens a connection and tells what it met.

A fault that strikes new connections spares the stream that is past them. That it was there all the same is shown by one
that it does not spare.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from tests.faults.phases import PROXY_PORT
from tests.faults.stage import HTTP, HTTPS, NAME
from tests.faults.world import RELAY

if TYPE_CHECKING:
    from tests.faults.cell import Cell

PATIENCE: Final = 0.3
"""Seconds without an answer that are silence. The stream's own attempt may be held up meanwhile, and has 1.5 s."""


def knock(cell: Cell, *, address: str = RELAY, proxy: bool = False) -> str:
    """Ask the relay for a stream, with TLS where the cell's has it, or ask the proxy for a tunnel; one word for it."""
    port = PROXY_PORT if proxy else HTTPS if cell.setup.tls else HTTP
    try:
        with cell.world.client.entered():
            sock = socket.create_connection((address, port), PATIENCE)
        with sock:
            if proxy:
                return _ask(sock, f"CONNECT {NAME}:{HTTPS} HTTP/1.1\r\nHost: {NAME}:{HTTPS}\r\n\r\n")
            slot = cell.relay.slot
            request = (
                f"GET {slot.path}/stream HTTP/1.1\r\nHost: {NAME}:{port}\r\n"
                f"Authorization: Bearer {slot.slot_token}\r\n\r\n"
            )
            if not cell.setup.tls:
                return _ask(sock, request)
            trust = ssl.create_default_context(cafile=str(cell.relay.certificates / "ca.pem"))
            with trust.wrap_socket(sock, server_hostname=NAME) as secure:
                return _ask(secure, request)
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:  # ssl.SSLError is one.
        return type(error).__name__


def _ask(sock: socket.socket, request: str) -> str:
    """The first line of the answer, or as much of it as comes."""
    sock.sendall(request.encode())
    answer = b""
    while b"\r\n" not in answer and (more := sock.recv(4096)):
        answer += more
    return answer.partition(b"\r\n")[0].decode("latin-1") or "end"
