"""TCP ports of 127.0.0.1: for programs that must be told theirs, and one on which nothing listens; and IPv6."""

from __future__ import annotations

import socket
from typing import Final

CLOSED: Final = 1
"""Nothing listens there (tcpmux), and the system gives it to no one who asks for any port."""


def free_port() -> int:
    """A port that the system gives to no other program for the next minute, and that a server can be told to take.

    A port that was merely bound and closed is soon given to another test's server. After a connection the kernel keeps
    it in TIME-WAIT (RFC 9293 §3.6.1): then only a socket with SO_REUSEADDR, which servers set, may bind it by number.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            listener.accept()[0].close()  # The end that closes first is kept.
            client.recv(1)
    return port


def has_ipv6() -> bool:
    """Whether this machine has ::1; many a container has not."""
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True
