"""Names: never in the caller's thread, never more than one thread that hangs, and numeric hosts without any."""

from __future__ import annotations

import _thread
import functools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from weakref import ref

import pytest

from tests.conftest import has_bare_threads
from tests.support.drive import drive
from tests.support.server import PATIENCE
from wire_rawsse.services import HostServices
from wire_rawsse.transport.resolve import Resolver, look_up
from wire_rawsse.waits import Address, Coroutine, Future, Wait

FOUND = [Address(socket.AF_INET, socket.SOCK_STREAM, 6, ("127.0.0.1", 80))]


class Names:
    """A look-up that hangs until it is let go."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.go = threading.Event()
        self.error: Exception | None = None

    def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append((host, port))
        assert self.go.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return FOUND


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.go.set()


def until(answer: Future[list[Address]], told: threading.Event) -> None:
    assert told.wait(PATIENCE) and answer.done


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo", "127.1"])
def test_a_numeric_host_needs_no_thread(host: str, names: Names) -> None:
    if host.endswith("%lo") and sys.platform != "linux":
        pytest.skip("no interface of that name")
    announced = threading.Event()
    answer = Resolver(lambda _: announced.set(), names).resolve(host, 8770)
    assert answer.done and answer.error is None
    assert answer.value is not None and answer.value[0].sockaddr[1] == 8770
    assert names.asked == [] and has_bare_threads(0)


def test_a_name_is_looked_up_in_a_thread(names: Names) -> None:
    announced = threading.Event()
    answer = Resolver(lambda _: announced.set(), names).resolve("relay.example", 80)
    assert not answer.done and not announced.is_set()
    assert has_bare_threads(1)
    names.go.set()
    until(answer, announced)
    assert (answer.value, answer.error) == (FOUND, None)
    assert names.asked == [("relay.example", 80)]


def test_an_error_is_delivered(names: Names) -> None:
    names.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    names.go.set()
    announced = threading.Event()
    answer = Resolver(lambda _: announced.set(), names).resolve("relay.example", 80)
    until(answer, announced)
    assert answer.value is None and answer.error is names.error


def test_an_unexpected_error_is_delivered_too(names: Names) -> None:
    names.error = MemoryError()
    names.go.set()
    announced = threading.Event()
    answer = Resolver(lambda _: announced.set(), names).resolve("relay.example", 80)
    until(answer, announced)
    assert isinstance(answer.error, MemoryError)


def test_one_thread_however_often_it_is_retried(names: Names) -> None:
    announced = threading.Event()
    resolver = Resolver(lambda _: announced.set(), names)
    answers = [resolver.resolve("relay.example", 80) for _ in range(100)]
    assert has_bare_threads(1)
    names.go.set()
    until(answers[-1], announced)
    assert answers[-1].value == FOUND
    assert len(names.asked) == 1


def test_an_answer_that_was_given_up_is_forgotten(names: Names) -> None:
    """Attempts are repeated for as long as a look-up hangs."""
    resolver = Resolver(lambda _: None, names)
    last = resolver.resolve("relay.example", 80)
    for _ in range(1000):
        last = resolver.resolve("relay.example", 80)
    assert len(resolver._under_way["relay.example", 80]._waiting) <= 2
    given_up = ref(last)
    del last
    assert given_up() is None


def test_a_failure_is_no_answer_to_who_joined_later_and_asks_again() -> None:
    """The first question was asked while the network was down, and fails when it is up again."""
    asked, fail, announced = threading.Event(), threading.Event(), threading.Event()
    threads: list[int] = []

    def ask(host: str, port: int) -> list[Address]:
        threads.append(threading.get_ident())
        if len(threads) > 1:
            return FOUND
        asked.set()
        assert fail.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    resolver = Resolver(lambda _: announced.set(), ask)
    first = resolver.resolve("relay.example", 80)
    assert asked.wait(PATIENCE)
    second = resolver.resolve("relay.example", 80)
    fail.set()
    until(second, announced)
    assert (second.value, second.error) == (FOUND, None)
    assert first.error is not None and len(threads) == 2 and threads[0] == threads[1], "by the thread that there is"


def test_once_it_came_back_the_next_one_asks_again(names: Names) -> None:
    names.go.set()
    announced = threading.Event()
    resolver = Resolver(lambda _: announced.set(), names)
    for count in (1, 2, 3):
        until(resolver.resolve("relay.example", 80), announced)
        announced.clear()
        assert len(names.asked) == count


def test_another_name_is_not_held_up(names: Names) -> None:
    announced = threading.Event()

    def ask(host: str, port: int) -> list[Address]:
        return names(host, port) if host == "hangs.example" else FOUND

    resolver = Resolver(lambda _: announced.set(), ask)
    resolver.resolve("hangs.example", 80)
    until(resolver.resolve("relay.example", 80), announced)


def test_no_thread_to_be_had(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    announced = threading.Event()
    resolver = Resolver(lambda _: announced.set(), names)
    for _ in range(2):
        answer = resolver.resolve("relay.example", 80)
        assert answer.done and isinstance(answer.error, OSError)


def test_a_wait_ends_at_its_deadline_while_the_look_up_hangs(names: Names) -> None:
    def wait(services: HostServices) -> Coroutine[object]:
        return (yield Wait({}, services.now() + 0.1, Resolver(lambda _: None, names).resolve("relay.example", 80)))

    began = time.monotonic()
    assert drive(wait) is None
    assert time.monotonic() - began >= 0.1


def test_a_real_look_up() -> None:
    """`localhost` is in every machine's hosts file."""
    found = look_up("localhost", 8770)
    assert found
    for address in found:
        assert address.type == socket.SOCK_STREAM
        assert address.sockaddr[:2] in (("127.0.0.1", 8770), ("::1", 8770))


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..b", "."])
def test_a_name_that_is_none(host: str) -> None:
    with pytest.raises(OSError):
        look_up(host, 80)


def test_a_function_in_the_place_of_getaddrinfo_is_given_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of names in a program, or gevent's resolver, may know nothing else."""
    asked: list[str] = []
    genuine = socket.getaddrinfo

    @functools.wraps(genuine)
    def getaddrinfo(host: str, *arguments: Any, **named: Any) -> Any:
        asked.append(host)
        return genuine("127.0.0.1", *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert [address.sockaddr for address in look_up("relay.example", 80)] == [("127.0.0.1", 80)]
    assert asked == ["relay.example"]


def test_a_hanging_look_up_does_not_hold_up_the_exit() -> None:
    code = """
import time
from wire_rawsse.transport.resolve import Resolver
Resolver(lambda _: None, lambda host, port: time.sleep(3600)).resolve("relay.example", 80)
print("over")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "over\n" and done.stderr == ""


def test_addresses_as_text() -> None:
    assert str(FOUND[0]) == "127.0.0.1:80"
    assert str(Address(socket.AF_INET6, socket.SOCK_STREAM, 6, ("::1", 80, 0, 0))) == "[::1]:80"
    assert str(Address(1, socket.SOCK_STREAM, 0, "/run/x.sock")) == "/run/x.sock"
