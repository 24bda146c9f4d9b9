"""The shared part of the CPython floors: a connected socket that has sent its request. No parser, no reconnect, no
deadline.

A floor is the least that a program on CPython does when it wakes the same main thread in the same way. It looks at no
byte: whatever `recv` gives is a wake. It asks for 64 KiB at a time, as such programs do; less would save it a large
allocation, which is why a library that asks for less can come near it, and over TLS even below. The head of the
response is read up here, so that it is none.
"""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from bench.clients._probe import Probe


def subscribe(probe: Probe) -> socket.socket:
    """A blocking socket (or `SSLSocket`) whose next bytes are events. Raises `OSError`, `ssl.SSLError`."""
    url = urlsplit(probe.url)
    host, port = url.hostname or "", url.port or 80
    sock = socket.create_connection((host, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if probe.ca is not None:
        # Only where it is used: for http it would count as memory of the floor.
        import ssl

        sock = ssl.create_default_context(cafile=probe.ca).wrap_socket(sock, server_hostname=host)
    sock.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode())
    head = b""
    # Byte by byte, so that nothing of the first event is taken with the head.
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise ConnectionError("the server closed before the end of its head")
        head += byte
    return sock
