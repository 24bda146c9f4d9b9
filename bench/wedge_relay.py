"""The relay of `wedge`: it answers, lets its streams live, and at a word begins to misbehave as their paths say.

    python -m bench.wedge_relay ADDRESS BEAT DRIP

A path is `/FAULT/CLIENT`. Each stream gets a whole comment line every BEAT seconds, all streams of all relays at the
same moments: whenever the system's monotonic clock reaches a multiple of BEAT. So a client can learn the period. At the
line `begin` on standard input the faults begin. `drip`: a byte every DRIP seconds, inside a line that never ends; each
`recv` succeeds. `stopped`, `blackhole` and `address`: nothing more from here; the scene stops this process, cuts the
wire or removes the client's address. `quiet` and each connection that is made after that: comment lines every BEAT
seconds, as before; the fault is that of the first stream.

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
        now = time.monotonic()
        stream.due = now + self._pause(stream, now)
        self.streams[sock] = stream

    def _begin(self) -> None:
        """Each stream has had its last sign of life, the comment line of just now."""
        self.begun = True
        now = time.monotonic()
        for stream in self.streams.values():
            stream.due = now + self._pause(stream, now)
        say("begun")

    def _pause(self, stream: Stream, now: float) -> float:
        if stream.fault == "quiet" or not stream.first or not self.begun:
            return self.beat - now % self.beat
        return self.drip if stream.fault == "drip" else float("inf")

    def _speak(self, sock: socket.socket, stream: Stream, now: float) -> None:
        stream.due = now + self._pause(stream, now)
        with contextlib.suppress(OSError):
            sock.send(BYTE if self.begun and stream.first and stream.fault == "drip" else WHOLE)


if __name__ == "__main__":
    Relay(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])).run()
