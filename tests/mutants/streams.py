"""Sinks, subscribers and the wake channel: `streams`, `source`, `subscriber`, `wake`."""

from typing import Any, Final

from tests.mutants.edits import argument, assignment, condition, drop, never, nth, put, statement
from tests.mutants.engine import FUZZ, STORMS, at, mutant, returns, wrap

THREADS: Final = "simulation/test_exact_threads.py::"


def _hold_back_cr(right: Any, sink: Any, piece: bytes) -> Any:
    piece = vars(sink).pop("held", b"") + piece
    if piece.endswith(b"\r"):
        vars(sink)["held"], piece = b"\r", piece[:-1]
    return right(sink, piece)


def _only_without_id(right: Any, sink: Any, *arguments: Any) -> bool:
    known = sink._parser.last_event_id
    right(sink, *arguments)
    return not known


def _only_wakes(right: Any, sink: Any, piece: bytes) -> bool:
    before = sink.last_event_id, sink.retry_ms
    wake: bool = right(sink, piece)
    if not wake:
        sink.last_event_id, sink.retry_ms = before
    return wake


def _forget_id(right: Any, sink: Any, piece: bytes) -> bool:
    before = sink.last_event_id
    wake: bool = right(sink, piece)
    sink.last_event_id = before
    return wake


MUTANTS: Final = [
    # streams
    mutant("The wake that is owed for a reconnect is lost.", STORMS, returns("wake_streams:WakeSink.opened", False)),
    mutant(
        "A reconnect of a stream gives no wake if an event id is known.",
        STORMS,
        wrap("wake_streams:WakeSink.opened", _only_without_id),
    ),
    mutant(
        "A wake that only the parser can see is lost.",
        (STORMS, FUZZ + "wakes"),
        returns("wake_streams:WakeSink.feed", False),
    ),
    mutant("A heartbeat is a wake.", STORMS, returns("wake_streams:WakeSink.feed", True)),
    mutant(
        "A sink keeps `id` and `retry` only of receptions that hold a data line.",
        "simulation/test_exact_requests.py::test_a_reconnect_asks_for_what_came_behind_the_last_event_that_was_whole",
        wrap("wake_streams:WakeSink.feed", _only_wakes),
    ),
    mutant("A sink forgets the last event id.", FUZZ + "wakes", wrap("wake_streams:WakeSink.feed", _forget_id)),
    mutant(
        "Each slot of a relay begins with a pace of its own.", STORMS, at("stream_set:StreamSet.start", never("_paces"))
    ),
    # source
    mutant("A CR is held back for the LF that may follow.", STORMS, wrap("event_source:EventSink.feed", _hold_back_cr)),
    mutant(
        "The parser of the last connection continues with the next.",
        STORMS,
        at("event_source:EventSink.opened", drop(assignment("_parser"))),
    ),
    mutant(
        "The last event id does not outlive its connection.",
        STORMS,
        at("event_source:EventSink.opened", put(argument("_new_parser", 0), "''")),
    ),
    mutant("The consumer is woken without an event.", STORMS, returns("event_source:EventSink.feed", True)),
    # subscriber
    mutant(
        "close() of a subscriber that nobody waits on releases nothing.",
        THREADS + "test_a_subscriber_that_nobody_waits_on_gives_everything_back_when_it_is_closed",
        at(
            "subscriber:StreamSubscriber.close",
            put(statement("close"), "self._loop.closing = True; self._loop.announce()"),
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
