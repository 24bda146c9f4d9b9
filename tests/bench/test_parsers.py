"""The input of `parse`, and that our adapter gives what is in it. Those of the peers are checked by each run of
`parse`.
"""

from __future__ import annotations

import pytest

from bench.parse_inputs import FEEDS, SHAPES, cut, make, one_line
from bench.parsers import parse_floor, parse_ours


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("feed", sorted(FEEDS))
def test_ours_gives_every_event_whole(shape: str, feed: str) -> None:
    given = make(shape, feed)
    assert max(map(len, given.feeds)) <= FEEDS[feed]
    assert parse_ours(given.feeds) == (given.events, given.characters)


def test_the_shapes_are_as_large_as_they_say() -> None:
    assert 200 <= len(SHAPES["relay"].make(0)) <= 300
    assert 4000 <= len(SHAPES["4k"].make(0)) <= 4200
    assert parse_ours(one_line(5000).feeds) == (1, 5000)
    assert 260_000 <= len(SHAPES["256k"].make(0)) <= 263_000


def test_cutting_loses_nothing_and_the_floor_counts_lines() -> None:
    assert b"".join(cut(b"abcdefg", 3)) == b"abcdefg" and len(cut(b"abcdefg", 3)) == 3
    assert parse_floor([b"a\nb", b"\n\n"]) == (3, 0)
