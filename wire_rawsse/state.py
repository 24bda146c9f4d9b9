"""The state that a subscriber publishes: plain frozen values, and the rule that makes one state out of several.

They are the `state` of a `StreamSubscriber`. wire's file, the `status` command and the log are made from the same
values, so they cannot disagree. There is a value for each endpoint, and one for the subscriber as a whole.

The state of the whole is the best of its endpoints, because wire asks one question: does anything still wake me? Best
means nearest to working: `connected` works, `reconnecting` has worked before, `connecting` has not worked yet, `error`
has failed. `endpoints` tells whether *all* of them work.

Endpoints come and go when a slot is rotated, but counts must not fall, and the last event must not be forgotten. So
`summarise` also takes the summary of the endpoints that are gone.

All moments are seconds since the epoch, for people and files. No deadline is computed from them. No text here holds a
secret: the maker of an `EndpointState` gives it a redacted URL and a redacted error. This module imports no other of
the library. Its values are named tuples, because a dataclass takes ten times as long to import.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

State: TypeAlias = Literal["connecting", "connected", "reconnecting", "error"]
"""The four words of wire's `stream_state.json`, version 1."""

NEAREST_FIRST: Final[tuple[State, ...]] = ("connected", "reconnecting", "connecting", "error")
"""The states, from the best to the worst."""

NO_ENDPOINT: Final = "no endpoint"
"""The phase of a subscriber that has nothing to subscribe to."""


class EndpointState(NamedTuple):
    """One endpoint. Moments in seconds since the epoch, or None if it has not happened yet.

    url:             without userinfo and query.
    phase:           the connection's phase, in the words of the phase table.
    state:           the same, in wire's four words.
    since:           when the phase began.
    last_byte_at:    the last byte of a body; heartbeats count.
    last_wake_at:    the last wake given, the one for each (re)connect included.
    last_event_at:   the last reception that held a data line; wire calls it the last event.
    last_error:      why the connection last ended, redacted; it stays after a reconnect.
    next_attempt_in: seconds until the next attempt, None when none is scheduled.
    reconnect_count: attempts after the first.
    address:         the peer (or proxy) of the present connection, or of the last one until the next attempt begins.
    heartbeat:       seconds between two heartbeats of the server, once known (see `Timeouts.learn`).
    read_limit:      seconds of silence that end the connection or put it in doubt: `Timeouts.read`, or less if the
                     heartbeat is known.
    wake_count:      wakes given, the one for each (re)connect included.
    event_count:     receptions that held a data line; events that are received together count once.
    ends:            why connections ended, with how often: the class of the error, `end` for a clean end, `restart`,
                     `renewal` for one that another connection has replaced at its `max_age`. A renewal for a doubt and
                     a failed one count by their errors.
    early_wakes:     wakes given for the length of a TLS record, before it was decrypted.
    spurious_wakes:  of these, the ones for a record without a data line.
    """

    url: str
    phase: str
    state: State
    since: float
    last_byte_at: float | None
    last_wake_at: float | None
    last_event_at: float | None
    last_error: str | None
    next_attempt_in: float | None
    reconnect_count: int
    address: str | None = None
    heartbeat: float | None = None
    read_limit: float | None = None
    wake_count: int = 0
    event_count: int = 0
    ends: tuple[tuple[str, int], ...] = ()
    early_wakes: int = 0
    spurious_wakes: int = 0


class SubscriberState(NamedTuple):
    """The subscriber as a whole, see `summarise`; the same units as in `EndpointState`."""

    phase: str
    state: State
    since: float
    last_byte_at: float | None
    last_wake_at: float | None
    last_event_at: float | None
    last_error: str | None
    next_attempt_in: float | None
    reconnect_count: int
    endpoints: tuple[EndpointState, ...]
    early_wakes: int = 0
    spurious_wakes: int = 0


def summarise(
    endpoints: Iterable[EndpointState],
    *,
    gone: SubscriberState | None = None,
    problem: str | None = None,
    since: float = 0.0,
) -> SubscriberState:
    """One state out of those of `endpoints`.

    `state`, `phase` and `since` are those of the best endpoint (of equal ones that with the oldest `since`).
    `last_error` is that of the worst endpoint that has one (of equal ones the first). `next_attempt_in` is the soonest,
    each moment the latest. `reconnect_count`, `early_wakes` and `spurious_wakes` are sums.

    `gone` is the summary of the endpoints that no longer exist; its counts and moments are included. `problem` is a
    fault of the subscriber as a whole (a relay.json that cannot be read), which takes precedence over the endpoints'
    errors. Without endpoints the state is `error`, since `since`.
    """
    found = tuple(endpoints)
    counted: list[EndpointState | SubscriberState] = [*found, gone] if gone is not None else [*found]
    last_error = problem
    if last_error is None:
        failed = [one for one in found if one.last_error is not None]
        if failed:
            last_error = max(failed, key=_distance).last_error
        elif not found:
            last_error = "there is no endpoint to subscribe to"
    best = min(found, key=lambda one: (_distance(one), one.since), default=None)
    return SubscriberState(
        phase=NO_ENDPOINT if best is None else best.phase,
        state="error" if best is None else best.state,
        since=since if best is None else best.since,
        last_byte_at=_latest(one.last_byte_at for one in counted),
        last_wake_at=_latest(one.last_wake_at for one in counted),
        last_event_at=_latest(one.last_event_at for one in counted),
        last_error=last_error,
        next_attempt_in=min((one.next_attempt_in for one in found if one.next_attempt_in is not None), default=None),
        reconnect_count=sum(one.reconnect_count for one in counted),
        endpoints=found,
        early_wakes=sum(one.early_wakes for one in counted),
        spurious_wakes=sum(one.spurious_wakes for one in counted),
    )


def _distance(endpoint: EndpointState) -> int:
    return NEAREST_FIRST.index(endpoint.state)


def _latest(moments: Iterable[float | None]) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)
