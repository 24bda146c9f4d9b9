"""Many streams and asyncio: `gate`, flow control in `many_events` and `hosts`, `aio`."""

from typing import Any, Final

from tests.mutants.edits import assignment, condition, drop, never, put, statement
from tests.mutants.engine import at, does_nothing, mutant, returns, wrap

GATE: Final = "stream/test_gate.py::"
ALONE: Final = "hosts/test_many_alone.py::"


def _same_origin_again(right: Any, gate: Any) -> None:
    first = next(iter(gate._lines), None)
    right(gate)
    if first in gate._lines:
        gate._lines = {first: gate._lines.pop(first), **gate._lines}


def _same_source_again(right: Any, streams: Any) -> Any:
    found, unread = right(streams), streams._unread
    if found is not None and found[0] in unread.ready:
        unread.ready = {found[0]: None, **unread.ready}
    return found


def _forget_the_wake(right: Any, subscriber: Any, timeout: Any = None) -> Any:
    subscriber._driver.woken = False
    return right(subscriber, timeout)


def _keep_the_waiter(right: Any, driver: Any) -> None:
    waiter = driver.waiter
    right(driver)
    driver.waiter = waiter


def _close_later(right: Any, driver: Any) -> None:
    events = driver.events
    if events is None or not events.is_running():
        right(driver)
    else:
        events.call_soon_threadsafe(right, driver)


MUTANTS: Final = [
    # gate
    mutant(
        "More streams connect at a time than may.",
        GATE + "test_as_many_connect_as_may_and_the_others_follow_in_order",
        at("gate:Gate.enter", put(condition("_most", "And"), "not self._lines")),
    ),
    mutant(
        "The place of a stream that has connected stays empty.",
        GATE + "test_as_many_connect_as_may_and_the_others_follow_in_order",
        does_nothing("gate:Gate._call_next"),
    ),
    mutant(
        "The origin that had its turn has the next one, too.",
        GATE + "test_origins_take_turns",
        wrap("gate:Gate._call_next", _same_origin_again),
    ),
    mutant(
        "A stream that was removed in line still gets a turn.",
        GATE + "test_who_stops_waiting_has_no_turn",
        at("gate:Gate.leave", drop(statement("pop"))),
    ),
    mutant(
        "Ten thousand streams begin at once.",
        GATE + "test_a_few_streams_begin_at_once_and_thousands_are_spread",
        returns("gate:Gate.delay", 0.0),
    ),
    # flow control
    mutant(
        "A source that nobody reads is received from for ever.",
        ALONE + "test_a_full_source_is_not_received_from",
        does_nothing("many_events:EventStreams._pause_the_full"),
    ),
    mutant(
        "A source that was full is never received from again.",
        ALONE + "test_it_is_received_from_again_once_it_is_read",
        does_nothing("many_events:EventStreams._resume"),
    ),
    mutant(
        "A source that is not received from is called silent.",
        ALONE + "test_its_silence_is_no_fault_before_it_is_read",
        at("hosts.task:Task.deadline", never("held_up")),
    ),
    mutant(
        "The time in which a source was not received from counts as silence.",
        ALONE + "test_its_silence_is_no_fault_before_it_is_read",
        does_nothing("hosts.clock:StreamClock.skip"),
    ),
    mutant(
        "One source is read until it is empty, and the others wait.",
        ALONE + "test_sources_take_turns",
        wrap("many_events:EventStreams._take", _same_source_again),
    ),
    # aio
    mutant(
        "A wake that comes while no task waits is lost.",
        ALONE + "test_a_wake_is_kept_while_no_task_waits",
        wrap("aio.subscriber:AsyncStreamSubscriber.wait", _forget_the_wake),
    ),
    mutant(
        "Deadlines are kept only while a task waits.",
        ALONE + "test_a_wedge_is_found_while_nobody_waits",
        at("aio.driver:Driver._arm", put(assignment("_soon"), "pass"), never("Lt", "_timer_at")),
    ),
    mutant(
        "In asyncio a source that nobody reads is received from for ever.",
        ALONE + "test_a_source_that_is_not_read_is_not_received_from",
        returns("aio.event_source:AsyncEventSource.is_full", False),
    ),
    mutant(
        "In asyncio a source that was full is never received from again.",
        ALONE + "test_a_source_that_is_not_read_is_not_received_from",
        does_nothing("aio.driver:Driver.resume"),
    ),
    mutant(
        "A close in another thread waits for the event loop.",
        ALONE + "test_close_in_another_thread_does_not_wait_for_the_event_loop",
        wrap("aio.driver:Driver.close", _close_later),
    ),
    mutant(
        "A task that died with its event loop is waited for.",
        ALONE + "test_a_task_that_died_with_its_event_loop_is_not_waited_for",
        wrap("aio.driver:Driver._forget_events", _keep_the_waiter),
    ),
]
