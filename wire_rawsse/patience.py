"""How long to wait for a response head: `Timeouts.response`, or longer for a server that needs longer.

Many servers send the head with the first event or heartbeat only, which may come every 15 or 30 s. Each consecutive
timeout therefore doubles the budget, up to `Timeouts.read`. If a head needed more than `response`, that budget is kept,
so that later connections succeed at the first attempt. Ten heads in a row that needed less halve it. If the server was
only down, its first head ends the patience: the budget is again the one that heads have needed.

An attempt may have several heads: those of redirects, each with the whole budget, and the final one. The slowest
counts. A redirect that comes at once tells nothing about the server to which it leads, so it does not end the patience.
"""

from __future__ import annotations

from typing import Final

from wire_rawsse.policy import Timeouts

PROMPT_HEADS: Final = 10
"""Heads in a row that did not need the present budget, after which it is halved."""


class Patience:
    """The response budget of one endpoint over its attempts, in doublings of `Timeouts.response`."""

    __slots__ = ("_needed", "_now", "_prompt", "_slowest")

    def __init__(self) -> None:
        self._needed = 0
        self._now = 0
        self._prompt = 0
        self._slowest = 0.0
        """The most seconds that a redirect of the present attempt took."""

    def begin(self) -> None:
        """A new attempt."""
        self._slowest = 0.0

    def seconds(self, timeouts: Timeouts) -> float:
        """The budget of the next request."""
        return _budget(timeouts, self._now)

    def ran_out(self, timeouts: Timeouts) -> None:
        """No head came within `seconds`."""
        self._prompt = 0
        if _budget(timeouts, self._now) < timeouts.read:
            self._now += 1

    def redirected(self, after: float) -> None:
        """The head of a redirect came `after` so many seconds."""
        self._slowest = max(self._slowest, after)

    def answered(self, after: float, timeouts: Timeouts) -> None:
        """The final head came `after` so many seconds."""
        after, steps = max(after, self._slowest), 0
        while steps < self._now and _budget(timeouts, steps) < after:
            steps += 1
        self._prompt = 0 if steps >= self._needed else self._prompt + 1
        if self._prompt == PROMPT_HEADS:
            self._prompt = 0
            self._needed -= 1
        self._now = self._needed = max(self._needed, steps)


def _budget(timeouts: Timeouts, steps: int) -> float:
    return max(timeouts.response, min(timeouts.read, timeouts.response * 2.0**steps))
