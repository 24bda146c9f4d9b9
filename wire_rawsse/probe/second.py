"""Second opinions: further connections that tell apart what looks the same from one.

They send what the first request sent, or nothing that is secret. Each has a budget and raises nothing that a network
can cause.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final

from wire_rawsse.probe.listening import StreamListener
from wire_rawsse.probe.measurements import Cross, Replay, StreamFacts
from wire_rawsse.probe.reach import Reached, Way, ask, connect
from wire_rawsse.probe.tcp_info import probe_peer, tcp_info
from wire_rawsse.protocol.events import Event
from wire_rawsse.protocol.http import is_event_stream
from wire_rawsse.protocol.request import Request, compose
from wire_rawsse.waits import Address

SMALL_SEGMENT: Final = 536
"""Bytes: the segments that every path carries (RFC 9293 section 3.7.1)."""

_CLOCK_TICK: Final = 0.05
"""Seconds: the kernel counts in ticks of up to 10 ms. The last acknowledgement before the probe is older than this."""


def ask_others(
    cross: Cross, way: Way, request: Request | None, address: Address, deadline: float, start: Callable[..., None]
) -> None:
    """Have all questions asked in threads by `start`. `request` None: the connection itself does not succeed."""
    start(_repeat, cross, way, request, address, deadline)
    start(_small_segments, cross, way, request, address, deadline)
    if request is not None:
        start(_other_path, cross, way, address, deadline)


def _repeat(cross: Cross, way: Way, request: Request | None, address: Address, deadline: float) -> None:
    """Whether the same works the second time: without this, small segments would get the credit for it."""
    cross.repeated = "helped" if _succeeds(way, request, address, deadline, None) else "did not help"


def _small_segments(cross: Cross, way: Way, request: Request | None, address: Address, deadline: float) -> None:
    """Whether the same works with small segments: then something on the path loses large packets (RFC 2923)."""
    cross.small_segments = "helped" if _succeeds(way, request, address, deadline, SMALL_SEGMENT) else "did not help"


def _succeeds(way: Way, request: Request | None, address: Address, deadline: float, mss: int | None) -> bool:
    reached = connect(way, address, mss=mss)
    if request is not None and reached.channel is not None:
        ask(reached, request, deadline, way.secrets)
    reached.end()
    return not reached.attempt.failed_in


def _other_path(cross: Cross, way: Way, address: Address, deadline: float) -> None:
    """Whether the server answers a request for /, which has none of the caller's fields."""
    plain_proxy = way.proxy if way.hop.url.scheme == "http" else None
    request = compose(
        way.hop.url._replace(target="/", authorization=None),
        absolute_form=plain_proxy is not None,
        proxy_authorization=plain_proxy.url.authorization if plain_proxy else None,
        secrets=way.secrets,
    )
    reached = connect(way, address)
    if reached.channel is not None:
        ask(reached, request, deadline, way.secrets)
    if reached.response is not None:
        cross.other_server = way.secrets.quote(reached.response.get("server") or "")
    cross.other_path = "silent" if reached.response is None else "answered"
    reached.end()


def resumes(replay: Replay, way: Way, request: Request, address: Address, ids: list[str], until: float) -> None:
    """Ask for what followed the first event: does the server send the second one again?"""
    reached = connect(way, address)
    if reached.channel is not None:
        ask(reached, request, until, way.secrets)
    response = reached.response
    if response is None:
        replay.error = reached.attempt.error
        return
    try:
        if response.status != 200 or not is_event_stream(response):
            replay.result = "refused"
            replay.error = f"{response.status}"
            return
        seen: list[str] = []

        def enough(event: Event) -> bool:
            if event.id in ids:
                seen.append(event.id)
            return bool(seen)

        StreamListener(StreamFacts(), time.monotonic(), way.secrets, enough=enough).listen(reached, until)
        replay.result = "nothing" if not seen else "ignores" if seen[0] == ids[0] else "resumes"
    finally:
        reached.end()


def is_peer_there(reached: Reached, stream: StreamFacts, seconds: float) -> None:
    """Ask the peer's kernel with a keepalive probe whether it still knows a silent connection."""
    assert reached.channel is not None
    sock = reached.channel.sock
    if not probe_peer(sock):
        return
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(0.02)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        info = tcp_info(sock)
        if code or info is None:
            stream.alive = "reset"
            return
        if info.since_acknowledgement < passed + _CLOCK_TICK:
            stream.alive = "answered"
            return
    stream.alive = "unanswered"
