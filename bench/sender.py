"""The relay of the bench: a minimal HTTP/1.1 event-stream server on raw sockets, one process, one thread.

Its own work is not measured: everything it sends is prepared beforehand, and the stamp is
taken by `time.monotonic_ns()` right before `send`. Under TLS the record is made inside `send` and so counts, for all
clients alike. An event looks like one of wire's relay: one chunk, `data: ` and some 200 bytes of JSON. TCP_NODELAY is
set, otherwise the bursts would measure Nagle's algorithm against delayed acknowledgements.

    python -m bench.sender ADDRESS [--tls CERTIFICATE KEY]

Standard output: `listening PORT`, then `subscribed NAME` for each connection (the path of its request names it),
which gets one event at once as a greeting. Each line of standard input is a plan: `{"order": [[name, events], …],
"gap_ms": [least, most], "seed": n, "what": "event" or "heartbeat"}`; each step sends that many of them back to back to
ONE client and then rests for a random while. The answer is one line, `{"sent": [[t_ns, …], …]}`, in the plan's order.
An event that could not be sent has no stamp. The end of standard input ends the process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import selectors
import socket
import ssl
import struct
import sys
import time

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
PROGRESS_EVERY = 50
REQUEST_SECONDS = 60.0
SEND_LIMIT = struct.pack("@ll", 10, 0)
"""A `timeval`: a client that does not read for 10 s is lost, and does not hold up the rest."""


def event(sequence: int) -> bytes:
    """One chunk that holds one event, about as wire's relay frames a small posted event."""
    body = {
        "event_id": f"{sequence:064x}",
        "kind": 1,
        "body": {"text": "x" * 60},
        "from": "did:wire:sender",
        "timestamp": "2026-01-01T00:00:00Z",
    }
    data = b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
    return chunk(data)


HEARTBEAT = b": phyllis: still on the line\n\n"
"""As wire's relay says it after 30 s without an event."""


def chunk(data: bytes) -> bytes:
    """One chunk of HTTP/1.1 (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream_name(path: str) -> str:
    """The name of a stream: its path, of which what every path of wire's relay has is no part."""
    return path.strip("/").removeprefix("v1/events/").removesuffix("/stream")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Sender:
    def __init__(self, address: str, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.listener = socket.create_server((address, 0), backlog=1024)
        self.streams: dict[str, socket.socket] = {}
        self.sequence: dict[str, int] = {}

    def accept(self) -> None:
        """Take one connection up to its greeting. A client that fails at it is its own report, not the sender's
        end.
        """
        connection, _ = self.listener.accept()
        connection.settimeout(REQUEST_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(65536)
                if not received:
                    raise ConnectionError("closed before its request was complete")
                request += received
            name = stream_name(request.split(b" ", 2)[1].decode())
            connection.sendall(HEAD)
            connection.sendall(event(0))
        except (OSError, IndexError) as error:
            connection.close()
            say(f"refused {error!r}")
            return
        # In the kernel: a timeout of Python's own would put a poll between the stamp and the send.
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, SEND_LIMIT)
        self.streams[name] = connection
        self.sequence[name] = 0
        say(f"subscribed {name}")

    def carry_out(
        self, order: list[tuple[str, int]], gap: tuple[float, float], seed: int, what: str
    ) -> list[list[int]]:
        """Send each step's events to its one client; gives the stamps taken just before each `send`."""
        dice = random.Random(seed)
        sent: list[list[int]] = []
        for number, (name, events) in enumerate(order):
            if what == "heartbeat":
                chunks = [chunk(HEARTBEAT)] * events
            else:
                first = self.sequence.get(name, 0) + 1
                self.sequence[name] = first + events - 1
                chunks = [event(first + n) for n in range(events)]
            stream = self.streams.get(name)
            pause = dice.uniform(*gap)
            stamps: list[int] = []
            if number % PROGRESS_EVERY == 0:
                # Before the pause, so that anyone who reads it has gone back to sleep when the event is sent.
                say(f"progress {number}")
            time.sleep(pause)
            if stream is None:
                say(f"lost {name} not connected")
                sent.append(stamps)
                continue
            send = stream.send
            try:
                for one in chunks:
                    stamps.append(time.monotonic_ns())
                    send(one)
            except OSError as error:
                say(f"lost {name} {error!r}")
                stamps = []
            sent.append(stamps)
        return sent

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ, self.accept)
            selector.register(sys.stdin, selectors.EVENT_READ, None)
            while True:
                for key, _ in selector.select():
                    if key.data is not None:
                        key.data()
                        continue
                    line = sys.stdin.readline()
                    if not line:
                        return
                    plan = json.loads(line)
                    order = [(str(name), int(events)) for name, events in plan["order"]]
                    gap = (plan["gap_ms"][0] / 1000, plan["gap_ms"][1] / 1000)
                    say(json.dumps({"sent": self.carry_out(order, gap, plan["seed"], plan.get("what", "event"))}))


def room_for_streams() -> None:
    """As many descriptors as this user may have: `cost` holds over a thousand streams at once."""
    try:
        import resource
    except ImportError:
        return  # Windows has no such limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS calls it infinite, and does not mean it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    room_for_streams()
    parser = argparse.ArgumentParser(prog="python -m bench.sender")
    parser.add_argument("address")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    arguments = parser.parse_args()
    context = None
    if arguments.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*arguments.tls)
    sender = Sender(arguments.address, context)
    say(f"listening {sender.listener.getsockname()[1]}")
    sender.run()


if __name__ == "__main__":
    main()
