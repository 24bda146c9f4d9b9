"""The lines of a daemon, and how the lab interprets them."""

from __future__ import annotations

import threading
import time

import pytest

from tests.faults.lines import Line, LineLog, read_line, state, word


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("wake\n", Line(7.0, "wake", "")),
        ("wake @1.25", Line(1.25, "wake", "")),
        ("state  streaming  @3", Line(3.0, "state", "streaming")),
        ("pulled a b c @2.5\n", Line(2.5, "pulled", "a b c")),
        ("mail me@example.org", Line(7.0, "mail", "me@example.org")),
        ("failed read heard=1.5 pause=0.8 ReadTimeout: silent @9", None),
        ("", None),
        ("  \n", None),
    ],
)
def test_a_line(text: str, line: Line | None) -> None:
    found = read_line(text, 7.0)
    if text.startswith("failed"):
        assert found is not None and (found.at, found.word, found.first) == (9.0, "failed", "read")
        assert (found.named("heard"), found.named("pause")) == (1.5, 0.8)
    else:
        assert found == line


def test_a_number_that_is_not_named_is_none() -> None:
    line = read_line("failed peer reset", 1.0)
    assert line is not None and line.named("heard") is None


def test_waiting_for_a_line_that_comes_later() -> None:
    log = LineLog()
    log.add(Line(1.0, "state", "head"))

    def later() -> None:
        time.sleep(0.05)
        log.add(Line(2.0, "state", "streaming"))

    thread = threading.Thread(target=later)
    thread.start()
    found = log.wait(state("streaming"), 5.0)
    thread.join()
    assert found == Line(2.0, "state", "streaming")
    assert log.wait(state("streaming"), 0.0, 2) is None, "from a position on"


def test_the_end_of_all_lines_ends_the_waiting() -> None:
    log = LineLog()
    log.end()
    began = time.monotonic()
    assert log.wait(word("wake"), 60.0) is None
    assert time.monotonic() - began < 60, "it was not the time-out that ended it"
