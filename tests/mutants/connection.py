"""The life of one connection: `stream`."""

from typing import Final

from tests.mutants.edits import (
    after,
    always,
    argument,
    assignment,
    block,
    call,
    condition,
    drop,
    never,
    nth,
    part,
    put,
    statement,
    value_of,
)
from tests.mutants.engine import FUZZ, STORMS, at, mutant

WAKES: Final = FUZZ + "wakes"

MUTANTS: Final = [
    mutant(
        "Bytes do not restart the read clock.",
        STORMS,
        at("read_clocks:ReadClocks.heard", put(value_of("_silent_at"), "self._silent_at")),
    ),
    mutant(
        "A chunk extension restarts the read clock.",
        STORMS,
        at("connection:read", always("size")),
    ),
    mutant("A line that drips is never judged.", STORMS, at("read_clocks:ReadClocks.passed", never("_window_bytes"))),
    mutant(
        "A head that drips restarts the response clock.",
        STORMS,
        at(
            "connection:final_head",
            put(
                nth(-1, statement("received")),
                "IT; R.deadline += 15",
                R=part(call("received"), lambda node: node.args[0]),
            ),
        ),
    ),
    mutant(
        "TLS has a connect budget of its own.",
        STORMS,
        at("connection:_connect", put(argument("secure", 4), "Deadline(services.now(), plan.timeouts.connect, '')")),
    ),
    mutant(
        "Once a line has ended, min_rate never trips again on that connection.",
        STORMS,
        at("read_clocks:ReadClocks.heard", after(nth(-1, assignment("_window_ends")), "self._min_rate = 0.0")),
    ),
    mutant(
        "After a wake by hint, what only the parser sees wakes nobody on that connection.",
        STORMS,
        at("connection:read", put(assignment("woke_early"), "pass")),
    ),
    mutant(
        "min_rate judges all bytes of an unfinished line together, not those of each window.",
        STORMS,
        at("read_clocks:ReadClocks.passed", drop(assignment("_window_bytes"))),
    ),
    mutant(
        "A renewed deadline is doubted like the one before it.",
        "simulation/test_exact_hosts.py::test_a_host_that_is_always_later_than_silence_may_last_keeps_a_healthy_stream",
        at("read_clocks:ReadClocks.heard", put(nth(-1, assignment("renewed")), "self.renewed = False")),
    ),
    mutant(
        "The wake that is owed before a failure is lost.",
        WAKES,
        at("connection:read", put(nth(1, condition("woke_early")), "IT and not FAILED", FAILED=condition("failure"))),
    ),
    mutant(
        "Of the pieces of a read only the last can wake.",
        WAKES,
        at("body:BodyReader._feed_all", put(block("_feed_sink"), "self.wake = IT[0]")),
    ),
    mutant("A stream continues after its end.", WAKES, at("connection:read", never("ended"))),
    mutant(
        "A 407 to a request for http is taken for the origin's.",
        "simulation/test_exact_requests.py::test_a_407_is_the_proxys_own_answer",
        at("connection:open_stream", never("407")),
    ),
]
