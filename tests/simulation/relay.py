"""A relay: one slot, what was posted to it, and the streams that are open on it.

It speaks just enough HTTP. `answer` decides its response and what it does to its streams afterwards; a fault replaces
`answer`: see `answers` and `weather`.

It tags its output for the watch: which bytes belong to a body (only those count as signs of life), and after which byte
an event is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tests.simulation import habits
from tests.simulation.kernel import Kernel
from tests.simulation.network import Connection, Program
from tests.simulation.tls import DATA, GOODBYE, RECORD, record
from tests.simulation.wakes import DataLines

CHUNKED, CLOSE, LENGTH = range(3)
"""How a body is framed: in chunks, by the end of the connection, by a Content-Length beyond all reach."""
_LAST_ID: Final = re.compile(rb"\r\nlast-event-id: *(\d+)", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\nContent-Length: (\d+)")
_SLOT: Final = re.compile(rb"/v1/events/([^/]+)/stream ")
_LONG: Final = 1 << 40
LONG_BODY: Final = b', "body": "' + b"x" * 100 + b'"'
HELD: Final = 4096
"""Bytes that a buffering proxy waits for."""

Answer = Callable[["Visit", bytes], None]


class Visit:
    """One connection to the relay, from its acceptance on."""

    def __init__(self, relay: Relay, connection: Connection) -> None:
        self.relay = relay
        self.connection = connection
        self.asked = b""
        self.framing = CHUNKED
        self.slot = b""
        self.streaming = False
        self.over = False
        self.pointer = 0
        """The last event that was sent here."""
        self.mid_line = False
        """The body ends inside a line."""
        self.halting = False
        """An event is being sent in pieces."""
        self.last_sent = 0.0
        self.beats = 0
        self._held: list[tuple[bytes, int]] = []
        self._data_lines = DataLines()

    @property
    def occupied(self) -> bool:
        """Nothing else may be said now."""
        return self.mid_line or self.halting

    def raw(self, data: bytes, life: bool = False) -> None:
        """Bytes as they are, under TLS in records of their own."""
        connection = self.connection
        if not self.relay.tls:
            connection.send(data)
            return
        flag = b"!" if life else b" "
        for start in range(0, len(data), RECORD - 1):
            connection.send(record(DATA, flag + data[start : start + RECORD - 1]))

    def write(self, body: bytes, event: int = 0) -> None:
        """Body bytes, framed; `event` is complete behind them."""
        if self.over or not body:
            return
        self.mid_line = body[-1] not in b"\r\n"
        self.last_sent = self.relay.kernel.now
        if self.relay.buffers:
            self._held.append((body, event))
            if sum(len(held) for held, _ in self._held) >= HELD:
                self.flush()
            return
        self._frame(body, event)

    def flush(self) -> None:
        held, self._held = self._held, []
        for body, event in held:
            self._frame(body, event)

    def _frame(self, body: bytes, event: int) -> None:
        connection = self.connection
        if self.framing == CHUNKED:
            head = b"%x\r\n" % len(body)
            data = head + body + b"\r\n"
        else:
            head = b""
            data = body
        start = connection.sent + len(head)
        if not self.relay.tls:
            connection.life.append((start, start + len(body)))
            connection.news.extend(start + end for end in self._data_lines.ends(body))
        else:
            ends = (len(head) + end for end in self._data_lines.ends(body))
            connection.news.extend(connection.sent + _record_end(end, len(data)) for end in ends)
        self.raw(data, life=True)
        if event:
            connection.events.append((connection.sent, event))

    def half_a_chunk(self, body: bytes) -> None:
        """The beginning of a chunk that says to be larger."""
        if not self.relay.tls:
            start = self.connection.sent + 4
            self.connection.life.append((start, start + len(body)))
        self.raw(b"ff\r\n" + body, life=True)

    def finish(self) -> None:
        """A clean end, as far as the framing has one."""
        if self.over:
            return
        self.flush()
        if self.framing == CHUNKED and self.streaming:
            self.raw(b"0\r\n\r\n")
        self.end()

    def end(self) -> None:
        """Close the connection in good order, wherever the body stands."""
        if self.relay.tls:
            self.connection.send(record(GOODBYE))
        self.cut()

    def cut(self) -> None:
        """FIN, and under TLS no word before it."""
        self.over = True
        self.relay.visits.pop(self.connection, None)
        self.connection.finish()

    def reset(self) -> None:
        self.over = True
        self.relay.visits.pop(self.connection, None)
        self.connection.reset()

    def lose(self) -> None:
        """The relay's machine has lost its power."""
        self.over = True
        self.relay.visits.pop(self.connection, None)
        self.connection.forget()


class Relay:
    """`heartbeat` in seconds. `replays`: events carry ids, and what came behind `Last-Event-ID` is sent again."""

    def __init__(self, kernel: Kernel, answer: Answer, *, heartbeat: float = 30.0, tls: bool = False) -> None:
        self.kernel = kernel
        self.answer = answer
        self.heartbeat = heartbeat
        self.habit = habits.STEADY
        self.tls = tls
        self.replays = False
        self.hasty = False
        """It answers a request whose body it has not read."""
        self.compose: Callable[[int], bytes] = compose
        self.posted = 0
        self.visits: dict[Connection, Visit] = {}
        self.dead = 0
        self.buffers = 0
        self.halting = 0.0
        """If positive: events come in pieces, at most this many seconds apart."""
        self.greets = b""
        """Said at once to anyone who connects, as by a program of another kind."""
        self.slot: tuple[bytes, bytes] | None = None
        """Its id and its token, where requests are looked at for them."""
        self.keeps_old_slots = True
        """A stream on a slot that is no longer ours is still answered; nothing is posted to it."""
        self.gate = Gate()
        self._unposted = 0

    # Called by the network.

    def accepted(self, connection: Connection) -> None:
        self.visits[connection] = Visit(self, connection)
        if self.greets:
            connection.send(self.greets)

    def received(self, connection: Connection, data: bytes) -> None:
        visit = self.visits.get(connection)
        if visit is None or visit.over:
            return
        visit.asked += data
        if (self.hasty and b"\r\n\r\n" in visit.asked) or _is_whole(visit.asked):
            asked, visit.asked = visit.asked, b""
            if self._knows(visit, asked):
                self.answer(visit, asked)
            else:
                visit.raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                visit.end()

    def _knows(self, visit: Visit, asked: bytes) -> bool:
        if self.slot is None:
            return True
        found = _SLOT.search(asked.partition(b"\r\n")[0])
        slot, token = self.slot
        visit.slot = found[1] if found else slot  # (A redirect has led elsewhere.)
        if visit.slot != slot:
            return self.keeps_old_slots
        return b"Bearer " + token in asked

    def ended(self, connection: Connection) -> None:
        visit = self.visits.pop(connection, None)
        if visit is not None:
            visit.over = True
            if not connection.closed:
                connection.finish()

    # Called by the faults.

    def post(self, count: int = 1) -> None:
        """Store `count` events and send them to every open stream. A dead relay stores nothing."""
        if self.dead:
            return
        if self.gate.stopped:
            self._unposted += count  # It lies in a socket's buffer until the program goes on.
            return
        if not count:
            return
        self.posted += count
        self.kernel.tell("relay: %d posted, the last is %d", count, self.posted)
        for visit in list(self.visits.values()):
            self.bring(visit)

    def bring(self, visit: Visit) -> None:
        """Send this stream its pending data, unless it is in the middle of a line."""
        if self.slot is not None and visit.slot != self.slot[0]:
            return
        if visit.streaming and not visit.occupied and not self.gate.stopped:
            while visit.pointer < self.posted and not visit.over and not visit.halting:
                visit.pointer += 1
                body = self.compose(visit.pointer)
                if self.halting:
                    visit.halting = True
                    self._in_pieces(visit, body, visit.pointer)
                else:
                    visit.write(body, visit.pointer)

    def _in_pieces(self, visit: Visit, body: bytes, event: int) -> None:
        dice = self.kernel.random
        size = dice.randint(1, len(body))
        name = body.find(b"data")
        if name >= 0 and dice.random() < 0.3:
            size = name + dice.randint(1, 4)  # The most awkward place.
        elif dice.random() < 0.3:
            size = len(body)
        visit.write(body[:size], event if size == len(body) else 0)
        if size == len(body):
            visit.halting = False
            self.bring(visit)
        elif not visit.over:
            self.kernel.after(dice.random() * self.halting, self._in_pieces, visit, body[size:], event)

    def open(self, visit: Visit, asked: bytes, framing: int = CHUNKED, head: bytes = b"") -> None:
        """Accept a subscription and begin to stream."""
        self.begin(visit, asked, framing)
        visit.raw(head or opening(framing))
        visit.connection.head_end = visit.connection.sent
        self.keep(visit)

    def begin(self, visit: Visit, asked: bytes, framing: int) -> None:
        visit.framing = framing
        visit.streaming = True
        visit.pointer = self.posted
        last = _LAST_ID.search(asked)
        if self.replays:
            visit.pointer = 0 if last is None else int(last[1])

    def keep(self, visit: Visit) -> None:
        """Replay what is owed, and go on with heartbeats."""
        visit.last_sent = self.kernel.now
        self.bring(visit)
        gap = self.habit.gap(self, visit)
        self.kernel.after(gap, self._beat, visit, gap)

    def _beat(self, visit: Visit, gap: float) -> None:
        if visit.over:
            return
        kernel = self.kernel
        due = visit.last_sent + gap
        if self.gate.stopped or visit.occupied:
            kernel.after(gap, self._beat, visit, gap)
        elif due > kernel.now:
            kernel.at(due, self._beat, visit, gap)
        else:
            self.habit.beat(self, visit)
            gap = self.habit.gap(self, visit)
            kernel.after(gap, self._beat, visit, gap)

    def go_on(self) -> None:
        """SIGCONT: everything that has piled up."""
        self.gate.go_on()
        if not self.gate.stopped:
            unposted, self._unposted = self._unposted, 0
            self.post(unposted)


class Gate:
    """The entry of a program, so that it can be stopped: its kernel goes on accepting and acknowledging."""

    def __init__(self) -> None:
        self.program: Program | None = None
        self.stopped = 0
        self._waiting: list[tuple[Connection, bytes | None]] = []

    def accepted(self, connection: Connection) -> None:
        assert self.program is not None
        self.program.accepted(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        assert self.program is not None
        if self.stopped:
            self._waiting.append((connection, data))
        else:
            self.program.received(connection, data)

    def ended(self, connection: Connection) -> None:
        assert self.program is not None
        if self.stopped:
            self._waiting.append((connection, None))
        else:
            self.program.ended(connection)

    def go_on(self) -> None:
        self.stopped -= 1
        if self.stopped:
            return
        waiting, self._waiting = self._waiting, []
        for connection, data in waiting:
            if data is None:
                self.ended(connection)
            else:
                self.received(connection, data)


def _record_end(offset: int, size: int) -> int:
    """The end of the record that holds the byte before `offset`, of `size` bytes of plaintext that `raw` sends."""
    records = (offset - 1) // (RECORD - 1) + 1
    return min(size, records * (RECORD - 1)) + records * (len(record(DATA)) + 1)


def _is_whole(asked: bytes) -> bool:
    """Whether the request is complete, its body included."""
    head, end, body = asked.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def opening(framing: int) -> bytes:
    coding = b"Transfer-Encoding: chunked\r\n" if framing == CHUNKED else b""
    if framing == LENGTH:
        coding = b"Content-Length: %d\r\n" % _LONG
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + coding + b"\r\n"


def compose(number: int) -> bytes:
    """As wire's relay sends it. Every second one is so long that over TLS the length of its record is a wake."""
    return b'data: {"event_id": %d%s}\n\n' % (number, LONG_BODY if number % 2 else b"")
