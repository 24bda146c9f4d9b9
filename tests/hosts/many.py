"""Helpers for the tests of many streams."""

from __future__ import annotations

import random
from typing import Any

from tests.hosts.support import PATIENCE, InThread, Peer, Server
from wire_rawsse import StreamHandle, Streams


def open_all(streams: Streams, server: Server, count: int, **options: Any) -> list[tuple[StreamHandle, Peer]]:
    """So many more streams, connected and with their wakes taken: each handle and the server's end of it."""
    base = random.random()
    handles = {f"/stream/{base}/{n}": streams.add(f"{server.url}/{base}/{n}", tag=n, **options) for n in range(count)}
    peers: dict[str, Peer] = {}
    helper = InThread(lambda: [peers.setdefault(path_of(peer), peer) for peer in (server.peer() for _ in handles)])
    waiting = set(handles.values())
    while waiting:
        waiting.difference_update(streams.wait(PATIENCE))
    helper.result()
    return [(handle, peers[path]) for path, handle in handles.items()]


def path_of(peer: Peer) -> str:
    return peer.request.split(b" ")[1].decode()
