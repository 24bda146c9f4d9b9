"""The relay of `wedge`: it answers, lets its streams live, and at a word begins to misbehave as their paths say.

    python -m bench.wedge_relay ADDRESS BEAT DRIP

A path is `/FAULT/CLIENT`. At first each stream gets a whole comment line every second (`quiet`: every BEAT seconds, all
the time). At the line `begin` on standard input everybody gets one more, the last sign of life, and then: `drip`: a
byte every DRIP seconds, inside a line that never ends; each `recv` succeeds. `stopped` and `blackhole`: nothing more
from here; anyone who started this process stops it, or cuts the wire. A connection that is made after that gets comment
lines every BEAT seconds, whatever its path: the fault is that of the first stream.

Standard output: `listening PORT`; `connected FAULT/CLIENT PORT` for each stream, with the port of its other end;
`begun`. The end of standard input ends the process.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from dataclasses import dataclass

from bench.sender import HEAD, chunk, event, say

BEFORE_SECONDS = 1.0
STEP_SECONDS = 0.05
WHOLE, BYTE = chunk(b": still on the line\n\n"), chunk(b":")


@dataclass
class Stream:
    fault: str
    first: bool
    due: float


class Relay:
    def __init__(self, address: str, beat: float, drip: float) -> None:
        self.beat, self.drip = beat, drip
        self.listener = socket.create_server((address, 0), backlog=512)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        self.opening: dict[socket.socket, bytes] = {}
        self.streams: dict[socket.socket, Stream] = {}
        self.begun = False

    def run(self) -> None:
        say(f"listening {self.listener.getsockname()[1]}")
        while True:
            for key, _ in self.selector.select(STEP_SECONDS):
                if key.fileobj == sys.stdin:
                    if not sys.stdin.readline():
                        return
                    self._begin()
                elif key.fileobj is self.listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._hear(key.fileobj)
            now = time.monotonic()
            for sock, stream in self.streams.items():
                if now >= stream.due:
                    self._speak(sock, stream, now)

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opening[connection] = b""
        self.selector.register(connection, selectors.EVENT_READ)

    def _hear(self, sock: socket.socket) -> None:
        try:
            received = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.selector.unregister(sock)
            self.opening.pop(sock, None)
            self.streams.pop(sock, None)
            sock.close()
        elif sock in self.opening:
            self.opening[sock] += received
            if b"\r\n\r\n" in self.opening[sock]:
                self._answer(sock, self.opening.pop(sock))

    def _answer(self, sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ", 2)[1].decode().strip("/")
        with contextlib.suppress(OSError):
            say(f"connected {path} {sock.getpeername()[1]}")
            sock.sendall(HEAD + event(0))
        stream = Stream(path.partition("/")[0], not self.begun, 0.0)
        stream.due = time.monotonic() + self._pause(stream)
        self.streams[sock] = stream

    def _begin(self) -> None:
        """The last sign of life for all, and then each its fault."""
        self.begun = True
        now = time.monotonic()
        for sock, stream in self.streams.items():
            with contextlib.suppress(OSError):
                sock.send(WHOLE)
            stream.due = now + self._pause(stream)
        say("begun")

    def _pause(self, stream: Stream) -> float:
        if stream.fault == "quiet" or not stream.first:
            return self.beat
        if not self.begun:
            return min(self.beat, BEFORE_SECONDS)
        return self.drip if stream.fault == "drip" else float("inf")

    def _speak(self, sock: socket.socket, stream: Stream, now: float) -> None:
        stream.due = now + self._pause(stream)
        with contextlib.suppress(OSError):
            sock.send(BYTE if self.begun and stream.first and stream.fault == "drip" else WHOLE)


if __name__ == "__main__":
    Relay(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])).run()
