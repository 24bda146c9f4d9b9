"""The relay of `many`: it holds thousands of event streams in one process and one thread, over epoll.

    python -m bench.many_relay [--tls CERTIFICATE KEY]

Standard output: `listening PORT`, then one line of JSON for each line of standard input, which is a command:

    {"do": "send", "order": [path, …], "gap_ms": [least, most], "what": "event" or "heartbeat"}
                       {"sent": [t_ns, …]}, a stamp taken right before each `send`
    {"do": "fan-out", "under": path}
                       {"first": t_ns, "last": t_ns}: one event to every stream whose path begins with `under`

A stream is named by the path of its request. Connections are accepted while it carries out no command. The end of
standard input ends the process.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import ssl
import sys
import time
from typing import Any

from bench.sender import HEAD, HEARTBEAT, chunk, event, room_for_streams, say

EVENT = event(1)
BEAT = chunk(HEARTBEAT)


class Connection:
    """One client: its socket, and its request as far as it has come."""

    __slots__ = ("path", "request", "sock", "tls")

    def __init__(self, sock: socket.socket, tls: bool) -> None:
        self.sock = sock
        self.tls = tls
        """The handshake is not complete."""
        self.request = b""
        self.path = ""


class Relay:
    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.listener = socket.create_server(("", 0), backlog=4096)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.streams: dict[str, socket.socket] = {}
        self.epoll.register(self.listener, select.EPOLLIN)
        self.epoll.register(sys.stdin, select.EPOLLIN)

    def run(self) -> None:
        while True:
            for fd, _ in self.epoll.poll():
                if fd == self.listener.fileno():
                    self._accept()
                elif fd == sys.stdin.fileno():
                    line = sys.stdin.readline()
                    if not line:
                        return
                    say(json.dumps(self._carry_out(json.loads(line))))
                else:
                    self._hear(fd)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            self.connections[sock.fileno()] = Connection(sock, self.context is not None)
            self.epoll.register(sock.fileno(), select.EPOLLIN)

    def _hear(self, fd: int) -> None:
        one = self.connections[fd]
        try:
            if one.tls:
                assert isinstance(one.sock, ssl.SSLSocket)
                one.sock.do_handshake()
                one.tls = False
            received = one.sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            received = b""
        if not received:
            self._forget(fd)
            return
        one.request += received
        if b"\r\n\r\n" in one.request:
            one.path = one.request.split(b" ", 2)[1].decode()
            one.request = b""
            one.sock.send(HEAD)
            self.streams[one.path] = one.sock

    def _forget(self, fd: int) -> None:
        one = self.connections.pop(fd)
        self.epoll.unregister(fd)
        if self.streams.get(one.path) is one.sock:
            del self.streams[one.path]
        one.sock.close()

    def _carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "send":
            return {"sent": self._send(command["order"], command["gap_ms"], command.get("what", "event"))}
        sends = [sock.send for path, sock in self.streams.items() if path.startswith(command["under"])]
        first = time.monotonic_ns()
        for send in sends:
            send(EVENT)
        return {"first": first, "last": time.monotonic_ns()}

    def _send(self, order: list[str], gap_ms: list[float], what: str) -> list[int]:
        dice = random.Random(1)
        data = BEAT if what == "heartbeat" else EVENT
        sent = []
        for path in order:
            time.sleep(dice.uniform(*gap_ms) / 1000)
            send = self.streams[path].send
            sent.append(time.monotonic_ns())
            send(data)
        return sent


def main() -> None:
    room_for_streams()
    parser = argparse.ArgumentParser(prog="python -m bench.many_relay")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    arguments = parser.parse_args()
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.tls)
    relay = Relay(context)
    say(f"listening {relay.port}")
    relay.run()


if __name__ == "__main__":
    main()
