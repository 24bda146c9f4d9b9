"""The state of streams and of the daemon's work in words: for SIGUSR2 and for the service manager's status line."""

from __future__ import annotations

from collections.abc import Iterator

from wire_rawsse.phases import doing
from wire_rawsse.state import EndpointState, SubscriberState
from wire_rawsse.wire.spans import span
from wire_rawsse.wire.work import Work

_MOST: int = 100
"""Endpoints that a report has a line for."""


def endpoint_line(one: EndpointState, wall: float) -> str:
    """One stream. `wall`: now, in seconds since the epoch. Holds what the state holds, so no secret."""
    words = [f"{one.url}: {one.state}", f"{doing(one.phase)} for {span(wall - one.since)}"]
    if one.address is not None and one.address not in one.url:
        words.append(f"address {one.address}")
    for name, moment in (("byte", one.last_byte_at), ("event", one.last_event_at)):
        words.append(f"no {name} yet" if moment is None else f"last {name} {span(wall - moment)} ago")
    words.append(f"reconnects {one.reconnect_count}")
    if one.next_attempt_in is not None:
        words.append(f"next attempt in {span(one.next_attempt_in)}")
    if one.last_error is not None:
        before = " (before this connection)" if one.state == "connected" else ""
        words.append(f"last error{before}: {one.last_error}")
    return ", ".join(words)


def work_line(work: Work, wall: float) -> str:
    """The runs of the daemon's command."""
    words = [f"the command: {work.runs} runs, {work.failed_runs} failed"]
    if work.last_run_at is not None:
        words.append(f"last started {span(wall - work.last_run_at)} ago")
    if work.overdue:
        words.append("it takes longer than --exec-timeout")
    if work.failures_in_row:
        some = f"the last {work.failures_in_row} runs" if work.failures_in_row > 1 else "the last run"
        words.append(f"{some} failed: {work.last_run_error}")
    return ", ".join(words)


def lines(state: SubscriberState, work: Work, wall: float) -> Iterator[str]:
    """A line for each stream, and one for the work."""
    if not state.endpoints:
        yield f"no endpoint: {state.last_error}"
    for one in state.endpoints[:_MOST]:
        yield endpoint_line(one, wall)
    if len(state.endpoints) > _MOST:
        yield f"and {len(state.endpoints) - _MOST} more"
    yield work_line(work, wall)


def status_line(state: SubscriberState, work: Work) -> str:
    """The daemon in one line without a number that changes all the time, so that it changes at transitions only."""
    endpoints = state.endpoints
    down = [one for one in endpoints if one.state != "connected"]
    if not down and endpoints:
        text = "connected" if len(endpoints) == 1 else f"all {len(endpoints)} endpoints connected"
    else:
        some = f"{len(endpoints) - len(down)} of {len(endpoints)} endpoints connected" if len(endpoints) > 1 else ""
        error = next((one.last_error for one in down if one.last_error), None) or state.last_error
        phase = doing(down[0].phase) if down else "no endpoint"
        text = f"{some or state.state} ({phase}{': ' + error if error else ''})"
    if work.overdue:
        return f"{text}; the command takes longer than --exec-timeout"
    return f"{text}; the command {work.last_run_error}" if work.failures_in_row else text
