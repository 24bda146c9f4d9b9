"""Sinks, subscribers and the wake channel: `streams`, `source`, `subscriber`, `wake`."""

from collections.abc import Iterator
from typing import Any, Final

from tests.mutants.edits import always, argument, assignment, condition, drop, never, nth, put, result, statement
from tests.mutants.engine import FUZZ, STORMS, at, mutant, returns, wrap

RENEWALS: Final = "simulation/test_exact_renewals.py::"
DOUBTS: Final = "simulation/test_exact_doubts.py::"
THREADS: Final = "simulation/test_exact_threads.py::"


def _hold_back_cr(right: Any, sink: Any, piece: bytes) -> Any:
    piece = vars(sink).pop("held", b"") + piece
    if piece.endswith(b"\r"):
        vars(sink)["held"], piece = b"\r", piece[:-1]
    return right(sink, piece)


def _only_wakes(right: Any, parser: Any, piece: bytes) -> bool:
    before = parser.last_event_id, parser._id, parser.retry_ms
    wake: bool = right(parser, piece)
    if not wake:
        parser.last_event_id, parser._id, parser.retry_ms = before
    return wake


def _drain_nothing(right: Any, renewal: Any, old: Any, new: Any) -> Iterator[Any]:
    return
    yield


def _forget_id(right: Any, parser: Any, piece: bytes) -> bool:
    before = parser.last_event_id
    wake: bool = right(parser, piece)
    parser.last_event_id = before
    return wake


_DUE: Final = condition("wake", "woke_early", "Or")
"""An event, the opening of a connection, or a wake that was given early."""

MUTANTS: Final = [
    # streams
    mutant(
        "The wake that is owed for a reconnect is lost.", STORMS, at("connection:read", put(_DUE, "IT[0] or IT[2]"))
    ),
    mutant(
        "A reconnect of a stream gives no wake if an event id is known.",
        STORMS,
        at("connection:read", put(_DUE, "IT[0] or IT[2] or (IT[1] and not live.body.lines.last_event_id)")),
    ),
    mutant(
        "A wake that only the parser can see is lost.",
        (STORMS, FUZZ + "wakes"),
        returns("protocol.sse:WakeParser.feed", False),
    ),
    mutant("A heartbeat is a wake.", STORMS, returns("protocol.sse:WakeParser.feed", True)),
    mutant(
        "A sink keeps `id` and `retry` only of receptions that hold a data line.",
        "simulation/test_exact_requests.py::test_a_reconnect_asks_for_what_came_after_the_last_event_that_was_whole",
        wrap("protocol.sse:WakeParser.feed", _only_wakes),
    ),
    mutant("A sink forgets the last event id.", FUZZ + "wakes", wrap("protocol.sse:WakeParser.feed", _forget_id)),
    mutant(
        "Each slot of a relay begins with a pace of its own.", STORMS, at("stream_set:StreamSet.start", never("_paces"))
    ),
    # source
    mutant("A CR is held back for the LF that may follow.", STORMS, wrap("event_source:EventSink.feed", _hold_back_cr)),
    mutant(
        "The parser of the last connection continues with the next.",
        STORMS,
        at("event_source:EventSink.opened", drop(assignment("parser"))),
    ),
    mutant(
        "The last event id does not outlive its connection.",
        STORMS,
        at("event_source:EventSink.opened", put(argument("_new_parser", 0), "''")),
    ),
    # renewal
    mutant(
        "A connection that has reached its max_age is closed before the next one is made.",
        RENEWALS + "test_a_stream_never_ends_while_its_connections_are_renewed",
        at("renewal:Renewal.run", always("GtE")),
    ),
    mutant(
        "The bytes on the old connection when the new one is accepted are lost.",
        RENEWALS + "test_what_lies_on_the_old_connection_when_the_new_one_is_accepted_is_handed_out",
        wrap("renewal:Renewal._drain", _drain_nothing),
    ),
    mutant(
        "An event that both connections of a renewal bring is handed out twice.",
        RENEWALS + "test_a_stream_that_never_rests_is_renewed_too_and_brings_each_event_once",
        wrap("repeats:Repeats.without", lambda right, repeats, items: list(items)),
    ),
    mutant(
        "A connection that is in doubt is closed before the next one is made.",
        DOUBTS + "test_a_silent_connection_is_renewed_before_it_is_closed",
        at("connection:one_stream", put(condition("in_doubt"), "True")),
    ),
    mutant(
        "A connection in doubt goes on after the attempt beside it has failed.",
        DOUBTS + "test_a_failed_attempt_is_a_second_witness",
        at("renewal:Renewal.run", never("_doubt")),
    ),
    mutant(
        "A connection that has spoken again is replaced all the same.",
        DOUBTS + "test_a_connection_that_speaks_before_the_attempt_goes_on",
        at("renewal:Renewal._is_needless", never("has_spoken")),
    ),
    mutant(
        "Bytes that wait for a paused consumer do not end the doubt.",
        DOUBTS + "test_bytes_that_wait_for_a_paused_consumer_end_the_doubt",
        at("renewal:Renewal._look_once_more", never("_doubt")),
    ),
    mutant(
        "A doubt is followed by no attempt.",
        STORMS,
        at("renewal:Renewal._begin_doubt", put(nth(-1, result()), "1e6")),
    ),
    mutant("The consumer is woken without an event.", STORMS, returns("event_source:EventSink.feed", True)),
    # subscriber
    mutant(
        "close() of a subscriber that nobody waits on releases nothing.",
        THREADS + "test_a_subscriber_that_nobody_waits_on_gives_everything_back_when_it_is_closed",
        at(
            "subscriber:StreamSubscriber.close",
            put(statement("close"), "self._loop._handle.closing = True; self._loop.notify()"),
        ),
    ),
    # wake
    mutant(
        "The first fileno() of a WakeChannel takes a pending wake.",
        STORMS,
        at("wake:WakeChannel.fileno", put(condition("locked"), "self._pending.acquire(False)")),
    ),
    mutant(
        "The descriptor of a WakeChannel is cleared only while a wake is pending.",
        THREADS + "test_a_wake_that_was_taken_before_its_ring_leaves_nothing_to_be_looked_for",
        at("wake:WakeChannel.wait", put(nth(0, condition("IsNot", "None")), "IT and not self._pending.locked()")),
    ),
]
