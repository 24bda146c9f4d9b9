"""stream_state.json as a screen: a line for the whole and two for each endpoint, for `status --watch`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wire_rawsse.phases import doing
from wire_rawsse.wire.spans import ago, span
from wire_rawsse.wire.status import Status, seconds_of


def screen(file: str, status: Status, now: float) -> Iterator[str]:
    """The lines for one file; `now` in seconds since the epoch. They may hold what no terminal should get."""
    facts = status.facts
    yield f"{facts['verdict']}  {file}"
    document = facts["document"]
    if document is None:
        yield f"  {facts['reason']}"
        return
    if facts["reason"]:
        yield f"  {facts['reason']}"
    writer = f" by process {document['pid']}" if document.get("pid") else ""
    yield f"  written {ago(facts['age'])}{writer}, reconnects {document['reconnect_count']}"
    for one in document.get("endpoints") or [document]:
        yield from _endpoint(one, now, facts["age"])
    yield from _work(document, now)


def _endpoint(one: dict[str, Any], now: float, age: float) -> Iterator[str]:
    words = [one["state"]]
    if one.get("phase") and one["state"] != "connected":
        words.append(doing(one["phase"]))
    if one.get("reconnect_in") is not None:
        words.append(f"next attempt in {span(one['reconnect_in'] - age)}")
    last_event = seconds_of(one.get("last_event_at"))
    words.append("no event yet" if last_event is None else f"last event {ago(now - last_event)}")
    words.append(f"reconnects {one['reconnect_count']}")
    yield f"  {one.get('relay') or 'the endpoint'}"
    yield f"    {', '.join(words)}"
    if one.get("last_error"):
        before = " (before this connection)" if one["state"] == "connected" else ""
        yield f"    last error{before}: {one['last_error']}"


def _work(document: dict[str, Any], now: float) -> Iterator[str]:
    if document.get("runs") is None:
        return
    words = [f"runs {document['runs']}", f"failed {document.get('failed_runs') or 0}"]
    if (last := seconds_of(document.get("last_run_at"))) is not None:
        words.append(f"last started {ago(now - last)}")
    if document.get("run_overdue"):
        words.append("one takes longer than --exec-timeout")
    if failures := document.get("failures_in_row"):
        some = f"the last {failures} runs" if failures > 1 else "the last run"
        words.append(f"{some} failed: {document.get('last_run_error')}")
    yield f"  the command: {', '.join(words)}"
