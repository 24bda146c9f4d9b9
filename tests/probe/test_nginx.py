"""The probe before nginx, with proxy_buffering on and off before an event stream."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest

from tests.interop.support import Nginx
from tests.probe.support import probe
from tests.support.fixtures import Serve
from tests.support.server import CHUNKED, Peer, Step, answer, chunk, drip, request, send

pytestmark = pytest.mark.interop

BEAT = drip(chunk(b": ping\n\n"), 0.3)


def only_on(target: str) -> Step:
    """For any other target a 404."""

    def step(peer: Peer) -> None:
        if peer.asked[-1].target != target:
            peer.sock.sendall(answer("404 Not Found", "Connection: close"))
            peer.end()
            peer.close()

    return step


def events(size: int, every: float) -> Step:
    """Events that say when they were made."""

    def step(peer: Peer) -> None:
        for number in itertools.count(1):
            data = json.dumps({"at": time.time(), "text": "x" * size}).encode()
            peer.sock.sendall(chunk(b"id: %d\ndata: %s\n\n" % (number, data)))
            if peer.server.closing.wait(every):
                return

    return step


def test_without_buffering_all_is_well(serve: Serve, tmp_path: Path, home: Path) -> None:
    backend = serve([request, send(CHUNKED), BEAT])
    with Nginx(tmp_path / "nginx", f"http://{backend.place}", buffering=False) as nginx:
        found = probe(f"{nginx.url}/stream", "--cacert", nginx.ca, home=home, seconds=4)
    assert (found.status, found.codes) == (0, []), found.told


def test_with_buffering_a_slow_stream_never_begins(serve: Serve, tmp_path: Path, home: Path) -> None:
    """Heartbeats of 8 bytes: nginx keeps the head back until its buffer is full, and answers everything else."""
    backend = serve([request, only_on("/stream"), send(CHUNKED), BEAT])
    with Nginx(tmp_path / "nginx", f"http://{backend.place}", buffering=True) as nginx:
        found = probe(f"{nginx.url}/stream", "--cacert", nginx.ca, home=home, seconds=6)
    assert (found.status, found.codes) == (2, ["head-held"]), found.told
    assert "nginx" in found.first["text"] and "proxy_buffering off" in found.first["change"]


def test_with_buffering_events_come_late_and_together(serve: Serve, tmp_path: Path, home: Path) -> None:
    backend = serve([request, send(CHUNKED), events(1000, 0.1)])
    with Nginx(tmp_path / "nginx", f"http://{backend.place}", buffering=True) as nginx:
        found = probe(f"{nginx.url}/stream", "--cacert", nginx.ca, home=home, seconds=7)
    assert (found.status, found.first["code"]) == (2, "buffered"), found.told
    assert "proxy_buffering off" in found.first["change"]
