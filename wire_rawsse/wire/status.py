"""Judges `stream_state.json`, its content and whether it can still be true: the `status` command's answer.

A file says what was true when it was written. It is believed only while its writer can still correct it: the writer
lives, and its `ts` is no older than two of the writer's refreshes (one may be late, two are not). Everything else is
exit status 2: no file, half a file, another shape, another schema, a writer that is gone, a time stamp that is too old
or in the future (a clock that was set back).

A writer that lives and does not run is degraded: it holds the lock and has not written for two refreshes, or (Linux,
in the same PID namespace) the kernel says that it is stopped. A writer whose command fails or hangs is degraded too,
because its wakes have no effect.

A file that wire's own subscriber wrote is understood too. It names no process and is not refreshed, so that after ten
minutes without a transition it counts as stale; that is the truth about it.

The lock beside the file tells whether its writer lives (see `lock`), in every PID namespace. If the writer had none,
its pid is looked for, but only in the namespace that it names; a pid of another one tells nothing, and the age of the
file decides alone.

`assess` is pure. The text of its one line comes from a file that anybody may have written, so nothing
unprintable gets from there to a terminal.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from wire_rawsse import foreign
from wire_rawsse.phases import doing
from wire_rawsse.state import NEAREST_FIRST
from wire_rawsse.wire import lock, process
from wire_rawsse.wire.spans import ago, span
from wire_rawsse.wire.state_file import REFRESH, SCHEMA
from wire_rawsse.wire.work import MANY_FAILURES

CONNECTED: Final = 0
DEGRADED: Final = 1
UNKNOWN: Final = 2

STALE_AFTER: Final = 2 * REFRESH
"""Seconds. A `ts` that is as far in the future is stale too."""

LARGEST: Final = 4 << 20
"""Bytes: as many endpoints as are followed (`relay_json.MOST_ENDPOINTS`), with long names and errors."""
_TOLD: Final = 10
"""Endpoints that the line tells of."""

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,30})?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_MISSING: Final = "there is no stream_state.json"
_LONGEST_TEXT: Final = 300


@dataclass(frozen=True, slots=True)
class Status:
    """`exit_code` 0 connected, 1 degraded, 2 unknown or stale; `line` for people; `facts` for programs (plain JSON).

    The facts: `verdict` (`connected`, `degraded`, `stale`, `unknown`), `reason` (why the document is not true any more,
    or None), `age` of the file's `ts` in seconds, `pid_alive`, and the `document` itself; None where there is none.
    """

    exit_code: int
    line: str
    facts: dict[str, Any]


def check(path: str | os.PathLike[str], now: float | None = None) -> Status:
    """The status according to the file at `path`; `now` in seconds since the epoch. Never raises for what a file is."""
    document, reason = read(path)
    now = time.time() if now is None else now
    return assess(
        document,
        now,
        lambda pid: _writer_lives(os.fspath(path), document, pid),
        reason,
        stopped=lambda pid: _same_namespace(document) and process.stopped(pid),
    )


def _writer_lives(path: str, document: dict[str, Any], pid: int) -> bool | None:
    """None where that cannot be known."""
    if document.get("locked"):
        held = lock.held(os.path.realpath(path))
        if held is not None:
            return held
    return process.alive(pid) if _same_namespace(document) else None


def _same_namespace(document: dict[str, Any]) -> bool:
    return document.get("pid_namespace") in (None, process.pid_namespace())


def read(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """The JSON in the file at `path`, or None and the reason why there is none."""
    import json

    name = foreign.shown(os.fspath(path))
    try:
        content = foreign.read_whole(os.fspath(path), LARGEST)
    except FileNotFoundError:
        return (
            None,
            f"there is no {name}: no subscriber has run here yet; a daemon with a URL writes to its --state-file",
        )
    except OSError as error:
        return None, f"{name} cannot be read: {foreign.reason(error)}"
    try:
        document = json.loads(content, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None, f"{name} is not JSON, or not all of it is there"
    return document, f"{name} holds null, expected an object"


def assess(
    document: Any,
    now: float,
    pid_alive: Callable[[int], bool | None],
    reason: str = _MISSING,
    *,
    stopped: Callable[[int], bool] = lambda pid: False,
) -> Status:
    """Judge a parsed `document` (None: there is none, and `reason` says why) at `now`, seconds since the epoch.

    `pid_alive` tells whether the writer, of which the document gives the pid, exists; None where that cannot be known.
    `stopped` tells whether it is known to be stopped by a signal.
    """
    wrong = reason if document is None else _wrong_shape(document)
    if wrong:
        nothing = {"age": None, "pid_alive": None, "document": None}
        return Status(UNKNOWN, f"stream: unknown ({wrong})", {"verdict": "unknown", "reason": wrong, **nothing})
    written = seconds_of(document["ts"])
    assert written is not None  # The shape was right.
    age = now - written
    pid = document.get("pid")
    there = None if pid is None else pid_alive(pid)
    idle = _idle(age, pid, there, bool(document.get("locked")), stopped)
    stale = None if idle else _stale(age, pid, there)
    # wire's own subscriber has one endpoint and no list: there the document itself is the endpoint.
    down = [one for one in document.get("endpoints") or [document] if one["state"] != "connected"]
    if stale:
        code, verdict, shown = UNKNOWN, "stale", "stale"
        details = f"it was {document['state']}, but {stale}"
    elif idle:
        code, verdict, shown = DEGRADED, "degraded", "stopped"
        details = f"it was {document['state']}, but {idle}"
    else:
        well = document["state"] == "connected" and not down and not _trouble(document)
        code, verdict = (CONNECTED, "connected") if well else (DEGRADED, "degraded")
        shown = document["state"]
        details = "; ".join(_details(document, down, now, age))
        if pid is not None and there is None:
            details += " of another PID namespace; whether it lives cannot be seen from here"
    last_event = _printable(document.get("last_event_at") or "never")
    return Status(
        code,
        f"stream: {shown} (last event {last_event}, reconnects {document['reconnect_count']}); {details}",
        {"verdict": verdict, "reason": stale or idle, "age": round(age, 3), "pid_alive": there, "document": document},
    )


def _idle(age: float, pid: int | None, there: bool | None, locked: bool, stopped: Callable[[int], bool]) -> str | None:
    """Why a writer that lives is not running, or None."""
    if not there or pid is None:
        return None
    if stopped(pid):
        return f"process {pid}, which wrote that {ago(age)}, is stopped (SIGSTOP): kill -CONT {pid}"
    if locked and age > STALE_AFTER:
        return (
            f"process {pid} has written nothing for {span(age)}, though it lives (it holds the lock) and should "
            f"every {REFRESH:.0f} s: it is stopped, hangs, or cannot write the file"
        )
    return None


def _trouble(document: dict[str, Any]) -> str | None:
    """The trouble with the daemon's work, or None."""
    if document.get("run_overdue"):
        return "the command takes longer than --exec-timeout"
    failures = document.get("failures_in_row") or 0
    if failures >= MANY_FAILURES:
        return f"the last {failures} runs of the command failed: {_printable(document.get('last_run_error') or '')}"
    return None


def _stale(age: float, pid: int | None, there: bool | None) -> str | None:
    """Why the document is not to be believed, or None."""
    if there is False:
        return f"process {pid}, which wrote that {ago(age)}, is gone"
    if age > STALE_AFTER:
        return f"that was written {ago(age)}, and a living subscriber writes every {REFRESH:.0f} s"
    if age < -STALE_AFTER:
        return f"that was written {span(-age)} in the future: a clock was set back"
    return None


def _details(document: dict[str, Any], down: list[dict[str, Any]], now: float, age: float) -> Iterator[str]:
    """Details that follow the words that wire prints too."""
    if trouble := _trouble(document):
        yield trouble
    endpoints = len(document.get("endpoints") or ())
    if endpoints > 1:
        yield f"{len(down)} of {endpoints} endpoints down" if down else f"all {endpoints} endpoints"
    for one in down[:_TOLD]:
        words = [f"{_printable(one['relay'])} {one['state']}"] if one.get("relay") else []
        if _error_names(one):
            words = [one["state"]]
        if one.get("phase"):
            words.append(_printable(doing(one["phase"])))
        if one.get("reconnect_in") is not None:
            words.append(f"next attempt in {span(max(0.0, one['reconnect_in'] - age))}")
        if one.get("last_error"):
            words.append(f"last error: {_printable(one['last_error'])}")
        if words:
            yield ", ".join(words)
    if len(down) > _TOLD:
        yield f"and {len(down) - _TOLD} more"
    if not down and document.get("phase"):
        yield _printable(doing(document["phase"]))
    if endpoints == 1:
        heartbeat, limit = (document["endpoints"][0].get(key) for key in ("heartbeat", "read_limit"))
        if heartbeat is not None and limit is not None:
            yield f"heartbeat every {span(heartbeat)}, silence ends it after {span(limit)}"
    last_byte = seconds_of(document.get("last_byte_at"))
    # A connected daemon writes every 300 s only, and more bytes may have come since: no age of now can be given.
    before = "" if last_byte is None else f", {span(max(0.0, now - age - last_byte))} after the last byte"
    yield f"written {ago(age)}" + (f" by process {document['pid']}" if document.get("pid") else "") + before


def _error_names(one: dict[str, Any]) -> bool:
    """Whether the last error of an endpoint names its URL, as most do. It is long, and once is enough."""
    return bool(one.get("relay")) and one["relay"] in (one.get("last_error") or "")


def _wrong_shape(document: Any) -> str | None:
    """The difference of `document` from version 1, or None. Names keys, quotes nothing."""
    if not isinstance(document, dict):
        return "expected an object in stream_state.json, found something else"
    if document.get("schema") != SCHEMA:
        return f"expected the schema {SCHEMA}, found another or none"
    endpoints = document.get("endpoints")
    if endpoints is not None and not (isinstance(endpoints, list) and all(isinstance(one, dict) for one in endpoints)):
        return "expected an array of objects as endpoints, found something else"
    wrong = [key for key, good in _WHOLE.items() if not good(document.get(key))]
    for index, one in enumerate(endpoints or ()):
        wrong += [f"endpoints[{index}].{key}" for key, good in _ENDPOINT.items() if not good(one.get(key))]
    return f"these keys are missing or wrong: {', '.join(wrong[:5])}" if wrong else None


def _is_state(value: Any) -> bool:
    return isinstance(value, str) and value in NEAREST_FIRST


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0  # type(), because True is an int too.


def _is_seconds_or_null(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < 1e9)


def _is_count_or_null(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_flag_or_null(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


_EACH: Final[dict[str, Callable[[Any], bool]]] = {
    "state": _is_state,
    "reconnect_count": _is_count,
    "last_event_at": _is_text_or_null,
    "last_byte_at": _is_text_or_null,
    "last_error": _is_text_or_null,
    "phase": _is_text_or_null,
    "reconnect_in": _is_seconds_or_null,
    "relay": lambda value: isinstance(value, str),
    "wakes": _is_count_or_null,
    "events": _is_count_or_null,
    "early_wakes": _is_count_or_null,
    "spurious_wakes": _is_count_or_null,
    "ends": lambda value: value is None or (isinstance(value, dict) and all(map(_is_count, value.values()))),
}
_ENDPOINT: Final[dict[str, Callable[[Any], bool]]] = {
    **_EACH,
    "heartbeat": _is_seconds_or_null,
    "read_limit": _is_seconds_or_null,
}
_WHOLE: Final[dict[str, Callable[[Any], bool]]] = {
    **_EACH,
    "ts": lambda value: seconds_of(value) is not None,
    "pid": lambda value: value is None or (_is_count(value) and value > 0),
    "relay": _is_text_or_null,
    "pid_namespace": _is_text_or_null,
    "locked": _is_flag_or_null,
    "runs": _is_count_or_null,
    "failed_runs": _is_count_or_null,
    "failures_in_row": _is_count_or_null,
    "last_run_at": _is_text_or_null,
    "last_run_error": _is_text_or_null,
    "run_overdue": _is_flag_or_null,
}


def seconds_of(text: Any) -> float | None:
    """RFC 3339 §5.6 as seconds since the epoch, with any number of decimals; None for anything else."""
    import datetime

    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, east_hours, east_minutes = match.groups()[6:]
    try:
        # A leap second is told as the one before it.
        moment = datetime.datetime(
            year, month, day, hour, minute, 59 if second == 60 else second, tzinfo=datetime.timezone.utc
        )
    except ValueError:
        return None
    east = int(east_hours) * 3600 + int(east_minutes) * 60 if sign else 0
    return moment.timestamp() + float(fraction or 0) - (east if sign == "+" else -east)


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")  # Python's parser knows NaN and Infinity, RFC 8259 §6 does not.


def _printable(text: str) -> str:
    cut = text[:_LONGEST_TEXT] + ("…" if len(text) > _LONGEST_TEXT else "")
    return "".join(character if character.isprintable() else "." for character in cut)
