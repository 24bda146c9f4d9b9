"""A server that does exactly what a test says: real sockets on loopback, and a script of steps for each connection.

The step `hold` gives a connection to the test, which has it from `Server.peer` and says when the next byte goes out.
`stage` makes a script that goes so far by itself and then holds.

A step is a function of the peer, so that a test reads as the list of what happens on the wire:

    server = serve([request, send(OPEN), send(b"data: x\n\n"), stall])

The first script is for the first connection, the next for the next, and the last one for all that follow. At the end of
a script the connection is closed in good order: everything was sent, then FIN (and close_notify before it, under TLS).

Each connection has a thread with a blocking socket, because a script must be able to do nothing at all. A peer that has
gone ends a script silently; any other error in one is kept in `faults`, and the fixture that made the server fails.
"""

from __future__ import annotations

import os
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
"""The head of an event stream that lasts until the connection closes."""
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: x\n\n"
LAST_CHUNK = b"0\r\n\r\n"
PATIENCE = 20.0
"""Seconds that a test waits for what should be immediate. Only a failing test ever waits this long."""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(status: str, *fields: str, body: bytes = b"") -> bytes:
    """A response that says how long it is."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def event_stream(body: bytes) -> bytes:
    """A whole event stream that ends cleanly behind `body`."""
    return answer("200 OK", "Content-Type: text/event-stream", body=body)


class Asked(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def get(self, name: str) -> str | None:
        """The value of a field that is there once, or None."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


class Peer:
    """One connection of the server's, in the hands of its script."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.asked: list[Asked] = []
        self.server_name: str | None = None
        self._rest = b""
        self._lock = threading.Lock()
        self._closed = False

    def receive(self) -> bytes:
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return self.sock.recv(65536)

    def receive_until(self, end: bytes) -> bytes:
        """Up to and with `end`; `ConnectionError` where the peer closed before it."""
        data = b""
        while end not in data:
            more = self.receive()
            if not more:
                raise ConnectionError("the client closed")
            data += more
        head, _, self._rest = data.partition(end)
        return head + end

    def receive_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.receive()
            if not more:
                raise ConnectionError("the client closed")
            data += more
        data, self._rest = data[:size], data[size:]
        return data

    def secure(self, context: ssl.SSLContext) -> None:
        with self._lock:
            # The handshake is separate, or `hang_up` could not reach the socket while it waits.
            self.sock = context.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            secured = self.sock
        assert isinstance(secured, ssl.SSLSocket)
        secured.do_handshake()

    # For a test that holds the connection.

    @property
    def request(self) -> bytes:
        """The last one."""
        return self.asked[-1].raw

    def send(self, data: bytes) -> None:
        """As it is; up to 16 KiB of it are one TLS record."""
        self.sock.sendall(data)

    def say(self, body: bytes = EVENT) -> None:
        """One chunk of the response's body."""
        self.send(chunk(body))

    def end(self) -> None:
        """The stream ends as it should; the connection stays."""
        self.send(LAST_CHUNK)

    def reset(self) -> None:
        """RST (RFC 9293 §3.10.7), by a close with nothing allowed to linger."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def gone(self, timeout: float = PATIENCE) -> bool:
        """Whether the client closes within `timeout` seconds."""
        self.sock.settimeout(timeout)
        try:
            while self.sock.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        finally:
            self.sock.setblocking(True)
        return True

    # For the script.

    def close_in_order(self) -> None:
        """Everything was sent; then wait until the client has closed too: unread bytes would turn FIN into RST."""
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.unwrap()  # Which waits for the client's close_notify.
        self.finish()

    def finish(self) -> None:
        """FIN, and no close_notify."""
        # Not SSLSocket.shutdown, which would turn what comes next into ciphertext.
        socket.socket.shutdown(self.sock, socket.SHUT_WR)
        while self.sock.recv(65536):
            pass

    def hang_up(self) -> None:
        """From another thread: end whatever the script waits for."""
        with self._lock:
            if not self._closed:
                try:
                    socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self.sock.close()


Step: TypeAlias = Callable[[Peer], None]
Script: TypeAlias = Sequence[Step]


class Server:
    """Listens on 127.0.0.1 (or ::1, or a Unix-domain socket) and follows its scripts. Use the `serve` fixture."""

    def __init__(
        self, *scripts: Script, host: str = "127.0.0.1", path: str | None = None, scheme: str = "http"
    ) -> None:
        self.scripts = scripts
        self.scheme = scheme
        self.stage: Stage | None = None
        """How far its connections go, if it was made with one."""
        self.asked: list[Asked] = []
        """Every request, in the order they came."""
        self.peers: list[Peer] = []
        self.over: list[Peer] = []
        """The peers that have been closed, by their script or their client."""
        self.faults: list[BaseException] = []
        self.errors: list[OSError] = []
        """How connections ended that did not end by their script."""
        self.closing = threading.Event()
        self.handing = threading.Lock()
        self.held: queue.SimpleQueue[Peer] = queue.SimpleQueue()
        self.changed = threading.Condition()
        if path is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, 0), family=family, backlog=64)
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(path)
            self._listener.listen(64)
        self._path = path
        self.host = host
        self.port: int = 0 if path is not None else self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="test-server", daemon=True)]
        self._threads[0].start()

    @property
    def place(self) -> str:
        """host:port, as a URL has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.place}/stream"

    def peer(self, timeout: float = PATIENCE) -> Peer:
        """The next connection that a script holds. Raises `queue.Empty`."""
        return self.held.get(timeout=timeout)

    def nobody(self, within: float) -> bool:
        """Whether no connection is held within so many seconds."""
        try:
            self.peer(within)
        except queue.Empty:
            return True
        return False

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that a peer notes has come true."""
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), "the server has waited in vain"

    def until_asked(self, count: int = 1) -> Asked:
        """Wait for that many requests; the last of them."""
        self.until(lambda: len(self.asked) >= count)
        return self.asked[count - 1]

    def keep(self, where: list[Any], what: object) -> None:
        """Append, and let a test that waits for it go on."""
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.closing.is_set():
                sock.close()
                return
            if self._path is None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(self, sock)
            number = len(self.peers)
            self.keep(self.peers, peer)
            script = self.scripts[min(number, len(self.scripts) - 1)]
            thread = threading.Thread(target=self._follow, args=(peer, script), name="test-server-peer", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _follow(self, peer: Peer, script: Script) -> None:
        try:
            for step in script:
                step(peer)
                if peer.sock.fileno() < 0:
                    return
            peer.close_in_order()
        except OSError as error:
            self.keep(self.errors, error)
        except BaseException as error:
            if not self.closing.is_set():
                self.keep(self.faults, error)
        finally:
            peer.close()
            self.keep(self.over, peer)

    def close(self) -> None:
        """End every script and join every thread."""
        self.closing.set()
        with self.changed:
            self.changed.notify_all()
        try:
            # On every platform a connection wakes a blocked accept().
            with socket.socket(self._listener.family, socket.SOCK_STREAM) as knock:
                knock.connect(self._listener.getsockname())
                self._threads[0].join(PATIENCE)
        finally:
            self._listener.close()
        for peer in self.peers:
            peer.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script does not end"
        if self._path is not None:
            os.unlink(self._path)


def request(peer: Peer) -> None:
    """Receive one request, with its body where Content-Length announces one."""
    raw = peer.receive_until(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    size = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
    body = peer.receive_exactly(size)
    asked = Asked(method, target, fields, body, raw + body)
    peer.asked.append(asked)
    peer.server.keep(peer.server.asked, asked)


def send(data: bytes) -> Step:
    return lambda peer: peer.sock.sendall(data)


def byte_by_byte(data: bytes) -> Step:
    """Each byte in a segment of its own, as far as the kernel cares to keep them apart."""

    def step(peer: Peer) -> None:
        for position in range(len(data)):
            peer.sock.sendall(data[position : position + 1])

    return step


def drip(data: bytes, every: float) -> Step:
    """`data` again and again, `every` so many seconds, until the client has gone."""

    def step(peer: Peer) -> None:
        while not peer.server.closing.wait(every):
            peer.sock.sendall(data)

    return step


def drip_for(seconds: float, data: bytes, every: float) -> Step:
    """As `drip`, but the script goes on after at least so many seconds."""

    def step(peer: Peer) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not peer.server.closing.wait(every):
            peer.sock.sendall(data)

    return step


def pause(seconds: float) -> Step:
    def step(peer: Peer) -> None:
        peer.server.closing.wait(seconds)

    return step


def wait_for(event: threading.Event) -> Step:
    """Until the test sets `event`."""

    def step(peer: Peer) -> None:
        while not event.wait(0.01):
            if peer.server.closing.is_set():
                raise ConnectionError("the test is over")

    return step


def stall(peer: Peer) -> None:
    """Do nothing at all until the client closes."""
    while peer.receive():
        pass


def reset(peer: Peer) -> None:
    peer.reset()


def cut(peer: Peer) -> None:
    """FIN at once, in the middle of whatever it is: no close_notify under TLS."""
    peer.finish()
    peer.close()


def tls(context: ssl.SSLContext) -> Step:
    """The server's side of a handshake; the rest of the script is encrypted."""
    return lambda peer: peer.secure(context)


def hold(first: bytes = b"") -> Step:
    """Send this, and give the connection to the test until it is over."""

    def step(peer: Peer) -> None:
        with peer.server.handing:  # A client that has the head may connect again; that peer comes after this one.
            peer.sock.sendall(first)
            peer.server.held.put(peer)
        peer.server.closing.wait()
        raise ConnectionError("the test is over")

    return step


Stage: TypeAlias = Literal["accepted", "secured", "asked", "streaming"]


def stage(name: Stage, context: ssl.SSLContext | None = None) -> Script:
    """As far as that, over TLS if there is a context; then the test holds the connection."""
    script: list[Step] = [tls(context)] if context is not None and name != "accepted" else []
    if name in ("asked", "streaming"):
        script.append(request)
    return [*script, hold(CHUNKED if name == "streaming" else b"")]


STREAM: Script = [request, send(OPEN + EVENT), stall]
"""A stream with one event, which stays."""
QUIET: Script = [request, send(OPEN), stall]
"""The same without an event."""
