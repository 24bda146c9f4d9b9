"""When a stream must be back, from what its daemon had said when the fault ended."""

from __future__ import annotations

import pytest

from tests.faults.bounds import MEND_SLACK, Settings
from tests.faults.lines import Line
from tests.faults.mending import mend_bound, present

GIVEN = Settings()
LINES = [
    Line(1.0, "state", "resolving"),
    Line(1.1, "state", "connecting"),
    Line(1.2, "state", "handshake"),
    Line(1.3, "state", "head"),
    Line(1.4, "state", "streaming"),
    Line(5.0, "failed", "read heard=2.5 pause=0.6 ReadTimeout: silent"),
    Line(5.0, "state", "backing-off"),
    Line(5.6, "state", "connecting"),
    Line(5.7, "state", "handshake"),
    Line(7.1, "failed", "connect pause=1.2 ConnectTimeout: late"),
    Line(7.1, "state", "backing-off"),
]


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        (1.25, ("handshake", 1.0, 0, 0.0)),
        (2.0, ("streaming", 1.4, 0, 0.0)),
        (5.1, ("backing-off", 5.0, 1, 0.6)),
        (6.0, ("handshake", 5.6, 1, 0.6)),
        (8.0, ("backing-off", 7.1, 2, 1.2)),
    ],
)
def test_what_the_stream_was_doing(moment: float, found: tuple[str, float, int, float]) -> None:
    assert present(LINES, moment) == found


def test_it_has_the_rest_of_its_pause_or_of_its_attempt_and_one_pause_more() -> None:
    for moment, phase, seconds in ((5.1, "backing-off", 0.5), (6.0, "handshake", GIVEN.connect - 0.4 + 1.6)):
        now_in, within = mend_bound(LINES, moment, GIVEN)
        assert now_in == phase and within == pytest.approx(seconds + MEND_SLACK)
