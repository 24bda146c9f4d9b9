"""Faults of a relay or of its front end: it stops, dies, cuts, drips, sends wrong answers, or asks for a pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.simulation import answers
from tests.simulation.relay import CHUNKED, CLOSE, Answer, Visit, compose, opening
from tests.simulation.tls import DATA, record

if TYPE_CHECKING:
    from tests.simulation.life import Side

End = Callable[[], None]


FASTEST_DRIP: Final = 0.1 / 75
"""Seconds between two bytes, as a part of `read`."""
_SPANS: Final = [(0.05, 5.0), (5.0, 60.0), (60.0, 600.0), (600.0, 5000.0), (5000.0, 50_000.0)]
_SPAN_WEIGHTS: Final = [40, 50, 30, 10, 1]
_LONG_SPELLS: Final = [5, 10, 40, 30, 8]


@dataclass(frozen=True)
class Fault:
    """`begin` returns what ends it. `weight`: how often, against the others. `longest`: seconds that it lasts."""

    begin: Callable[[Side, random.Random], End]
    weight: int = 1
    longest: float = 50_000.0
    each: bool = False
    """It does something to the streams that there are, and nothing to those that come."""
    anew: bool = False
    """Only who connects can feel it: so it often comes with the end of the streams that there are."""
    lasting: bool = False
    """It takes its time to be felt."""

    @property
    def name(self) -> str:
        return self.begin.__name__.replace("_", " ")

    def lasts(self, dice: random.Random, long_spells: bool = False) -> float:
        """Seconds: shorter than a silence is allowed to be, as a rule, but not always."""
        shortest, longest = dice.choices(_SPANS, _LONG_SPELLS if long_spells or self.lasting else _SPAN_WEIGHTS)[0]
        return min(self.longest, dice.uniform(shortest, longest))


def over() -> None:
    """How a fault ends that is over at once."""


def with_id(number: int) -> bytes:
    return b"id: %d\n" % number + compose(number)


# Stopping and dying.


def hangs(side: Side, dice: random.Random) -> End:
    """SIGSTOP: its kernel goes on accepting and acknowledging."""
    side.relay.gate.stopped += 1
    return side.relay.go_on


def power_lost(side: Side, dice: random.Random) -> End:
    """Gone without a FIN; back later, and it remembers nothing."""
    relay = side.relay
    relay.dead += 1
    for visit in list(relay.visits.values()):
        visit.lose()
    for place in side.places:
        place.gone += 1

    def end() -> None:
        relay.dead -= 1
        for place in side.places:
            place.gone -= 1

    return end


def killed(side: Side, dice: random.Random) -> End:
    """Its kernel closes for it; the port is closed until it is started again."""
    relay = side.relay
    relay.dead += 1
    close = dice.choice([Visit.cut, Visit.reset])
    for visit in list(relay.visits.values()):
        close(visit)
    for place in side.places:
        place.refuses += 1

    def end() -> None:
        relay.dead -= 1
        for place in side.places:
            place.refuses -= 1

    return end


# The end of a stream.


def each_stream(side: Side, what: Callable[[Visit], object]) -> End:
    for visit in list(side.relay.visits.values()):
        if visit.streaming and not visit.over and not visit.occupied and not side.relay.gate.stopped:
            what(visit)
    return over


def reset(side: Side, dice: random.Random) -> End:
    return each_stream(side, Visit.reset)


def closed_cleanly(side: Side, dice: random.Random) -> End:
    return each_stream(side, Visit.finish)


def cut_in_an_event(side: Side, dice: random.Random) -> End:
    def cut(visit: Visit) -> None:
        visit.write(b'data: {"event_id": 9')
        visit.flush()
        dice.choice([Visit.cut, Visit.reset, Visit.end])(visit)

    return each_stream(side, cut)


def cut_in_a_chunk(side: Side, dice: random.Random) -> End:
    def cut(visit: Visit) -> None:
        visit.flush()
        if visit.framing == CHUNKED:
            visit.half_a_chunk(b": hal")
        visit.cut()

    return each_stream(side, cut)


def cut_in_a_record(side: Side, dice: random.Random) -> End:
    def cut(visit: Visit) -> None:
        visit.flush()
        if side.relay.tls:
            visit.connection.send(record(DATA, b"!" + b"x" * 50)[:20])
        visit.cut()

    return each_stream(side, cut)


def garbage(side: Side, dice: random.Random) -> End:
    def speak(visit: Visit) -> None:
        if visit.framing == CHUNKED:
            visit.flush()
            visit.raw(b"\x00\x01 this is no chunk\r\n")
            visit.over = True

    return each_stream(side, speak)


# Dripping streams.


def line_drips(side: Side, dice: random.Random) -> End:
    """A line that does not end, as long as the fault lasts: a byte now and then, which no silence ever sees.

    The slowest first brings more than enough for one window of `min_rate`, which must not pay for the next.
    """
    read = side.life.setting.timeouts.read
    interval = dice.choice([FASTEST_DRIP, 1 / 75, 20 / 75]) * read
    much = b"x" * (int(150 * read) if interval > read / 5 else 1)
    dripping = True
    begun: set[object] = set()

    def more(visit: Visit) -> None:
        if visit.over or not visit.mid_line:
            return
        if dripping:
            visit.write(much if visit.connection not in begun else b"x")
            begun.add(visit.connection)
            side.life.kernel.after(interval, more, visit)
        else:
            visit.connection.drip_from = None
            visit.write(b"\n\n")
            side.relay.bring(visit)

    def start(visit: Visit) -> None:
        if not side.relay.buffers:
            visit.connection.drip_from = visit.connection.sent
        visit.write(b": drip")
        side.life.kernel.after(interval, more, visit)

    def end() -> None:
        nonlocal dripping
        dripping = False

    each_stream(side, start)
    return end


def chunk_extension_drips(side: Side, dice: random.Random) -> End:
    """Bytes that are none of the body, for ever."""

    def start(visit: Visit) -> None:
        if visit.framing != CHUNKED:
            return
        visit.flush()
        visit.connection.drip_from = visit.connection.sent
        visit.mid_line = True
        visit.streaming = False
        visit.raw(b"5;x=")
        answers.drip(visit, b"x", dice.choice([0.5, 5.0, 20.0]) * side.life.setting.timeouts.read / 75)

    return each_stream(side, start)


def halting(side: Side, dice: random.Random) -> End:
    """Many events, in pieces, with pauses between them, and with line ends of every kind."""
    relay, compose = side.relay, side.relay.compose
    ends = dice.choice([b"\n", b"\r", b"\r\n"])
    before = dice.choice([b": words\n", b""])
    relay.compose = lambda number: (before + compose(number)).replace(b"\n", ends)
    relay.halting = dice.uniform(0.001, 2.0)
    pause = dice.uniform(2.0, 30.0) * side.life.setting.timeouts.read / 75
    going_on = True

    def post() -> None:
        if going_on:
            relay.post()
            side.life.kernel.after(dice.uniform(0.0, 2 * pause), post)

    post()

    def end() -> None:
        nonlocal going_on
        going_on = False
        relay.compose = side.compose
        relay.halting = 0.0

    return end


# Much, and much at once.


def storm(side: Side, dice: random.Random) -> End:
    side.relay.post(dice.choices([20, 300, 2000, 100_000], [40, 40, 20, 1])[0])
    return over


def large_event(side: Side, dice: random.Random) -> End:
    size = dice.choice([2_000, 40_000, 300_000])
    return each_stream(side, lambda visit: visit.write(b": " + b"x" * size + b"\n\n"))


def buffering_proxy(side: Side, dice: random.Random) -> End:
    relay = side.relay
    relay.buffers += 1

    def end() -> None:
        relay.buffers -= 1
        if not relay.buffers:
            for visit in list(relay.visits.values()):
                visit.flush()

    return end


def wish(side: Side, dice: random.Random) -> End:
    """The stream's own reconnection time, and later another."""
    field = b"retry: %d\n\n" % dice.choice([0, 100, 3000, 45_000, 300_000])
    each_stream(side, lambda visit: visit.write(field))

    def end() -> None:
        each_stream(side, lambda visit: visit.write(b"retry: 1000\n\n"))

    return end


# Answers.


def other_answers(side: Side, dice: random.Random) -> End:
    """Every request is answered in some other way, as long as it lasts."""
    side.relay.answer = dice.choice(_ANSWERS)(side, dice)

    def end() -> None:
        side.relay.answer = side.answer

    return end


def _date(side: Side, dice: random.Random) -> str:
    from email.utils import formatdate

    return formatdate(side.life.kernel.wall() % 4e9 + dice.uniform(-10, 300), usegmt=True)


def head_drips(side: Side, dice: random.Random) -> End:
    """Every head is begun and never ended, byte by byte."""
    interval = dice.choice([0.1, 0.5, 2.0]) * side.life.setting.timeouts.response / 15
    side.relay.answer = answers.dripping_head(interval)

    def end() -> None:
        side.relay.answer = side.answer

    return end


_ANSWERS: Final[list[Callable[[Side, random.Random], Answer]]] = [
    lambda side, dice: answers.silence,
    lambda side, dice: answers.silence,
    lambda side, dice: answers.raw(opening(CLOSE)[:30], Visit.cut),
    lambda side, dice: answers.raw(opening(CLOSE)[:30], Visit.reset),
    lambda side, dice: answers.raw(b"", dice.choice([Visit.cut, Visit.reset])),
    lambda side, dice: answers.raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    lambda side, dice: answers.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000, answers.stay),
    lambda side, dice: answers.garbage_behind(b"no chunk at all\r\n"),
    lambda side, dice: answers.short_lived(dice.choice([0.0, 3.0, 9.0, 11.0]), Visit.finish),
    lambda side, dice: answers.short_lived(dice.choice([0.0, 3.0, 9.0, 11.0]), Visit.cut),
    lambda side, dice: answers.status(dice.choice(["500 Oops", "502 Bad Gateway", "408 Request Timeout", "425 Early"])),
    lambda side, dice: answers.status("429 Slow Down", f"Retry-After: {dice.choice([1, 40, 300])}"),
    lambda side, dice: answers.status("503 Busy", f"Retry-After: {_date(side, dice)}"),
    lambda side, dice: answers.status(dice.choice(["404 Not Found", "401 Unauthorized", "204 No Content"])),
    lambda side, dice: answers.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"),
    lambda side, dice: answers.redirects(["/elsewhere", "/again"], answers.well(side.framing)),
    lambda side, dice: answers.redirects([side.url] * 20, answers.silence),
    lambda side, dice: answers.raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20, answers.stay),
    lambda side, dice: answers.well(side.framing, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
]


ALL: Final[list[Fault]] = [
    Fault(hangs, 6),
    Fault(power_lost, 2),
    Fault(killed, 3),
    Fault(reset, 2, each=True),
    Fault(closed_cleanly, 3, each=True),
    Fault(cut_in_an_event, 2, each=True),
    Fault(cut_in_a_chunk, 1, each=True),
    Fault(cut_in_a_record, 1, each=True),
    Fault(garbage, 1, each=True),
    Fault(line_drips, 3, each=True, lasting=True),
    Fault(chunk_extension_drips, 2, each=True),
    Fault(halting, 3, longest=1000.0),
    Fault(storm, 1),
    Fault(large_event, 2),
    Fault(buffering_proxy, 2),
    Fault(wish, 1, each=True),
    Fault(other_answers, 8, anew=True),
    Fault(head_drips, 1, anew=True),
]
