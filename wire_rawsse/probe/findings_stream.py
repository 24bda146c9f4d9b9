"""The meaning of an accepted stream's arrivals, ends and silences, and the thing to change."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Final

from wire_rawsse.probe.finding import Finding, count, seconds
from wire_rawsse.probe.measurements import Head, HopFacts, Life, Measurements, StreamFacts
from wire_rawsse.probe.rhythm import MeasuredHeartbeat, heartbeat, held_back, longest_gap, silence_before_end

_SKEW: Final = 5.0
_HEAD_HELD: Final = 2.0
_SHORT_SILENCE: Final = 1.0
_SAME: Final = 0.15
"""Silences that differ by this part, or by half a second, are the same."""
_NAMES_OF_PROXIES: Final = ("server", "via", "x-served-by", "x-cache", "cf-ray")
_LOSS: Final = 0.05
_LEAST_LOST: Final = 3
_LONG: Final = 90
"""Seconds after which heartbeats of usual servers, and cuts by usual proxies (60 s), have been seen."""
_RATE: Final = 100
"""Bytes a second: `Timeouts.min_rate`."""
_OF_READ: Final = 2.5
"""`Timeouts.read` should cover so many heartbeats, as its default does for the usual 30 s."""
_LEAST_OF_READ: Final = 2
_PING: Final = 15.0
"""Seconds between the comments that WHATWG HTML advises (9.2.7)."""
_NO_BUFFERS: Final = (
    "switch buffering off in the proxy before the server (nginx: proxy_buffering off; for this path), or have the "
    "server send X-Accel-Buffering: no and flush after each event"
)


def _ping(limit: float) -> str:
    """`limit`: seconds of silence that are already too long."""
    return f'have the server send a comment line (": ping") every {seconds(min(_PING, limit / 2))}'


def of_stream(found: Measurements, hop: HopFacts) -> Iterator[Finding]:
    stream, head = found.stream, hop.head
    if head is None:
        return
    if stream is not None and stream.lives:
        beat = heartbeat(stream.lives)
        buffered = list(_of_buffers(found, stream, head))
        yield from buffered
        yield from _of_ends(found, stream, beat)
        if not any(one.severity == "broken" for one in buffered):  # Otherwise silences and late heads follow from it.
            yield from _of_silence(found, stream, beat)
            yield from _of_clocks(found, hop, beat)
        yield from _of_reconnect(stream)
        yield from _of_tcp(stream)
        yield from _of_replay(found, stream)
        if head.framing == "length" and stream.lives[-1].end != "clean":
            yield Finding(
                "doubtful",
                "fixed-length",
                "the response has a Content-Length, so the stream ends after that many bytes",
                "have the server send the stream without Content-Length",
            )
        if head.age not in ("", "0"):
            yield Finding(
                "doubtful",
                "cached",
                f"the response comes from a cache: it has Age: {head.age}",
                "have the server send Cache-Control: no-store for this path",
            )
    if head.skew is not None and abs(head.skew) >= _SKEW:
        way = "ahead of" if head.skew > 0 else "behind"
        yield Finding(
            "doubtful",
            "clock",
            f"the server's clock is {seconds(abs(head.skew))} {way} ours, by its Date",
            "synchronise both clocks (NTP); tokens and certificates depend on them",
        )


def _of_buffers(found: Measurements, stream: StreamFacts, head: Head) -> Iterator[Finding]:
    for life in stream.lives:
        held = held_back(life, head.skew or 0.0, found.wall + life.began)
        if held is not None:
            yield Finding(
                "broken" if held.certain else "doubtful",
                "buffered",
                f"something {'holds' if held.certain else 'may hold'} events back: {held.proof}{_who_answers(head)}",
                _no_buffers(head),
            )
            return
    if head.held is not None and head.held >= _HEAD_HELD:
        yield Finding(
            "doubtful",
            "head-held",
            f"the response head was {seconds(head.held)} old when it arrived, by its own Date: something held it back"
            + _who_answers(head),
            _no_buffers(head),
        )


def _who_answers(head: Head) -> str:
    """The programs on the way that name themselves in the head."""
    named = [f"{name}: {value}" for name, value in head.fields if name in _NAMES_OF_PROXIES]
    return f" (the head names {', '.join(named[:3])})" if named else ""


def _no_buffers(head: Head) -> str:
    if any(name == "x-accel-buffering" for name, _ in head.fields):
        # nginx obeys that field and does not pass it on.
        return f"{_NO_BUFFERS.partition(' (nginx')[0]}; that proxy is no nginx, as X-Accel-Buffering came through it"
    return _NO_BUFFERS


def _of_ends(found: Measurements, stream: StreamFacts, beat: MeasuredHeartbeat | None) -> Iterator[Finding]:
    life = next((one for one in stream.lives if one.end in ("malformed", "too large", "other")), stream.lives[-1])
    if life.end == "malformed":
        yield Finding(
            "broken",
            "malformed",
            life.error,
            "look at the server or proxy that frames the response: its chunks are damaged",
        )
    elif life.end == "too large":
        yield Finding(
            "broken", "too-large", life.error, "make the events smaller, or raise --max-event-bytes of listen"
        )
    elif life.end == "other":
        yield Finding("broken", "broken", f"the stream broke: {life.error}", "look at the log of the server or proxy")
    ended = [one for one in stream.lives if one.end in ("clean", "cut", "reset")]
    if not ended or life.end in ("malformed", "too large", "other"):
        return
    silences = [silence_before_end(one) for one in ended]
    usual = statistics.median(silences)
    how = "reset" if any(one.end == "reset" for one in ended) else "closed"
    lasted = statistics.median([one.stopped - one.opened for one in ended])
    same = all(abs(one - usual) <= max(0.5, _SAME * usual) for one in silences)
    idle = usual >= _SHORT_SILENCE and (beat is None or usual > 1.5 * beat.period)
    if idle and same and len(ended) > 1:
        yield Finding(
            "broken",
            "idle-cut",
            f"{len(ended)} times the stream was {how} after {seconds(usual)} of silence: something on the path ends "
            "idle connections",
            f'have the server send a comment line (": ping") at least every {seconds(usual / 2)}, or raise the idle '
            "time-out of the proxy or firewall before it",
        )
    elif idle:
        yield Finding(
            "broken",
            "idle-cut",
            f"the stream was {how} after {seconds(usual)} of silence: something on the path may end idle connections",
            f"{_ping(usual)}; to see whether it is always the same time, probe longer (--for {_longer(found, usual)})",
        )
    elif all(one.end == "clean" for one in ended):
        yield Finding(
            "doubtful",
            "ends",
            f"the server ended the stream after {seconds(lasted)}"
            + (f", {len(ended)} times" if len(ended) > 1 else "")
            + ": it is polled rather than listened to",
            "have the server keep the response open; if it means to be polled, nothing",
        )
    else:
        yield Finding(
            "broken",
            "cut",
            f"the connection was {how} in the middle of the stream, after {seconds(lasted)}"
            + (f" ({len(ended)} times)" if len(ended) > 1 else ""),
            "look at the log of the server and of the proxies before it, at that moment",
        )


def _of_reconnect(stream: StreamFacts) -> Iterator[Finding]:
    if stream.refused:
        yield Finding(
            "doubtful",
            "reconnect",
            f"after the stream had ended, it was not accepted again: {stream.refused}",
            "look at what limits connections on the server or proxy, or ends them, at that moment",
        )


def _longer(found: Measurements, silence: float) -> int:
    return int(max(_LONG, 2 * found.seconds, 3 * silence + 10))


def _of_silence(found: Measurements, stream: StreamFacts, beat: MeasuredHeartbeat | None) -> Iterator[Finding]:
    life = stream.lives[-1]
    if life.end:
        return
    silence = silence_before_end(life)
    read = found.clocks[2]
    nothing = not life.arrivals
    stopped = beat is not None and beat.count > 1 and silence > max(2.5 * beat.period, beat.period + 1)
    before = "nothing came" if nothing else "nothing more came"
    if stream.alive == "unanswered":
        yield Finding(
            "broken",
            "path-dead",
            f"{before} for {seconds(silence)}, and the peer's kernel no longer answers: the path forgot the connection",
            f"{_ping(silence)}, or raise the idle time-out of the firewall, NAT or VPN on the path",
        )
    elif stream.alive == "reset":
        yield Finding(
            "broken",
            "path-reset",
            f"{before} for {seconds(silence)}, and a keepalive probe was answered with a reset: the connection is gone",
            f"{_ping(silence)}, or raise the idle time-out of the firewall, NAT or VPN on the path",
        )
    elif stream.stray > 1 and silence >= _SHORT_SILENCE:
        yield Finding(
            "broken",
            "framing-drips",
            f"{before} for {seconds(silence)} but {count(stream.stray, 'piece')} of chunk framing without content",
            "look at the proxy or server that frames the response: it keeps the connection busy and sends nothing",
        )
    elif stream.info is not None and stream.info.out_of_order and silence >= _SHORT_SILENCE:
        yield Finding(
            "broken",
            "mtu",
            f"{before} for {seconds(silence)}, while {count(stream.info.out_of_order, 'segment')} arrived beyond a gap "
            "that is never filled: the path loses large packets (MTU black hole)",
            'let ICMP "packet too big" through the firewalls on the path, or lower the MTU (or clamp the MSS) on the '
            "router, VPN or interface on the way",
        )
    elif stopped and beat is not None:
        what = "events" if beat.of_events else "heartbeats"
        kernel = " and the peer's kernel answers" if stream.alive == "answered" else ""
        yield Finding(
            "broken",
            "wedged",
            f"{what} came every {seconds(beat.period)}, and then nothing for {seconds(silence)}; the connection "
            f"is open{kernel}",
            "look at the server's program (or the proxy's): it hangs, while its kernel keeps the connection up",
        )
    elif _drips(life):
        passed, size = life.stopped - life.opened, sum(one.size for one in life.arrivals)
        yield Finding(
            "broken",
            "drips",
            f"a line that does not end drips: {count(size, 'byte')} in {seconds(passed)}",
            "look at the server: it writes an event a few bytes at a time and never ends it",
        )
    elif (
        not nothing and life.arrivals[-1].line_open and silence >= max(_SHORT_SILENCE, 2 * (beat.period if beat else 0))
    ):
        yield Finding(
            "broken",
            "half-event",
            f"the stream stopped in the middle of an event, {seconds(silence)} ago",
            "look at the server, or at a proxy that holds the rest back: flush after each event",
        )
    elif beat is None and silence >= max(_SHORT_SILENCE, 0.5 * found.seconds):
        longer = f"probe longer (--for {_longer(found, silence)})"
        yield Finding(
            "doubtful",
            "silent",
            f"{before} for {seconds(silence)}, not even a heartbeat: this cannot be told from a dead stream",
            f"{longer}, as many servers send a heartbeat every 30 s only; if there is none, {_ping(read)}"
            if found.seconds < _LONG
            else f"{_ping(read)}, so that clients can tell silence from death",
        )


def _drips(life: Life) -> bool:
    passed = life.stopped - life.opened
    size = sum(one.size for one in life.arrivals)
    whole = any(one.events or one.comments or not one.line_open for one in life.arrivals[1:])
    return len(life.arrivals) > 2 and not whole and size < _RATE * passed


def _of_clocks(found: Measurements, hop: HopFacts, beat: MeasuredHeartbeat | None) -> Iterator[Finding]:
    _, response, read = found.clocks
    slowest = max((one.head for one in hop.attempts if one.head is not None), default=0.0)
    if slowest > response:
        yield Finding(
            "broken",
            "response-clock",
            f"the response head took {seconds(slowest)}, longer than the response clock of {seconds(response)}",
            "have the server send its head at once, before the first event; or raise --response-timeout "
            f"(Timeouts.response) to {2 * slowest:.0f}",
        )
    elif slowest > response / 2:
        yield Finding(
            "doubtful",
            "slow-head",
            f"the response head took {seconds(slowest)}: the server may send it with its first event only",
            "have the server send its head at once, before the first event",
        )
    gap = max((longest_gap(life) for life in found.stream.lives), default=0.0) if found.stream else 0.0
    if gap > read:
        yield Finding(
            "broken",
            "read-clock",
            f"nothing came for {seconds(gap)}, longer than the read clock of {seconds(read)}: a healthy stream is "
            "taken for dead",
            f"{_ping(read)}, or raise --read-timeout (Timeouts.read) to {_OF_READ * gap:.0f}",
        )
    elif beat is not None and not beat.of_events and beat.period * _LEAST_OF_READ > read:
        yield Finding(
            "doubtful",
            "slow-heartbeat",
            f"heartbeats come every {seconds(beat.period)}; the read clock of {seconds(read)} covers fewer than two",
            f"{_ping(read)}, or raise --read-timeout (Timeouts.read) to {_OF_READ * beat.period:.0f}",
        )


def _of_tcp(stream: StreamFacts) -> Iterator[Finding]:
    info = stream.info
    if info is None:
        return
    if info.out_of_order > _LEAST_LOST and stream.lives[-1].arrivals and not stream.lives[-1].end:
        yield Finding(
            "doubtful",
            "loss",
            f"{info.out_of_order} segments arrived beyond a gap: the path loses packets to us",
            "look at the network path (Wi-Fi, VPN, an overloaded link)",
        )
    elif info.retransmissions >= _LEAST_LOST and info.retransmissions > _LOSS * info.segments_sent:
        yield Finding(
            "doubtful",
            "loss",
            f"{info.retransmissions} of {info.segments_sent} segments had to be sent again: the path loses packets",
            "look at the network path (Wi-Fi, VPN, an overloaded link)",
        )


def _of_replay(found: Measurements, stream: StreamFacts) -> Iterator[Finding]:
    change = "have the server send what followed the Last-Event-ID of the request, so that a reconnect loses nothing"
    result = found.replay.result
    if result == "ignores":
        text = "the server ignores Last-Event-ID: it sent the event with that id again"
        yield Finding("doubtful", "no-replay", text, change)
    elif result == "nothing":
        text = "events have ids, but a request with Last-Event-ID did not bring the events after it"
        yield Finding("doubtful", "no-replay", text, change)
    elif result == "refused":
        text = f"the server refuses a request with Last-Event-ID: {found.replay.error}"
        yield Finding("doubtful", "no-replay", text, change)
    elif stream.events and not stream.ids:
        yield Finding("note", "no-ids", "events have no ids: what is sent during a reconnect is lost to a client")
