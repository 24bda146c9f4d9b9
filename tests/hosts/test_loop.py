"""The services of a loop for code that builds on it: requests, futures, flow control, descriptors, and many tasks."""

from __future__ import annotations

import math
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from tests.hosts.support import PATIENCE, InThread
from wire_rawsse.hosts import schedule as schedule_module
from wire_rawsse.hosts.clock import MAX_GRACES, ON_TIME_WITHIN
from wire_rawsse.hosts.deadlines import DeadlineHeap
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.hosts.poller import MAX_EVENTS
from wire_rawsse.hosts.task import Task
from wire_rawsse.services import HostServices
from wire_rawsse.waits import WAKE, Coroutine, Future, Receive, Wait


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


class Stream:
    """A task that reads a socket pair; each byte is a wake."""

    def __init__(self, loop: Loop, read: float = 60.0) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.received = b""
        self.timeouts = 0
        self._read = read
        self.task = loop.add(self._run)

    def _run(self, services: HostServices) -> Coroutine[None]:
        receive = Receive(self.near, services.now() + self._read)
        receive.restarts = True
        receive.is_wake = bool
        while True:
            data = yield receive
            if data is None:
                self.timeouts += 1
            else:
                self.received += data
            receive.woke_early = False
            receive.deadline = services.now() + self._read

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def streams(loop: Loop) -> Iterator[list[Stream]]:
    """Filled by the test."""
    made: list[Stream] = []
    yield made
    loop.close()
    for one in made:
        one.close()


class TestRequests:
    def test_a_call_from_another_thread_is_made_by_the_thread_that_runs_the_loop(self, loop: Loop) -> None:
        called: list[int] = []

        def call() -> None:
            called.append(threading.get_ident())
            loop.close()

        thread = threading.Timer(0.05, lambda: loop.request(call))
        thread.start()
        assert not loop.run(PATIENCE)
        thread.join()
        assert called == [threading.get_ident()]

    def test_one_before_the_first_run_is_made_in_it(self, loop: Loop, streams: list[Stream]) -> None:
        loop.request(lambda: streams.append(Stream(loop)))
        loop.run(0)
        streams[0].far.send(b"x")
        assert loop.run(PATIENCE)

    def test_a_loop_with_a_request_is_due(self, loop: Loop) -> None:
        loop.run(0)
        assert loop.deadline() == math.inf
        loop.request(lambda: None)
        assert loop.deadline() == 0
        loop.run(0)
        assert loop.deadline() == math.inf


def test_only_the_task_that_waits_for_a_future_is_resumed(loop: Loop) -> None:
    futures: list[Future[int]] = [Future(loop.announce) for _ in range(3)]
    got: list[tuple[int, int | None]] = []

    def wait_for(number: int, services: HostServices) -> Coroutine[None]:
        yield Wait({}, services.now() + 60, futures[number])
        got.append((number, futures[number].value))
        yield WAKE

    for number in range(3):
        loop.add(lambda services, number=number: wait_for(number, services))  # type: ignore[misc]
    assert not loop.run(0)
    InThread(lambda: futures[1].set_result(7)).result()
    assert loop.run(PATIENCE)
    assert got == [(1, 7)]


class TestFlowControl:
    def test_a_paused_task_is_not_received_for_and_others_are(self, loop: Loop, streams: list[Stream]) -> None:
        streams += [Stream(loop), Stream(loop)]
        loop.run(0)
        loop.pause(streams[0].task)
        for one in streams:
            one.far.send(b"x")
        assert loop.run(PATIENCE)
        assert not loop.run(0.02)
        assert [one.received for one in streams] == [b"", b"x"]
        loop.resume(streams[0].task)
        assert loop.run(PATIENCE) and loop.woken() == [streams[0].task]
        loop.run(0)
        assert streams[0].received == b"x"

    @pytest.mark.parametrize("others", [0, 1])
    def test_its_silence_is_not_judged(self, loop: Loop, streams: list[Stream], others: int) -> None:
        streams += [Stream(loop, read=0.05), *(Stream(loop) for _ in range(others))]
        loop.run(0)
        loop.pause(streams[0].task)
        loop.pause(streams[0].task)
        assert not loop.run(0.15)
        assert streams[0].timeouts == 0
        loop.resume(streams[0].task)
        loop.run(0)
        assert streams[0].timeouts == 0, "the time in which it was paused is left out"
        while not streams[0].timeouts:
            loop.run(PATIENCE / 100)

    @pytest.mark.parametrize("others", [0, 1])
    def test_what_was_received_before_is_delivered(self, loop: Loop, streams: list[Stream], others: int) -> None:
        streams += [Stream(loop) for _ in range(1 + others)]
        loop.run(0)
        streams[0].far.send(b"x")
        assert loop.run(PATIENCE)
        loop.pause(streams[0].task)
        loop.run(0)
        assert streams[0].received == b"x"


def test_a_watched_descriptor_calls_back(loop: Loop, streams: list[Stream]) -> None:
    reader, writer = os.pipe()
    heard: list[bytes] = []
    try:
        loop.watch_descriptor(reader, lambda: heard.append(os.read(reader, 100)))
        streams.append(Stream(loop))
        os.write(writer, b"before the first run")
        loop.run(0.01)
        os.write(writer, b"later")
        loop.run(0.01)
        assert heard == [b"before the first run", b"later"]
        streams[0].far.send(b"x")
        os.write(writer, b"!")
        assert loop.run(PATIENCE), "it does not get into the way of a wake"
        loop.run(0)
        loop.forget_descriptor(reader)
        os.write(writer, b"unheard")
        assert not loop.run(0.01)
        assert heard[2:] == [b"!"]
    finally:
        os.close(reader)
        os.close(writer)


class TestManyTasks:
    def test_which_tasks_woke(self, loop: Loop, streams: list[Stream]) -> None:
        streams += [Stream(loop) for _ in range(5)]
        loop.run(0)
        for number in (1, 3):
            streams[number].far.send(b"x")
        assert loop.run(PATIENCE)
        assert set(loop.woken()) == {streams[1].task, streams[3].task}
        assert not loop.run(0)
        assert loop.woken() == []

    def test_and_of_one_alone(self, loop: Loop, streams: list[Stream]) -> None:
        streams.append(Stream(loop))
        loop.run(0)
        streams[0].far.send(b"x")
        assert loop.run(PATIENCE)
        assert loop.woken() == [streams[0].task]
        streams.append(Stream(loop))  # Between the wake and the parsing.
        loop.run(0)
        assert streams[0].received == b"x"

    def test_between_a_wake_and_the_next_run_it_is_due(self, loop: Loop, streams: list[Stream]) -> None:
        streams += [Stream(loop) for _ in range(3)]
        loop.run(0)
        for one in streams[:2]:
            one.far.send(b"x")
        assert loop.run(PATIENCE)
        assert loop.deadline() == 0
        assert streams[0].received == streams[1].received == b"", "nothing is resumed before the caller is back"
        loop.remove(streams[1].task)
        loop.run(0)
        assert (streams[0].received, streams[1].received) == (b"x", b"")
        assert loop.deadline() > 0

    def test_a_wake_is_given_by_few_calls(self, loop: Loop, streams: list[Stream]) -> None:
        """The caller's memory is cold after the sleep, so each function between the poll and the return counts."""
        streams += [Stream(loop) for _ in range(3)]
        loop.run(0)
        streams[1].far.send(b"x")
        called: list[str] = []
        polled = False

        def note(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal polled
            if event == "c_call" and argument.__name__ == "poll":
                polled = True
            elif event == "call" and polled:
                called.append(frame.f_code.co_name)

        sys.setprofile(note)
        try:
            woken = loop.run(PATIENCE)
        finally:
            sys.setprofile(None)
        assert woken
        assert len(called) <= 2 or not polled, called

    @pytest.mark.parametrize("answered", [False, True])
    def test_a_caller_that_was_busy_with_a_wake_judges_nobody_unheard(
        self, loop: Loop, streams: list[Stream], answered: bool
    ) -> None:
        """The wake of one and the timeout of the other were found by one poll."""
        streams += [Stream(loop), Stream(loop, read=0.1)]
        loop.run(0)
        time.sleep(0.15)
        streams[0].far.send(b"x")
        assert loop.run(PATIENCE)
        if answered:
            streams[1].far.send(b"y")
        time.sleep(2 * ON_TIME_WITHIN)
        loop.run(0)
        loop.run(0)
        assert (streams[1].received, streams[1].timeouts) == ((b"y", 0) if answered else (b"", 1))

    def test_nor_a_look_up(self, loop: Loop, streams: list[Stream]) -> None:
        future: Future[int] = Future(loop.announce)
        got: list[object] = []

        def look_up(services: HostServices) -> Coroutine[None]:
            got.append((yield Wait({}, services.now() + 0.1, future)))

        streams.append(Stream(loop))
        loop.add(look_up)
        loop.run(0)
        time.sleep(0.15)
        streams[0].far.send(b"x")
        assert loop.run(PATIENCE)
        future.set_result(7)
        time.sleep(2 * ON_TIME_WITHIN)
        loop.run(0)
        assert got == [()]

    def test_a_flood_of_wakes_puts_no_timeout_off_for_ever(self, loop: Loop, streams: list[Stream]) -> None:
        streams += [Stream(loop), Stream(loop, read=0.1)]
        loop.run(0)
        time.sleep(0.15)
        for _ in range(MAX_GRACES + 2):
            streams[0].far.send(b"x")
            assert loop.run(PATIENCE)
            time.sleep(2 * ON_TIME_WITHIN)
        assert streams[1].timeouts == 1

    def test_its_attributes_are_found_fast(self) -> None:
        """CPython shares the keys of at most 30 attributes. With more, each access takes a search, 5 % of a wake."""
        assert len(vars(Loop())) < 30

    def test_the_first_wake_of_a_fan_out_does_not_wait_for_the_others(self, loop: Loop, streams: list[Stream]) -> None:
        count = 10 * MAX_EVENTS
        streams += [Stream(loop) for _ in range(count)]
        loop.run(0)
        for _ in range(count // schedule_module.MAX_STEPS + 1):
            loop.run(0)
        for one in streams:
            one.far.send(b"x")
        assert loop.run(PATIENCE)
        woken = loop.woken()
        assert 1 <= len(woken) <= MAX_EVENTS
        while loop.run(0):
            woken += loop.woken()
        assert len(woken) == len(set(woken)) == count
        assert all(one.received == b"x" for one in streams)

    def test_a_flood_of_wakes_does_not_put_off_a_deadline_for_ever(self, loop: Loop, streams: list[Stream]) -> None:
        streams += [Stream(loop, read=0.05), *(Stream(loop) for _ in range(2 * MAX_EVENTS))]
        loop.run(0)
        rounds = 0
        while not streams[0].timeouts:
            for one in streams[1:]:
                one.far.send(b"x")
            loop.run(0)
            rounds += 1
            assert rounds < 100_000

    def test_a_restart_of_all_is_done_in_bounded_iterations(self, loop: Loop) -> None:
        steps: list[int] = []

        def step(services: HostServices) -> Coroutine[None]:
            steps.append(1)
            yield Wait({}, services.now() + 60)

        for _ in range(3 * schedule_module.MAX_STEPS):
            loop.add(step)
        loop.run(0)
        assert len(steps) < 3 * schedule_module.MAX_STEPS
        assert loop.deadline() == 0
        while loop.deadline() == 0:
            loop.run(0)
        assert len(steps) == 3 * schedule_module.MAX_STEPS

    def test_nothing_is_left_of_tasks_that_came_and_went(self, loop: Loop, streams: list[Stream]) -> None:
        streams += [Stream(loop), Stream(loop)]
        for _ in range(1000):
            loop.remove(loop.add(lambda services: iter_wait(services)))
            loop.run(0)
        schedule = loop.schedule
        assert len(schedule.tasks) == 2 and not schedule.waiting
        assert schedule._deadlines is not None and len(schedule._deadlines) < 200


def iter_wait(services: HostServices) -> Coroutine[None]:
    yield Wait({}, services.now() + 1000)


class Timed:
    """A task as the heap knows it."""

    def __init__(self) -> None:
        self.entered = math.inf
        self.at = math.inf

    def deadline(self) -> float:
        return self.at


def test_the_heap_says_what_the_smallest_deadline_is() -> None:
    dice = random.Random(7)
    heap, tasks = DeadlineHeap(), [Timed() for _ in range(50)]

    def enter(task: Timed) -> None:
        heap.enter(task)  # type: ignore[arg-type]  # all of a task that it uses

    for _ in range(20_000):
        task = dice.choice(tasks)
        what = dice.random()
        if what < 0.7:
            later = task.at + dice.random()
            task.at = later if later < math.inf else dice.uniform(0, 100)
            enter(task)
        elif what < 0.8:
            task.at = dice.uniform(0, 1000)  # Earlier, and so it is entered again.
            enter(task)
        elif what < 0.9:
            task.at = math.inf
            heap.discard(task)  # type: ignore[arg-type]  # as above
        else:
            until = min(1e6, *(one.at for one in tasks)) + dice.uniform(-1, 2)
            due = heap.take_due(until)
            assert sorted(map(id, due)) == sorted(id(one) for one in tasks if one.at <= until < math.inf)
            for one in due:
                enter(one)  # type: ignore[arg-type]  # as above
        assert heap.earliest() == min(one.at for one in tasks)
        assert len(heap) <= 2 * len(tasks) + 65


def test_the_heap_is_loaded_by_the_second_task(loop: Loop) -> None:
    task: Task = loop.add(iter_wait)
    assert loop.schedule._deadlines is None
    other = loop.add(iter_wait)
    assert isinstance(vars(loop)["schedule"]._deadlines, DeadlineHeap)
    loop.remove(other)
    assert loop.schedule._deadlines is None and loop.schedule.only is task
