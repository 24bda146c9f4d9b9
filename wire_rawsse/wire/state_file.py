"""wire's `stream_state.json`, version 1: what it holds, and when it is worth writing.

wire's own subscriber wrote this file at transitions only, in place. So a killed daemon stays "connected" in it for
ever, and a reader can meet half a file. Ours is replaced whole, bears the writer's pid, and is refreshed while the
writer lives, so that a reader can tell whether it is still true (see `status`).

There is one writer: the one that holds the lock beside the file (see `lock`). Another subscriber for the same home logs
that once and goes on without the file. It asks for the lock whenever it has something to write, and takes over once it
is free. If no lock can be had, the file is written without.

When: at each transition, but at most one write a second, with the last state of that second never lost; and every 300
s otherwise. A transition is a change of what a person would act on: a state, the list of endpoints, an error, a count
of reconnects, the phase of what is not connected (a connect that hangs should be seen to hang where it does), and
whether a daemon's command fails.
Neither events nor heartbeats are one: their moments ride along with the next write. So a quiet day costs 288 writes
and a busy one no more, and a flash chip survives both.

Everything here is synchronous and for one thread, which owns the clock: `due()` goes into its next deadline,
`flush(now)` is called when that has come. A folder that cannot be written is a line in the log, once, and changes
nothing else.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import time
from collections.abc import Callable
from typing import Any, Final

from wire_rawsse import foreign
from wire_rawsse.log import warn
from wire_rawsse.state import EndpointState, SubscriberState
from wire_rawsse.wire import files, process
from wire_rawsse.wire.file_system import FileSystem
from wire_rawsse.wire.lock import HELD_BY_READER, WriterLock
from wire_rawsse.wire.work import Work

SCHEMA: Final = "wire-daemon-stream-state-v1"
REFRESH: Final = 300.0
"""Seconds between writes without news: 288 a day. A reader calls what is older than two of them stale."""
RETRY: Final = 30.0
"""Seconds until a refresh that failed is tried again. News that could not be written is tried at each least interval,
so that once its folder can be written to again, the file is wrong for no longer than it ever is."""

_LAST_SECOND: Final = 253402300799.0  # 9999-12-31T23:59:59Z: RFC 3339 has four digits for the year.
_LAST_OF_32_BITS: Final = (1 << 31) - 1
_NO_LOCK: Final = "cannot be locked, so that `wire-rawsse status` goes by the process id alone: "
_LONGEST_URL: Final = 500
"""Characters: a slot_id may be as long as relay.json, and a reader takes only so much (see `status.LARGEST`)."""
_READERS_TAKE: Final = 0.1
"""Seconds: a reader holds the lock for microseconds, or for as long as the scheduler leaves it aside."""
_instances = itertools.count(1)


def rfc3339(moment: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, with milliseconds; clamped to the range that it can express."""
    milliseconds = int(min(max(0.0, moment), _LAST_SECOND) * 1000)
    try:
        parts = time.gmtime(milliseconds // 1000)
    except (OverflowError, OSError):  # Of a C library whose time_t has 32 bits, or of Windows.
        parts = time.gmtime(_LAST_OF_32_BITS)
    day = time.strftime("%Y-%m-%dT%H:%M:%S", parts)
    return f"{day}.{milliseconds % 1000:03d}Z"


def document(
    snapshot: SubscriberState,
    *,
    pid: int,
    wall: float,
    elapsed: float = 0.0,
    locked: bool | None = None,
    work: Work | None = None,
) -> dict[str, Any]:
    """The file's content, ready for JSON. The first five keys are wire's, in wire's meaning; the others are ours.

    `wall` is now, in seconds since the epoch; `elapsed` how many seconds ago `snapshot` was taken; `locked` whether the
    writer holds the lock (None: it does not use one, and says nothing of it); `work` what a daemon's command has done.
    """
    return {
        "schema": SCHEMA,
        "ts": rfc3339(wall),
        "state": snapshot.state,
        "last_event_at": _moment(snapshot.last_event_at),
        "reconnect_count": snapshot.reconnect_count,
        "pid": pid,
        **({} if locked is None else {"pid_namespace": process.pid_namespace(), "locked": locked}),
        **_ours(snapshot, elapsed),
        **({} if work is None else _of_work(work)),
        "endpoints": [
            {
                "relay": _cut(one.url),
                "state": one.state,
                "last_event_at": _moment(one.last_event_at),
                "reconnect_count": one.reconnect_count,
                **_ours(one, elapsed),
                "heartbeat": _seconds(one.heartbeat),
                "read_limit": _seconds(one.read_limit),
                "wakes": one.wake_count,
                "events": one.event_count,
                "early_wakes": one.early_wakes,
                "spurious_wakes": one.spurious_wakes,
                "ends": dict(one.ends),
            }
            for one in snapshot.endpoints
        ],
    }


class StateFile:
    """Keeps `stream_state.json` true at a bounded rate. Moments are seconds on the caller's monotonic clock.

    No call raises because of the file system, and none touches it but `flush` and `close`. For one thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        pid: int,
        minimum_interval: float = 1.0,
        refresh: float = REFRESH,
        wall: Callable[[], float] = time.time,
        file_system: FileSystem = os,
        lock: WriterLock | None = None,
    ) -> None:
        """Intervals in seconds: the least between two writes, and the longest. `wall`: seconds since the epoch.

        `lock` is that of `path`; `close` gives it back.
        """
        self._lock = lock
        self._lock_told: str | None = None
        """The last trouble with the lock that was logged."""
        self.path = self._path = os.fspath(path)
        # With the pid, so that what a crash leaves can be told from what is being written; with a number, so that two
        # subscribers of one process, each in its own thread, cannot write into each other's.
        self._temporary = f"{self._path}.{pid}-{next(_instances)}.tmp"
        self._pid = pid
        self._minimum_interval = minimum_interval
        self._refresh = refresh
        self._retry = min(refresh, RETRY)
        self._wall = wall
        self._file_system = file_system
        self._snapshot: SubscriberState | None = None
        self._work: Work | None = None
        self._offered_at = 0.0
        self._news: object = None
        self._written_news: object = None
        self._tried_at: float | None = None
        self._postponed = False
        self._failing = False
        self._swept = False
        self._closed = False

    def offer(self, snapshot: SubscriberState, now: float, work: Work | None = None) -> None:
        """Remember the latest state, and what a daemon's command has done, if this is a daemon's."""
        if self._closed:
            return
        self._postponed = False
        self._snapshot = snapshot
        self._work = work
        self._offered_at = now
        self._news = _news(snapshot), work and work.news

    def postpone(self, now: float) -> bool:
        """True where nothing is written yet, whatever has changed: then the state is offered when `due`.

        A state has as many parts as there are endpoints. Taken for each change of each, it would cost their square.
        """
        self._postponed = self._tried_at is not None and now < self._tried_at + self._minimum_interval
        return self._postponed

    def renew(self) -> None:
        """Write the next state that is offered even if it is no news, so that a reader gets the present one."""
        self._written_news = None

    def due(self) -> float | None:
        """When `flush` will have something to write, or None while nothing was offered and after `close`."""
        if self._closed or self._snapshot is None:
            return None
        if self._tried_at is None:
            return self._offered_at
        if self._postponed or self._news != self._written_news:  # The file is out of date.
            return self._tried_at + self._minimum_interval
        soon = self._failing or (self._lock is not None and self._lock.problem == HELD_BY_READER)
        return self._tried_at + (self._retry if soon else self._refresh)

    def flush(self, now: float) -> bool:
        """Write if something is due; True if something was written."""
        due = self.due()
        return due is not None and due <= now and self._write(now)

    def close(self, now: float) -> bool:
        """Write the last state offered, due or not, and nothing ever again; True if it was written."""
        written = not self._closed and self._write(now)
        self._closed = True
        if self._lock is not None:
            self._lock.release()
        return written

    def claim(self) -> bool:
        """Take the lock now; False where another writer has it. Waits a moment for a reader that asks just now."""
        if self._lock is None:
            return True
        taken = self._lock.take()
        until = time.monotonic() + _READERS_TAKE
        while self._lock.problem == HELD_BY_READER and time.monotonic() < until:
            time.sleep(0.001)
            taken = self._lock.take()
        return taken != "another's"

    def _write(self, now: float) -> bool:
        if self._snapshot is None:
            return False
        import json

        taken = "none" if self._lock is None else self._lock.take()
        if taken == "another's":
            self._tried_at = now
            self._failing = True
            self._tell_of_lock(
                f"another subscriber writes {foreign.shown(self._path)}: its lock is held; "
                "this one goes on without the file, and takes over when the lock is free"
            )
            return False
        # Nothing is noted before it is done: a signal handler of the host's may raise on the way.
        locked = None if self._lock is None else taken == "ours"
        elapsed = now - self._offered_at
        facts = document(
            self._snapshot, pid=self._pid, wall=self._wall(), elapsed=elapsed, locked=locked, work=self._work
        )
        try:
            content = json.dumps(facts, indent=1).encode() + b"\n"
            files.replace_whole(self._path, self._temporary, content, self._file_system)
        except OSError as error:
            self._tried_at = now
            if not self._failing:
                self._failing = True
                warn(
                    f"{foreign.shown(self._path)} cannot be written: {foreign.reason(error)}; "
                    "the streams go on, but `wire-rawsse status` will not hear of them until this is corrected"
                )
            return False
        self._tried_at = now
        self._written_news = self._news
        if self._lock is not None:
            # Only once the file itself could be written: otherwise its own trouble has been told already.
            self._tell_of_lock(
                self._lock.problem and f"{foreign.shown(self._lock.path)} {_NO_LOCK}{self._lock.problem}"
            )
        self._failing = False
        if not self._swept:
            self._sweep()
            self._swept = True
        return True

    def _tell_of_lock(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._lock_told:
            warn(trouble)
        self._lock_told = trouble

    def _sweep(self) -> None:
        """Remove what writers that were killed in the middle have left behind."""
        folder, name = os.path.split(self._path)
        leftover = re.compile(re.escape(name) + r"\.([0-9]{1,10})-[0-9]+\.tmp")
        try:
            names = self._file_system.listdir(folder or ".")
        except OSError:
            return
        for found in map(leftover.fullmatch, names):
            if found and not process.alive(int(found[1]), self._file_system):
                files.remove(os.path.join(folder, found[0]), self._file_system)


def _ours(one: EndpointState | SubscriberState, elapsed: float) -> dict[str, Any]:
    """The extra facts that an endpoint and the whole have in common."""
    wait = one.next_attempt_in
    return {
        "phase": one.phase,
        "last_byte_at": _moment(one.last_byte_at),
        "last_error": one.last_error,
        # JSON has no infinity, and a file that holds one is no JSON at all to wire.
        "reconnect_in": round(max(0.0, wait - elapsed), 3) if wait is not None and math.isfinite(wait) else None,
    }


def _seconds(seconds: float | None) -> float | None:
    """Rounded; None also for more than 30 years, which no reader takes for a time-out."""
    return None if seconds is None or seconds >= 1e9 else round(seconds, 3)


def _of_work(work: Work) -> dict[str, Any]:
    return {
        "runs": work.runs,
        "failed_runs": work.failed_runs,
        "failures_in_row": work.failures_in_row,
        "last_run_at": _moment(work.last_run_at),
        "last_run_error": work.last_run_error,
        "run_overdue": work.overdue,
    }


def _cut(url: str) -> str:
    return url if len(url) <= _LONGEST_URL else url[: _LONGEST_URL - 1] + "…"


def _moment(moment: float | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def _news(snapshot: SubscriberState) -> object:
    """The values whose change makes a state be written before the refresh is due."""
    return _facts(snapshot), [(one.url, _facts(one)) for one in snapshot.endpoints]


def _facts(one: EndpointState | SubscriberState) -> object:
    return one.state, one.last_error, one.reconnect_count, None if one.state == "connected" else one.phase
