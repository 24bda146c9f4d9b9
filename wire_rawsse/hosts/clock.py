"""The clock of one stream: numbers in, numbers out.

It is the system's monotonic clock minus `lag`, the time in which the host did not look at the stream. A host that comes
back late must not take its own absence for the peer's silence. Times on the system's clock are called `real`.

When the loop looks at a stream whose wait has a deadline, these rules set the clock:

| the deadline is | the loop found | grace left | the clock resumes at              | the stream    |
|-----------------|----------------|------------|-----------------------------------|---------------|
| ahead           | data           |            | the present moment                | gets the data |
| just passed     | data           |            | the deadline                      | gets the data |
| passed          | data           | yes        | the previous look, or the deadline| gets the data |
| passed          | nothing        | yes        | the deadline                      | times out (1) |
| passed          | anything       | no         | the deadline                      | times out     |

(1) If the host was away again before the stream could be told, the loop looks once more. This uses a grace.

"Just passed" means that the host slept until the deadline and looks within `ON_TIME_WITHIN` seconds of it. A late host
cannot know when the data came, so the stream gets the benefit of the doubt: a grace. Time that is left out of the clock
in this way stays left out, so the clock never jumps. So a host that was busy for an hour keeps a healthy stream and
drops a dead one at once, and a host that looks every 1.5 s can still connect within a budget of 1 s.
"""

from __future__ import annotations

from typing import Final

ON_TIME_WITHIN: Final = 0.02
"""Seconds. A host that slept until a deadline and looks this soon after it was on time, and data that it finds has just
come. Without this rule a peer that sends one byte just as each deadline passes would move the deadline for ever. The
rule does not apply to a host that was busy, or one that looks only every 5 s could never connect within 10 s."""
ANSWER_WITHIN: Final = 0.125
"""Seconds that a look-up thread may take to deliver its answer after the whole process was stopped (SIGSTOP)."""
SLEPT: Final = 0.25
"""Seconds. A poll ends at once if there is data when it begins. So data that ends a longer poll has just come."""
MAX_GRACES: Final = 16
"""How many graces one deadline gives the stream of a late host. A connection has fewer steps. Without this bound, a
peer that drips would have a byte ready at each look and so stop the clock for ever."""


class StreamClock:
    """`now` on the stream's clock, its `lag` to the system's clock, and the graces of the present deadline."""

    __slots__ = ("_grace_for", "_reprieve", "graces", "lag", "now", "set_at", "unwatched")

    def __init__(self, real: float) -> None:
        self.now = real
        self.lag = 0.0
        self.set_at = real
        """The real time at which `now` was last set."""
        self.graces = 0
        """How many graces the present deadline has had. A restart of the deadline sets it to 0, even if the clock
        stands still and the deadline is the same number."""
        self.unwatched = 0.0
        """Seconds. The last data may have come this much earlier than it was found, because no poll was looking."""
        self._grace_for = 0.0
        """The deadline that `graces` counts for."""
        self._reprieve: tuple[float, float] | None = None
        """`lag` and the moment of the last look, before `reprieve` changed them."""

    def on_data(self, real: float, deadline: float, polled_at: float, slept_from: float) -> None:
        """Data was found at `real`. The look before was at `polled_at`, and the last sleep began at `slept_from`."""
        self.unwatched = slept_from - polled_at if real - slept_from < SLEPT else 0.0
        if self._reprieve is not None:
            self.lag, polled_at = self._reprieve
            self._reprieve = None
        now = real - self.lag
        if now >= deadline:
            self._use_grace(deadline)
            if now - deadline < ON_TIME_WITHIN and slept_from < deadline + self.lag:
                now = deadline
            else:
                now = min(max(self.set_at, polled_at) - self.lag, deadline)
            self.lag = real - now
        self.now = now
        self.set_at = real

    def on_timeout(self, real: float, deadline: float) -> None:
        """At `real` the deadline has passed, and nothing was found."""
        self._reprieve = None
        self.now = deadline
        self.lag = real - deadline
        self.set_at = real

    def looks_again(self, real: float, deadline: float) -> bool:
        """Whether to look once more before a timeout that was noticed at `set_at`: the host was away until `real`.

        The caller was busy with a wake of another stream. Each such look uses a grace, so their number is bounded.
        """
        if real - self.set_at <= ON_TIME_WITHIN or self.out_of_grace(deadline):
            return False
        self._use_grace(deadline)
        return True

    def on_resume(self, real: float, deadline: float, answered: bool) -> None:
        """The task is resumed at `real` for an answer or a timeout that was noticed at `set_at`.

        If the host was away in between (another stream had a wake), that time is left out. The graces bound this, too:
        otherwise a stream that drips beside one that always has a wake would stop its clock for ever.
        """
        if answered:
            if real - self.set_at > ON_TIME_WITHIN and not self.out_of_grace(deadline):
                self._use_grace(deadline)
            else:
                self.now = max(self.now, min(real - self.lag, deadline))
        self.lag = real - self.now
        self.set_at = real

    def reprieve(self, real: float, deadline: float, polled_at: float) -> None:
        """Give another thread a moment to answer, since it may have been stopped until `real`, as the host was.

        An answer in that moment counts as one that was there at `real`, with the last look at `polled_at`.
        """
        latest = deadline - ANSWER_WITHIN
        if real - self.lag > latest and not self.out_of_grace(deadline):
            self._use_grace(deadline)
            self._reprieve = self.lag, polled_at
            self.lag = real - latest

    def skip(self, seconds: float) -> None:
        """Leave out the time of a pause that was requested."""
        self.lag += seconds

    def out_of_grace(self, deadline: float) -> bool:
        """Whether this deadline has had all its graces."""
        return self.graces >= MAX_GRACES and deadline == self._grace_for

    def _use_grace(self, deadline: float) -> None:
        self.graces = self.graces + 1 if deadline == self._grace_for else 1
        self._grace_for = deadline
