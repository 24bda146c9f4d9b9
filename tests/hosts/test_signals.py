"""A signal handler of the host's that raises inside `wait`: no wake is lost by it, and the subscriber lives on.

CPython runs handlers between two bytecodes: after a call into C has returned, where a function begins, where a loop
turns. So an exception may strike between a `recv` and the use of what it gave, or after a lock was taken and before
anybody knows. `Striker` raises at each such point in turn; the last tests do it with real signals, at random moments.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from tests.hosts.conftest import Serve
from tests.hosts.support import (
    PATIENCE,
    InThread,
    Peer,
    Server,
    Striker,
    Struck,
    child_environ,
    connected,
    on_signal,
    strike_main_thread,
    until,
    until_asleep,
)
from wire_rawsse import Backoff, EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber
from wire_rawsse.hosts.system import OS_SERVICES
from wire_rawsse.hosts.thread import SubscriberThread
from wire_rawsse.wakeup import WakeupFd

ENDLESS = Backoff(initial=0.001, maximum=0.001, healthy_after=0.001)
"""Interrupted streams are connected again, and here nothing slows that down."""


@pytest.fixture(autouse=True)
def unclosed_sockets_are_no_fault() -> Iterator[None]:
    """A socket that is struck before anybody has noted it is closed by its own destructor, which says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


_numbers = count(1)


class Stream:
    """A subscriber whose connections are numbered, so that the server's end of the present one can be told."""

    def __init__(self, server: Server, ca_file: str, host: str = "127.0.0.1") -> None:
        self.number = 0
        self._server = server
        self._peer: Peer | None = None
        self.subscriber = StreamSubscriber(
            server.url.replace("127.0.0.1", host), bearer_token=self._token, tls=ca_file, backoff=ENDLESS
        )

    def _token(self) -> str:
        self.number = next(_numbers)
        return str(self.number)

    def peer(self) -> Peer:
        mine = f"Bearer {self.number}\r\n".encode()
        while self._peer is None or mine not in self._peer.request:
            self._peer = self._server.peer()
        return self._peer

    def settle(self) -> None:
        while self.subscriber.wait(0):
            pass


def test_no_wake_is_lost_wherever_it_strikes(serve: Serve, ca_file: str, tls: bool) -> None:
    """Three events one after the other; a wait for one is struck; whatever the point, the next wait has the wake."""
    server = serve(tls=tls)
    for point in count(1):
        stream = Stream(server, ca_file)
        said = heard = 0
        with stream.subscriber as subscriber:
            assert subscriber.wait(PATIENCE)
            stream.settle()
            peer = stream.peer()

            def host() -> None:
                nonlocal said, heard
                for _ in range(3):
                    said += 1
                    peer.say()  # noqa: B023  # called before the loop goes on
                    heard += subscriber.wait(PATIENCE)  # as above

            striker = Striker(point)
            if not striker.strikes(host):
                break
            assert heard == said or subscriber.wait(5), f"a wake was lost at point {point}: {striker.struck}"
    assert point > 100, "there were next to no points, so nothing is tested"
    print(f"{point} points")


def test_it_connects_wherever_it_strikes(serve: Serve, ca_file: str, tls: bool) -> None:
    """From the look-up to the head, each point in turn; and what it connects to is heard."""
    server = serve(tls=tls)
    for point in count(1):
        stream = Stream(server, ca_file, "localhost")
        with stream.subscriber as subscriber:
            striker = Striker(point)
            connected: list[bool] = []
            if not striker.strikes(lambda: connected.append(subscriber.wait(PATIENCE))):  # noqa: B023  # called at once
                break
            assert connected or subscriber.wait(5), f"it does not connect after point {point}: {striker.struck}"
            if point % 20 == 0:
                stream.settle()
                stream.peer().say()
                assert subscriber.wait(5), f"it is deaf after point {point}: {striker.struck}"
    assert point > 100, "there were next to no points, so nothing is tested"
    print(f"{point} points")


def test_it_may_strike_twice(serve: Serve, ca_file: str, tls: bool) -> None:
    """The second exception strikes while the first is being repaired: at every fifth point of that."""
    server = serve(tls=tls)
    for point in count(1, 5):
        stream = Stream(server, ca_file)
        with stream.subscriber as subscriber:
            assert subscriber.wait(PATIENCE)
            stream.settle()
            stream.peer().say()
            uncommitted = Striker(1, within="run", after=OS_SERVICES.monotonic)  # The bytes are known to `run` alone.
            assert uncommitted.strikes(lambda: subscriber.wait(PATIENCE))  # called before the loop goes on
            assert subscriber._loop._uncommitted, uncommitted.struck
            assert subscriber.deadline() <= time.monotonic()
            striker = Striker(point)
            mended: list[bool] = []
            if not striker.strikes(lambda: mended.append(subscriber.wait(PATIENCE))):  # noqa: B023  # as above
                break
            assert mended or subscriber.wait(5), f"a wake was lost at point {point}: {striker.struck}"
    assert point > 100, "there were next to no points, so nothing is tested"
    print(f"{point} points")


def test_a_thread_can_be_started_wherever_the_start_of_another_was_struck(serve: Serve) -> None:
    """The module `threading` has locks that all starts of the process share."""
    server = serve()
    for point in count(1):
        subscriber = StreamSubscriber(server.url, backoff=ENDLESS)
        started: list[SubscriberThread] = []
        striker = Striker(point, also=threading.__file__)
        struck = striker.strikes(
            lambda: started.append(spawn_stream_subscriber(WakeChannel(), subscriber))  # noqa: B023  # called at once
        )
        assert InThread(lambda: True).result(), f"no thread starts after point {point}: {striker.struck}"
        subscriber.close()
        for thread in started:
            thread.stop()
        until(lambda: not [one for one in threading.enumerate() if isinstance(one, SubscriberThread)])
        if not struck:
            break
    assert point > 10, "there were next to no points, so nothing is tested"
    print(f"{point} points")


def test_a_close_that_was_struck_is_done_by_the_next(serve: Serve, ca_file: str, tls: bool) -> None:
    """The guard against leaks sees what is not given back."""
    server = serve(tls=tls)
    for point in count(1):
        subscriber = StreamSubscriber(server.url, tls=ca_file, backoff=ENDLESS)
        assert subscriber.wait(PATIENCE)
        peer = server.peer()
        striker = Striker(point)
        struck = striker.strikes(subscriber.close)
        subscriber.close()
        assert peer.gone(5), f"point {point}: {striker.struck}"
        assert not subscriber._loop._handle.busy.locked()
        assert subscriber._loop._handle.closed
        if not struck:
            break
    assert point > 10, "there were next to no points, so nothing is tested"


@pytest.mark.parametrize("what", ["notified", "set"])
def test_a_descriptor_whose_notification_was_struck_is_notified_again(what: str) -> None:
    """Wherever a strike ends one call, the next makes the descriptor readable."""
    for point in count(1):
        channel, wakeup = WakeChannel(), WakeupFd()
        channel.fileno()
        fd, call = (channel.fileno(), channel.set) if what == "set" else (wakeup.fileno(), wakeup.notify)
        try:
            struck = Striker(point).strikes(call)
            channel.wait(0)
            call()
            assert select.select([fd], [], [], 0)[0], f"point {point}"
        finally:
            wakeup.close()
            assert wakeup.fileno() == -1
        if not struck:
            break
    assert point > 2


needs_signals = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals between threads")


class Handler:
    """Raises while it is armed."""

    def __init__(self) -> None:
        self.armed = False
        self.strikes: list[float] = []

    def __call__(self) -> None:
        if self.armed:
            self.armed = False
            self.strikes.append(time.monotonic())
            raise Struck

    def strikes_in(self, call: Callable[[], bool]) -> bool:
        """`call`, again each time it was struck."""
        while True:
            try:
                self.armed = True
                try:
                    return call()
                finally:
                    self.armed = False
            except Struck:
                continue


def strike_asleep(stream: StreamSubscriber | EventSource, handler: Handler) -> None:
    until_asleep(stream._loop)
    handler.armed = True
    strike_main_thread(handler.strikes)


@needs_signals
def test_a_strike_in_the_sleep_costs_no_connection(serve: Serve, ca_file: str, tls: bool) -> None:
    server = serve(tls=tls)
    handler = Handler()
    stream = Stream(server, ca_file)
    with stream.subscriber as subscriber, on_signal(handler):
        assert subscriber.wait(PATIENCE)
        stream.settle()
        for _ in range(5):
            del handler.strikes[:]
            helper = InThread(lambda: strike_asleep(subscriber, handler))
            with pytest.raises(Struck):
                subscriber.wait(PATIENCE)
            helper.result()
            stream.peer().say()
            assert subscriber.wait(PATIENCE)
            stream.settle()
        assert subscriber.state.reconnect_count == 0
        assert server.nobody(0)


# A strike in a callback of the garbage collector is reported there, and the wait goes on.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@needs_signals
def test_signals_at_random_moments(serve: Serve, ca_file: str, tls: bool) -> None:
    """Real signals, for a second: each event that is said is heard of, however often the wait for it was struck."""
    server = serve(tls=tls)
    handler = Handler()
    over = threading.Event()
    dice = random.Random(20)
    main = threading.get_ident()

    def strike() -> None:
        while not over.wait(dice.uniform(0, 0.002)):
            signal.pthread_kill(main, signal.SIGUSR1)

    stream = Stream(server, ca_file)
    heard = 0
    with stream.subscriber as subscriber, on_signal(handler):
        assert subscriber.wait(PATIENCE)
        helper = InThread(strike)
        try:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                stream.peer().say()
                assert handler.strikes_in(lambda: subscriber.wait(5)), "a wake was lost"
                heard += 1
        finally:
            over.set()
            helper.result()
        stream.settle()
        stream.peer().say()
        assert subscriber.wait(PATIENCE)
        print(f"{heard} wakes, {len(handler.strikes)} strikes, up to connection {stream.number}")
        assert handler.strikes


STRUCK = """
import faulthandler, logging, random, signal, sys, threading, time
from wire_rawsse import Backoff, EventSource, StreamSubscriber, WakeChannel, spawn_stream_subscriber

faulthandler.dump_traceback_later(90, exit=True)
# The lock of logging is not safe from a handler that raises, on any CPython. The first line of each level takes it.
logging.disable()
for level in (logging.INFO, logging.WARNING):
    logging.getLogger("wire_rawsse").log(level, "")
url, ca_file, seconds = sys.argv[1:]
port = url.rpartition(":")[2]
dice = random.Random(5)
armed = False


class Strike(BaseException):
    pass


def handler(number, frame):
    global armed
    if armed:
        armed = False
        raise Strike


def strike(call):
    global armed
    end, strikes = time.monotonic() + float(seconds), 0
    while time.monotonic() < end or strikes < 20:
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.00005, 0.003))
        try:
            try:
                armed = True
                until = time.monotonic() + 0.005  # Longer than the timer: a short call is over before it strikes.
                while time.monotonic() < until:
                    call()
            finally:
                armed = False
        except Strike:
            strikes += 1
    print(strikes, flush=True)


signal.signal(signal.SIGALRM, handler)
backoff = Backoff(initial=0.001, maximum=0.001, healthy_after=0.001)
refused = StreamSubscriber("https://localhost:1/", backoff=backoff)
strike(lambda: refused.wait(0.05))
connected = StreamSubscriber(url.replace("127.0.0.1", "localhost"), tls=ca_file, backoff=backoff)
strike(lambda: connected.wait(0.05))
source = EventSource(url.replace("127.0.0.1", "localhost"), tls=ca_file, backoff=backoff)
strike(lambda: source.next_item(0.05))
wake = WakeChannel()
wake.fileno()
strike(lambda: (wake.set(), wake.wait(0.001), connected.restart(), source.restart()))


def start_and_stop():
    subscriber = StreamSubscriber("https://localhost:1/", backoff=backoff)
    try:
        spawn_stream_subscriber(wake, subscriber).stop()
    finally:
        subscriber.close()


strike(start_and_stop)
signal.setitimer(signal.ITIMER_REAL, 0)


def works():
    with StreamSubscriber(url.replace("127.0.0.1", "localhost"), tls=ca_file) as fresh:
        assert fresh.wait(10)


works()
other = threading.Thread(target=works)
other.start()
other.join()
for stream in (refused, connected, source):
    stream.close()
wake.wait(0)
thread = spawn_stream_subscriber(wake, StreamSubscriber(url, tls=ca_file))
assert wake.wait(10)
thread.stop()
"""


@needs_signals
def test_no_lock_is_left_held(serve: Serve, ca_file: str, tls: bool) -> None:
    """Real signals at random moments of all that a host calls. Afterwards names, https, threads and wakes work."""
    server = serve(tls=tls)
    ran = subprocess.run(
        [sys.executable, "-c", STRUCK, server.url, ca_file, os.environ.get("STRIKE_SECONDS", "0.5")],
        capture_output=True, text=True, timeout=600, env=child_environ(),
    )  # fmt: skip
    print(ran.stdout)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"


@needs_signals
def test_a_source_lives_on(serve: Serve, ca_file: str, tls: bool) -> None:
    """Struck in its sleep, `next` and a loop over events go on where they were."""
    server = serve(tls=tls)
    handler = Handler()
    with EventSource(server.url, tls=ca_file, backoff=ENDLESS) as source, on_signal(handler):
        peer = connected(server, source)
        helper = InThread(lambda: strike_asleep(source, handler))
        with pytest.raises(Struck):
            source.next(PATIENCE)
        helper.result()
        peer.say(b"data: after\n\n")
        event = source.next(PATIENCE)
        assert event is not None and event.data == "after"


@needs_signals
def test_a_handler_that_returns_changes_nothing(serve: Serve) -> None:
    """The sleep goes on (PEP 475), and lasts as long as it was to last."""
    server = serve()
    handled: list[float] = []
    with StreamSubscriber(server.url) as subscriber, on_signal(lambda: handled.append(time.monotonic())):
        assert subscriber.wait(PATIENCE)
        assert not subscriber.wait(0)
        helper = InThread(lambda: strike_main_thread(handled))
        began = time.monotonic()
        assert not subscriber.wait(0.3)
        assert time.monotonic() - began >= 0.3
        helper.result()
        assert handled
