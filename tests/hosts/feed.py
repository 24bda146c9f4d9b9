"""A relay's log of events on real sockets, which every connection follows: for the tests of renewals."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import PATIENCE, Peer, Server
from tests.support.server import CHUNKED, Script, Step, request
from tests.support.server import tls as secured
from wire_rawsse import Backoff, Timeouts

AGE = Timeouts(max_age=0.8)
LONG_AGE = Timeouts(max_age=2)
"""For a test that takes its time in the overlap, which ends at twice the age."""
QUICKLY = Backoff(initial=0.05, maximum=0.2, healthy_after=0.1)


class Feed:
    """A relay's log of events, each of which is sent at once on every connection that follows it."""

    def __init__(self, *, ids: bool = True, replays: bool = True) -> None:
        self.ids, self.replays = ids, replays
        self.count = 0
        self.gaps = 0
        """Events that were posted while the client had no connection."""
        self._followers: list[tuple[Peer, threading.Event]] = []
        self._lock = threading.Lock()

    def post(self) -> None:
        with self._lock:
            self.count += 1
            for follower in list(self._followers):
                peer, gone = follower
                try:
                    if is_open(peer):
                        self._send(peer, self.count)
                        continue
                except OSError:
                    pass
                self._followers.remove(follower)
                gone.set()
            self.gaps += not self._followers

    def follow(self, peer: Peer) -> None:
        """A step: the head, the events after the last that the client has seen, and then each that is posted."""
        asked, gone = peer.asked[-1].get("last-event-id"), threading.Event()
        with self._lock:
            peer.send(CHUNKED)
            for number in range(int(asked) + 1 if asked and self.replays else self.count + 1, self.count + 1):
                self._send(peer, number)
            self._followers.append((peer, gone))
        while not (gone.wait(0.05) or peer.server.closing.is_set()):
            pass
        peer.close()

    def _send(self, peer: Peer, number: int) -> None:
        peer.say((b"id: %d\n" % number if self.ids else b"") + b"data: %d\n\n" % number)

    @contextmanager
    def posting(self, every: float) -> Iterator[None]:
        over = threading.Event()

        def post() -> None:
            while not over.wait(every):
                self.post()

        thread = threading.Thread(target=post, name="feed")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(PATIENCE)


def is_open(peer: Peer) -> bool:
    """Whether the client has not closed. It sends nothing after its request."""
    try:
        socket.socket.recv(peer.sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def script(feed: Feed, context: ssl.SSLContext | None, *before: Step) -> Script:
    return [*([secured(context)] if context else []), request, *before, feed.follow]


@pytest.fixture
def context(tls: bool, request: pytest.FixtureRequest) -> ssl.SSLContext | None:
    return request.getfixturevalue("server_context") if tls else None


def serve_feed(serve: Serve, feed: Feed, context: ssl.SSLContext | None, *scripts: Script) -> Server:
    server = serve(script(feed, context), *scripts, script(feed, context))
    server.scheme = "https" if context else "http"
    return server


def renewals(state: Any) -> int:
    return int(dict(state.ends).get("renewal", 0))
