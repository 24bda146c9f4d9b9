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
    result,
    select,
    statement,
    term,
    value_of,
)
from tests.mutants.engine import STORMS, at, mutant, returns, wrap

HOSTS: Final = "simulation/test_exact_hosts.py::"
MACHINE: Final = "simulation/test_exact_surroundings.py::"
SUSPENDS: Final = "simulation/test_exact_suspends.py::"
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
        at("hosts.clock:StreamClock.on_data", put(condition("ON_TIME_WITHIN"), "IT[0]")),
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
        at("hosts.clock:StreamClock.on_data", never("ON_TIME_WITHIN")),
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
    mutant(
        "A timeout that a busy caller has delayed is told without another look.",
        "hosts/test_clock.py::test_a_timeout_that_was_noticed_before_is_judged_once_more_if_the_host_was_away",
        at("hosts.clock:StreamClock.looks_again", put(nth(-1, result()), "False")),
    ),
    mutant(
        "A time-out that is told late hides the next heartbeat.",
        "simulation/test_exact_heartbeats.py::test_waits_that_end_late_hide_no_heartbeat",
        at("hosts.clock:StreamClock.on_data", always("SLEPT")),
    ),
    # The machine.
    mutant(
        "A lost address is believed without asking the kernel.",
        MACHINE + "test_a_lost_address_that_came_back_loses_no_stream",
        at("hosts.consequences:Consequences._examine", put(condition("gone"), "IT[0]")),
    ),
    mutant(
        "A network of any family ends a pause.",
        MACHINE + "test_a_network_of_another_family_leaves_it_alone",
        returns("waits:Pause.concerns", True),
    ),
    mutant(
        "A connection in doubt is dropped although it speaks.",
        MACHINE + "test_a_sign_of_life_ends_the_doubt",
        at("hosts.consequences:_Drop.is_over", put(nth(-1, result()), "False")),
    ),
    mutant(
        "Routes of several paths raise a doubt each time.",
        MACHINE + "test_a_source_that_was_seen_before_raises_no_doubt",
        at("hosts.consequences:Consequences._is_news", put(nth(-1, result()), "IT[1]")),
    ),
    mutant(
        "A doubt is judged before the received bytes have been looked at.",
        MACHINE + "test_a_late_host_judges_a_doubt_only_after_it_has_looked",
        at("hosts.consequences:Consequences._judge", put(statement("recv"), "raise BlockingIOError")),
    ),
    mutant(
        "A suspend ends a connection that was begun after it.",
        SUSPENDS + "test_a_connection_that_is_begun_after_a_suspend_outlives_it",
        at("hosts.consequences:Consequences._renew", always("resumes")),
    ),
    mutant(
        "The clocks are not compared before a connection is begun.",
        SUSPENDS + "test_a_connection_that_is_begun_after_a_suspend_outlives_it",
        at("hosts.surroundings:Surroundings._opened", drop(statement("due_if_awake"))),
    ),
    mutant(
        "All streams are checked in one step.",
        MACHINE + "test_many_streams_are_checked_and_dropped_in_parts",
        at(
            "hosts.consequences:Consequences._check_some",
            put(nth(0, select(ast.Name, "MOST_AT_ONCE")), "10**9"),
            put(select(ast.Name, "MOST_AT_ONCE"), "10**9"),
        ),
    ),
    mutant(
        "Each announcement is looked at by itself.",
        MACHINE + "test_a_thousand_announcements_a_second_are_looked_at_four_times",
        at("hosts.surroundings:Surroundings._look_soon", put(value_of("_look_at"), "self._monotonic()")),
    ),
    mutant(
        "Lost announcements are taken for none.",
        MACHINE + "test_lost_announcements_mean_that_everything_is_looked_at",
        at("hosts.consequences:Consequences.look", put(condition("change"), "change.gone")),
    ),
    mutant(
        "A suspend ends no pause.",
        SUSPENDS + "test_a_suspend_ends_a_pause",
        at("hosts.consequences:Consequences._renew", never("isinstance", "Pause")),
    ),
    mutant(
        "A suspend of any length is noticed.",
        SUSPENDS + "test_short_suspends_are_outlived",
        at(
            "hosts.surroundings:Surroundings.due_if_awake",
            put(nth(0, condition("LEAST")), "IT[0] <= 1"),
            put(condition("LEAST"), "IT[0] > 1"),
        ),
    ),
    mutant(
        "A socket that cannot be watched for a while is given up.",
        MACHINE + "test_a_socket_that_cannot_be_watched_for_a_while_is_read_all_the_same",
        at("hosts.surroundings:Surroundings._look", drop(nth(-1, assignment("_look_at")))),
    ),
    mutant(
        "A watch that had no descriptor at first is never opened.",
        "simulation/test_exact_scarcity.py::test_a_watch_without_a_descriptor_is_tried_again_at_the_next_connection",
        at("hosts.surroundings:Surroundings._opened", never("_incomplete")),
    ),
    mutant(
        "A watch that is opened late has missed nothing.",
        "simulation/test_exact_scarcity.py::test_changes_before_a_late_watch_are_looked_for",
        at("hosts.surroundings:Surroundings._opened", never("_network")),
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
