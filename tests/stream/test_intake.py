"""A parsed event is in hand before any bookkeeping: the host parses each reception, by asking whether it is a wake.
Whether the host's caller is let go at once or by the coroutine changes nothing else.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.sse_reference import interpret
from tests.support.server import CHUNKED, OPEN
from wire_rawsse import connection
from wire_rawsse.errors import EventTooLargeError, MalformedResponseError, TruncatedError, WireRawSSEError
from wire_rawsse.event_source import EventSink, Item
from wire_rawsse.plan import Plan
from wire_rawsse.policy import Backoff
from wire_rawsse.protocol.events import Event
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.url import parse_url
from wire_rawsse.read_clocks import ReadClocks
from wire_rawsse.record import Record
from wire_rawsse.redact import Secrets
from wire_rawsse.transport.channel import Channel
from wire_rawsse.waits import WAKE, Receive

URL = parse_url("http://h/")


class HostServices:
    """A clock that the test moves."""

    moment = 1.0

    def now(self) -> float:
        return self.moment

    def time(self) -> float:
        return self.moment


class Life:
    """A stream after its head, in the hands of the test as its host."""

    def __init__(self, sock: socket.socket, head: bytes = CHUNKED, limit: int = 1 << 20) -> None:
        self.world = HostServices()
        self.record = Record("x", Backoff(), wall=self.world.time)
        self.sink = EventSink("", limit)
        exchange = Exchange(Request(b"GET", b"/", [(b"Host", b"h")], b"", Secrets()))
        response = exchange.head(head)
        assert response is not None
        self.sink.opened(response, False)
        channel = Channel(sock)
        body = connection._body_reader(self.record, self.sink, channel, exchange, "place")
        clocks = ReadClocks(self.world.now(), Plan(URL).timeouts, "place")
        live = connection.Live(channel, body, clocks)
        self._coroutine = connection.read(self.world, self.record, live)  # type: ignore[arg-type]
        assert next(self._coroutine) is WAKE
        step = next(self._coroutine)
        assert isinstance(step, Receive)
        self.receive = step
        self.error: WireRawSSEError | None = None
        self.over = False
        self.sink.items.clear()

    def hint(self, read: bytes, tell: bool = True) -> bool:
        """`tell`: let the host's caller go. A channel that receives by itself leaves that to the coroutine."""
        assert self.receive.is_wake is not None
        self.receive.woke_early = self.receive.is_wake(read) and tell
        return self.receive.woke_early

    def resume(self, read: bytes) -> bool:
        """True: it signals."""
        signalled = False
        try:
            step = self._coroutine.send(read)
            while step is WAKE:
                signalled = True
                step = next(self._coroutine)
        except StopIteration:
            self.over = True
        except WireRawSSEError as error:
            self.error, self.over = error, True
        return signalled

    def take(self, read: bytes, asked: bool) -> tuple[list[Item], bool]:
        """The result of a reception, and whether it is a wake."""
        hinted = self.hint(read, asked)
        signalled = self.resume(read)
        assert not (hinted and signalled), "one wake twice"
        items = list(self.sink.items)
        self.sink.items.clear()
        return items, hinted or signalled


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as one:
        yield one


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_the_event_is_in_hand_before_the_bookkeeping(sock: socket.socket) -> None:
    life = Life(sock)
    deadline, life.world.moment = life.receive.deadline, 11.0
    assert life.hint(chunk(b"data: x\n\n"))
    assert list(life.sink.items) == [Event("message", "x", "")]
    assert (life.receive.deadline, life.record.last_byte_at, life.record.last_event_at) == (deadline, None, None)
    assert not life.resume(chunk(b"data: x\n\n"))
    assert list(life.sink.items) == [Event("message", "x", "")]
    assert (life.receive.deadline, life.record.last_byte_at, life.record.last_event_at) == (deadline + 10, 11.0, 11.0)


def test_a_line_that_was_opened_in_the_hint_has_its_window(sock: socket.socket) -> None:
    life = Life(sock)
    opened = chunk(b"data: x")
    assert not life.hint(opened) and not life.resume(opened)
    life.world.moment += Plan(URL).timeouts.read / 2
    for _ in range(3):  # It drips, and each drop is life; the window stands.
        window = life.receive.deadline
        assert not life.hint(chunk(b"y")) and not life.resume(chunk(b"y"))
        assert life.receive.deadline == window
    assert life.hint(chunk(b"\n\n")) and not life.resume(chunk(b"\n\n"))
    assert life.receive.deadline > window


@pytest.mark.parametrize("asked", [True, False])
def test_what_came_before_a_fault_is_told_first(sock: socket.socket, asked: bool) -> None:
    life = Life(sock)
    assert life.take(chunk(b"data: x\n\n") + b"no chunk", asked) == ([Event("message", "x", "")], True)
    assert isinstance(life.error, MalformedResponseError)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("before", [b"", b": c\n\n", b"data: x\n\n"])
def test_an_event_that_is_too_large_is_the_end(sock: socket.socket, before: bytes, asked: bool) -> None:
    """Anyone who closes tells of it, and of what came before it."""
    life = Life(sock, limit=50)
    life.take(chunk(b"data: w\n\n"), asked)
    items, told = life.take(chunk(before + b"data: " + b"y" * 100), asked)
    assert (len(items), told) == (bool(before), False)
    assert isinstance(life.error, EventTooLargeError)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(("head", "kind"), [(CHUNKED, TruncatedError), (OPEN, type(None))])
def test_the_end_of_the_connection(sock: socket.socket, head: bytes, kind: type[object], asked: bool) -> None:
    life = Life(sock, head)
    assert life.take(b"", asked) == ([], False)
    assert life.over
    assert type(life.error) is kind


@given(
    st.lists(
        st.sampled_from([b"data: x\n\n", b"data: y\r\n\r\n", b": c\n", b"id: 1\n\n", b"da", b"ta: z", b"\n", b"x"])
    ),
    st.lists(st.integers(1, 12), max_size=30),
    st.lists(st.booleans(), min_size=1, max_size=7),
)
def test_nothing_depends_on_who_takes_it(bodies: list[bytes], sizes: list[int], asked: list[bool]) -> None:
    framed = b"".join(map(chunk, bodies))
    reads = [*cut(framed, sizes)] if sizes else [chunk(body) for body in bodies]
    got: list[list[tuple[list[Item], bool]]] = []
    for ways in (asked, [False]):
        with socket.socket() as sock:
            life = Life(sock)
            got.append([life.take(read, ways[number % len(ways)]) for number, read in enumerate(reads)])
            assert life.error is None
    assert got[0] == got[1]
    items = [item for taken, _ in got[0] for item in taken]
    facts = interpret(b"".join(bodies), "")
    assert [tuple(item) for item in items] == [fact.value for fact in facts if fact.what in ("event", "comment")]


def cut(whole: bytes, sizes: list[int]) -> Iterable[bytes]:
    at = 0
    while at < len(whole):
        size = sizes[at % len(sizes)]
        yield whole[at : at + size]
        at += size
