"""A tiny forward proxy, as a step for a scripted server: `CONNECT`, and absolute-form http (RFC 9112 §3.2)."""

from __future__ import annotations

import select
import socket

from tests.support.server import Peer, request


def forward(peer: Peer) -> None:
    """Do what the next request asks for, and carry bytes until one side closes."""
    request(peer)
    asked = peer.asked[-1]
    if asked.method == "CONNECT":
        host, _, port = asked.target.rpartition(":")
        first = b""
    else:
        place, _, path = asked.target.removeprefix("http://").partition("/")
        host, _, port = place.rpartition(":")
        kept = [(name, value) for name, value in asked.headers if not name.lower().startswith("proxy-")]
        lines = [f"{asked.method} /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in kept), "", ""]
        first = "\r\n".join(lines).encode("latin-1") + asked.body
    with socket.create_connection((host.strip("[]"), int(port))) as origin:
        if asked.method == "CONNECT":
            peer.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        origin.sendall(first)
        _carry(peer.sock, origin)


def _carry(one: socket.socket, other: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([one, other], [], [])
        for source in readable:
            data = source.recv(65536)
            if not data:
                return
            (other if source is one else one).sendall(data)
