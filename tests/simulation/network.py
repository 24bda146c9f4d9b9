"""Addresses, paths and connections: TCP's promises (in order, intact, or an error some time) and nothing more.

Packets are not simulated; their fate is. A `Path` says how long a segment takes and whether it arrives at
all, a `Pipe` is one direction of one connection: a queue of the segments in flight. A segment that a path drops is sent
again at doubling intervals (RFC 6298 §5.5), so a short blackhole is a delay and a long one a silence. Loss, reordering,
duplication and corruption end as delay too, because that is all that TCP lets through.

The peer's kernel answers for its program: it acknowledges, completes handshakes and answers keepalive probes, even if
the program hangs. A segment of a connection that the other kernel has forgotten is answered with a reset.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from tests.simulation.kernel import Kernel, trouble
from tests.simulation.paths import Path, Pipe
from wire_rawsse.waits import READ, RECEIVE_BYTES, WRITE, Address

SYN_RETRIES: Final = 7
ROOM: Final = 64 * 1024
"""Bytes that a socket's send buffer holds."""
MOST_TAKEN: Final = 2 * RECEIVE_BYTES
"""Bytes that may be received from one socket between two polls. More would make a step as long as the peer likes."""


class Program(Protocol):
    """A program on a host. `accepted` is called after the handshake, whether or not the program calls accept."""

    def accepted(self, connection: Connection) -> None: ...
    def received(self, connection: Connection, data: bytes) -> None: ...
    def ended(self, connection: Connection) -> None: ...


class Session(Protocol):
    """TLS on a socket."""

    def unsent(self) -> bool:
        """Whether it has something to send that the socket has not been given."""


class Owner(Protocol):
    """The owner of the sockets."""

    news: int
    """How often what a socket has handed over was worth a wake."""


class Connection:
    """The server's end. Offsets count the raw bytes sent to the client."""

    def __init__(self, kernel: Kernel, sock: Socket, place: Place) -> None:
        self._kernel = kernel
        self.client = sock
        self.place = place
        self.path = place.path
        self.program = place.program
        self.up = Pipe(kernel, self.path, 0, self._arrived)
        self.down = Pipe(kernel, self.path, 1, sock.deliver)
        self.closed = False
        """By the server."""
        self.forgotten = False
        """The server's kernel, or a NAT, knows nothing of it any more: answers with a reset."""
        self.sent = 0
        self.life: deque[tuple[int, int]] = deque()
        """From where to where the bytes are those of a body, not yet received."""
        self.events: deque[tuple[int, int]] = deque()
        """The offset after an event, and its number, not yet delivered."""
        self.news: deque[int] = deque()
        """The offsets behind which a wake is due, not yet received; under TLS the ends of records."""
        self.head_end: int | None = None
        """The offset after a head that opens a stream."""
        self.drip_from: int | None = None
        """The offset at which something began to drip that is not meant to end."""

    def send(self, data: bytes) -> None:
        if data and not self.closed:
            self.sent += len(data)
            self.down.put(data)

    def finish(self) -> None:
        """FIN."""
        if not self.closed:
            self.closed = True
            self.down.put(b"")

    def reset(self) -> None:
        """RST, at once; it may be lost, and is not sent again."""
        self.forgotten = True
        if not self.closed:
            self.closed = True
        if not self.path.blocked[1]:
            self._kernel.after(self.path.latency, self.client.deliver, None)

    def forget(self) -> None:
        """Without a word: power lost."""
        self.forgotten = self.closed = True
        self.down.cut = True

    def _arrived(self, item: bytes | None) -> None:
        self._kernel.dirty = True  # There is room again in what the client may send.
        if self.place.gone:
            return
        self.client.heard_at = self._kernel.now
        if self.forgotten:
            if item is not None:
                self.reset()
        elif item:
            self.program.received(self, item)
        else:
            if item is None:
                self.closed = self.forgotten = True
            self.program.ended(self)


class Socket:
    """As much of a non-blocking socket as the shipped code uses; `cast` it where a `socket.socket` is wanted."""

    def __init__(self, network: Network, family: int) -> None:
        self.network = network
        self.kernel = network.kernel
        self.family = family
        self.fd = self.kernel.allocate(self)
        self.connection: Connection | None = None
        self.options: dict[tuple[int, int], int] = {}
        self.inbox = bytearray()
        self.delivered = 0
        self.received = 0
        self.ended = False
        self.error = 0
        self.broke = 0
        """The error that a read has met."""
        self.unread = 0
        """The number of bytes unread when it was closed."""
        self.owner: Owner | None = None
        self.write_blocked = False
        self.heard_at = 0.0
        self.received_at = 0.0
        self.last_life = 0.0
        """When the last byte of a body was received."""
        self.line_since: float | None = None
        """Since when the body has stood inside one line; known where there is no TLS."""
        self.unread_life = False
        """There were bytes of a body unread when it was closed."""
        self.sent = 0
        self.session: Session | None = None
        """Of TLS."""
        self.closing = False
        """Data received from now on is discarded."""
        self.dialled = False
        self.local: str | None = None
        self.peer: Any = None
        self._taken = 0
        self._taken_at = 0
        """Bytes since the last poll, and which poll that was."""

    def fileno(self) -> int:
        return self.fd

    def mask(self) -> int:
        if self.connection is None:
            return READ | WRITE if self.error else 0
        mask = READ if self.inbox or self.ended or self.error else 0
        if self.error or self.room() > 0:
            mask |= WRITE
        return mask

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR)
        error, self.error = self.error, 0
        return error

    def connect_ex(self, place: Any) -> int:
        self.kernel.moved += 1
        self.dialled = True
        self.local, self.peer = self.network.source(self.family), place
        return self.network.connect(self, place)

    def getsockname(self) -> Any:
        if self.connection is None:
            raise trouble(errno.ENOTCONN)
        return (self.local, 40_000 + self.fd) if self.family == socket.AF_INET else (self.local, 40_000 + self.fd, 0, 0)

    def getpeername(self) -> Any:
        if self.connection is None:
            raise trouble(errno.ENOTCONN)
        return self.peer

    def established(self, connection: Connection) -> None:
        self.connection = connection
        self.heard_at = self.kernel.now
        self.kernel.dirty = True
        idle = self.options.get((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        if idle is not None and self.options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            self.kernel.after(idle, self._probe, idle)

    def fail(self, code: int) -> None:
        if self.fd >= 0 and not self.error:
            self.error = code
            self.kernel.dirty = True

    def deliver(self, item: bytes | None) -> None:
        if self.fd < 0:
            return
        self.kernel.dirty = True
        if item is not None:
            self.heard_at = self.kernel.now
        if item:
            self.inbox += item
            self.delivered += len(item)
        elif item is None:
            self.fail(errno.ECONNRESET)
        else:
            self.ended = True

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags == socket.MSG_PEEK and not self.error:  # An error is taken off all the same.
            if not (self.inbox or self.ended):
                raise BlockingIOError(errno.EAGAIN, "would block")
            return bytes(self.inbox[:size])
        if self.inbox:
            data = bytes(self.inbox[: min(size, self.network.gives)])
            del self.inbox[: len(data)]
            self.kernel.moved += len(data)
            self.received += len(data)
            self._check_taken(len(data))
            self.received_at = self.kernel.now
            if self.connection is not None:
                if self.connection.life:
                    self._note_life(data, self.connection.life)
                self._hand_over(self.received)
            return data
        if self.error:
            self.kernel.moved += 1
            code, self.error = self.error, 0
            self.ended = True
            if not self.closing:
                self.broke = code
            raise trouble(code)
        if self.ended:
            self.kernel.moved += 1
            return b""
        raise BlockingIOError(errno.EAGAIN, "would block")

    def _check_taken(self, size: int) -> None:
        if self._taken_at != self.kernel.polls:
            self._taken, self._taken_at = 0, self.kernel.polls
        self._taken += size
        if self._taken > MOST_TAKEN and not self.closing:
            self.kernel.fail(f"{self._taken} bytes are received from one socket between two polls")

    def _hand_over(self, offset: int) -> None:
        """The library has in its hands what stands before `offset`, encrypted or not."""
        connection = self.connection
        news = None if connection is None else connection.news
        while news and news[0] <= offset:
            news.popleft()
            if self.owner is not None:
                self.owner.news += 1

    def _note_life(self, data: bytes, life: deque[tuple[int, int]]) -> None:
        received = self.received
        offset = received - len(data)
        while life and life[0][0] < received:
            start, end = life.popleft()
            if end > received:
                life.appendleft((received, end))
            body = data[max(0, start - offset) : end - offset]
            self.last_life = self.kernel.now
            if body[-1:] in (b"\n", b"\r"):
                self.line_since = None
            elif self.line_since is None or b"\n" in body or b"\r" in body:
                self.line_since = self.kernel.now

    def room(self) -> int:
        return 0 if self.write_blocked or self.connection is None else ROOM - self.connection.up.queued

    def send(self, data: bytes | memoryview) -> int:
        connection = self.connection
        if self.error:
            code, self.error = self.error, 0
            self.ended = True
            raise trouble(code)
        if connection is None:
            raise trouble(errno.ENOTCONN)
        room = self.room()
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "would block")
        sent = bytes(data[: min(room, self.network.takes)])
        self.kernel.moved += len(sent)
        connection.up.put(sent)
        self.sent += len(sent)
        return len(sent)

    def close(self) -> None:
        if self.fd < 0:
            return
        self.unread = len(self.inbox)
        if self.connection is not None and self.connection.life:
            self.unread_life = self.connection.life[0][0] < self.delivered
        fd, self.fd = self.fd, -1
        self.kernel.close(fd)
        self.network.closed(self)
        if self.connection is not None:
            self.connection.up.put(None if self.inbox else b"")

    def lose(self) -> None:
        """Closed behind the back of anyone who watches it, as a wrapper does that fails half-way."""
        for poller in self.kernel.pollers:
            poller.interest.pop(self.fd, None)
        self.close()

    def _probe(self, idle: int) -> None:
        """TCP keepalive (RFC 9293 §3.8.4): the peer's kernel answers, where it can be reached."""
        connection, kernel = self.connection, self.kernel
        if self.fd < 0 or self.error or self.ended or connection is None:
            return
        interval = self.options[socket.IPPROTO_TCP, socket.TCP_KEEPINTVL]
        if kernel.now < self.heard_at + idle:
            kernel.at(self.heard_at + idle, self._probe, idle)
        elif kernel.now >= self.heard_at + self.options[socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT] / 1000:
            self.fail(errno.ETIMEDOUT)
        elif self._unanswered(connection):
            kernel.after(interval, self._probe, idle)
        elif connection.forgotten:
            connection.reset()
            kernel.after(interval, self._probe, idle)
        else:
            self.heard_at = kernel.now
            kernel.after(idle, self._probe, idle)

    def _unanswered(self, connection: Connection) -> bool:
        lost = connection.place.gone or not connection.path.open()
        return bool(lost or (connection.down.cut and not connection.forgotten))

    def unblock_writing(self) -> None:
        self.write_blocked = False
        self.kernel.dirty = True


class Place:
    """One address and port, or one path of a Unix-domain socket."""

    def __init__(self, path: Path, program: Program) -> None:
        self.path = path
        self.program = program
        self.refuses = 0
        """While positive, no program listens."""
        self.gone = 0
        """While positive, there is not even a host that could refuse."""


class Network:
    """All places, and the sockets that were opened to reach them."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.source: Callable[[int], str | None] = lambda family: None
        """The address of ours that new connections leave from."""
        self.places: dict[tuple[str, int] | str, Place] = {}
        self.down = 0
        """While positive: our own link is down, and says so."""
        self.open_sockets: dict[Socket, None] = {}
        self.dialled: list[tuple[float, str]] = []
        """When which address was tried; kept only where `keep_dialled`."""
        self.keep_dialled = False
        self.takes = ROOM
        """The most bytes that one `send` accepts; the rest must be sent again (send(2))."""
        self.gives = ROOM
        """The most bytes that one `recv` returns."""
        self.owners: dict[tuple[str, int] | str, Owner] = {}
        """Which stream it is that goes to a place."""

    def open(self, address: Address) -> socket.socket:
        """`OsServices.open`."""
        made = Socket(self, address.family)
        self.open_sockets[made] = None
        return cast(socket.socket, made)

    def closed(self, sock: Socket) -> None:
        del self.open_sockets[sock]

    def connect(self, sock: Socket, place: Any) -> int:
        name = place if isinstance(place, str) else (str(place[0]), int(place[1]))
        if self.keep_dialled:
            self.dialled.append((self.kernel.now, name if isinstance(name, str) else name[0]))
        sock.owner = self.owners.get(name)
        found = self.places.get(name)
        if isinstance(name, str):
            if found is None:
                return errno.ENOENT
            if found.refuses:
                return errno.ECONNREFUSED
            self._establish(sock, found)
            return 0
        if self.down:
            return errno.ENETUNREACH
        self._knock(sock, found, 0)
        return errno.EINPROGRESS

    def _knock(self, sock: Socket, place: Place | None, tries: int) -> None:
        """One SYN. If it or its answer is dropped, another follows after 1, 2, 4 … seconds (RFC 6298 §2)."""
        if sock.fd < 0:
            return
        path = None if place is None or place.gone else place.path
        if path is None or not path.open() or (path.loss and self.kernel.random.random() < path.loss):
            if tries >= SYN_RETRIES:
                sock.fail(errno.ETIMEDOUT)
            else:
                self.kernel.after(2.0**tries, self._knock, sock, place, tries + 1)
            return
        assert place is not None
        answered = self.kernel.now + path.delay(0) + path.delay(0)
        if place.refuses:
            self.kernel.at(answered, sock.fail, errno.ECONNREFUSED)
        else:
            self.kernel.at(answered, self._establish, sock, place)

    def _establish(self, sock: Socket, place: Place) -> None:
        if sock.fd < 0:
            return
        if place.refuses:
            sock.fail(errno.ECONNREFUSED)
            return
        connection = Connection(self.kernel, sock, place)
        sock.established(connection)
        place.program.accepted(connection)
