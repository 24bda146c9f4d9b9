"""The result of a probe, as text for people and as one JSON object.

The text begins with the verdict and the one thing to change. Below it is what was measured, in the order of a
connection's life, one line for each fact, so that a reader can check the verdict.
"""

from __future__ import annotations

import statistics
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from wire_rawsse.probe.finding import Finding, count, day, seconds
from wire_rawsse.probe.measurements import (
    Attempt,
    Head,
    HopFacts,
    Measurements,
    Name,
    ProxySetting,
    Replay,
    StreamFacts,
    Tcp,
    TlsFacts,
)
from wire_rawsse.probe.rhythm import heartbeat, learned_limit, longest_gap

WELL: Final = 0
DOUBTFUL: Final = 1
BROKEN: Final = 2
_MOST_ARRIVALS: Final = 1000
"""Of each life, in JSON."""
_STATUS: Final = {"broken": BROKEN, "doubtful": DOUBTFUL, "note": WELL}
_VERDICT: Final = {WELL: "well", DOUBTFUL: "doubtful", BROKEN: "broken"}
_REPLAYED: Final = {
    "resumes": "the server sends what followed the Last-Event-ID",
    "ignores": "the server ignores Last-Event-ID",
    "nothing": "nothing came after a request with Last-Event-ID",
    "refused": "the server refuses Last-Event-ID",
}
_ALIVE: Final = {
    "answered": "a keepalive probe at the end was answered",
    "unanswered": "a keepalive probe at the end was not answered",
    "reset": "a keepalive probe at the end was answered with a reset",
}


def status_of(findings: Sequence[Finding]) -> int:
    """The exit status."""
    return max((_STATUS[one.severity] for one in findings), default=WELL)


def as_json(found: Measurements, findings: Sequence[Finding]) -> dict[str, Any]:
    """For programs. `change` is the one thing to change, or None."""
    status = status_of(findings)
    beat = heartbeat(found.stream.lives) if found.stream is not None else None
    measured = asdict(found)
    for life in (measured["stream"] or {"lives": ()})["lives"]:
        del life["arrivals"][_MOST_ARRIVALS:]
    facts = {
        "url": found.url,
        "verdict": _VERDICT[status],
        "change": findings[0].change if status else None,
        "findings": [one._asdict() for one in findings],
        "heartbeat": None if beat is None else asdict(beat),
        "silence_limit": learned_limit(found.stream.lives, found.clocks[2]) if found.stream is not None else None,
        "measurements": measured,
    }
    return dict(_rounded(facts))


def _rounded(value: Any) -> Any:
    """To microseconds."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def as_text(found: Measurements, findings: Sequence[Finding], width: int | None = None) -> str:
    """For people: one fact a line, after a label. On a terminal of `width` columns the lines are folded."""
    lines = [f"{label:<9} {text}".rstrip() for label, text in _lines(found, findings)]
    if width is not None:
        indent = " " * 10
        folded = (textwrap.wrap(line, max(40, width - 1), subsequent_indent=indent) or [""] for line in lines)
        lines = [line for part in folded for line in part]
    return "\n".join(lines) + "\n"


def _lines(found: Measurements, findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    status = status_of(findings)
    if status:
        yield _VERDICT[status].upper(), findings[0].text
        yield "change", findings[0].change
    else:
        yield "WELL", _praise(found)
    for other in findings[1 if status else 0 :]:
        yield other.severity if other.severity != "note" else "note", other.text
        if other.change:
            yield "", f"→ {other.change}"
    yield "", ""
    for number, hop in enumerate(found.hops, 1):
        if len(found.hops) > 1:
            yield f"hop {number}", hop.url
        yield from _of_hop(hop)
    if found.stream is not None:
        yield from _of_stream(found, found.stream)
        yield "replay", _replay(found.replay)
        yield "clocks", _clocks(found, found.stream)


def _praise(found: Measurements) -> str:
    stream = found.stream
    beat = heartbeat(stream.lives) if stream is not None else None
    said = ""
    if beat is not None:
        said = f", with {'events' if beat.of_events else 'a heartbeat'} every {seconds(beat.period)}"
    return f"an event stream{said}; nothing stood out in {seconds(found.seconds)}"


def _of_hop(hop: HopFacts) -> Iterator[tuple[str, str]]:
    yield "proxy", _proxy(hop.proxy)
    if hop.name is not None and not _is_numeric(hop.name):
        took = f" ({seconds(hop.name.seconds)})" if hop.name.seconds is not None else ""
        addresses = f": {count(len(hop.name.addresses), 'address', 'addresses')}{took}" if hop.name.addresses else ""
        yield "name", f"{hop.name.host}{addresses or ': ' + hop.name.error}"
    for attempt in hop.attempts:
        yield "address", _attempt(attempt)
    if hop.left_out:
        yield "", f"{hop.left_out} more addresses, not tried"
    tls = next((one.tls for one in hop.attempts if one.tls is not None and (one.tls.version or one.tls.chain)), None)
    if tls is not None:
        yield from _of_tls(tls)
    if hop.redirect:
        status = next((one.status for one in hop.attempts if one.status is not None), None)
        yield "redirect", f"{status} to {hop.redirect}"
    if hop.head is not None:
        yield from _of_head(hop.head)


def _is_numeric(name: Name) -> bool:
    return len(name.addresses) == 1 and name.addresses[0].rpartition(":")[0].strip("[]") == name.host


def _proxy(setting: ProxySetting) -> str:
    if setting.error:
        return setting.error
    if setting.proxy:
        return f"{setting.proxy}, because {setting.variable} is set"
    if setting.excepted_by:
        return f"none, because {setting.excepted_by} lists the host ({setting.variable} is set)"
    if setting.variable:
        return f"none, because {setting.variable} is empty"
    return "none (no proxy variable is set)"


def _attempt(attempt: Attempt) -> str:
    steps = [("TCP", attempt.tcp), ("tunnel", attempt.tunnel), ("TLS", attempt.tls.seconds if attempt.tls else None)]
    steps.append(("head", attempt.head))
    told = [f"{name} {seconds(value)}" for name, value in steps if value is not None]
    if attempt.failed_in:
        told.append(attempt.error)
    elif attempt.status is not None:
        told.append(str(attempt.status))
    return f"{attempt.address:<21}  {', '.join(told)}"


def _of_tls(tls: TlsFacts) -> Iterator[tuple[str, str]]:
    yield "TLS", ", ".join(filter(None, (tls.version, tls.cipher, f"ALPN {tls.alpn}" if tls.alpn else "no ALPN")))
    for number, one in enumerate(tls.chain):
        names = (
            f" for {', '.join(one.names[:4])}{' …' if len(one.names) > 4 else ''}" if number == 0 and one.names else ""
        )
        until = f", until {day(one.not_after)}" if one.not_after is not None else ""
        label = "cert" if number == 0 else ""
        yield label, f"{one.subject or '(no subject)'}{names}{until}, issued by {one.issuer}"


def _of_head(head: Head) -> Iterator[tuple[str, str]]:
    framing = {"chunked": "chunked", "length": "with a Content-Length", "close": "until the connection closes"}[
        head.framing
    ]
    coding = f", coded {head.coding}" if head.coding else ""
    yield "head", f"{head.status} {head.content_type or '(no Content-Type)'}, {framing}{coding}"
    shown = [f"{name}: {value}" for name, value in head.fields if name not in ("date", "transfer-encoding")]
    for pair in shown:
        yield "", pair
    if head.skew is not None:
        yield (
            "clock",
            f"the server's is {seconds(abs(head.skew))} {'ahead' if head.skew > 0 else 'behind'}"
            if head.skew
            else ("the server's agrees with ours (Date)"),
        )


def _of_stream(found: Measurements, stream: StreamFacts) -> Iterator[tuple[str, str]]:
    first = stream.lives[0]
    heard = sum(life.stopped - life.opened for life in stream.lives)
    kinds = f" ({', '.join(stream.types)})" if stream.types else ""
    parts = [
        f"{count(stream.events, 'event')}{kinds}",
        count(stream.comments, "comment"),
        count(stream.bytes, "byte"),
    ]
    rate = f" ({stream.bytes / heard:.0f} bytes/s)" if heard > 0 else ""
    yield "stream", f"{', '.join(parts)} in {seconds(heard)}{rate}"
    if first.arrivals:
        yield "", f"first byte {seconds(first.arrivals[0].at - first.opened)} after the head"
    beat = heartbeat(stream.lives)
    if beat is not None:
        kind = "events" if beat.of_events else "heartbeat"
        yield "", f"{kind} every {seconds(beat.period)} (±{seconds(beat.jitter)}, {count(beat.count, 'gap')})"
    yield "", f"longest silence {seconds(max(longest_gap(life) for life in stream.lives))}"
    if stream.chunks:
        middle = statistics.median(stream.chunks)
        least, most = min(stream.chunks), max(stream.chunks)
        yield (
            "",
            f"chunks of {least} bytes" if least == most else f"chunks of {least} to {most} bytes, median {middle:.0f}",
        )
    if stream.retry_ms is not None:
        yield "", f"retry: {stream.retry_ms} ms"
    ends = [(life.error or "the server ended it in good order", life) for life in stream.lives if life.end]
    for how, number in Counter(how for how, _ in ends).items():
        lasted = seconds(statistics.median(life.stopped - life.opened for other, life in ends if other == how))
        yield "", f"ended {f'{number} times, each ' if number > 1 else ''}after {lasted}: {how}"
    if stream.alive:
        yield "", _ALIVE[stream.alive]
    if stream.info is not None:
        yield "TCP", _tcp(stream.info)


def _tcp(info: Tcp) -> str:
    loss = f"{info.retransmissions} of {info.segments_sent} segments sent again"
    beyond = f", {info.out_of_order} received beyond a gap" if info.out_of_order else ""
    return f"round trip {seconds(info.rtt)}, segments up to {info.mss_sent} bytes, {loss}{beyond}"


def _replay(replay: Replay) -> str:
    if replay.result:
        return _REPLAYED[replay.result]
    return f"not tried: {replay.why_not or replay.error or 'no time was left'}"


def _clocks(found: Measurements, stream: StreamFacts) -> str:
    connect, response, read = found.clocks
    limit = learned_limit(stream.lives, read)
    learned = "no heartbeat was learned"
    if limit is not None:
        learned = f"with this heartbeat, silence is a fault after {seconds(limit)}"
    return f"connect {connect:g} s, response {response:g} s, read {read:g} s; {learned}"
