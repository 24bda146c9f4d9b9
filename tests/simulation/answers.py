"""How a relay answers a request: well, badly, slowly, or not at all. Each is an `Answer` for `Relay.answer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.network import Connection, Program
from tests.simulation.relay import CHUNKED, Answer, Visit, opening


def well(framing: int = CHUNKED, before: bytes = b"") -> Answer:
    """`before`: what comes with the head, in front of it."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.open(visit, asked, framing, before + opening(framing))

    return answer


def silence(visit: Visit, asked: bytes) -> None:
    """Accepted, and never answered."""


def status(line: str, *fields: str) -> Answer:
    head = "\r\n".join([f"HTTP/1.1 {line}", *fields, "Content-Length: 0", "", ""]).encode("latin-1")

    def answer(visit: Visit, asked: bytes) -> None:
        visit.raw(head)
        visit.end()

    return answer


def raw(data: bytes, then: Callable[[Visit], None] = Visit.end) -> Answer:
    """These bytes, and then `then`: `Visit.end`, `.cut`, `.reset`."""

    def answer(visit: Visit, asked: bytes) -> None:
        if data:
            visit.raw(data)
        then(visit)

    return answer


def stay(visit: Visit) -> None:
    """Neither a byte nor an end."""


def dripping_head(interval: float) -> Answer:
    """One byte of the head each `interval` seconds, for ever: the head has no end."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.raw(b"HTTP/1.1 200 OK\r\nX: ")
        drip(visit, b"x", interval)

    return answer


def drip(visit: Visit, data: bytes, interval: float, ends: Callable[[], bool] = lambda: False) -> None:
    """`data` as it is, again and again."""
    if visit.over or ends():
        return
    visit.raw(data)
    visit.relay.kernel.after(interval, drip, visit, data, interval, ends)


def short_lived(seconds: float, end: Callable[[Visit], None]) -> Answer:
    """A stream that is accepted, and ends after so long."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.open(visit, asked)
        visit.relay.kernel.after(seconds, end_if_live, visit, end)

    return answer


def end_if_live(visit: Visit, end: Callable[[Visit], None]) -> None:
    if not visit.over and not visit.relay.gate.stopped:
        end(visit)


def with_body(body: bytes, framing: int = CHUNKED) -> Answer:
    """A stream that begins with this body."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.relay.begin(visit, asked, framing)
        visit.raw(opening(framing))
        visit.write(body)
        visit.relay.keep(visit)

    return answer


def garbage_behind(data: bytes) -> Answer:
    """A good head, and then what is no body in chunks."""

    def answer(visit: Visit, asked: bytes) -> None:
        visit.framing = CHUNKED
        visit.raw(opening(CHUNKED) + data)

    return answer


def redirects(locations: Sequence[str], then: Answer, code: str = "307 Temporary Redirect") -> Answer:
    """Each request that names one of `locations` (or none of them) is sent to the next; the last is answered."""

    def answer(visit: Visit, asked: bytes) -> None:
        target = asked.split(b" ", 2)[1].decode("latin-1")
        number = next((at for at, one in enumerate(locations, 1) if one.endswith(target)), 0)
        if number < len(locations):
            status(code, f"Location: {locations[number]}")(visit, asked)
        else:
            then(visit, asked)

    return answer


class Proxy:
    """An http proxy that makes tunnels. `answer` is its word on CONNECT; a 2xx leads to `program`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.answer: bytes | None = None
        """None: as it should; b"": nothing, ever."""
        self.hangs_up = True
        """After an answer of its own."""
        self.asked: dict[Connection, bytes] = {}

    def accepted(self, connection: Connection) -> None:
        self.asked[connection] = b""

    def received(self, connection: Connection, data: bytes) -> None:
        self.asked[connection] += data
        if not self.asked[connection].endswith(b"\r\n\r\n"):
            return
        if self.answer is None:
            del self.asked[connection]
            connection.program = self.program
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.program.accepted(connection)
            return
        connection.send(self.answer)
        if self.answer and self.hangs_up:
            connection.finish()

    def ended(self, connection: Connection) -> None:
        self.asked.pop(connection, None)
