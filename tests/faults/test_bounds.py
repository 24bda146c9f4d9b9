"""The promises themselves: who must notice, by when, and how long repair may take."""

from __future__ import annotations

import pytest

from tests.faults.bounds import (
    MEND_SLACK,
    SLACK,
    Expectation,
    Kind,
    Settings,
    Setup,
    longest_pause,
    mended_within,
    promise,
)
from wire_rawsse import Keepalive, Timeouts

GIVEN = Settings()


def test_the_scale_keeps_the_order_of_the_defaults() -> None:
    """A clock that beats another in life must beat it here, or a cell would prove something else."""
    life, scaled = Timeouts(), GIVEN
    assert (Keepalive().user_timeout < life.read) == (scaled.keepalive < scaled.read)
    assert Keepalive().user_timeout / life.read == pytest.approx(scaled.keepalive / scaled.read)
    assert scaled.heartbeat / scaled.read == pytest.approx(30 / life.read)
    assert scaled.response < scaled.keepalive and life.response < Keepalive().user_timeout


@pytest.mark.parametrize(
    ("kind", "at", "clocks", "least", "within"),
    [
        (Kind.SILENCE, "resolving", ("connect",), GIVEN.connect, GIVEN.connect + SLACK),
        (Kind.SILENCE, "connecting", ("connect",), GIVEN.connect, GIVEN.connect + SLACK),
        (Kind.SILENCE, "handshake", ("connect",), GIVEN.connect, GIVEN.connect + SLACK),
        (Kind.UNREACHABLE, "handshake", ("connect",), GIVEN.connect, GIVEN.connect + SLACK),
        (Kind.SILENCE, "head", ("response",), GIVEN.response, GIVEN.response + SLACK),
        (Kind.SILENCE, "streaming", ("read",), GIVEN.read, GIVEN.read + SLACK),
        (Kind.SILENCE, "mid-line", ("read",), GIVEN.read, GIVEN.read + SLACK),
        (Kind.UNREACHABLE, "streaming", ("keepalive", "read"), GIVEN.keepalive, GIVEN.keepalive + SLACK),
        (Kind.DRIP, "streaming", ("min_rate",), GIVEN.read, 2 * GIVEN.read + SLACK),
        (Kind.ENDED, "streaming", ("peer",), 0.0, SLACK),
        (Kind.REFUSED, "connecting", ("peer",), 0.0, SLACK),
    ],
)
def test_who_notices_and_by_when(kind: Kind, at: str, clocks: tuple[str, ...], least: float, within: float) -> None:
    made = promise(Expectation(kind, at), Setup())
    assert (made.clocks, made.least, made.within) == (clocks, least, within)
    assert not made.survives


def test_keepalive_is_only_named_where_it_comes_first() -> None:
    slow = Settings(keepalive_idle=30)
    assert promise(Expectation(Kind.UNREACHABLE, "streaming"), Setup(settings=slow)).clocks == ("read",)


def test_what_must_be_survived_has_no_clock() -> None:
    assert promise(Expectation(Kind.SURVIVED, "streaming"), Setup()).survives


def test_where_a_phase_that_is_no_phase_of_the_connection_strikes() -> None:
    assert Setup("reconnecting").strikes_in == "handshake"
    assert Setup("reconnecting", transport="http").strikes_in == "head"
    assert Setup("backing-off").strikes_in == "connecting"
    assert Setup("mid-line").strikes_in == "mid-line"


def test_reconnecting_takes_the_rest_of_the_attempt_one_step_and_a_second() -> None:
    assert mended_within("connecting", 0.5, 0.8, GIVEN) == pytest.approx(1.0 + 0.8 + MEND_SLACK)
    assert mended_within("head", 9.0, 0.8, GIVEN) == pytest.approx(0.8 + MEND_SLACK)
    assert mended_within("backing-off", 0.0, 0.3, GIVEN) == pytest.approx(0.3 + MEND_SLACK)


def test_the_longest_pause_doubles_up_to_the_maximum() -> None:
    pauses = [longest_pause(attempt, GIVEN) for attempt in range(5)]
    assert pauses == [0.8, 1.6, 3.2, 3.2, 3.2]
    assert longest_pause(10_000, GIVEN) == GIVEN.maximum
