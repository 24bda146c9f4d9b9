"""When the daemon's command runs: at the start, for wakes, and when the interval is over. Knows no stream.

The interval is counted from the end of a run, so that a slow command is not run without a pause. Runs for wakes start
at least `min_gap` seconds apart: a wake within the gap is kept, and the command runs when the gap is over.

The command learns why it runs from WIRE_RAWSSE_REASON: `start`; `reconnect` for a new connection, before which events
may have been missed; `wake` for an event on an open stream; `interval` for the safety net. Nothing that comes from the
network reaches its arguments or its environment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from wire_rawsse.cli.child import Child, cannot_start, is_passing
from wire_rawsse.cli.exit import USAGE, Failure
from wire_rawsse.wire.work import Work

Reason: TypeAlias = Literal["start", "wake", "interval", "reconnect"]

REASON: Final = "WIRE_RAWSSE_REASON"
_BECAUSE: Final[dict[Reason, str]] = {
    "start": "the start",
    "wake": "a wake",
    "interval": "the interval",
    "reconnect": "a new connection",
}
_TELL_EVERY: Final = 3600.0
"""Seconds between two log lines about a command that goes on failing."""


class Runner:
    """Moments are seconds of `monotonic`."""

    def __init__(
        self,
        child: Child,
        tell: Callable[[str], None],
        *,
        interval: float,
        min_gap: float,
        verbose: bool = False,
        changed: Callable[[Work], None] = lambda work: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` takes the log lines, `changed` what `work` has become."""
        self.work = Work()
        self._child = child
        self._tell = tell
        self._interval = interval
        self._min_gap = min_gap
        self._verbose = verbose
        self._changed = changed
        self._monotonic = monotonic
        self._reason: Reason | None = "start"
        """Why the next run is due, except for the interval."""
        self._gap_ends = -math.inf
        """The earliest start of a run for a wake."""
        self._interval_ends = -math.inf
        """The start of the next run without a wake. In the past at first: the command runs at the start."""
        self._told_at = -math.inf
        self._failing_since = 0.0
        self._told: set[str] = set()
        """The reasons that were logged since the last run that succeeded."""

    def wake(self, *, reconnected: bool) -> None:
        """There was a wake. After several the strongest reason counts: a new connection may hide missed events."""
        if self._reason != "start":
            self._reason = "reconnect" if reconnected or self._reason == "reconnect" else "wake"

    def next_start(self) -> float:
        """When the command starts next; never while it runs."""
        if self._child.running:
            return math.inf
        return self._interval_ends if self._reason is None else min(self._gap_ends, self._interval_ends)

    def due(self) -> float:
        """When `turn` is due at the latest."""
        return min(self._child.deadline, self.next_start())

    def turn(self) -> None:
        """Start a run that is due, and look at one under way. Raises `Failure` if the first has no such program."""
        if self.next_start() <= self._monotonic():
            self._start()
        result = self._child.look()
        if result is not None:
            self._ended(result.failure and f"the command {result.failure}", result.failure, result.seconds)
        elif self._child.overdue != self.work.overdue:
            self._note(self.work._replace(overdue=self._child.overdue))

    def _start(self) -> None:
        now = self._monotonic()
        reason, self._reason = self._reason or "interval", None
        self._gap_ends = now + self._min_gap  # Also if it cannot be started.
        first = self.work.runs == 0
        self.work = self.work._replace(runs=self.work.runs + 1, last_run_at=time.time())
        try:
            self._child.start({REASON: reason})
        except OSError as error:
            if first and not is_passing(error):
                raise Failure(cannot_start(self._child.words, error), USAGE) from None
            self._ended(cannot_start(self._child.words, error), f"cannot be started: {error.strerror}", 0.0)
            return
        self._note(self.work)
        if self._verbose:
            self._tell(f"run {self.work.runs}, because of {_BECAUSE[reason]}: process {self._child.pid}")

    def _ended(self, told: str | None, error: str | None, took: float) -> None:
        """Log the first failure in a row, each new reason, one an hour after that, and the end of it."""
        now = self._monotonic()
        self._interval_ends = now + self._interval
        work = self.work
        failures = work.failures_in_row
        if error:
            self._note(
                work._replace(
                    failed_runs=work.failed_runs + 1, failures_in_row=failures + 1, last_run_error=error, overdue=False
                )
            )
            self._tell_failure(told or error, now)
            return
        if failures:
            self._tell(f"the command works again, after {failures} failed run{'s' if failures > 1 else ''}")
        self._note(work._replace(failures_in_row=0, overdue=False))
        if self._verbose:
            self._tell(f"run {work.runs} ended well after {took:.3f} s")

    def _tell_failure(self, told: str, now: float) -> None:
        failures = self.work.failures_in_row
        if failures == 1:
            self._failing_since = now
            self._told.clear()
        elif told in self._told and not self._verbose and now < self._told_at + _TELL_EVERY:
            return
        self._told_at = now
        self._told.add(told)
        then = f"it runs again on the next wake, or in {self._interval:g} s"
        if failures > 1:
            minutes = (now - self._failing_since) / 60
            then = f"the last {failures} runs have failed, for {minutes:.0f} min; {then}"
        self._tell(f"{told}; {then}")

    def _note(self, work: Work) -> None:
        self.work = work
        self._changed(work)
