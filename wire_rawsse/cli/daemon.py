"""`daemon`: run a command the moment an event arrives, and every few seconds for safety. The original's daemon loop.

One thread and one wait. The subscriber's descriptor and a socket that signals write to (`signal.set_wakeup_fd`:
SIGTERM, SIGINT, and SIGCHLD for the end of a run) stand in one selector. So the stream is attended while the command
runs: a wake is noticed and means one more run afterwards, and a wedge is found when it is due. Nothing here blocks for
longer than it takes to start a process. SIGCHLD rather than a pidfd, because macOS has it too and it costs nothing.

Where there is neither epoll nor kqueue (Windows, or after gevent's or eventlet's monkey patch) the subscriber has no
descriptor; there it runs in its thread, and a `WakeChannel` stands in the selector. Where there is no SIGCHLD
(Windows), a running command is looked at ten times a second.

The command runs at the start, on each wake, and when `--interval` seconds have passed since the last run ended: counted
from its end, as the original does, so that a slow command is not run without a pause. Runs for wakes start at least
`--min-gap` seconds apart: a wake within the gap is kept, and the command runs when the gap is over.

As PID 1 of a container the process inherits orphans: processes that the command started and left. It waits for them
(`Child.reap_orphans`), so that no zombie stays. Only PID 1 does this: any other process has an init that does.
"""

from __future__ import annotations

import argparse
import math
import os
import selectors
import signal
import socket
import time
from typing import Final, Protocol

from wire_rawsse.cli import arguments as options_of
from wire_rawsse.cli import inputs, logs, stdio
from wire_rawsse.cli.arguments import Parser, seconds
from wire_rawsse.cli.child import Child, cannot_start, split
from wire_rawsse.cli.exit import OK, USAGE, Failure
from wire_rawsse.foreign import shown
from wire_rawsse.subscriber import StreamSubscriber, spawn_stream_subscriber
from wire_rawsse.wake import WakeChannel

BUSY: Final = 75
"""Another subscriber is running for the same wire home (EX_TEMPFAIL of sysexits(3))."""
_TO_END: Final = 0.1
"""Seconds that a run under way has to end after our own SIGTERM; we are gone after 0.2 s, with it or without."""
_LOOK_EVERY: Final = 0.1
"""Seconds between two looks at a running command where its end is not signalled."""
_IS_INIT: Final = os.getpid() == 1
"""PID 1 becomes the parent of every orphan of its PID namespace (pid_namespaces(7))."""
_ENDING: Final = ("SIGTERM", "SIGINT", "SIGHUP")


def parser() -> Parser:
    options = Parser(
        "daemon",
        "Listen to every endpoint in wire's relay.json, keep stream_state.json up to date, and run a command at the "
        "start, on each wake, and every few seconds as a safety net. The command never runs twice at once: wakes "
        "during a run cause one more run after it. relay.json may be missing or broken; it is read again when it "
        "changes. wire is the program of the Rust crate slancha-wire; WIRE_HOME and the XDG variables say where its "
        "files are.",
        examples=[
            "wire-rawsse daemon --exec 'wire pull'",
            "wire-rawsse daemon --exec \"sh -c 'wire pull | logger'\" --interval 60 --exec-timeout 20",
        ],
        statuses={
            BUSY: "another subscriber is running for the same wire home",
            OK: "ended by SIGTERM, SIGINT or SIGHUP; a running command got SIGTERM",
        },
    )
    options.add_argument(
        "--exec",
        metavar="CMD",
        required=True,
        dest="command",
        help="the command, split into words as by a shell, and run without a shell",
    )
    options.add_argument(
        "--interval",
        metavar="S",
        type=seconds(),
        default=5.0,
        help="without a wake, run again this many seconds after the last run ended (default %(default)g)",
    )
    options.add_argument(
        "--min-gap",
        metavar="S",
        type=seconds(zero=True),
        default=0.2,
        help="for wakes, the least number of seconds from the start of one run to the start of the next; an earlier "
        "wake is kept until then (default %(default)g, so at most 5 runs a second; 0: no limit)",
    )
    options.add_argument(
        "--exec-timeout",
        metavar="S",
        type=seconds(),
        default=60.0,
        help="send SIGTERM to a run after this many seconds, and SIGKILL 2 s later (default %(default)g)",
    )
    options.add_argument("--verbose", "-v", action="store_true", help="report each run on standard error")
    options_of.add_limits(options)
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    words = split(options.command)
    timeouts = options_of.timeouts(options)
    logs.route(_tell)
    trust = inputs.tls(options)
    with Signals() as signals:
        attention = attend(_only_subscriber(StreamSubscriber.from_wire(timeouts=timeouts, **trust)))
        child = Child(words, options.exec_timeout)
        try:
            _Daemon(child, attention, signals, options).run()
        finally:
            _end(child, attention, signals)
    return OK


def _only_subscriber(subscriber: StreamSubscriber) -> StreamSubscriber:
    """The subscriber, with the lock of its stream_state.json. Raises `Failure` where another one has that."""
    follower = subscriber._follower
    taken = follower and follower.claim()
    if taken:
        subscriber.close()
        raise Failure(
            f"another subscriber is running for this wire home: it holds the lock of {shown(taken)}; "
            "end it, or set WIRE_HOME to another folder (see: wire-rawsse status)",
            BUSY,
        )
    return subscriber


class Signals:
    """Signals as something to select on: `fileno()` is readable when one has come. `ending` once it is time to go."""

    def __init__(self) -> None:
        self.ending = False

    def __enter__(self) -> Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for name in _ENDING:
            number = getattr(signal, name, None)
            # nohup(1) has a daemon outlive its terminal by having SIGHUP ignored.
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                signal.signal(number, self._end)
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, lambda number, frame: None)  # What is ignored writes no byte.
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        return self._reader.fileno()

    def drain(self) -> None:
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _end(self, number: int, frame: object) -> None:
        self.ending = True


class Attention(Protocol):
    """The stream, as something to select on. Moments are monotonic."""

    def fileno(self) -> int: ...
    def due(self) -> float: ...
    def woken(self) -> bool: ...
    def close(self) -> None: ...


class _Inline:
    def __init__(self, subscriber: StreamSubscriber) -> None:
        self._subscriber = subscriber
        self.fileno = subscriber.fileno
        self.due = subscriber.deadline
        self.close = subscriber.close

    def woken(self) -> bool:
        return self._subscriber.wait(0)


class _Threaded:
    def __init__(self, subscriber: StreamSubscriber) -> None:
        self._wake = WakeChannel()
        self.fileno = self._wake.fileno
        self._thread = spawn_stream_subscriber(self._wake, subscriber)

    def due(self) -> float:
        return math.inf

    def woken(self) -> bool:
        return self._wake.wait(0)

    def close(self) -> None:
        self._thread.stop(_TO_END)


def attend(subscriber: StreamSubscriber) -> Attention:
    """The subscriber in this thread where it has a descriptor to select on, or in a thread of its own."""
    try:
        subscriber.fileno()
    except OSError as error:
        if error.errno is None:  # There is none, rather than none left.
            return _Threaded(subscriber)
    return _Inline(subscriber)


class _Daemon:
    """When the command runs. Moments are monotonic."""

    def __init__(self, child: Child, attention: Attention, signals: Signals, options: argparse.Namespace) -> None:
        self._child = child
        self._attention = attention
        self._signals = signals
        self._interval: float = options.interval
        self._min_gap: float = options.min_gap
        self._verbose: bool = options.verbose
        self._woken = False
        """There was a wake since the last run started."""
        self._gap_ends = -math.inf
        """The earliest start of a run for a wake."""
        self._interval_ends = -math.inf
        """The start of the next run without a wake. In the past at first: the command runs at the start."""
        self._runs = 0
        self._failures = 0

    def run(self) -> None:
        child, attention, signals = self._child, self._attention, self._signals
        with selectors.DefaultSelector() as selector:
            selector.register(signals.fileno(), selectors.EVENT_READ)
            selector.register(attention.fileno(), selectors.EVENT_READ)
            while not signals.ending:
                if self._next_start() <= time.monotonic():
                    self._start()
                due = min(attention.due(), child.deadline, self._next_start())
                left = min(max(0.0, due - time.monotonic()), _longest_sleep(child))
                for key, _ in selector.select(None if left == math.inf else left):
                    if key.fd == signals.fileno():
                        signals.drain()
                if attention.woken():
                    self._woken = True
                self._look()

    def _next_start(self) -> float:
        """When the command starts next; never while it runs."""
        if self._child.running:
            return math.inf
        return min(self._gap_ends, self._interval_ends) if self._woken else self._interval_ends

    def _start(self) -> None:
        now = time.monotonic()
        why = "a wake" if self._woken else "the interval" if self._runs else "the start"
        self._woken = False
        self._gap_ends = now + self._min_gap  # Also where it cannot be started.
        try:
            self._child.start()
        except OSError as error:
            told = cannot_start(self._child.words, error)
            if not self._runs:
                raise Failure(told, USAGE) from None
            self._ended(told, 0.0)
            return
        self._runs += 1
        if self._verbose:
            _tell(f"run {self._runs}, because of {why}: process {self._child.pid}")

    def _look(self) -> None:
        result = self._child.look()
        if result is not None:
            self._ended(result.failure and f"the command {result.failure}", result.seconds)
        if _IS_INIT:
            self._child.reap_orphans()

    def _ended(self, failure: str | None, took: float) -> None:
        """Tell of the first failure in a row and of its end: a log on a flash chip need not hold the others."""
        self._interval_ends = time.monotonic() + self._interval
        if failure:
            self._failures += 1
            if self._failures == 1 or self._verbose:
                _tell(f"{failure}; it runs again on the next wake, or in {self._interval:g} s")
        else:
            if self._failures:
                _tell(f"the command works again, after {self._failures} failed run{'s' if self._failures > 1 else ''}")
            self._failures = 0
            if self._verbose:
                _tell(f"run {self._runs} ended well after {took:.3f} s")


def _longest_sleep(child: Child) -> float:
    return _LOOK_EVERY if child.running and not hasattr(signal, "SIGCHLD") else math.inf


def _end(child: Child, attention: Attention, signals: Signals) -> None:
    """Pass the end on, write the last state, and give the command a moment. It is left to its own end after that."""
    until = time.monotonic() + _TO_END
    child.pass_on_end()
    attention.close()
    with selectors.DefaultSelector() as selector:
        selector.register(signals.fileno(), selectors.EVENT_READ)
        while child.running and child.look() is None and (left := until - time.monotonic()) > 0:
            selector.select(min(left, _longest_sleep(child)))
            signals.drain()
    if child.running:
        _tell(f"the command was told to end, and is still at it (process {child.pid})")


def _tell(text: str) -> None:
    stdio.say("daemon", text)
