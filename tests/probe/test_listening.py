"""Times in events, and the sizes of chunks beside the decoder."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire_rawsse.probe.listening import ChunkSizes, made_at
from wire_rawsse.protocol.events import Event

WALL = 1796079600.0
"""2026-11-30 23:00 UTC."""


@pytest.mark.parametrize(
    "data",
    [
        '{"at": 1796079500.25}',
        '{"ts":1796079500250,"n":1}',
        '{"ns": 1796079500250000000}',
        "2026-11-30T22:58:20.25Z",
        "made 2026-11-30 23:58:20.250+01:00, sent",
        "2026-11-30T23:58:20.25+0100",
        '{"expires": 4102444800, "made": 1796079500.25, "older": "2026-11-30T20:00:00Z"}',
    ],
)
def test_when_an_event_says_that_it_was_made(data: str) -> None:
    assert made_at(Event("message", data, ""), WALL) == pytest.approx(1796079500.25, abs=0.001)


def test_an_id_may_say_it_too() -> None:
    assert made_at(Event("message", "x", "1796079500250-0"), WALL) == pytest.approx(1796079500.25)


@pytest.mark.parametrize(
    "data", ["", "42", "+441796079500", "1996-11-30T22:58:20Z", "2026-13-40T99:99:99Z", "11796079500"]
)
def test_other_numbers_are_no_times(data: str) -> None:
    assert made_at(Event("message", data, ""), WALL) is None


@given(st.text(alphabet="0123456789-:TZ+. ,", max_size=60))
def test_no_text_is_an_error(data: str) -> None:
    made_at(Event("message", data, data), WALL)


@given(st.datetimes(datetime(2026, 11, 30, 1), datetime(2026, 12, 1, 22)))
def test_what_python_writes_is_read(moment: datetime) -> None:
    moment = moment.replace(tzinfo=timezone.utc)
    assert made_at(Event("message", moment.isoformat(), ""), WALL) == pytest.approx(moment.timestamp(), abs=1e-5)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.integers(1, 50))
def test_the_sizes_of_chunks_do_not_depend_on_how_they_are_cut(pieces: list[bytes], step: int) -> None:
    wire = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    sizes: list[int] = []
    follower = ChunkSizes(sizes)
    for start in range(0, len(wire), step):
        follower.feed(wire[start : start + step])
    assert sizes == [len(piece) for piece in pieces]
