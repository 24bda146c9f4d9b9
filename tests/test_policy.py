"""When a stream is tried again: the decision as a table."""

from __future__ import annotations

import copy
import itertools
import pickle
from datetime import datetime, timezone
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wire_rawsse.errors import (
    ConnectionBrokenError,
    ConnectTimeout,
    EventTooLargeError,
    HeartbeatTimeout,
    InvalidRequestError,
    NotAnEventStreamError,
    ReadTimeout,
    RedirectError,
    ResponseTimeout,
    StaleConnectionError,
    StatusError,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.policy import LONGEST_WISH, Backoff, Decision, Keepalive, Timeouts, decide, retry_after

WALL = datetime(2026, 11, 23, 12, 0, 0, tzinfo=timezone.utc).timestamp()
IN_TWO_MINUTES = {
    "preferred": "Mon, 23 Nov 2026 12:02:00 GMT",
    "RFC 850": "Monday, 23-Nov-26 12:02:00 GMT",
    "asctime": "Mon Nov 23 12:02:00 2026",
}


def status(code: int, retry: str | None = None) -> StatusError:
    return StatusError(code, f"answered {code}", retry_after=retry)


BROKEN = ConnectionBrokenError("reset")


class Case(NamedTuple):
    """One row. `delay` and `attempt` are what must come out."""

    name: str
    delay: float | None
    attempt: int
    error: WireRawSSEError | None = BROKEN
    before: int = 0
    healthy_for: float = 0.0
    retry: int | None = None
    random: float = 0.0
    persistent: bool = False
    delivered: bool = False
    paced: bool = True
    renewed: bool = False


TABLE = [
    # 1, 2, 4, 8, 16, 30, 30 …, each jittered downwards by up to half.
    *(
        Case(f"failure {before + 1}", delay, before + 1, before=before)
        for before, delay in enumerate([1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])
    ),
    Case("half the dice", 3.0, 3, before=2, random=0.5),
    Case("nearly all of the dice", 2.0039062500, 3, before=2, random=0.998046875),
    # Healthy is what lived long enough, however it ended.
    Case("broken after a healthy life", 1.0, 1, before=5, healthy_for=10.0),
    Case("broken just before it was healthy", 30.0, 6, before=5, healthy_for=9.999),
    Case("silent after a healthy life", 0.75, 1, ReadTimeout("read", 75, "streaming", ""), 3, 500.0, random=0.5),
    # The wait for a head or for bytes counts towards the delay, which is at least the first one.
    Case("a head waited for, shorter than the delay", 15.0, 6, ResponseTimeout("response", 15, "head", ""), 5),
    Case("a head waited for, longer than the delay", 1.0, 6, ResponseTimeout("response", 75, "head", ""), 5),
    Case("silent from the start", 0.75, 6, ReadTimeout("read", 75, "streaming", ""), 5, random=0.5),
    Case("the machine has changed", 0.0, 0, StaleConnectionError("gone"), 3, 500.0, retry=5000, random=0.5),
    Case("the machine has slept", 0.5, 3, StaleConnectionError("slept", spread=1), 3, random=0.5),
    Case("past its heartbeat", 0.75, 1, HeartbeatTimeout("heartbeat", 24.5, "streaming", ""), 3, 500.0, random=0.5),
    Case("past its age", 0.0, 0, None, 3, 500.0, random=0.5, renewed=True),
    Case("silent, with retry", 5.0, 6, ReadTimeout("read", 75, "streaming", ""), 5, retry=5000),
    Case("a slow name does not count", 30.0, 6, ConnectTimeout("connect", 40, "resolving", ""), 5),
    Case("truncated early", 8.0, 4, TruncatedError("cut"), 3, 5.0),
    # A clean close.
    Case("clean, healthy, lowest dice", 0.0, 0, None, 4, 10.0),
    Case("clean, healthy", 0.5, 0, None, 4, 10.0, random=0.5),
    Case("clean, not healthy", 16.0, 5, None, 4, 9.0),
    # retry: takes the place of `initial`, and is a minimum, jittered upwards.
    Case("retry in place of initial", 5.0, 1, retry=5000),
    Case("retry, jittered upwards", 6.25, 1, retry=5000, random=0.5),
    Case("retry doubles like initial", 20.0, 3, before=2, retry=5000),
    Case("retry below 0.1 s", 0.1, 1, retry=0),
    Case("retry above an hour", 3600.0, 1, retry=10**12),
    Case("retry above the maximum", 600.0, 6, before=5, retry=600_000),
    Case("a short retry, grown to the maximum", 30.0, 21, before=20, retry=100),
    Case("retry after a clean close", 5.0, 0, None, 0, 60.0, 5000),
    Case("a short retry after a clean close", 0.5, 0, None, 0, 60.0, 100, 0.5),
    Case("retry near an hour is jittered up to an hour", 3300.0, 1, retry=3_000_000, random=0.5),
    # A clean end after an event is no failure, however short the stream was.
    Case("clean, with an event", 1.0, 0, None, 4, delivered=True),
    Case("clean, with an event, half the dice", 0.75, 0, None, 4, random=0.5, delivered=True),
    Case("clean, with an event, healthy", 0.5, 0, None, 4, 10.0, random=0.5, delivered=True),
    Case("a poll", 0.5, 0, None, 4, retry=500, delivered=True, paced=False),
    Case("a poll, jittered upwards", 0.5625, 0, None, 4, retry=500, random=0.5, delivered=True, paced=False),
    Case("a poll after a long life", 5.0, 0, None, 4, 60.0, 5000, delivered=True, paced=False),
    Case(
        "a poll that is to come in a day", 3600.0, 0, None, 0, retry=86_400_000, delivered=True, paced=False, random=0.5
    ),
    Case("a poll that brought nothing", 8.0, 5, None, 4, retry=500),
    Case("cut after an event", 16.0, 5, TruncatedError("cut"), 4, delivered=True),
    # Refused, and there are other credentials.
    Case("renewed credentials", 0.0, 3, status(401), 3, renewed=True),
    Case("renewed credentials, never giving up", 0.0, 3, status(401), 3, renewed=True, persistent=True, retry=60_000),
    # Retry-After, in seconds and in the three forms of a date, on 429 and 503 only.
    Case("429 in seconds", 120.0, 1, status(429, "120")),
    Case("503 in seconds, jittered upwards", 150.0, 1, status(503, "120"), random=0.5),
    Case("503 with spaces", 120.0, 1, status(503, " 120 ")),
    Case("503 with leading zeros", 120.0, 1, status(503, "0000000000120")),
    Case("503 beyond an hour", 3600.0, 1, status(503, "9" * 400)),
    Case("503 without a word", 1.0, 1, status(503)),
    Case("503 with a word that says nothing", 1.0, 1, status(503, "soon")),
    Case("503 below the backoff", 16.0, 5, status(503, "2"), 4),
    Case("500 does not have it", 1.0, 1, status(500, "120")),
    *(Case(f"503, a date: {form}", 120.0, 1, status(503, date)) for form, date in IN_TWO_MINUTES.items()),
    Case("503, a date that has passed", 1.0, 1, status(503, "Mon, 23 Nov 2026 11:00:00 GMT")),
    Case("503, a date beyond an hour", 3600.0, 1, status(503, "Tue, 23 Nov 2027 12:00:00 GMT")),
    Case("503, the longer of two wishes", 120.0, 1, status(503, "120"), retry=60_000),
    # For good, and for those who never give up.
    *(
        Case(f"for good: {error}", None, 2, error, 2)
        for error in (status(204), status(401), status(404), NotAnEventStreamError("html"), EventTooLargeError(1))
    ),
    Case("for good, and tried again", 30.0, 3, status(404), 2, persistent=True),
    Case("for good, and tried again, jittered", 22.5, 3, status(404), 2, random=0.5, persistent=True),
    Case("for good, and a retry that is longer", 600.0, 3, status(404), 2, retry=600_000, persistent=True),
    *(Case(f"not for good: {code}", 1.0, 1, status(code)) for code in (408, 425, 429, 500, 502, 503, 504)),
    Case("a redirect too many", 1.0, 1, RedirectError("too many")),
    Case("a redirect that is refused", None, 0, RedirectError("to http", permanent=True)),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_the_decision(case: Case) -> None:
    decided = decide(
        case.error,
        attempt=case.before,
        healthy_for=case.healthy_for,
        retry_ms=case.retry,
        wall=WALL,
        random=case.random,
        backoff=Backoff(),
        persistent=case.persistent,
        delivered=case.delivered,
        renewed=case.renewed,
    )
    assert decided == Decision(case.delay, case.attempt, case.paced)


def test_no_number_of_failures_is_too_large() -> None:
    """2.0 ** 1024 overflows: a night without a network, in which each failure is counted."""
    for attempt, retry in itertools.product((1022, 1023, 1024, 1025, 10**4, 10**6, 10**12), (None, 100)):
        decided = decide(
            BROKEN, attempt=attempt, healthy_for=0, retry_ms=retry, wall=WALL, random=0.0, backoff=Backoff()
        )
        assert decided == Decision(30.0, attempt + 1)


@given(
    attempt=st.integers(0, 10**9),
    healthy_for=st.floats(0, 1e9),
    retry=st.none() | st.integers(0, 1 << 53),
    random=st.floats(0, 1, exclude_max=True),
    error=st.sampled_from([None, BROKEN, status(503, "7"), status(404), status(429, IN_TWO_MINUTES["asctime"])]),
    initial=st.floats(0.001, 1000),
    maximum=st.floats(0.001, 1000),
    delivered=st.booleans(),
)
@example(1024, 0.0, None, 0.5, None, 1.0, 1.0, False)
def test_no_pause_is_ever_outside_its_bounds(
    attempt: int,
    healthy_for: float,
    retry: int | None,
    random: float,
    error: WireRawSSEError | None,
    initial: float,
    maximum: float,
    delivered: bool,
) -> None:
    backoff = Backoff(initial=initial, maximum=maximum)
    decided = decide(
        error,
        attempt=attempt,
        healthy_for=healthy_for,
        retry_ms=retry,
        wall=WALL,
        random=random,
        backoff=backoff,
        persistent=True,
        delivered=delivered,
    )
    least = 0.0 if retry is None else min(max(retry / 1000, 0.1), LONGEST_WISH)
    assert decided.delay is not None
    assert least <= decided.delay <= min(1.5 * max(maximum, least, 120, 1), LONGEST_WISH)
    assert 0 <= decided.attempt <= attempt + 1


@pytest.mark.parametrize("value", IN_TWO_MINUTES.values())
def test_a_date_is_read_whatever_language_the_program_speaks(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`strptime` asks the locale for the names of days and months."""
    monkeypatch.setattr("_strptime._strptime", lambda *args: pytest.fail("reads the locale"))
    assert retry_after(value, WALL) == 120


@pytest.mark.parametrize(
    "year, seen_as",
    [("76", 2076), ("77", 1977), ("99", 1999), ("26", 2026)],
)
def test_two_digits_of_a_year_are_never_more_than_fifty_years_ahead(year: str, seen_as: int) -> None:
    """RFC 9110 §5.6.7."""
    meant = datetime(seen_as, 12, 1, tzinfo=timezone.utc).timestamp()
    assert retry_after(f"Tuesday, 01-Dec-{year} 00:00:00 GMT", WALL) == max(0.0, meant - WALL)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "1.5",
        "１２",  # Digits, but not of ASCII.
        "Mon, 23 Foo 2026 12:02:00 GMT",
        "Mon, 31 Feb 2026 12:02:00 GMT",
        "Mon, 23 Nov 2026 25:02:00 GMT",
        "Mon, 23 Nov 0000 12:02:00 GMT",
        "Mon, 23 Nov 2026 12:02:00 CET",
        "Mon, 23 Nov 2026 12:02:00 GMT and more",
    ],
)
def test_what_is_neither_seconds_nor_a_date_asks_for_nothing(value: str) -> None:
    assert retry_after(value, WALL) == 0


def test_a_leap_second_is_no_error() -> None:
    assert retry_after("Mon, 23 Nov 2026 12:01:60 GMT", WALL) == 119


@pytest.mark.parametrize("kind", [Timeouts, Keepalive, Backoff])
@pytest.mark.parametrize("bad", [-1, 0, float("nan"), float("inf"), "1", None])
def test_settings_are_positive_and_finite(kind: Any, bad: Any) -> None:
    first = kind.__slots__[0]
    with pytest.raises(InvalidRequestError, match=f"{kind.__name__}.{first} must be"):
        kind(**{first: bad})


@pytest.mark.parametrize("bad", [0, 1, None, "yes"])
def test_a_flag_is_true_or_false(bad: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"Timeouts\.learn must be True or False"):
        Timeouts(learn=bad)


def test_there_is_no_limit_to_the_age_of_a_connection_unless_asked_for() -> None:
    assert (Timeouts().max_age, Timeouts().learn) == (0, True)
    assert Timeouts(max_age=0) == Timeouts()


@pytest.mark.parametrize("kind", [Timeouts, Keepalive, Backoff])
def test_settings_are_values(kind: Any) -> None:
    names = kind.__slots__
    numbers = [False if name == "learn" else number for number, name in enumerate(names, 1)]
    value = kind(*numbers)
    assert value == kind(**dict(zip(names, numbers, strict=True))) != kind()
    assert hash(value) == hash(kind(*numbers))
    assert value != (*numbers,)
    assert repr(value) == f"{kind.__name__}({', '.join(map('{}={}'.format, names, numbers))})"
    assert copy.deepcopy(value) == pickle.loads(pickle.dumps(value)) == value
    for name in (names[0], "x"):
        with pytest.raises(AttributeError, match="frozen"):
            setattr(value, name, 5)
        with pytest.raises(AttributeError, match="frozen"):
            delattr(value, name)
    assert value == kind(*numbers)


def test_settings_of_two_kinds_are_never_equal() -> None:
    assert Keepalive(1, 2, 3) != Backoff(1, 2, 3)


def test_a_user_timeout_outlives_every_probe() -> None:
    assert Keepalive(30, 10, 3).user_timeout == 60


def test_zero_means_off_where_that_makes_sense() -> None:
    assert Timeouts(min_rate=0).min_rate == 0
    assert Backoff(healthy_after=0).healthy_after == 0
