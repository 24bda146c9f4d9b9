"""`daemon`: run a command the moment an event arrives, and every few seconds as a safety net.

There is one thread and one wait: a selector with the descriptor of the stream (`attention`) and the one that signals
make readable (`signals`; SIGCHLD tells the end of a run). So the stream is attended while the command runs: a wake is
noticed and causes one more run, and a wedge is found when it is due. Nothing here blocks for longer than it takes to
start a process. SIGCHLD is used rather than a pidfd, because macOS has it too. Without SIGCHLD (Windows) a running
command is looked at ten times a second.

When the command runs is decided in `runner`, how it is started and ended in `child`, and what the service manager hears
in `supervisor`.

As PID 1 of a container the process inherits orphans: processes that the command started and left. It waits for them
(`Child.reap_orphans`), so that no zombie stays. Only PID 1 does this: any other process has an init that does.
"""

from __future__ import annotations

import argparse
import math
import os
import selectors
import signal
import time
from typing import Final

from wire_rawsse.cli import arguments as options_of
from wire_rawsse.cli import inputs, logs, report, signals, stdio
from wire_rawsse.cli.arguments import Parser, replaced, seconds
from wire_rawsse.cli.attention import Attention, TakenError, attend
from wire_rawsse.cli.child import Child, split
from wire_rawsse.cli.exit import OK, USAGE, Failure
from wire_rawsse.cli.runner import Runner
from wire_rawsse.cli.signals import Signals
from wire_rawsse.cli.supervisor import Supervisor
from wire_rawsse.errors import InvalidRequestError
from wire_rawsse.foreign import shown
from wire_rawsse.subscriber import StreamSubscriber

BUSY: Final = 75
"""Another subscriber keeps the same state file (EX_TEMPFAIL of sysexits(3))."""
_TO_END: Final = 0.1
"""Seconds that a run under way has to end after our own SIGTERM; we are gone after 0.2 s, with it or without."""
_LOOK_EVERY: Final = 0.1
"""Seconds between two looks at a running command where its end is not signalled."""
_STATUS_EVERY: Final = 1.0
"""Seconds between two looks at whether the state in words has changed, for the service manager."""
_IS_INIT: Final = os.getpid() == 1
"""PID 1 becomes the parent of every orphan of its PID namespace (pid_namespaces(7))."""


def parser() -> Parser:
    options = Parser(
        "daemon",
        "Listen to an event stream and run a command at the start, on each wake, and every few seconds as a safety "
        "net. Without a URL, listen to every endpoint in wire's relay.json and keep wire's stream_state.json true. "
        "The command never runs twice at once: wakes during a run cause one more run after it. relay.json may be "
        "missing or broken; it is read again when it changes. wire is the program of the Rust crate slancha-wire; "
        "WIRE_HOME and the XDG variables say where its files are.",
        required="--exec CMD",
        operand="[URL]",
        notes=[
            "the command finds in its environment:",
            "  WIRE_RAWSSE_REASON=start      the daemon has started",
            "  WIRE_RAWSSE_REASON=wake       an event arrived",
            "  WIRE_RAWSSE_REASON=reconnect  there is a new connection (the first one included); events may have",
            "                                been missed before it",
            "  WIRE_RAWSSE_REASON=interval   nothing happened for --interval seconds",
            "nothing that comes from the network reaches its arguments or its environment",
            "",
            *signals.HELP,
            "under a service manager with NOTIFY_SOCKET it reports when it is ready, reloads and stops, its state at",
            "each change, and a sign of life (WATCHDOG_USEC) while its loop runs and no run exceeds --exec-timeout",
            "",
        ],
        examples=[
            "wire-rawsse daemon --exec 'wire pull'",
            "wire-rawsse daemon --exec \"sh -c 'wire pull | logger'\" --interval 60 --exec-timeout 20",
            "wire-rawsse daemon --exec ./pull --token-file token --state-file state.json https://example.org/events",
            "wire-rawsse daemon --exec 'wire pull' --print-unit > wire-rawsse.service",
        ],
        statuses={
            BUSY: "another subscriber keeps the same state file",
            OK: "ended by SIGTERM or SIGINT, or by SIGHUP when its terminal is gone; a running command got SIGTERM",
        },
    )
    options.add_argument("url", metavar="URL", nargs="?", help="http://, https:// or unix:///path.sock?path=/target")
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
    options.add_argument(
        "--state-file",
        metavar="FILE",
        type=replaced,
        help="with a URL: keep the state in this file, for wire-rawsse status --file FILE",
    )
    options.add_argument("--verbose", "-v", action="store_true", help="report each run on standard error")
    options.add_argument(
        "--print-unit",
        action="store_true",
        help="print a systemd unit that runs this daemon with these options in a sandbox, and end",
    )
    options_of.add_request(options)
    options_of.add_limits(options)
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    words = split(options.command)
    if options.print_unit:
        _print_unit(arguments, options, words[0])
        return OK
    logs.route(_tell)
    supervisor = Supervisor(_tell)
    with Signals("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD") as waiting:
        attention = _attention(options)
        child = Child(words, options.exec_timeout)
        try:
            _Daemon(child, attention, waiting, supervisor, options).run()
        finally:
            _end(child, attention, waiting, supervisor)
    return OK


def _subscriber(options: argparse.Namespace) -> StreamSubscriber:
    """Everything that can be wrong with what was given is told here, before a byte is sent."""
    timeouts = options_of.timeouts(options)
    if options.url is None:
        for name in ("header", "headers_file", "token_file", "token_env", "method", "data_file", "state_file"):
            if getattr(options, name):
                raise Failure(f"--{name.replace('_', '-')}: expected together with a URL", USAGE)
        return StreamSubscriber.from_wire(timeouts=timeouts, **inputs.tls(options))
    inputs.url(options.url)
    try:
        return StreamSubscriber(options.url, timeouts=timeouts, **inputs.request(options), **inputs.tls(options))
    except InvalidRequestError as error:
        raise Failure(str(error), USAGE) from None


def _attention(options: argparse.Namespace) -> Attention:
    """Raises `Failure` if another subscriber keeps the same state file."""
    try:
        return attend(_subscriber(options), options.state_file)
    except TakenError as error:
        what, other = ("wire home", "WIRE_HOME") if options.url is None else ("state file", "--state-file")
        raise Failure(
            f"another subscriber is running for this {what}: it holds the lock of {shown(error.path)}; "
            f"end it, or choose another {other}",
            BUSY,
        ) from None


def _print_unit(arguments: list[str], options: argparse.Namespace, program: str) -> None:
    from wire_rawsse.cli.unit import unit
    from wire_rawsse.wire import paths

    if options.token_env is not None:
        raise Failure("--token-env: a unit can be read by every user; use --token-file", USAGE)
    if options.url is None:
        folders = [paths.config_dir(), paths.state_dir()]
    else:
        folders = [] if options.state_file is None else [os.path.dirname(os.path.abspath(options.state_file))]
    stdio.write(unit([argument for argument in arguments if argument != "--print-unit"], program, folders))


class _Daemon:
    """The loop. Moments are monotonic."""

    def __init__(
        self,
        child: Child,
        attention: Attention,
        waiting: Signals,
        supervisor: Supervisor,
        options: argparse.Namespace,
    ) -> None:
        self._child = child
        self._attention = attention
        self._signals = waiting
        self._supervisor = supervisor
        self._runner = Runner(
            child,
            _tell,
            interval=options.interval,
            min_gap=options.min_gap,
            verbose=options.verbose,
            changed=attention.note_work,
        )
        self._connections = 0
        """Those that the runner has been told of."""
        self._status_due = math.inf
        self._status_at = -math.inf

    def run(self) -> None:
        runner, attention, waiting, supervisor = self._runner, self._attention, self._signals, self._supervisor
        with selectors.DefaultSelector() as selector:
            selector.register(waiting.fileno(), selectors.EVENT_READ)
            selector.register(attention.fileno(), selectors.EVENT_READ)
            while not waiting.ending:
                runner.turn()
                if _IS_INIT:
                    self._child.reap_orphans()
                self._report(time.monotonic())
                due = min(attention.due(), runner.due(), supervisor.due(), self._status_due)
                left = min(max(0.0, due - time.monotonic()), _longest_sleep(self._child))
                for key, _ in selector.select(None if left == math.inf else left):
                    if key.fd == waiting.fileno():
                        waiting.drain()
                if attention.woken():
                    before, self._connections = self._connections, attention.connections
                    runner.wake(reconnected=self._connections != before)
                self._obey()

    def _report(self, now: float) -> None:
        """Report to the service manager, if there is one."""
        supervisor = self._supervisor
        if not supervisor.listens:
            return
        if not supervisor.is_ready and (self._runner.work.runs or self._connections):
            supervisor.ready()
        if self._status_due == math.inf:  # The state may have changed since the last look.
            self._status_due = max(now, self._status_at + _STATUS_EVERY)
        if now >= self._status_due:
            self._status_due, self._status_at = math.inf, now
            supervisor.status(stdio.one_line(report.status_line(self._attention.state, self._runner.work)))
        supervisor.turn(now, healthy=not self._child.overdue)

    def _obey(self) -> None:
        """Do what signals have asked for, except the end."""
        waiting, attention = self._signals, self._attention
        if waiting.take("reload"):
            _tell("reloading: files are read again and each connection is renewed")
            self._supervisor.reloading()
            attention.reload()
            self._supervisor.ready()
        if waiting.take("renew"):
            _tell("renewing each connection")
            attention.renew()
        if waiting.take("report"):
            attention.renew_state()
            for line in report.lines(attention.state, self._runner.work, time.time()):
                _tell(line)


def _longest_sleep(child: Child) -> float:
    return _LOOK_EVERY if child.running and not hasattr(signal, "SIGCHLD") else math.inf


def _end(child: Child, attention: Attention, waiting: Signals, supervisor: Supervisor) -> None:
    """Pass the end on, write the last state, and give the command a moment. It is left to its own end after that."""
    until = time.monotonic() + _TO_END
    supervisor.stopping()
    child.pass_on_end()
    attention.close()
    with selectors.DefaultSelector() as selector:
        selector.register(waiting.fileno(), selectors.EVENT_READ)
        while child.running and child.look() is None and (left := until - time.monotonic()) > 0:
            selector.select(min(left, _longest_sleep(child)))
            waiting.drain()
    if child.running:
        _tell(f"the command was told to end, and is still running (process {child.pid})")
    supervisor.close()


def _tell(text: str) -> None:
    stdio.say("daemon", text)
