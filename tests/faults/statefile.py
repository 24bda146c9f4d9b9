"""Whether stream_state.json said what was, at all times but for its shortest interval."""

from __future__ import annotations

from tests.faults import bounds
from tests.faults.bounds import Setup
from tests.faults.check import Check
from tests.faults.lines import Line
from tests.faults.measured import Measured


def state_file(found: Measured, setup: Setup, blind: bool) -> list[Check]:
    """`blind`: nobody could write from the injection to the lifting. The bound begins again at the lifting, then."""
    if setup.consumer != "subscriber" or setup.command is not None or found.watch is None:
        return []
    watch = found.watch
    checks = [Check("state whole", not watch.broken and watch.reads > 0, watch.broken[:3], f"{watch.reads} reads")]
    limit = bounds.STATE_FILE_INTERVAL + bounds.SLACK
    worst = afterwards = 0.0
    away = _away(found.lines) if setup.host == "inline" else []
    for start, stop in _wrong(found):
        # A daemon that is pulling when the file is due writes it afterwards.
        due = start + bounds.STATE_FILE_INTERVAL
        stop -= next((min(back, stop) - due for left, back in away if left <= due < min(back, stop)), 0.0)
        if blind and start < found.lifted and stop > found.injected:
            worst = max(worst, found.injected - start)
            afterwards = max(afterwards, stop - found.lifted)
        else:
            worst = max(worst, stop - start)
    checks.append(Check("state true", worst <= limit, round(worst, 3), limit))
    if blind:
        long_enough = bool(found.lines) and found.lines[-1].at - found.lifted >= limit
        shown = round(afterwards, 3) if long_enough else "the round ended too soon to tell"
        checks.append(Check("state true again", afterwards <= limit and long_enough, shown, limit))
    return checks


def _away(lines: list[Line]) -> list[tuple[float, float]]:
    """(from, to): when the daemon did what it was woken for."""
    intervals: list[tuple[float, float]] = []
    left: float | None = None
    for line in lines:
        if line.word == "wake" and left is None:
            left = line.at
        elif line.word in ("waits", "over") and left is not None:
            intervals.append((left, line.at))
            left = None
    return intervals


def _wrong(found: Measured) -> list[tuple[float, float]]:
    """(from, to): when stream_state.json said the contrary of what was."""
    assert found.watch is not None
    intervals = []
    end = found.lines[-1].at if found.lines else 0.0
    for start, stop, connected in _connected_spans(found.lines):
        said = [(at, word) for at, word in found.watch.seen if at <= stop]
        since: float | None = start if (_at(said, start) == "connected") != connected else None
        for at, word in [*((at, word) for at, word in said if at > start), (stop, "")]:
            if since is not None and ((word == "connected") == connected or word == ""):
                intervals.append((since, min(at, stop, end)))
                since = None
            elif since is None and word and (word == "connected") != connected:
                since = at
    return intervals


def _at(said: list[tuple[float, str]], moment: float) -> str:
    return next((word for at, word in reversed(said) if at <= moment), "")


def _connected_spans(lines: list[Line]) -> list[tuple[float, float, bool]]:
    """(from, to, whether the stream was open) over the tested round."""
    spans: list[tuple[float, float, bool]] = []
    start, connected = (lines[0].at if lines else 0.0), False
    for line in lines:
        if line.word == "over":
            return [*spans, (start, line.at, connected)]
        is_open = line.first == "streaming"
        if line.word == "state" and is_open != connected:
            spans.append((start, line.at, connected))
            start, connected = line.at, is_open
    return spans
