"""The parsers of event streams: `protocol.sse` and `protocol.events`."""

from typing import Final

from tests.mutants.edits import always, assigned, assignment, call, condition, drop, never, nth, put, term
from tests.mutants.engine import FUZZ, STORMS, at, mutant

EVENTS: Final = FUZZ + "events"
CUTS: Final = "simulation/test_exact_bodies.py::test_an_event_is_the_same_wherever_it_is_cut_into_two_receptions"
IDS: Final = (
    "simulation/test_exact_requests.py::test_a_reconnect_asks_for_what_came_after_the_last_event_that_was_whole"
)

MUTANTS: Final = [
    mutant(
        "A CR at the end of a feed is forgotten.",
        EVENTS,
        at("protocol.sse:LineParser._as_lf", put(call("endswith"), "False")),
    ),
    mutant("An id that holds a NUL is accepted.", EVENTS, at("protocol.sse:LineParser._set_id", always("\0"))),
    mutant(
        "The event type of one block is used for the next.",
        EVENTS,
        at("protocol.events:EventParser._interpret", drop(assignment("_type", ""))),
    ),
    mutant(
        "Data that looks like a whole event is taken for one inside an open block.",
        EVENTS,
        at("protocol.events:EventParser.feed", put(term("_between"), "self._ready")),
    ),
    mutant(
        "A line that is opened by itself opens no block.",
        EVENTS,
        at("protocol.events:EventParser.feed", drop(assignment("_between"))),
    ),
    mutant(
        "The open line does not count towards the limit while it grows.",
        EVENTS,
        at("protocol.events:EventParser.feed", never("_room")),
    ),
    mutant(
        "Data that begins and ends like one event is taken for one.",
        EVENTS,
        at("protocol.events:EventParser.feed", put(nth(0, condition("LF")), "True")),
    ),
    mutant(
        "A run that looks like one-line events is never checked for other lines.",
        EVENTS,
        at("protocol.events:EventParser._read", always("join")),
    ),
    mutant(
        "A wake parser forgets an id that waits for its blank line when other lines follow.",
        EVENTS,
        at("protocol.sse:WakeParser._read", put(term("_id", "last_event_id"), "False")),
    ),
    mutant(
        "A wake parser forgets an id that waits for its blank line when a whole event comes first.",
        (EVENTS, IDS),
        at("protocol.sse:WakeParser.feed", put(term("_id", "last_event_id"), "True")),
    ),
    mutant(
        "A wake parser takes data that begins and ends like one event for one.",
        EVENTS,
        at("protocol.sse:WakeParser.feed", put(term("find"), "True")),
    ),
    mutant(
        "Line ends do not count towards the limit.",
        EVENTS,
        at("protocol.events:EventParser._interpret", put(assigned("len", "1", "Add"), "IT[0]")),
    ),
    mutant(
        "An event that is cut between two of its lines loses the first lines.",
        CUTS,
        at("protocol.events:EventParser._read", put(term("_size"), "False")),
    ),
    mutant(
        "A `data` field name that is cut over two reads gives no wake.",
        STORMS,
        at("protocol.sse:WakeParser._read", always("data_line")),
    ),
    mutant(
        "A `retry:` value of any length is converted to a number.",
        FUZZ + "growth",
        at("protocol.sse:LineParser._set_retry", always("16")),
    ),
]
