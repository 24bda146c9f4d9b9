"""Faults of TLS and proxies: handshakes that stall or break, awkward records, tunnels that lead nowhere."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.simulation.faults_of_relays import End, Fault, each_stream, over
from tests.simulation.relay import Visit
from tests.simulation.tls import RECORD, TICKET, UPDATE, record

if TYPE_CHECKING:
    from tests.simulation.life import Side


def handshake_trouble(side: Side, dice: random.Random) -> End:
    endpoint = side.endpoint
    if endpoint is None:
        return over
    kind = dice.choice(["stalls", "stalls late", "another's", "two round trips", "plain", "reset", "cut"])
    if kind == "another's":
        endpoint.flights = [b"certificate of another"]
    elif kind in ("reset", "cut"):
        endpoint.breaks_off = kind
        endpoint.flights = dice.choice([[b"done"], [b"more", b"done"]])
        endpoint.stalls_at = len(endpoint.flights) - 1
    elif kind == "plain":
        endpoint.greets = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    else:
        endpoint.flights = [b"more", b"done"]
        endpoint.stalls_at = {"stalls": 0, "stalls late": 1}.get(kind)

    def end() -> None:
        endpoint.flights = [b"done"]
        endpoint.stalls_at = None
        endpoint.greets = b""
        endpoint.breaks_off = ""

    return end


def tickets(side: Side, dice: random.Random) -> End:
    """Readable, and nothing to read."""
    if not side.relay.tls:
        return over
    return each_stream(side, lambda visit: visit.connection.send(record(TICKET, b"t" * 100) * dice.choice([1, 30])))


def key_update(side: Side, dice: random.Random) -> End:
    """Reading waits for room to write, and an event comes behind it."""
    if not side.relay.tls:
        return over
    seconds = dice.choice([0.0, 0.5, 5.0])

    def update(visit: Visit) -> None:
        sock = visit.connection.client
        sock.write_blocked = seconds > 0
        side.life.kernel.after(seconds, sock.unblock_writing)
        visit.connection.send(record(UPDATE))

    each_stream(side, update)
    side.relay.post()
    return over


def control_records(side: Side, dice: random.Random) -> End:
    """Tickets or key updates for as long as it lasts, and no data."""
    if not side.relay.tls:
        return over
    data = record(dice.choice([TICKET, UPDATE]))
    interval = dice.choice([0.5, 5.0, 20.0]) * side.life.setting.timeouts.read / 75
    going_on = True

    def more(visit: Visit) -> None:
        if visit.over:
            return
        if going_on:
            visit.connection.send(data * dice.choice([1, 2000]))
            side.life.kernel.after(interval, more, visit)
        else:
            visit.mid_line, visit.streaming = False, True
            side.relay.bring(visit)

    def start(visit: Visit) -> None:
        visit.flush()
        visit.mid_line, visit.streaming = True, False
        more(visit)

    each_stream(side, start)

    def end() -> None:
        nonlocal going_on
        going_on = False

    return end


def full_records(side: Side, dice: random.Random) -> End:
    """Several records of the largest size, and an event in the last."""
    if not side.relay.tls:
        return over
    each_stream(side, lambda visit: visit.write(b": " + b"x" * (RECORD * dice.choice([1, 3])) + b"\n\n"))
    side.relay.post()
    return over


def proxy_trouble(side: Side, dice: random.Random) -> End:
    proxy = side.proxy
    if proxy is None:
        return over
    proxy.answer = dice.choice(
        [
            b"",
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nword of its own",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"HTTP/1.1 200 OK\r\nX: ",
        ]
    )
    proxy.hangs_up = dice.random() < 0.5

    def end() -> None:
        proxy.answer = None

    return end


def dead_behind_the_proxy(side: Side, dice: random.Random) -> End:
    """The proxy's kernel goes on answering for streams whose relay is gone; it has yet to hear of that."""
    proxy, relay = side.proxy, side.relay
    if proxy is None:
        return over
    relay.dead += 1
    for visit in list(relay.visits.values()):
        visit.over = True
        relay.visits.pop(visit.connection)
    proxy.answer = dice.choice([b"", b"HTTP/1.1 504 Gateway Timeout\r\n\r\n"])

    def end() -> None:
        relay.dead -= 1
        proxy.answer = None

    return end


ALL: Final[list[Fault]] = [
    Fault(handshake_trouble, 2, anew=True),
    Fault(tickets, 2, each=True),
    Fault(key_update, 2, each=True),
    Fault(full_records, 2, each=True),
    Fault(control_records, 1, each=True, lasting=True),
    Fault(proxy_trouble, 2, anew=True),
    Fault(dead_behind_the_proxy, 2),
]
