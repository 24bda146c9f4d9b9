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
    never,
    nth,
    part,
    put,
    select,
    term,
    value_of,
)
from tests.mutants.engine import STORMS, at, mutant, returns, wrap

HOSTS: Final = "simulation/test_exact_hosts.py::"
THREADS: Final = "simulation/test_exact_threads.py::"


def _close_first(right: Any, task: Any, sock: Any) -> None:
    number = sock.fileno()
    sock.close()
    task._loop.forget(number)


def _close_and_forget(right: Any, task: Any, sock: Any) -> None:
    sock.close()
    right(task, sock)


def _announce_first(right: Any, future: Any) -> None:
    future._announce()
    future.done = True


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
        at(
            "hosts.inline:Loop.run",
            put(
                part(block("find"), lambda node: node.body[0]),
                "RECEIVE.woke_early = True",
                RECEIVE=part(assigned("recv", "wake_marker"), lambda node: node.elts[0].value),
            ),
        ),
    ),
    mutant(
        "Plaintext that TLS still holds is not read before a wait.",
        STORMS,
        at("hosts.turns:Turns._step", put(nth(-1, term("pending")), "False")),
    ),
    mutant(
        "TLS with something to send does not wait for writability.",
        STORMS,
        at("hosts.turns:Turns._refused", put(assigned("WriteToo"), "READ")),
    ),
    mutant(
        "A restart hands the value of the old connection to the new one.",
        STORMS,
        at("hosts.turns:Turns._resume", put(part(assignment("given"), lambda node: node.value.elts[1]), "task.given")),
    ),
    mutant(
        "The result of another thread is not looked for.", STORMS, at("hosts.turns:Turns._answer_bell", never("done"))
    ),
    mutant(
        "Deadlines are kept on the wall clock.",
        STORMS,
        at("hosts.turns:Turns.__init__", put(value_of("_monotonic"), "system.time")),
    ),
    mutant(
        "A deadline is judged by a poll that began before it.",
        STORMS,
        at(
            "hosts.turns:Turns._after_sleep",
            put(
                assigned("_overdue"),
                "self._overdue(REAL, REAL) if self._soonest <= REAL else []",
                REAL=argument("_overdue", 1),
            ),
        ),
    ),
    mutant(
        "A late host judges before it looks.",
        STORMS,
        at(
            "hosts.turns:Turns._before_sleep",
            before(
                assignment("_soonest"),
                """
                for one in self._tasks:
                    if not one.due and one.throw is None and one.deadline() <= self._began:
                        one.expired(self._began)
                """,
            ),
        ),
    ),
    mutant(
        "A restart is given the clock of the last byte.",
        STORMS,
        at("hosts.turns:Turns._step", put(condition("restarts"), "IT[0] or IT[1] or (IT[2] and not (IT[3]))")),
    ),
    mutant(
        "A peer that drips stops the clock of a host that only looks in.",
        STORMS,
        at("hosts.turns:Turns._overdue", never("beyond_doubt")),
    ),
    mutant(
        "A host that looks in just when a deadline passes counts as one that slept until then.",
        STORMS,
        returns("hosts.inline:Loop.slept_until", True),
    ),
    mutant(
        "A restart that meets received bytes is lost.",
        STORMS,
        at("hosts.turns:Turns._resume", put(nth(0, condition("IsNot")), "task.throw is not None")),
    ),
    mutant(
        "deadline() does not know of received bytes that are unparsed.",
        STORMS,
        at("hosts.inline:Loop.deadline", put(term("_caught"), "False")),
    ),
    mutant(
        "The state file is closed before the streams, and says `connected` for ever.",
        STORMS,
        at(
            "hosts.inline:Loop._tear_down_if_idle",
            before(select(ast.For), "if self.chore is not None: self.chore.close(); self.chore = None"),
        ),
    ),
    mutant(
        "A reception takes all that the socket has.",
        STORMS,
        at(
            "hosts.turns:Turns._with_rest",
            put(block("RECEIVE_BYTES"), "while more := receive.recv(RECEIVE_BYTES): data += more"),
        ),
    ),
    mutant(
        "A reset after a reception that filled its buffer is left to be met again.",
        "simulation/test_exact_bodies.py::test_a_reset_is_told_as_one_however_much_came_before_it",
        at("hosts.turns:Turns._with_rest", drop(assignment("behind"))),
    ),
    # The poller's table.
    mutant(
        "The poller's table keeps all that a descriptor was ever registered for.",
        STORMS,
        at(
            "hosts.poller:Watch.arm",
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
        at("hosts.task:Task.found", never("slept_until")),
    ),
    mutant(
        "A host's absence is charged to a stream that has its answer.",
        STORMS,
        at("hosts.task:Task.resumed", drop(assignment("_lag"))),
    ),
    mutant(
        "Each stream of a subscriber has its own look-ups.", STORMS, at("hosts.task:Task.resolve", always("resolver"))
    ),
    mutant(
        "The doubts of a late host are counted over the task's whole life.",
        STORMS,
        at("hosts.task:Task._doubt", put(assignment("_doubts"), "self._doubts += 1")),
    ),
    mutant(
        "Grace that was given to a look-up's thread outlasts its deadline.",
        HOSTS + "test_what_a_look_up_was_spared_is_not_charged_to_the_attempt_behind_it",
        at("hosts.task:Task.expired", drop(assignment("_spared"))),
    ),
    mutant(
        "A renewed deadline is doubted from zero after looks that found no data.",
        HOSTS + "test_a_drip_in_large_records_has_as_many_doubts_as_any_other",
        at("hosts.task:Task._doubt", drop(assignment("renewed"))),
    ),
    mutant(
        "TLS control records postpone a deadline for ever.",
        HOSTS + "test_control_records_do_not_stop_the_clock_of_a_host_that_only_looks_in",
        at("hosts.task:Task._doubt", put(value_of("_doubts"), "1")),
    ),
    mutant(
        "A late host gives up in the middle of a large record.",
        HOSTS + "test_a_late_host_takes_a_large_record_in_pieces",
        at("hosts.turns:Turns._overdue", always("beyond_doubt")),
    ),
    # Other threads.
    mutant(
        "A look-up's result is announced before it can be seen.",
        THREADS + "test_a_host_that_is_quicker_than_the_thread_that_tells_it_of_an_answer_finds_it",
        wrap("waits:Future._set_done", _announce_first),
    ),
    mutant(
        "A notification while another thread notifies or closes is lost.",
        THREADS + "test_who_rings_while_another_rings_is_heard_all_the_same",
        at("hosts.bell:Bell._settle", after(select(ast.If, "release"), "return")),
    ),
    mutant(
        "The end of the thread sets the WakeChannel.",
        THREADS + "test_the_end_of_a_subscriber_is_no_wake",
        wrap("hosts.thread:SubscriberThread._run", _wake_at_the_end),
    ),
]
