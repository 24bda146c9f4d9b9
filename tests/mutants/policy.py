"""Delays, pace, patience, and what a record says: `policy`, `patience`, `resume`, `record`, `reconnect`, `state`."""

import ast
from typing import Any, Final

from tests.mutants.edits import (
    assignment,
    call,
    condition,
    drop,
    expression,
    handled,
    never,
    nth,
    put,
    select,
    statement,
    value_of,
)
from tests.mutants.engine import FUZZ, STORMS, at, does_nothing, mutant, returns, wrap

DATES: Final = FUZZ + "dates"
ATTEMPTS: Final = "simulation/test_exact_attempts.py::"
REQUESTS: Final = "simulation/test_exact_requests.py::"
TIMES: Final = "simulation/test_exact_times.py::"
ROTATIONS: Final = "simulation/test_exact_rotations.py::"
PACE: Final = "test_pace.py::"
HEARTBEATS: Final = "simulation/test_exact_heartbeats.py::"
HEARTBEAT: Final = "test_heartbeat.py::"
FIRST_HEARTBEAT: Final = TIMES + "test_a_server_whose_head_comes_with_its_first_heartbeat_is_reached_each_time"


def _reset_attempts(right: Any, record: Any, *arguments: Any) -> None:
    record.attempt = 0
    right(record, *arguments)


def _keep_phase(right: Any, record: Any, error: Any, *arguments: Any) -> None:
    if isinstance(error, TimeoutError):
        record.enter = lambda *_: None
    try:
        right(record, error, *arguments)
    finally:
        vars(record).pop("enter", None)


def _forget_gone(right: Any, endpoints: Any, *, gone: Any = None, **others: Any) -> Any:
    found = tuple(endpoints)
    return right(found, gone=gone, **others)._replace(last_event_at=right(found, **others).last_event_at)


def _whatever_comes(right: Any, text: bytes) -> bool:
    return True


MUTANTS: Final = [
    # policy
    mutant(
        "Every clean close is followed by a connection at once.",
        ATTEMPTS + "test_a_clean_close_of_a_stream_that_was_not_healthy_is_followed_by_the_backoff",
        at("policy:decide", put(condition("Is", "None"), "IT[0]")),
    ),
    mutant(
        "The power of two of the backoff overflows after 1,024 failures in a row.",
        (STORMS, "test_policy.py::test_no_number_of_failures_is_too_large"),
        at("policy:decide", put(call("min", "60"), "IT[0]")),
    ),
    mutant(
        "A timeout is always followed by the shortest delay.",
        STORMS,
        at("policy:decide", put(call("max", "seconds"), "IT[0] / 2")),
    ),
    mutant(
        "A server that ends each response after an event is backed off from.",
        ATTEMPTS + "test_a_server_that_is_polled_is_asked_again_after_its_retry",
        at("policy:decide", put(nth(-1, condition("retry_ms", "And")), "False")),
    ),
    mutant(
        "A date's month is one too small.",
        DATES,
        at("policy:_moment", put(expression("index", "1", "Add"), "IT[0] or 1")),
    ),
    mutant("A date in the past gives a negative delay.", DATES, at("policy:retry_after", put(call("max"), "IT[1]"))),
    mutant(
        "A server may ask for a delay of years.",
        DATES,
        at("policy:least_pause", put(call("min", "retry_after"), "IT[0]")),
    ),
    mutant("A persistent stream gives up.", DATES, at("policy:decide", put(condition("persistent"), "IT[0]"))),
    mutant("Restarts run up a debt of connections.", STORMS, at("policy:TokenBucket.excuse", drop(statement("_add")))),
    mutant(
        "Redirects cost no token.",
        ATTEMPTS + "test_one_redirect_more_is_an_error_that_is_retried_from_the_original_url",
        at("policy:TokenBucket.started", never("_reserved")),
    ),
    mutant(
        "A pace that is handed over keeps the clock of the stream that is gone.",
        ROTATIONS + "test_slots_that_are_rotated_under_a_host_that_was_away_for_an_hour_stay_below_the_pace",
        at("policy:TokenBucket.hand_over", put(value_of("_since"), "now")),
    ),
    # patience and resume
    mutant(
        "The response budget never doubles.", FIRST_HEARTBEAT, at("patience:Patience.ran_out", drop(assignment("_now")))
    ),
    mutant(
        "A response budget that was needed is forgotten.",
        FIRST_HEARTBEAT,
        at("patience:Patience.answered", put(call("max", "_needed"), "0")),
    ),
    mutant(
        "An id that was refused is sent for ever.",
        REQUESTS + "test_an_id_that_is_refused_is_left_out_and_told_and_not_sent_again",
        does_nothing("resume:Resume.refused"),
    ),
    # record
    mutant("A connection resets the backoff.", STORMS, wrap("record:Record.accepted", _reset_attempts)),
    mutant("A silent stream stays `connected`.", STORMS, wrap("record:Record.ended", _keep_phase)),
    mutant(
        "An attempt without a head counts the health of the stream before it.",
        STORMS,
        at("record:Record.begin", drop(assignment("_accepted"))),
    ),
    mutant(
        "The time that a connection took to be accepted counts as health.",
        (STORMS, "simulation/test_exact_ends.py::test_health_runs_from_the_head_to_the_last_byte_of_the_body"),
        at("record:Record.accepted", put(assignment("_accepted"), "self._last_life = now")),
    ),
    mutant("An idle stream that its peer ends was not healthy.", STORMS, does_nothing("record:Record.ended_by_peer")),
    # reconnect
    mutant(
        "A restart while the consumer hears of an end ends the stream.",
        STORMS,
        at("reconnect:_tell_end", put(handled("Restart"), "ZeroDivisionError")),
    ),
    mutant(
        "restart() of a live stream waits for the backoff that came before that stream.",
        STORMS,
        at("reconnect:_one_after_another", put(nth(0, select(ast.Assign, "0")), "pass")),
    ),
    mutant(
        "While the pace owes a connection, its delay replaces a longer Retry-After or retry.",
        STORMS,
        at("reconnect:pause_after", put(call("max"), "IT[1] or IT[0]")),
    ),
    mutant(
        "A network that changes all the time connects more often than the pace allows.",
        PACE + "test_no_server_can_make_us_connect_faster_than_the_pace",
        at("reconnect:_pause", put(call("delay"), "0")),
    ),
    mutant(
        "A change of the network shortens the pause that the server has asked for.",
        PACE + "test_a_change_of_the_network_does_not_shorten_what_the_server_has_asked_for",
        at("reconnect:pause_after", put(value_of("least_pause"), "0.0")),
    ),
    mutant(
        "Events as regular as a heartbeat teach one.",
        (STORMS, HEARTBEATS + "test_events_teach_nothing"),
        wrap("read_clocks:all_comments", _whatever_comes),
        at("read_clocks:ReadClocks.heard", put(condition("_MAY_BE_COMMENTS", "And"), "True")),
    ),
    mutant(
        "A heartbeat after an event teaches a shorter period.",
        HEARTBEATS + "test_a_heartbeat_after_an_event_teaches_nothing",
        at("read_clocks:ReadClocks.heard", put(nth(0, assignment("_idle")), "self._idle = True")),
    ),
    mutant(
        "The learned limit holds inside a line.",
        HEARTBEATS + "test_inside_a_line_no_server_can_send_a_heartbeat",
        at("read_clocks:ReadClocks.heard", put(nth(0, select(ast.IfExp)), "self._limit")),
    ),
    mutant(
        "The gap after a pause of the server lengthens no limit.",
        HEARTBEAT + "test_a_longer_gap_after_an_alarm_proves_it_false_for_good",
        returns("heartbeat:Heartbeat.suspects", False),
    ),
    mutant(
        "A server that pauses is dropped again and again.",
        HEARTBEAT + "test_a_server_that_pauses_is_dropped_a_few_times_and_not_for_ever",
        at("heartbeat:Heartbeat.alarm", drop(assignment("_probation"))),
    ),
    mutant(
        "Comments that stop with the first event limit the silence after it.",
        HEARTBEATS + "test_comments_that_stop_with_the_first_event_limit_nothing_after_it",
        at("read_clocks:ReadClocks._had_event", put(call("limit_after_event"), "heartbeat.limit(self._read)")),
    ),
    mutant(
        "The second alarm in a row only doubles the factor.",
        HEARTBEAT + "test_a_second_alarm_in_a_row_goes_to_read",
        at("heartbeat:Heartbeat.alarm", put(select(ast.Attribute, "inf"), "2 * self._factor")),
    ),
    mutant(
        "Another endpoint inherits the heartbeat.",
        HEARTBEATS + "test_another_endpoint_has_a_heartbeat_of_its_own",
        at("record:Record.goes_to", drop(assignment("heartbeat"))),
    ),
    mutant(
        "Gaps of any length are a heartbeat.",
        HEARTBEAT + "test_gaps_that_are_not_steady_are_no_heartbeat",
        at("heartbeat:Heartbeat.heard", put(nth(-1, condition("STEADY")), "True")),
    ),
    # state
    mutant(
        "The last event of a removed endpoint is forgotten.",
        ROTATIONS + "test_the_last_event_of_a_slot_that_is_gone_is_not_forgotten",
        wrap("state:summarise", _forget_gone),
    ),
]
