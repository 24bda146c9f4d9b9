"""How long, how often, and whether again: plain values and pure functions, without a clock or random numbers.

Every default has its reason:

`Timeouts.read` is 75 s because wire's relay speaks at least every 30 s: two and a half missed heartbeats.
`Keepalive` is the second net, for a program that does not read for a while: 30 s as in the original client, and
three probes of 10 s, so that a vanished peer is gone after a minute. It cannot replace the first: the
kernel of a peer answers probes for ever, even if its program hangs.
`Backoff` doubles from 1 s to 30 s, and every delay is jittered, so that a relay that restarts is not met by all of its
daemons in the same instant.

Healthy means "stayed up", not "connected": only a stream that lived `healthy_after` resets the backoff. Its life ends
with the last sign of life: body bytes, or the FIN or RST by which the peer ended it. A stream that has nothing to say
and is cut by a proxy after a minute was healthy; one that was silent until `Timeouts.read` ran out is counted up to its
last byte.

A response that delivered an event and ended cleanly is no failure either. Some servers work like that: they answer with
what there is, name a `retry:`, and expect the next request after it.

A backoff alone cannot promise a rate (a stream that is healthy and broken in turn would reset it for ever), so
`TokenBucket` keeps the number of connections below a bound, whatever happens.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final, NamedTuple

from wire_rawsse import checks
from wire_rawsse.errors import (
    ConnectionBrokenError,
    EventTooLargeError,
    InvalidRequestError,
    MalformedResponseError,
    ReadTimeout,
    ResponseTimeout,
    StaleConnectionError,
    StatusError,
    TruncatedError,
    WireRawSSEError,
)

LONGEST_WISH: Final = 3600.0
"""Seconds: the longest pause that a server's `retry:` or `Retry-After` can cause, jitter included."""
SHORTEST_RETRY: Final = 0.1
"""Seconds: a `retry:` below this is raised to it."""
CLEAN_CLOSE_WITHIN: Final = 1.0
"""Seconds: a healthy stream that was closed cleanly is reconnected within this, spread evenly."""
LONGEST_KEEPALIVE: Final = 32767
"""Seconds: the largest TCP_KEEPIDLE and TCP_KEEPINTVL that Linux takes (tcp(7); MAX_TCP_KEEPIDLE in its net/tcp.h)."""
MOST_PROBES: Final = 127
"""The largest TCP_KEEPCNT that Linux takes (MAX_TCP_KEEPCNT)."""
LONGEST_USER_TIMEOUT: Final = (2**31 - 1) // 1000
"""Seconds: TCP_USER_TIMEOUT is an int of milliseconds (tcp(7))."""


class _Numbers:
    """Named numbers that belong together: checked when they are made, then frozen, and equal by value.

    A frozen dataclass would be much the same, but compiles its methods at each import: half a millisecond for each of
    the classes below, which is more than all the rest of this module takes.
    """

    __slots__: tuple[str, ...] = ()
    _may_be_zero: ClassVar[tuple[str, ...]] = ()
    _flags: ClassVar[tuple[str, ...]] = ()

    def _fill(self, *numbers: float) -> None:
        for name, number in zip(self.__slots__, numbers, strict=True):
            full_name = f"{type(self).__name__}.{name}"
            if name in self._flags:
                checks.flag(number, full_name)
            else:
                checks.number(number, full_name, zero=name in self._may_be_zero)
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
    max_age:  the age at which a connection is renewed, shortened at random by up to 10 %, so that a name that has moved
              is followed (0: no limit). Another connection is made beside it and takes over once its response has been
              accepted. If that fails, it is tried again after the backoff, and the old connection goes on meanwhile. A
              connection whose renewal has failed, and which is twice as old, is closed before the next attempt.
    learn:    True: once a server has sent three heartbeats (comments, each after the same silence P), a silence of more
              than 1.5 P + 2 s ends the connection, if that is less than `read`.

    Raises `InvalidRequestError` (a `ValueError`) for a value that is not a finite number above 0. `min_rate` and
    `max_age` may be 0, and `learn` is a bool.
    """

    __slots__ = ("connect", "response", "read", "min_rate", "max_age", "learn")  # noqa: RUF023  # as the arguments
    _may_be_zero = ("min_rate", "max_age")
    _flags = ("learn",)

    connect: float
    response: float
    read: float
    min_rate: float
    max_age: float
    learn: bool

    def __init__(
        self,
        connect: float = 10,
        response: float = 15,
        read: float = 75,
        min_rate: float = 100,
        max_age: float = 0,
        learn: bool = True,
    ) -> None:
        self._fill(connect, response, read, min_rate, max_age, learn)


class Keepalive(_Numbers):
    """TCP keepalive (RFC 9293 §3.8.4, tcp(7)); options that the platform lacks are skipped.

    idle:     whole seconds of silence before the first probe, at most 32767.
    interval: whole seconds between two probes, at most 32767.
    count:    unanswered probes after which the connection is dropped, at most 127.

    A peer that answers nothing is gone after `user_timeout` = idle + interval × count, which is also set as
    `TCP_USER_TIMEOUT` (RFC 5482), so that unacknowledged data does not outlive it. It is at most 2147483 s.

    Raises `InvalidRequestError` (a `ValueError`) for values that the kernel cannot hold, fractions of a second among
    them. The limits are those of Linux, on every platform.
    """

    __slots__ = ("idle", "interval", "count")  # noqa: RUF023  # in the order of the arguments

    idle: int
    interval: int
    count: int

    def __init__(self, idle: int = 30, interval: int = 10, count: int = 3) -> None:
        self._fill(
            checks.whole(idle, "Keepalive.idle", LONGEST_KEEPALIVE),
            checks.whole(interval, "Keepalive.interval", LONGEST_KEEPALIVE),
            checks.whole(count, "Keepalive.count", MOST_PROBES),
        )
        if self.user_timeout > LONGEST_USER_TIMEOUT:
            raise InvalidRequestError(
                f"Keepalive.idle + interval × count must be at most {LONGEST_USER_TIMEOUT} s (TCP_USER_TIMEOUT is an "
                f"int of milliseconds), not {self.user_timeout} s"
            )

    @property
    def user_timeout(self) -> int:
        """Seconds."""
        return self.idle + self.interval * self.count


class Backoff(_Numbers):
    """Seconds: the first delay, the longest, and how long a stream must live to be called healthy.

    1, 2, 4, 8, 16, 30, 30 … with the defaults, each jittered downwards by up to half. After a `ResponseTimeout` or a
    `ReadTimeout` the seconds that were waited count towards the delay, which is then at least the first one.

    Raises `InvalidRequestError` (a `ValueError`) for a value that is not a finite number above 0; `healthy_after` may
    be 0.
    """

    __slots__ = ("initial", "maximum", "healthy_after")  # noqa: RUF023  # in the order of the arguments
    _may_be_zero = ("healthy_after",)

    initial: float
    maximum: float
    healthy_after: float

    def __init__(self, initial: float = 1, maximum: float = 30, healthy_after: float = 10) -> None:
        self._fill(initial, maximum, healthy_after)


class Decision(NamedTuple):
    """The decision at the end of a stream. `delay` in seconds, None for good; `attempt` is for the next decision.

    `paced`: False if the server itself has asked for the next connection after `delay`, so that `TokenBucket` is not
    asked.
    """

    delay: float | None
    attempt: int
    paced: bool = True


def decide(
    error: WireRawSSEError | None,
    *,
    attempt: int,
    healthy_for: float,
    retry_ms: int | None,
    wall: float,
    random: float,
    backoff: Backoff,
    persistent: bool = False,
    delivered: bool = False,
    renewed: bool = False,
) -> Decision:
    """Retry or raise, and when.

    error:      why the stream ended; None for a clean close.
    attempt:    how many streams in a row have failed: ended before they were healthy, and not cleanly after an event.
    healthy_for: seconds from the accepted head to the last sign of life; 0 where there was no head.
    retry_ms:   the stream's own reconnection time (WHATWG HTML, field `retry`), which takes the place of `initial`.
    wall:       seconds since the epoch, for a Retry-After that is a date.
    random:     a random number in [0, 1).
    persistent: never give up; an error for good is retried at the slowest pace.
    delivered:  the response brought at least one event.
    renewed:    the credentials were refused, and others are there; or the connection could not be renewed. Connect
                at once.

    `retry_ms` and Retry-After (RFC 9110 §10.2.3, on 429 and 503) are minimums, jittered upwards by up to half (by up to
    a quarter after a response that did what it should), never beyond `LONGEST_WISH`; all others are jittered downwards,
    by up to half.
    """
    if renewed:
        return Decision(0.0, 0 if healthy_for >= backoff.healthy_after else attempt)
    if isinstance(error, StaleConnectionError):  # No fault of the server.
        return Decision(error.spread * random, 0 if healthy_for >= backoff.healthy_after else attempt)
    permanent = error is not None and error.permanent
    if permanent and not persistent:
        return Decision(None, attempt)
    was_healthy, answered = healthy_for >= backoff.healthy_after, error is None and delivered
    if was_healthy or answered:
        attempt = 0
    initial, maximum, least = backoff.initial, backoff.maximum, least_pause(error, retry_ms, wall)
    if retry_ms is not None:
        initial = least_pause(None, retry_ms, wall)
        maximum = max(maximum, initial)
    if answered and retry_ms is not None:
        return Decision(_upwards(least, random, 0.25), attempt, paced=False)
    if permanent:
        delay = maximum * (1 - random / 2)
        attempt += 1
    elif error is None and was_healthy:
        delay = min(CLEAN_CLOSE_WITHIN, backoff.maximum) * random
    else:
        # Beyond 2**60 the maximum has long been reached, and a float would overflow.
        shortest = initial * (1 - random / 2)
        delay = min(maximum, initial * 2.0 ** min(attempt, 60)) * (1 - random / 2)
        if isinstance(error, (ResponseTimeout, ReadTimeout)):
            # The wait itself has kept the connections apart, and in a pause nothing can be received.
            delay = max(shortest, delay - error.seconds)
        attempt += not answered
    return Decision(max(delay, _upwards(least, random, 0.5)), attempt)


def least_pause(error: WireRawSSEError | None, retry_ms: int | None, wall: float) -> float:
    """Seconds that the server itself wants to pass until the next connection: see `decide`."""
    least = 0.0 if retry_ms is None else min(max(retry_ms / 1000, SHORTEST_RETRY), LONGEST_WISH)
    if isinstance(error, StatusError) and error.status in (429, 503) and error.retry_after is not None:
        least = max(least, min(retry_after(error.retry_after, wall), LONGEST_WISH))
    return least


def _upwards(least: float, random: float, part: float) -> float:
    """`least` or up to `part` of it more, evenly spread, but never beyond `LONGEST_WISH`. `least` is not beyond it."""
    return least + (min(least * (1 + part), LONGEST_WISH) - least) * random


def ended_by_peer(error: WireRawSSEError | None) -> bool:
    """Whether the end of a live stream was a sign of life: a FIN, a RST, or bytes that end it.

    A clock that ran out is none, nor is a kernel that gives up on a peer that answers nothing (ETIMEDOUT,
    EHOSTUNREACH …).
    """
    if isinstance(error, ConnectionBrokenError):
        # An `ssl.SSLError` has a `reason`: an alert of the peer, or bytes that are no TLS.
        return isinstance(error.__cause__, ConnectionError) or hasattr(error.__cause__, "reason")
    return error is None or isinstance(error, (TruncatedError, MalformedResponseError, EventTooLargeError))


def retry_after(value: str, wall: float) -> float:
    """Seconds to wait by a Retry-After value in either form (RFC 9110 §10.2.3); 0 if it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    return max(0.0, _moment(value, wall) - wall)


# Compiled by the first server that sends a date, not by each import.
_DATE: Final = r"[A-Z][a-z]+, (\d\d)[ -]([A-Z][a-z]{2})[ -](\d{4}|\d{2}) (\d\d):(\d\d):(\d\d) GMT"
_ASCTIME: Final = r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _moment(value: str, wall: float) -> float:
    """An HTTP date (RFC 9110 §5.6.7) as seconds since the epoch; 0 if it is none.

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


class _Bucket:
    """Tokens, at most `TokenBucket.BURST` of them; one comes back every `every` seconds. Below 0: a debt."""

    __slots__ = ("every", "tokens")

    def __init__(self, every: float) -> None:
        self.every = every
        self.tokens = float(TokenBucket.BURST)

    def gain(self, seconds: float) -> None:
        self.tokens = min(TokenBucket.BURST, self.tokens + seconds / self.every)

    @property
    def paid_in(self) -> float:
        """Seconds until there is no debt."""
        return max(0.0, -self.tokens * self.every)


class TokenBucket:
    """Two token buckets: the most connections that a stream may make, whatever ends them.

    With the default `Backoff`: at most 180 an hour as long as no stream lives `healthy_after` and none delivers an
    event, at most 360 otherwise. Each connection costs a token of both buckets. `BURST` of them are there at the start.
    In one they come back one each 0.75 × `maximum` seconds, and one that was paid for a stream that proved good is
    given back at its end; in the other, one each 1.07 × `healthy_after` seconds.

    An attempt waits until its first connection is paid for. A redirect is a connection and costs its tokens, but does
    not wait for them: its target may not exist for long. So they may be owed, for ten redirects at the most. Of
    connections that come to nothing there are at most 1 + 8 + 10 + 3600 / 22.5 = 179 an hour, and of all of them
    1 + 8 + 10 + 3600 / 10.7 = 355. (The first may have been paid for before the hour began.)

    The losers of an address race are not counted, nor are the connections of an attempt that a caller's `restart()` or
    a server's `retry:` asks for.

    It outlives its stream: the next stream to the same origin continues with it (see `hand_over`). It is not shared by
    the streams of an origin. A shared bucket that grows with their number would let one stream spend the tokens of all:
    one of ten could then connect 3,400 times an hour.
    """

    BURST: Final = 8

    def __init__(self, backoff: Backoff) -> None:
        self._healthy_after = backoff.healthy_after
        slow = 0.75 * backoff.maximum
        self._failures = _Bucket(slow)
        self._all = _Bucket(min(slow, 1.07 * backoff.healthy_after or slow))
        self._since = 0.0
        self._reserved = False
        """A connection has been paid for and has not begun."""
        self._free = True
        """The present attempt pays for nothing."""
        self._paid = 0
        """Connections of the present attempt that were paid for."""

    def delay(self, now: float) -> float:
        """Seconds from `now` until the next attempt may start; its first connection is taken as started then.

        Asked twice for one connection, as after an interruption, it takes nothing the second time.
        """
        self._gain(now)
        if not self._reserved:
            self._add(-1)
        self._reserved, self._free = True, False
        return max(self._failures.paid_in, self._all.paid_in)

    def _add(self, tokens: int) -> None:
        self._failures.tokens += tokens
        self._all.tokens += tokens

    def _gain(self, now: float) -> None:
        for bucket in (self._failures, self._all):
            bucket.gain(max(0.0, now - self._since))
        self._since = now

    def begin(self, now: float) -> None:
        """An attempt begins. The tokens earned in the pause before it count only up to `BURST`."""
        self._gain(now)

    def started(self) -> None:
        """A connection begins: one that `delay` was asked for, one to a redirect's target, or a free one."""
        if not (self._reserved or self._free):
            self._add(-1)
        self._paid += not self._free
        self._reserved = False

    def ended(self, healthy_for: float, delivered: bool = False) -> None:
        """An attempt came to its end after `healthy_for` seconds of health; `delivered`: with at least one event."""
        if delivered or healthy_for >= self._healthy_after > 0:
            self._failures.tokens += self._paid
        self.excuse()

    def excuse(self) -> None:
        """The next attempt is free, unless `delay` is asked for it; a token that was taken for it is given back."""
        self._add(self._reserved)
        self._reserved, self._free, self._paid = False, True, 0

    def hand_over(self, now: float, clock: float) -> bool:
        """The stream ended at `now`, when the next one's clock shows `clock`. False if it is full, like a new one.

        A token for a connection that never began is given back.
        """
        self.excuse()
        self._gain(now)
        self._since = clock
        return min(self._failures.tokens, self._all.tokens) < self.BURST
