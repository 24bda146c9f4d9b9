"""The hosts that the scenes are run against, behind one interface."""

from __future__ import annotations

import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final

from tests.hosts.conftest import Serve
from tests.hosts.scenes import all_closed, descriptors
from tests.hosts.support import (
    PATIENCE,
    Peer,
    Server,
    Struck,
    add_streams,
    on_signal,
    strike_main_thread,
    until,
    until_asleep,
)
from tests.simulation.single import HTTP, HTTPS, Single, elsewhere
from tests.support.aio import LOOPS
from wire_rawsse import Backoff, EndpointState, StreamSubscriber, Timeouts, WakeChannel, spawn_stream_subscriber
from wire_rawsse.aio import AsyncStreamSubscriber
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.loop import Loop

NOTHING: Final = b":\n"
"""A heartbeat."""


class Host(ABC):
    """A program with so many streams, each to a server of its own, and the servers' side of it."""

    name: ClassVar[str]
    can: ClassVar[frozenset[str]] = frozenset()
    read: ClassVar[float]
    """`Timeouts.read` of each stream, in seconds: long enough for what a scene does between two waits."""
    slack: ClassVar[float]
    """Seconds by which a deadline may be kept late: 0 where nothing else uses the processor."""

    @abstractmethod
    def __init__(self, serve: Serve, tls: bool, trust: str, streams: int, max_age: float = 0) -> None:
        """`max_age`: that of `Timeouts`. With it, `read` is long."""

    @abstractmethod
    def wait(self, timeout: float) -> bool:
        """Be the program, asleep: True at once on a wake, False after `timeout` seconds or when closed."""

    @abstractmethod
    def now(self) -> float: ...
    @abstractmethod
    def away(self, seconds: float) -> None:
        """The program does something else."""

    @abstractmethod
    def say(self, body: bytes, stream: int = 0) -> None:
        """The server sends these bytes of the body on the present connection."""

    @abstractmethod
    def hang_up(self, stream: int = 0) -> None:
        """The server resets the present connection, and is not connected to again for a minute."""

    @abstractmethod
    def phase(self, stream: int = 0) -> str: ...
    @abstractmethod
    def connections(self, stream: int = 0) -> int:
        """How many the server has accepted so far."""

    @abstractmethod
    def events_seen(self, stream: int = 0) -> bool:
        """Whether an event has been parsed."""

    @abstractmethod
    def restart(self) -> None: ...
    @abstractmethod
    def close(self) -> None: ...
    @abstractmethod
    def left_open(self) -> object:
        """The things that are still open after `close`; anything false for none."""

    @abstractmethod
    def end(self) -> None:
        """The scene is over: close what is open."""

    def flood(self, seconds: float, stream: int = 0) -> Callable[[], None]:
        """Heartbeats without a pause, for so long or until the connection ends. Call the result after the scene."""
        raise NotImplementedError

    def strike(self) -> bool:
        """Wait, and be struck in the sleep by a signal handler that raises. True: it came out of `wait`."""
        raise NotImplementedError


class RealHost(Host):
    """`wait` is what differs. The program closes for good, and makes one more look if it must."""

    kind: ClassVar[Any] = StreamSubscriber
    read = 0.5
    slack = PATIENCE

    def __init__(self, serve: Serve, tls: bool, trust: str, streams: int, max_age: float = 0) -> None:
        self.servers: list[Server] = [serve(tls=tls) for _ in range(streams)]
        options: dict[str, Any] = {
            "tls": trust,
            "timeouts": Timeouts(max_age=max_age) if max_age else Timeouts(read=self.read),
            "backoff": Backoff(initial=60, maximum=60, healthy_after=1000),
        }
        self.open([server.url for server in self.servers], options)
        self._peers: list[list[Peer]] = [[] for _ in self.servers]
        self._held: dict[int, str] = {}
        self.begin()

    def open(self, urls: list[str], options: dict[str, Any]) -> None:
        self.subscriber: StreamSubscriber = self.kind(urls[0], **options)
        add_streams(self.subscriber, urls[1:], **options)

    def begin(self) -> None:
        """Before the first wait."""

    @property
    def loop(self) -> Loop:
        return self.subscriber._loop

    def look(self) -> object:
        """The program's call with a timeout of 0."""
        return self.subscriber.wait(0)

    def state(self, stream: int) -> EndpointState:
        return self.subscriber.state.endpoints[stream]

    def now(self) -> float:
        return time.monotonic()

    def away(self, seconds: float) -> None:
        time.sleep(seconds)

    def _peer(self, stream: int) -> Peer:
        peers = self._peers[stream]
        while len(peers) < self.connections(stream):
            peers.append(self.servers[stream].peer())
        return peers[-1]

    def say(self, body: bytes, stream: int = 0) -> None:
        self._peer(stream).say(body)

    def hang_up(self, stream: int = 0) -> None:
        self._peer(stream).reset()

    def phase(self, stream: int = 0) -> str:
        return self.state(stream).phase

    def connections(self, stream: int = 0) -> int:
        return self.state(stream).reconnect_count + 1

    def events_seen(self, stream: int = 0) -> bool:
        return self.state(stream).last_event_at is not None

    def restart(self) -> None:
        self.subscriber.restart()

    def close(self) -> None:
        self._held = descriptors(self.loop)
        self.subscriber.close()

    def left_open(self) -> object:
        return not all_closed(self._held)

    def end(self) -> None:
        self.subscriber.close()

    def flood(self, seconds: float, stream: int = 0) -> Callable[[], None]:
        peer, over = self._peer(stream), threading.Event()

        def send() -> None:
            try:
                while not over.is_set():
                    peer.say(NOTHING * 1000)
            except OSError:
                pass  # The connection has ended.

        thread = threading.Thread(target=send, name="flood")
        thread.start()
        timer = threading.Timer(seconds, over.set)
        timer.start()

        def stop() -> None:
            over.set()
            timer.cancel()
            try:
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)  # The program may have stopped reading.
            except OSError:
                pass
            for one in (timer, thread):
                one.join(PATIENCE)

        return stop

    def strike(self) -> bool:
        armed, struck = [True], list[float]()

        def handler() -> None:
            struck.append(time.monotonic())
            if armed.pop() if armed else False:
                raise Struck

        def send() -> None:
            until_asleep(self.loop)
            strike_main_thread(struck)

        with on_signal(handler):
            thread = threading.Thread(target=send, name="striker")
            try:
                thread.start()
                self.wait(PATIENCE)
            except Struck:
                return True
            finally:
                thread.join(PATIENCE)
        return False


class InlineHost(RealHost):
    name = "inline"
    can = frozenset({"late", "fork", "signal"})

    def wait(self, timeout: float) -> bool:
        return self.subscriber.wait(timeout)


class SelectHost(RealHost):
    name = "select"
    can = frozenset({"late", "fork"})  # Its sleep is not in the library.

    def begin(self) -> None:
        self._descriptor = self.subscriber.fileno()

    def wait(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while True:
            left = max(0.0, min(self.subscriber.deadline(), end) - time.monotonic())
            ready = select.select([self._descriptor], [], [], left)[0]
            if (ready or self.subscriber.deadline() <= time.monotonic() or timeout == 0) and self.subscriber.wait(0):
                return True
            if time.monotonic() >= end:
                return False

    def close(self) -> None:
        super().close()
        self._look_once_more()

    def end(self) -> None:
        super().end()
        self._look_once_more()

    def _look_once_more(self) -> None:
        try:
            self.subscriber.wait(0)
        except ClosedError:
            pass


class ThreadHost(RealHost):
    name = "thread"
    can = frozenset()  # It is never late, and no signal handler runs in it; a fork has no such thread.

    def begin(self) -> None:
        self._wake = WakeChannel()
        self._thread = spawn_stream_subscriber(self._wake, self.subscriber)

    def wait(self, timeout: float) -> bool:
        return self._wake.wait(timeout)

    def close(self) -> None:
        self._held = descriptors(self.loop)
        self._thread.stop(PATIENCE)

    def end(self) -> None:
        self._thread.stop(PATIENCE)


class AsyncioHost(RealHost):
    """The event loop runs while the program waits, and stands still otherwise."""

    name = "asyncio"
    can = frozenset(
        {"late"}
    )  # Its sleep is not in the library, and asyncio forbids the use of an event loop after a fork.
    events = "asyncio"
    kind = AsyncStreamSubscriber

    def begin(self) -> None:
        self._events = LOOPS[self.events]()

    def wait(self, timeout: float) -> bool:
        wait: Any = self.subscriber.wait
        woken: bool = self._events.run_until_complete(wait(timeout))
        return woken

    def end(self) -> None:
        super().end()
        self._events.close()


class UvloopHost(AsyncioHost):
    name = events = "uvloop"


class AsyncioThreadHost(AsyncioHost):
    """An event loop that cannot watch descriptors."""

    name = "asyncio-thread"
    can = frozenset()
    events = "thread"

    def left_open(self) -> object:
        """`close` waits for the thread for a moment only, which ends in its own time on a busy machine."""
        until(lambda: not super(AsyncioThreadHost, self).left_open())
        return False


class SimulatedHost(Host):
    name = "simulation"
    can = frozenset({"late", "signal"})
    read = 4.0
    slack = 0.0

    def __init__(self, serve: Serve, tls: bool, trust: str, streams: int, max_age: float = 0) -> None:
        settings: dict[str, Any] = {
            "timeouts": Timeouts(max_age=max_age) if max_age else Timeouts(read=self.read),
            "backoff": Backoff(initial=60, maximum=60, healthy_after=1000),
        }
        self._scene = scene = Single(url=HTTPS if tls else HTTP, **settings)
        self._relays, self._streams = [scene.relay], [scene.only]
        for number in range(1, streams):
            self._relays.append(elsewhere(scene, f"relay-{number}.test", f"198.51.100.{number}"))
            stream = scene.stream(f"http://relay-{number}.test/", **settings)
            stream.keep_journal()
            self._streams.append(stream)
        for relay in self._relays:
            relay.heartbeat = 1e9

    def wait(self, timeout: float) -> bool:
        try:
            return self._scene.loop.run(timeout)
        except ClosedError:
            return False

    def now(self) -> float:
        return self._scene.kernel.now

    def away(self, seconds: float) -> None:
        self._scene.kernel.advance(seconds)

    def _visit(self, stream: int) -> Any:
        return list(self._relays[stream].visits.values())[-1]

    def say(self, body: bytes, stream: int = 0) -> None:
        self._visit(stream).write(body)

    def hang_up(self, stream: int = 0) -> None:
        self._visit(stream).reset()

    def phase(self, stream: int = 0) -> str:
        return self._streams[stream].phase

    def connections(self, stream: int = 0) -> int:
        one = self._streams[stream]
        return sum(phase == "streaming" for _, phase in one.phases) + len(one.renewals)

    def events_seen(self, stream: int = 0) -> bool:
        return self._streams[stream].record.last_event_at is not None

    def restart(self) -> None:
        for stream in self._streams:
            stream.restart()

    def close(self) -> None:
        self._scene.loop.close()

    def left_open(self) -> object:
        return {**self._scene.kernel.descriptors}

    def end(self) -> None:
        self._scene.close()

    def flood(self, seconds: float, stream: int = 0) -> Callable[[], None]:
        visit, kernel, over = self._visit(stream), self._scene.kernel, self.now() + seconds

        def more() -> None:
            if not visit.over and kernel.now < over:
                visit.write(NOTHING * 1000)
                kernel.after(0.001, more)

        more()
        return lambda: None

    def strike(self) -> bool:
        def handler() -> None:
            raise Struck

        self._scene.kernel.after(0.1, handler)
        try:
            self.wait(1.0)
        except Struck:
            return True
        return False


HOSTS: Final[list[type[Host]]] = [
    InlineHost,
    SelectHost,
    ThreadHost,
    AsyncioHost,
    UvloopHost,
    AsyncioThreadHost,
    SimulatedHost,
]
