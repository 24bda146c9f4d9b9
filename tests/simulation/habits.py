"""The habits of relays: when they send a heartbeat, and what they send instead.

None of them is silent for as long as `Timeouts.read`, so a stream lives in fair weather, except for the alarms that its
habit allows: those of a relay that pauses, or changes its ways, which are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tests.simulation.relay import Relay, Visit

SPREAD: Final = 0.2
"""The part by which a jittered heartbeat comes early or late."""
_SHORT: Final = 0.25
BEAT: Final = b": phyllis: still on the line\n\n"


class Habit(NamedTuple):
    """`shortest`: its steady gap, in heartbeats. `false_alarms`: the most that a stream may give over its life.

    A limit is suspected by the first alarm and given up until `read` by the second. The longest gap of "until the
    answer" is eight times its shortest, so three limits are below it: those of the factors 1.5, 3 and 6.
    """

    name: str
    false_alarms: int = 0
    shortest: float = 1.0

    @property
    def afterwards(self) -> Habit:
        """Of the time in which everything that was posted is handled: no more events."""
        return self if self.name in ("jittered", "pausing") else self._replace(name="steady")

    def gap(self, relay: Relay, visit: Visit) -> float:
        """Seconds until the next heartbeat of this stream, if nothing is sent before."""
        dice, usual = relay.kernel.random, relay.heartbeat
        if self.name == "jittered":
            return usual * dice.uniform(1 - SPREAD, 1 + SPREAD)
        if self.name == "pausing" and dice.random() < 0.05:
            return 2 * usual
        if self.name == "until the answer":
            return _SHORT * usual if visit.beats < 5 else usual * dice.uniform(0.5, 2)
        if self.name == "events":  # At times five in step, and then longer silences.
            return _SHORT * usual if visit.beats % 100 < 5 else 1.5 * usual
        return usual

    def beat(self, relay: Relay, visit: Visit) -> None:
        visit.beats += 1
        if self.name == "events" or (self.name == "until the answer" and visit.beats > 5):
            relay.post()
        else:
            visit.write(BEAT)


STEADY: Final = Habit("steady")
ALL: Final = {
    habit.name: habit
    for habit in (
        STEADY,
        Habit("jittered"),
        Habit("pausing", false_alarms=8),
        Habit("events"),
        Habit("until the answer", false_alarms=6, shortest=_SHORT),
    )
}
