"""How long, how often, and whether again: plain values and pure functions. No clock is read here and no dice thrown.

Every default has its reason:

`Timeouts.read` is 75 s because wire's relay speaks at least every 30 s: two and a half missing heartbeats are a death.
`Keepalive` is the second net, for the case that we are the ones who do not read: 30 s as in the original client, and
three probes of 10 s, so that a vanished peer is gone after a minute. It cannot replace the first: a peer's kernel
answers probes for ever on behalf of a program that hangs.
`Backoff` doubles from 1 s to 30 s, and every delay is jittered, so that a relay that restarts is not met by all of its
daemons in the same instant.

Healthy means "stayed up and spoke", not "connected": only a stream that lived `healthy_after` resets the backoff.
What a backoff alone cannot promise is a rate (a stream that is healthy and broken in turn would reset it for ever), so
`Pace` keeps the number of connections below a bound, whatever happens.
"""

from __future__ import annotations

import math
import re
from typing import ClassVar, Final, NamedTuple

from wire_rawsse.errors import InvalidRequest, StatusError, WireRawSSEError

LONGEST_WISH: Final = 3600.0
"""Seconds: as far as a server's `retry:` or `Retry-After` is followed."""
SHORTEST_RETRY: Final = 0.1
"""Seconds: a `retry:` below this is raised to it."""
CLEAN_CLOSE_WITHIN: Final = 1.0
"""Seconds: a healthy stream that was closed cleanly is reconnected within this, spread evenly."""


class _Numbers:
    """Named numbers that belong together: checked when they are made, then frozen, and equal by value.

    A frozen dataclass would be much the same, but compiles its methods at each import: half a millisecond for each of
    the classes below, which is more than all the rest of this module takes.
    """

    __slots__: tuple[str, ...] = ()
    _may_be_zero: ClassVar[tuple[str, ...]] = ()

    def _fill(self, *numbers: float) -> None:
        for name, number in zip(self.__slots__, numbers, strict=True):
            if not isinstance(number, (int, float)) or not math.isfinite(number):
                raise InvalidRequest(f"{type(self).__name__}.{name} must be a finite number")
            if number < 0 or (number == 0 and name not in self._may_be_zero):
                raise InvalidRequest(f"{type(self).__name__}.{name} must be positive")
            object.__setattr__(self, name, number)

    def _all(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return self._all() == other._all() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"

    def __reduce__(self) -> tuple[type[_Numbers], tuple[float, ...]]:
        """How it is copied and pickled: by making another one."""
        return type(self), self._all()


class Timeouts(_Numbers):
    """Seconds on a monotonic clock; `min_rate` in bytes a second.

    connect:  name look-up, TCP, proxy and TLS together.
    response: from the request to the end of the response head. Consecutive timeouts double it, up to `read`.
    read:     the longest that one read of the body may wait: silence. Only body bytes restart it.
    min_rate: while a line is unfinished, each `read` seconds must bring `min_rate` × `read` bytes of it (0: off).

    Raises `InvalidRequest` (a `ValueError`) for what is no positive, finite number.
    """

    __slots__ = ("connect", "response", "read", "min_rate")  # noqa: RUF023  # in the order of the arguments
    _may_be_zero = ("min_rate",)

    connect: float
    response: float
    read: float
    min_rate: float

    def __init__(self, connect: float = 10, response: float = 15, read: float = 75, min_rate: float = 100) -> None:
        self._fill(connect, response, read, min_rate)


class Keepalive(_Numbers):
    """TCP keepalive (RFC 9293 §3.8.4, tcp(7)) in seconds and probes; what the platform lacks is skipped.

    A peer that answers nothing is gone after `user_timeout` = idle + interval × count, which is also set as
    `TCP_USER_TIMEOUT` (RFC 5482), so that unacknowledged data does not outlive it.
    """

    __slots__ = ("idle", "interval", "count")  # noqa: RUF023  # in the order of the arguments

    idle: int
    interval: int
    count: int

    def __init__(self, idle: int = 30, interval: int = 10, count: int = 3) -> None:
        self._fill(idle, interval, count)

    @property
    def user_timeout(self) -> float:
        """Seconds."""
        return self.idle + self.interval * self.count


class Backoff(_Numbers):
    """Seconds: the first delay, the longest, and how long a stream must live to be called healthy.

    1, 2, 4, 8, 16, 30, 30 … with the defaults, each jittered downwards by up to half.
    """

    __slots__ = ("initial", "maximum", "healthy_after")  # noqa: RUF023  # in the order of the arguments
    _may_be_zero = ("healthy_after",)

    initial: float
    maximum: float
    healthy_after: float

    def __init__(self, initial: float = 1, maximum: float = 30, healthy_after: float = 10) -> None:
        self._fill(initial, maximum, healthy_after)


class Decision(NamedTuple):
    """What follows the end of a stream. `delay` in seconds, None for good; `attempt` is for the next decision."""

    delay: float | None
    attempt: int


def decide(
    error: WireRawSSEError | None,
    *,
    attempt: int,
    healthy: float,
    retry_ms: int | None,
    wall: float,
    dice: float,
    backoff: Backoff,
    persistent: bool = False,
) -> Decision:
    """Retry or raise, and when.

    error:      why the stream ended; None for a clean close.
    attempt:    how many streams in a row have ended before they were healthy.
    healthy:    seconds from the accepted head to the last body byte; 0 where there was no head.
    retry_ms:   the stream's own reconnection time (WHATWG HTML, field `retry`), which takes the place of `initial`.
    wall:       seconds since the epoch, for a Retry-After that is a date.
    dice:       a random number in [0, 1).
    persistent: never give up; what would be for good is tried again at the slowest pace.

    `retry_ms` and Retry-After (RFC 9110 §10.2.3, on 429 and 503) are minimums, jittered upwards; all else is jittered
    downwards, by up to half.
    """
    permanent = error is not None and error.permanent
    if permanent and not persistent:
        return Decision(None, attempt)
    was_healthy = healthy >= backoff.healthy_after
    if was_healthy:
        attempt = 0
    initial, maximum, least = backoff.initial, backoff.maximum, 0.0
    if retry_ms is not None:
        least = initial = min(max(retry_ms / 1000, SHORTEST_RETRY), LONGEST_WISH)
        maximum = max(maximum, initial)
    if isinstance(error, StatusError) and error.status in (429, 503) and error.retry_after is not None:
        least = max(least, min(retry_after(error.retry_after, wall), LONGEST_WISH))
    if permanent:
        delay = maximum * (1 - dice / 2)
        attempt += 1
    elif error is None and was_healthy:
        delay = min(CLEAN_CLOSE_WITHIN, backoff.maximum) * dice
    else:
        # Beyond 2**60 the maximum has long been reached, and a float would overflow.
        delay = min(maximum, initial * 2.0 ** min(attempt, 60)) * (1 - dice / 2)
        attempt += 1
    return Decision(max(delay, least * (1 + dice / 2)), attempt)


def retry_after(value: str, wall: float) -> float:
    """Seconds to wait by a Retry-After value in either form (RFC 9110 §10.2.3); 0 where it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    return max(0.0, _moment(value, wall) - wall)


# Compiled by the first server that sends a date, not by each import.
_DATE: Final = r"[A-Z][a-z]+, (\d\d)[ -]([A-Z][a-z]{2})[ -](\d{4}|\d{2}) (\d\d):(\d\d):(\d\d) GMT"
_ASCTIME: Final = r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _moment(value: str, wall: float) -> float:
    """An HTTP date (RFC 9110 §5.6.7) as seconds since the epoch; 0 where it is none.

    The preferred form, and the two obsolete ones that a recipient has to accept. `strptime` would not do: it expects
    the names of the host's own language.
    """
    from datetime import datetime, timezone

    if found := re.fullmatch(_DATE, value):
        day, month, year, hour, minute, second = found.groups()
    elif found := re.fullmatch(_ASCTIME, value):
        month, day, hour, minute, second, year = found.groups()
    else:
        return 0.0
    try:
        full = int(year)
        if len(year) == 2:
            present = datetime.fromtimestamp(wall, timezone.utc).year
            full += present - present % 100
            full -= 100 if full > present + 50 else 0  # More than 50 years ahead is meant as the past.
        clock = int(hour), int(minute), min(int(second), 59)
        return datetime(full, _MONTHS.index(month) + 1, int(day), *clock, tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


class Pace:
    """A token bucket: the most connections that a stream may make, whatever ends them.

    With the default `Backoff`: at most 180 an hour as long as no stream lives `healthy_after`, at most 360 otherwise.
    A connection costs one token. `BURST` of them are there at the start, and they come back one each 0.7 × `maximum`
    seconds; while a stream that proves healthy lives, one each 1.03 × `healthy_after`. So 8 + 3600 / 21 < 180, and
    8 + 3600 / 10.3 < 360. Redirects and the losers of an address race are not counted.

    It outlives its stream: one that takes the place of another at the same relay goes on with it (see `hand_over`).
    """

    BURST: Final = 8

    def __init__(self, backoff: Backoff) -> None:
        self._slow = 0.7 * backoff.maximum
        self._healthy_after = backoff.healthy_after
        self._fast = min(self._slow, 1.03 * backoff.healthy_after)
        self._tokens = float(self.BURST)
        self._since = 0.0
        self._reserved = False

    def started(self) -> None:
        """The connection that `delay` was asked for begins."""
        self._reserved = False

    def hand_over(self, now: float, clock: float) -> bool:
        """The stream is gone at `now`, and the next one's clock shows `clock`. False: as good as a new one.

        What was reserved for a connection that never began is given back.
        """
        gained = max(0.0, now - self._since) / self._slow + self._reserved
        self._tokens = min(self.BURST, self._tokens + gained)
        self._since, self._reserved = clock, False
        return self._tokens < self.BURST

    def ended(self, healthy: float) -> None:
        """A connection came to its end after `healthy` seconds of health."""
        if healthy >= self._healthy_after > 0:
            # What the life of a healthy stream brings beyond the slow rate, which `delay` adds for all time alike.
            self._tokens += healthy / self._fast - healthy / self._slow

    def delay(self, now: float) -> float:
        """Seconds from `now` until the next connection may start; it is taken as started then."""
        # Never in debt by more than one: interruptions, which wait for no token, must not hold up what comes after.
        self._tokens = max(0.0, min(self.BURST, self._tokens + (now - self._since) / self._slow)) - 1
        self._since = now
        self._reserved = True
        return max(0.0, -self._tokens * self._slow)
