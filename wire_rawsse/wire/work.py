"""The work of a daemon for its wakes: the counts that `stream_state.json` holds beside the state of the streams."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """The runs of a daemon's command.

    runs:            started so far, those included that could not be started.
    failed_runs:     of these, the ones that failed.
    failures_in_row: failed runs since the last one that ended well.
    last_run_at:     when the last run was started, in seconds since the epoch; None before the first.
    last_run_error:  how the last failed run ended, in words of ours; it stays after a run that ends well.
    overdue:         a run is taking longer than it may.
    """

    runs: int = 0
    failed_runs: int = 0
    failures_in_row: int = 0
    last_run_at: float | None = None
    last_run_error: str | None = None
    overdue: bool = False

    @property
    def news(self) -> object:
        """The values whose change is worth a write: the first three failures, and a new reason."""
        return min(self.failures_in_row, MANY_FAILURES), self.last_run_error, self.overdue


MANY_FAILURES = 3
"""So many failed runs in a row are no accident: `status` calls the daemon degraded."""
