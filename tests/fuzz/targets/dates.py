"""Invariant: whatever stands in Retry-After, in `retry` and in the numbers that a stream ends with, `retry_after` gives
a number of seconds that is never negative, by the standard library's reading where it is a date, and `decide` gives a
delay within the bounds that its documentation promises, or none, and only for what is for good.

Layout: a byte of options, a byte of dice, four bytes of clocks, the value.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import Final

from wire_rawsse import policy
from wire_rawsse.errors import NotAnEventStreamError, StatusError, TruncatedError, WireRawSSEError

LONGEST: Final = 96
WORDS: Final = (
    *(b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b" GMT", b", "),
    *(
        b"Feb",
        b"29",
        b"60",
        b"9999",
        b"0000",
        b"24:00:00",
        b"\xd9\xa3",
        b"\xc2\xb2",
        b"1e5",
        b"-1",
        b"99999999999999999999",
    ),
)
SEEDS: Final = (
    b"\x00\x80\x10\x20\x30\x40120",
    b"\x09\xff\x10\x20\x30\x40Sun, 06 Nov 2027 08:49:37 GMT",
    b"\x12\x00\x00\x20\x00\x40Sunday, 06-Nov-94 08:49:37 GMT",
    b"\x1b\x40\xff\xff\xff\xffSun Nov  6 08:49:60 2038",
    b"\x24\x41\x01\x00\x02\x00" + b"9" * 30,
    b"\x3f\x41\x01\x00\x02\x00soon",
)

_BACKOFFS: Final = (
    policy.Backoff(),
    policy.Backoff(initial=0.02, maximum=0.04, healthy_after=0),
    policy.Backoff(5, 2, 1),
)


def check(data: bytes) -> None:
    if len(data) < 6:
        return
    options, dice, *clocks = data[:6]
    value = data[6:].decode("latin-1")
    wall = clocks[0] * 2.0**24 + clocks[1]  # From 1970 to the year 2105.
    seconds = policy.retry_after(value, wall)
    assert seconds >= 0, "less than nothing"
    _compare(value.strip(), seconds, wall)
    backoff = _BACKOFFS[options % 3]
    error: WireRawSSEError | None = (
        None,
        TruncatedError("x"),
        StatusError(503, "x", retry_after=value),
        StatusError(429, "x", retry_after=value),
        StatusError(404, "x", retry_after=value),
        NotAnEventStreamError("x"),
    )[options // 4 % 6]
    retry_ms = None if options & 64 else clocks[2] ** 6
    attempt = clocks[3] * 9
    healthy = float(clocks[1])
    persistent = bool(options & 128)
    decision = policy.decide(
        error,
        attempt=attempt,
        healthy_for=healthy,
        retry_ms=retry_ms,
        wall=wall,
        random=dice / 256,
        backoff=backoff,
        persistent=persistent,
    )
    if error is not None and error.permanent and not persistent:
        assert decision.delay is None, "what is for good is tried again"
        return
    assert decision.delay is not None and math.isfinite(decision.delay), "no delay where there must be one"
    wishes = [0.0]
    if retry_ms is not None:
        wishes.append(min(max(retry_ms / 1000, policy.SHORTEST_RETRY), policy.LONGEST_WISH))
    if isinstance(error, StatusError) and error.status in (429, 503):
        wishes.append(min(seconds, policy.LONGEST_WISH))
    least = max(wishes)
    longest = max(min(1.5 * least, policy.LONGEST_WISH), backoff.maximum, policy.CLEAN_CLOSE_WITHIN)
    assert least <= decision.delay <= longest, "out of bounds"
    assert decision.attempt >= (attempt if healthy < backoff.healthy_after else 0), "an attempt was forgotten"


def _compare(value: str, seconds: float, wall: float) -> None:
    if value.isascii() and value.isdigit():
        assert seconds == float(value), "another number of seconds"
        return
    if not re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", value, re.ASCII):
        return
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return
    if value[23:25] != "60" and int(value[12:16]) > 1900:  # It takes a small year for a short one.
        assert seconds == max(0.0, moment - wall), "another moment than the standard library's"
