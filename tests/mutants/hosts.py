"""The loop, its tasks and their clocks: `hosts` and `waits`."""

import ast
from typing import Any, Final

from tests.mutants.edits import (
    after,
    always,
    argument,
    assigned,
    assignment,
    before,
    block,
    condition,
    drop,
    expression,
    never,
    nth,
    part,
    put,
    select,
    term,
    value_of,
)
from tests.mutants.engine import STORMS, at, mutant, wrap

HOSTS: Final = "simulation/test_exact_hosts.py::"
THREADS: Final = "simulation/test_exact_threads.py::"


def _close_first(right: Any, task: Any, sock: Any) -> None:
    number = sock.fileno()
    sock.close()
    task._handle.watch.forget(number)


def _close_and_forget(right: Any, task: Any, sock: Any) -> None:
    sock.close()
    right(task, sock)


def _announce_first(right: Any, future: Any, value: Any) -> None:
    future._set_done()
    future.value = value


def _wake_at_the_end(right: Any, thread: Any) -> None:
    try:
        right(thread)
    finally:
        thread._wake.set()


MUTANTS: Final = [
    # The loop.
    mutant(
        "A wake that the hint saw counts as given, but is not.",
        STORMS,
        at("hosts.loop:Loop.run", put(block("find"), "self._seen = IT[0]")),
        at("hosts.loop:Loop._before_sleep", put(argument("_deliver_pending", "woke"), "self._seen")),
    ),
    mutant(
        "TLS with something to send does not wait for writability.",
        STORMS,
        at("transport.channel:Channel.received", put(expression("READ", "WRITE", "BitOr"), "READ")),
    ),
    mutant(
        "A restart hands the value of the old connection to the new one.",
        STORMS,
        at(
            "hosts.task:Task.step",
            put(part(assignment("send_value"), lambda node: node.value.elts[1]), "self.send_value"),
        ),
    ),
    mutant(
        "The result of another thread is not looked for.",
        STORMS,
        at("hosts.schedule:Schedule.answer", never("runnable")),
    ),
    mutant(
        "Deadlines are kept on the wall clock.",
        STORMS,
        at("hosts.loop:Loop.__init__", put(value_of("_monotonic"), "system.time")),
    ),
    mutant(
        "A deadline is judged by a poll that began before it.",
        STORMS,
        at(
            "hosts.loop:Loop._judge",
            put(
                assigned("take_overdue"),
                "self.schedule.take_overdue(REAL, REAL) if self._next_deadline <= REAL else {}",
                REAL=argument("take_overdue", 1),
            ),
        ),
    ),
    mutant(
        "A late host judges before it looks.",
        STORMS,
        at(
            "hosts.loop:Loop._before_sleep",
            before(
                assignment("_next_deadline"),
                """
                for one in self.schedule.take_overdue(self._poll_started, self._poll_started):
                    self.schedule.time_out(one, self._poll_started)
                """,
            ),
        ),
    ),
    mutant(
        "A restart is given the clock of the last byte.",
        STORMS,
        at("hosts.task:Task.step", put(condition("restarts"), "IT[0] or IT[1] or (IT[2] and not (IT[3]))")),
    ),
    mutant(
        "A peer that drips stops the clock of a host that only looks in.",
        STORMS,
        at("hosts.schedule:Schedule.take_overdue", never("out_of_grace")),
    ),
    mutant(
        "A host that looks in just when a deadline passes counts as one that slept until then.",
        STORMS,
        at("hosts.clock:StreamClock.on_data", put(condition("slept_from"), "IT[0]")),
    ),
    mutant(
        "A restart that meets received bytes is lost.",
        STORMS,
        at(
            "hosts.task:Task.step",
            put(nth(2, condition("IsNot")), "self.exception is not None"),
        ),
    ),
    mutant(
        "deadline() does not know of received bytes that are unparsed.",
        STORMS,
        at("hosts.loop:Loop.deadline", put(term("_pending_data"), "False")),
    ),
    mutant(
        "The state file is closed before the streams, and says `connected` for ever.",
        STORMS,
        at(
            "hosts.loop:Loop._give_back",
            before(nth(0, select(ast.For)), "for one in self._housekeeping: one.close()"),
        ),
    ),
    mutant(
        "A reception takes all that the socket has.",
        STORMS,
        at("hosts.loop:Loop.run", put(assigned("bufsize"), "IT[0], 1 << 20, IT[2], IT[3]")),
    ),
    # The poller's table.
    mutant(
        "The poller's table keeps all that a descriptor was ever registered for.",
        STORMS,
        at(
            "hosts.watch:Watch.arm",
            put(
                value_of("interest"),
                "self.interest.get(FD, 0) | IT",
                FD=part(assignment("interest"), lambda node: node.targets[0].slice),
            ),
        ),
    ),
    # Tasks and their clocks.
    mutant("A socket is closed before it leaves the poller.", STORMS, wrap("hosts.task:Task.release", _close_first)),
    mutant(
        "A socket is closed first and then cannot be found in the poller.",
        STORMS,
        wrap("hosts.task:Task.release", _close_and_forget),
    ),
    mutant(
        "A peer that drips in step with a deadline moves it ahead.",
        STORMS,
        at("hosts.clock:StreamClock.on_data", never("slept_from")),
    ),
    mutant(
        "A host's absence is charged to a stream that has its answer.",
        STORMS,
        at("hosts.clock:StreamClock.on_resume", drop(assignment("lag"))),
    ),
    mutant(
        "Each stream of a subscriber has its own look-ups.",
        STORMS,
        at("hosts.handle:Handle.resolve", always("_resolver")),
    ),
    mutant(
        "The doubts of a late host are counted over the task's whole life.",
        STORMS,
        at("hosts.clock:StreamClock._use_grace", put(assignment("graces"), "self.graces += 1")),
    ),
    mutant(
        "Grace that was given to a look-up's thread outlasts its deadline.",
        HOSTS + "test_what_a_look_up_was_spared_is_not_charged_to_the_attempt_after_it",
        at("hosts.clock:StreamClock.on_timeout", drop(assignment("_reprieve"))),
    ),
    mutant(
        "A renewed deadline is doubted from zero after looks that found no data.",
        HOSTS + "test_a_chunk_extension_that_drips_after_a_heartbeat_ends_as_well",
        at("hosts.task:Task.step", drop(assignment("renewed"))),
    ),
    mutant(
        "TLS control records postpone a deadline for ever.",
        HOSTS + "test_control_records_do_not_stop_the_clock_of_a_host_that_only_looks_in",
        at("hosts.clock:StreamClock._use_grace", put(value_of("graces"), "1")),
    ),
    mutant(
        "A late host gives up in the middle of a large record.",
        HOSTS + "test_a_late_host_takes_a_large_record_in_pieces",
        at("hosts.schedule:Schedule.take_overdue", always("out_of_grace")),
    ),
    # Other threads.
    mutant(
        "A look-up's result is announced before it can be seen.",
        THREADS + "test_a_host_that_is_quicker_than_the_thread_that_tells_it_of_an_answer_finds_it",
        wrap("waits:Future.set_result", _announce_first),
    ),
    mutant(
        "A notification while another thread notifies or closes is lost.",
        THREADS + "test_who_rings_while_another_rings_is_heard_all_the_same",
        at("wakeup:WakeupFd._settle", after(select(ast.If, "release"), "self._notified = self._closing = False")),
    ),
    mutant(
        "The end of the thread sets the WakeChannel.",
        THREADS + "test_the_end_of_a_subscriber_is_no_wake",
        wrap("hosts.thread:SubscriberThread._run", _wake_at_the_end),
    ),
]
