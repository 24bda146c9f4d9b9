"""A server that the test itself drives, step by step, and a few ways to wait for what a client does.

The hosts are tested at the moments between two steps: what is pending in a TLS record, what has been handed over but
not parsed, which deadline stands. So the test holds the server's end of each connection in its hand (`Peer`) and says
when the next byte goes out. How far a connection gets by itself, in a thread of the server's, is its *stage*.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import pytest

import wire_rawsse
from tests.conftest import has_bare_threads
from wire_rawsse import Backoff, EventSource, Keepalive, StreamSubscriber, Timeouts
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.inline import Loop
from wire_rawsse.plan import make_plan
from wire_rawsse.waits import Address

T = TypeVar("T")

PATIENCE: Final = 20.0
"""Seconds that a test waits for what should come at once: only a failing test ever waits so long."""
AT_ONCE: Final = 10.0
"""Seconds within which `close` and similar calls must return in the tests.

The promise is 0.1 s. A busy machine can take longer, so the tests only tell "at once" from "after a timeout".
"""
QUICK: Final = Backoff(initial=0.01, maximum=0.02, healthy_after=0.01)
"""Reconnects at once, so that a test need not wait for it."""
NEVER: Final = Backoff(initial=60, maximum=60)
"""Does not reconnect while a test looks."""

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT: Final = b"data: x\n\n"
BEAT: Final = b":\n"

Stage: TypeAlias = Literal["accepted", "secured", "asked", "streaming"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, request: bytes) -> None:
        self.sock = sock
        self.request = request

    def send(self, data: bytes) -> None:
        """As it is; up to 16 KiB of it are one TLS record."""
        self.sock.sendall(data)

    def say(self, body: bytes = EVENT) -> None:
        """One chunk of the response's body."""
        self.send(chunk(body))

    def end(self) -> None:
        """The stream ends as it should."""
        self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def gone(self, timeout: float = PATIENCE) -> bool:
        """Whether the client closes within `timeout` seconds."""
        self.sock.settimeout(timeout)
        try:
            while self.sock.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        finally:
            self.sock.setblocking(True)
        return True


class Server:
    """Listens on loopback. `peer()` is the next connection, once it has reached `stage`."""

    def __init__(self, context: ssl.SSLContext | None, stage: Stage) -> None:
        self.stage = stage
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self.port}/"
        self._ready: queue.SimpleQueue[Peer] = queue.SimpleQueue()
        self._sockets: list[socket.socket] = []
        self._closing = False
        self._answering = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, name="server")]
        self._threads[0].start()

    def peer(self, timeout: float = PATIENCE) -> Peer:
        """Raises `queue.Empty`."""
        return self._ready.get(timeout=timeout)

    def nobody(self, within: float) -> bool:
        """Whether no connection comes within so many seconds."""
        try:
            self.peer(within)
        except queue.Empty:
            return True
        return False

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self._sockets.append(sock)
            if self._closing:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._receive, args=(sock, self.stage), name="server-peer")
            self._threads.append(thread)
            thread.start()

    def _receive(self, sock: socket.socket, stage: Stage) -> None:
        request = b""
        try:
            if self._context is not None and stage != "accepted":
                sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                self._sockets.append(sock)
                assert isinstance(sock, ssl.SSLSocket)
                sock.do_handshake()
            while stage in ("asked", "streaming") and not request.endswith(b"\r\n\r\n"):
                data = sock.recv(4096)
                if not data:
                    return
                request += data
            with self._answering:  # A client that has the head may connect again; that peer comes after this one.
                if stage == "streaming":
                    sock.sendall(HEAD)
                self._ready.put(Peer(sock, request))
        except (OSError, ValueError):
            return  # The client has gone, or the test is over.

    def close(self) -> None:
        self._closing = True
        with socket.create_connection(("127.0.0.1", self.port)):
            self._threads[0].join(PATIENCE)
        self._listener.close()
        for sock in self._sockets:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # Ends a handshake or request that a thread waits for.
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE)
        for sock in self._sockets:
            sock.close()


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
def on_signal(handler: Callable[[], object], number: signal.Signals = signal.SIGUSR1) -> Iterator[None]:
    """In the main thread only."""
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(number, before)


def until_asleep(loop: Loop) -> None:
    """Until somebody who runs the loop is in its sleep, or just before it."""
    until(lambda: loop._busy.locked() and not loop._in_hand)


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


def closed_port() -> int:
    """Nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


PACKAGE: Final = os.path.dirname(wire_rawsse.__file__) + os.sep
EVENTFD = getattr(os, "eventfd", None)


class Struck(BaseException):
    """What the handler raises. Like KeyboardInterrupt it is no `Exception`, so nobody takes it for a fault of ours."""


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
        """Where that was."""

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
