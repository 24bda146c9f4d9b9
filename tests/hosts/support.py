"""A few ways to wait for what a client does.

The hosts are tested at the moments between two steps: what is pending in a TLS record, what has been handed over but
not parsed, which deadline stands. So the test holds the server's end of each connection (`tests.support.server.hold`)
and says when the next byte goes out.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Generic, TypeVar

import pytest

import wire_rawsse
from tests.conftest import has_bare_threads
from tests.support.server import CHUNKED as HEAD
from tests.support.server import EVENT, PATIENCE, Peer, Server, Stage, chunk
from wire_rawsse import Backoff, EventSource, Keepalive, StreamSubscriber, Timeouts
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.plan import make_plan
from wire_rawsse.waits import Address

__all__ = ["EVENT", "HEAD", "PATIENCE", "Peer", "Server", "Stage", "chunk"]

T = TypeVar("T")

AT_ONCE: Final = 10.0
"""Seconds within which `close` and similar calls must return in the tests.

The promise is 0.1 s. A busy machine can take longer, so the tests only tell "at once" from "after a timeout".
"""
QUICK: Final = Backoff(initial=0.01, maximum=0.02, healthy_after=0.01)
"""Reconnects at once, so that a test need not wait for it."""
NEVER: Final = Backoff(initial=60, maximum=60)
"""Does not reconnect while a test looks."""

BEAT: Final = b":\n"


@contextmanager
def blackhole() -> Iterator[int]:
    """A port on loopback that answers no SYN: its queue of connections nobody accepts is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(8):
                sock = socket.socket()
                waiting.append(sock)
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                if not select.select([], [sock], [], 0.1)[1]:
                    break
            yield listener.getsockname()[1]
        finally:
            for sock in waiting:
                sock.close()


class InThread(threading.Thread, Generic[T]):
    """One call in a thread of its own, begun at once."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__(name="caller")
        self._call = call
        self._result: list[T] = []
        self.error: BaseException | None = None
        self.ended_at = 0.0
        self.start()

    def run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:
            self.error = error
        self.ended_at = time.monotonic()

    def result(self, timeout: float = PATIENCE) -> T:
        self.join(timeout)
        assert not self.is_alive(), "the call does not return"
        if self.error is not None:
            raise self.error
        return self._result[0]


def until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """For what has no event of its own."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it does not come true"
        time.sleep(0.001)


def phase_of(stream: StreamSubscriber | EventSource) -> str:
    return stream.state.phase if isinstance(stream, StreamSubscriber) else stream._record.phase


def last_byte_of(stream: StreamSubscriber | EventSource) -> float | None:
    return stream.state.last_byte_at if isinstance(stream, StreamSubscriber) else stream._record.last_byte_at


def error_of(subscriber: StreamSubscriber) -> str:
    return subscriber.state.last_error or ""


def connected(server: Server, source: EventSource) -> Peer:
    """The server's end, once the connection has reached its stage; nothing is pending. However long that takes here."""
    helper = InThread(server.peer)
    while helper.is_alive() or (server.stage == "streaming" and phase_of(source) != "streaming"):
        assert source.next(0.005) is None
    assert source.next(0.02) is None
    return helper.result()


def poll_until(subscriber: StreamSubscriber, condition: Callable[[], object], turn: float = 0.005) -> None:
    """Be a host that waits in short turns until `condition`; wakes are dropped."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"it does not come true; {subscriber.state}"
        subscriber.wait(turn)


@contextmanager
def short_turns() -> Iterator[None]:
    """CPython switches between threads as often as it can, so that two of them meet at many places."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def on_signal(handler: Callable[[], object], number: signal.Signals = signal.SIGUSR1) -> Iterator[None]:
    """In the main thread only."""
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(number, before)


def until_asleep(loop: Loop) -> None:
    """Until somebody who runs the loop is in its sleep, or just before it."""
    until(lambda: loop._handle.busy.locked() and not loop._uncommitted)


def strike_main_thread(struck: Sequence[object], number: signal.Signals = signal.SIGUSR1) -> None:
    """Send a signal until its handler, which fills `struck`, has run.

    Once is not always enough: where it arrives between CPython's last look and the system call that sleeps, the call
    sleeps on, as every blocking call of Python's does (signal.set_wakeup_fd is there for that).
    """
    while not struck:
        signal.pthread_kill(threading.main_thread().ident or 0, number)
        time.sleep(0.02)


def watched(subscriber: StreamSubscriber) -> set[int]:
    """The descriptors that the subscriber's epoll holds, by the kernel's own account (proc(5), fdinfo)."""
    return watched_by(subscriber.fileno())


def watched_by(epoll: int) -> set[int]:
    lines = Path(f"/proc/self/fdinfo/{epoll}").read_text().splitlines()
    return {int(line.split()[1]) for line in lines if line.startswith("tfd:")}


class HungResolver:
    """A name service that does not answer until `release`."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._answer = threading.Event()
        self.addresses: list[Address] = []
        self.calls = 0

    def __call__(self, host: str, port: int) -> list[Address]:
        self.calls += 1
        self.asked.set()
        assert self._answer.wait(PATIENCE)
        return self.addresses

    def release(self, port: int | None = None) -> None:
        """Answer: with 127.0.0.1, or with nothing. The threads that hung have ended when this returns."""
        if port is not None:
            self.addresses = [Address(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ("127.0.0.1", port))]
        self._answer.set()
        assert has_bare_threads(0)


def run_script(script: str, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """A Python program of its own, with warnings as errors; its output is shown where it fails."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, args)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2, env=child_environ(), **options)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran


def child_environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent), "PYTHONUNBUFFERED": "1"}


def add_streams(subscriber: StreamSubscriber, urls: Sequence[str], **options: Any) -> None:
    """More endpoints for a subscriber, as `from_wire` has them, without wire's file."""
    for url in urls:
        plan = make_plan(
            url, headers=None, method="GET", body=None, bearer_token=None,
            timeouts=options.get("timeouts", Timeouts()), keepalive=Keepalive(),
            backoff=options.get("backoff", QUICK), tls=options.get("tls"),
        )  # fmt: skip
        subscriber._streams.add(plan)


@contextmanager
def embedded(url: str, **options: Any) -> Iterator[StreamSubscriber]:
    """A subscriber for a host that asks for its descriptor, and that makes the last `wait(0)` which gives it back."""
    with giving_back(StreamSubscriber(url, **options)) as subscriber:
        yield subscriber


@contextmanager
def giving_back(subscriber: StreamSubscriber) -> Iterator[StreamSubscriber]:
    try:
        yield subscriber
    finally:
        subscriber.close()
        with pytest.raises(ClosedError):
            subscriber.wait(0)


PACKAGE: Final = os.path.dirname(wire_rawsse.__file__) + os.sep
EVENTFD = getattr(os, "eventfd", None)


class Struck(BaseException):
    """The exception of the handler. Like KeyboardInterrupt it is no `Exception`, so nobody takes it for a fault of
    ours.
    """


class Striker:
    """Raises `Struck` at the n-th point, in the frames of the library, at which CPython may run a handler.

    `within` restricts it to the functions of that name, `after` to the returns of that function of CPython's. `also` is
    the file of one more module whose frames count.
    """

    def __init__(self, point: int, within: str = "", after: object = None, also: str = PACKAGE) -> None:
        self._left = point
        self._files = PACKAGE, also
        self._within = within
        self._after = after
        self.struck = ""
        """The place of the strike."""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_return") or not frame.f_code.co_filename.startswith(self._files):
            return
        if self._within not in ("", frame.f_code.co_name):
            return
        if self._after not in (None, argument):
            return
        if argument is EVENTFD:
            return  # It gives a bare number, which is lost here: one descriptor, once in a lifetime.
        self._left -= 1
        if self._left == 0:
            sys.setprofile(None)
            self.struck = f"{frame.f_code.co_filename}:{frame.f_lineno}, {event} {getattr(argument, '__name__', '')}"
            raise Struck

    def strikes(self, call: Callable[[], object]) -> bool:
        """Whether the point was reached before `call` returned."""
        hook = sys.unraisablehook
        sys.unraisablehook = lambda _: None  # A strike in a destructor is heard of by nobody, and changes nothing.
        try:
            sys.setprofile(self)
            try:
                call()
            finally:
                sys.setprofile(None)
        except Struck:
            pass
        finally:
            sys.unraisablehook = hook
        return bool(self.struck)
