"""The relay of `fleet`: takes connections at a bounded rate, answers each with an open stream, and notes when.

    python -m bench.fleet_relay ADDRESS PORT RATE BACKLOG EXPECTED

Standard output: `listening PORT`; `complete` once as many streams as expected have been answered; and at the end of
standard input one JSON line with the stamps (`time.monotonic()`) at which each was. It may be killed at any moment:
that is what it is for.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from bench.sender import HEAD, event, say

REQUEST_SECONDS = 10.0


def serve(address: str, port: int, rate: float, backlog: int, expected: int) -> None:
    with socket.create_server((address, port), backlog=backlog) as listener, select.epoll() as epoll:
        say(f"listening {listener.getsockname()[1]}")
        epoll.register(listener, select.EPOLLIN)
        epoll.register(sys.stdin, select.EPOLLIN)
        held: list[socket.socket] = []
        stamps: list[float] = []
        free = time.monotonic()
        while True:
            for fd, _ in epoll.poll():
                if fd == sys.stdin.fileno():
                    print(json.dumps(stamps), flush=True)
                    return
                # As many a second as it is allowed, however many are waiting.
                time.sleep(max(0.0, free - time.monotonic()))
                free = max(free, time.monotonic()) + 1 / rate
                connection, _ = listener.accept()
                connection.settimeout(REQUEST_SECONDS)
                try:
                    if connection.recv(65536):
                        connection.sendall(HEAD + event(0))
                        stamps.append(time.monotonic())
                        if len(stamps) == expected:
                            say("complete")
                except OSError:
                    pass
                held.append(connection)


def raise_limit() -> None:
    """As many descriptors as this user may have."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    raise_limit()
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
