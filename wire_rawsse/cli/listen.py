"""`listen`: any event stream to standard output, one event at a time: `curl -N` that cannot wedge.

Standard output holds events and nothing else, each written at once and whole. The state of the connection is reported
on standard error in the human form; with --json it has lines of its own if --all asks for them, and is told on standard
error only with --verbose, so that a program that reads both streams never meets a sentence.

One poll waits for the stream, for a signal, and for the end of the process that reads the output: in
`listen URL | head -1` the command ends with `head`, not with the next event.
"""

from __future__ import annotations

import math
import select
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from wire_rawsse.cli import inputs, logs, report, stdio
from wire_rawsse.cli.arguments import Parser, add_limits, add_request, count, event_type, replaced, timeouts, whole
from wire_rawsse.cli.curl import LINES, exit_status
from wire_rawsse.cli.exit import FAILED, INTERRUPTED, OK, OUTPUT_FAILED, TERMINATED, USAGE, Failure, before_the_end
from wire_rawsse.cli.last_id import LastIdFile
from wire_rawsse.cli.signals import HELP, Signals
from wire_rawsse.cli.status_line import QuietLine, describe
from wire_rawsse.errors import ClosedError, InvalidRequestError, WireRawSSEError
from wire_rawsse.event_source import Closed, EventSource, Item, Opened
from wire_rawsse.protocol.events import Comment, Event
from wire_rawsse.protocol.request import can_carry

_LONG_SILENCE: Final = 5.0
"""Seconds, or a quarter of the read timeout where that is less."""
_LOOK_EVERY: Final = 256
"""Events that are not printed between two looks at whether the output's reader is still there."""
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
_NAP: Final = 0.25
"""Seconds between two looks at signals, if the stream has no descriptor."""
_POLLS: Final = hasattr(select, "poll")
"""Windows has no poll(2), and no signals to wait for."""
_HUNG_UP: Final = 128 + getattr(signal, "SIGHUP", 1)


def parser() -> Parser:
    options = Parser(
        "listen",
        "Print the events of an event stream (text/event-stream) as they arrive, and reconnect for ever. Each event is "
        "printed as its data, preceded by its type and a colon unless the type is message. Without --json, "
        "connections and errors are reported on standard error.",
        operand="URL",
        notes=[*LINES, *HELP],
        examples=[
            "wire-rawsse listen https://example.org/events",
            "wire-rawsse listen --json --token-file token.txt https://example.org/events | jq .data",
            "wire-rawsse listen --resume last-id --event order https://example.org/events >> orders",
            "wire-rawsse listen 'unix:///run/relay.sock?path=/v1/events/SLOT/stream' --token-env SLOT_TOKEN",
        ],
        statuses={
            OK: "--count events were printed, the server answered 204, or standard output has no reader (any more)",
            FAILED: "the stream ended for good (an answer, a certificate, an event too large); one line says why",
            OUTPUT_FAILED: "standard output, or the file of --resume, cannot be written",
            _HUNG_UP: "ended by SIGHUP, because its terminal is gone",
            INTERRUPTED: "ended by SIGINT",
            TERMINATED: "ended by SIGTERM",
        },
    )
    options.add_argument("url", metavar="URL", help="http://, https:// or unix:///path.sock?path=/target")
    options.add_argument("--json", action="store_true", help='print each event as one line: {"type":…,"data":…,"id":…}')
    options.add_argument(
        "--all",
        action="store_true",
        help='with --json, also print {"opened":{…}}, {"comment":…} and {"closed":{…}}',
    )
    options.add_argument(
        "--event",
        metavar="NAME",
        type=event_type,
        action="append",
        dest="types",
        help="print only events of this type; may be repeated (message is the type of an event without one)",
    )
    options.add_argument("--count", metavar="N", type=whole, help="end after N events")
    largest = "the largest event in bytes; a larger one ends the stream for good (default %(default)d)"
    options.add_argument("--max-event-bytes", metavar="N", type=whole, default=1 << 20, help=largest)
    persistent = "also retry what would end the stream for good (404, 204, a bad certificate …), every 15 to 30 s"
    ending = options.add_mutually_exclusive_group()
    ending.add_argument("--persistent", action="store_true", help=persistent)
    ending.add_argument("--fail", action="store_true", help="end at the first failure (see below); as --retries 0")
    retries = "end at the failure after N failures in a row; a connection that opens starts the count over"
    ending.add_argument("--retries", metavar="N", type=count, help=retries)
    resume = "keep the last event id in this file, and begin after it the next time"
    options.add_argument("--resume", metavar="FILE", type=replaced, help=resume)
    first = "the id to begin with: resume after it (a --resume file that exists comes first)"
    options.add_argument("--last-event-id", metavar="ID", default="", help=first)
    options.add_argument(
        "--verbose",
        "-v",
        action="store_true",
        help="report each connection, its address and headers, on standard error",
    )
    add_request(options)
    add_limits(options)
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    if options.all and not options.json:
        raise Failure("--all: expected together with --json; see: wire-rawsse listen --help", USAGE)
    inputs.url(options.url)
    line = None
    if stdio.can_move(sys.stderr):
        line = QuietLine(min(_LONG_SILENCE, options.read_timeout / 4))

    def tell(text: str) -> None:
        if line is not None:
            line.erase()
        stdio.say("listen", text)

    def tell_more(text: str) -> None:
        if not text.endswith(": connected"):  # The first time, which is as expected.
            tell(text)

    most_failures = 0 if options.fail else options.retries
    silent = (options.json or most_failures == 0) and not options.verbose
    logs.route(None if silent else tell if options.verbose else tell_more)
    ids = None if options.resume is None else LastIdFile(options.resume, tell)
    source = _source(options, ids)

    def give_back() -> bool:
        if line is not None:
            line.erase()
        return ids is None or ids.close()

    if stdio.was_closed():
        return OK  # As with a reader that has ended.
    before_the_end(give_back)  # Until signals are waited for below; and where they cannot be (Windows).
    with source, Signals(*(_SIGNALS if _POLLS else ())) as signals:
        write = stdio.InterruptibleOutput(signals).write if _POLLS else stdio.write
        show = _json(write, options.all) if options.json else _human(write, tell)
        if options.verbose:
            show = _verbose(show, tell, source)
        try:
            _Listener(source, show, signals, tell, line, ids, options.types, most_failures).run(options.count)
        except stdio.OutputInterrupted:
            pass
        except BaseException:
            give_back()
            raise
    if not give_back():
        return OUTPUT_FAILED
    return OK if signals.ended_by is None else 128 + signals.ended_by


def _source(options: Namespace, ids: LastIdFile | None) -> EventSource:
    """Everything that can be wrong with what was given is told here, before a byte is sent."""
    if not can_carry(options.last_event_id):
        raise Failure("--last-event-id: expected at most 4 KiB, no control characters and no outer spaces", USAGE)
    try:
        return EventSource(
            options.url,
            last_event_id=options.last_event_id if ids is None or not ids.found else ids.id,
            timeouts=timeouts(options),
            **inputs.request(options),
            **inputs.tls(options),
            max_event_bytes=options.max_event_bytes,
            persistent=options.persistent,
        )
    except InvalidRequestError as error:
        raise Failure(str(error), USAGE) from None


class _Listener:
    """The loop. Moments are monotonic."""

    def __init__(
        self,
        source: EventSource,
        show: Callable[[Item], None],
        signals: Signals,
        tell: Callable[[str], None],
        line: QuietLine | None,
        ids: LastIdFile | None,
        types: list[str] | None,
        most_failures: int | None,
    ) -> None:
        self._source = source
        self._show = show
        self._signals = signals
        self._tell = tell
        self._line = line
        self._ids = ids
        self._types = types
        self._most_failures = most_failures
        self._failures = 0
        self._opened = False
        self._skipped = 0
        """Events that were not printed."""
        self._poll = self._new_poll()

    def run(self, count: int | None) -> None:
        """Until `count` events were printed, a signal, or the end. Raises `Failure` and what `stdio.write` raises."""
        printed = 0
        while not self._signals.ending:
            try:
                item = self._source.next_item(self._patience())
            except ClosedError:
                return  # A 204: the server wants no further connection.
            except WireRawSSEError as error:
                raise Failure(str(error), USAGE if isinstance(error, InvalidRequestError) else FAILED) from None
            if item is None:
                self._pause()
            else:
                printed += self._take(item)
                if printed == count:
                    return
            if self._signals.pending:
                self._obey()
            if self._ids is not None:
                self._ids.flush(time.monotonic())

    def _take(self, item: Item) -> bool:
        """Print an item, and judge it. True if it was an event that was printed."""
        wanted = not isinstance(item, Event) or self._types is None or item.type in self._types
        if wanted:
            if self._line is not None and not isinstance(item, Comment):
                self._line.erase()
            self._show(item)
        if isinstance(item, Event):
            if self._ids is not None:
                self._ids.note(item.id)
        elif isinstance(item, Opened):
            self._failures, self._opened = 0, True
        elif isinstance(item, Closed):
            self._judge(item.error)
            self._opened = False
        if not wanted:  # A write would notice that the reader has gone.
            self._skipped += 1
            if self._skipped % _LOOK_EVERY == 0:
                self._look(0)
        return wanted and isinstance(item, Event)

    def _judge(self, error: WireRawSSEError | None) -> None:
        """Whether this failure is one too many."""
        if error is None or self._most_failures is None:
            return
        self._failures += 1
        if self._failures > self._most_failures:
            also = f" (after {self._failures} failures in a row)" if self._failures > 1 else ""
            raise Failure(f"{error}{also}", exit_status(error, opened=self._opened))

    def _patience(self) -> float:
        """Seconds that the stream may take: none if it has a descriptor, which `_pause` polls beside the others.

        Otherwise nothing interrupts its sleep for a signal, so it is short.
        """
        return 0.0 if self._poll is not None else max(0.0, min(self._due() - time.monotonic(), _NAP))

    def _due(self) -> float:
        return min(
            math.inf if self._line is None else self._line.due(), math.inf if self._ids is None else self._ids.due()
        )

    def _pause(self) -> None:
        """Everything received has been printed: wait for more."""
        source = self._source
        if self._ids is not None:
            self._ids.note(source.last_event_id)  # Of a block without data, too.
        if self._poll is not None:
            self._look(max(0.0, min(self._due(), source.deadline()) - time.monotonic()))
        if self._line is not None and time.monotonic() >= self._line.due():
            self._line.show(describe(source.state, time.time(), source.deadline() - time.monotonic()))

    def _look(self, seconds: float) -> None:
        """Wait for the stream, a signal, or the end of the output's reader, which raises `OutputClosed`."""
        if self._poll is None:
            return
        output = sys.stdout.fileno()
        for fd, _ in self._poll.poll(None if seconds == math.inf else seconds * 1000):
            if fd == output:
                raise stdio.OutputClosed
            if fd == self._signals.fileno():
                self._signals.drain()

    def _obey(self) -> None:
        if self._signals.take("reload") or self._signals.take("renew"):
            self._source.restart()
        if self._signals.take("report"):
            self._tell(report.endpoint_line(self._source.state, time.time()))

    def _new_poll(self) -> select.poll | None:
        """None if the stream has no descriptor (Windows, gevent, eventlet): then its own wait is the sleep."""
        if not _POLLS:
            return None
        try:
            stream = self._source.fileno()
        except OSError:
            return None
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        poll.register(self._signals.fileno(), select.POLLIN)
        # Without an event of interest only POLLERR (a pipe without a reader) and POLLHUP (a terminal that is gone) are
        # reported; poll(2).
        poll.register(sys.stdout.fileno(), 0)
        return poll


def _human(write: Callable[[str], None], tell: Callable[[str], None]) -> Callable[[Item], None]:
    """Events as text; on a terminal without what could command it, and with the type in bold."""
    terminal = stdio.is_terminal(sys.stdout)
    name = "\x1b[1m{}\x1b[22m: " if stdio.has_colours(sys.stdout) else "{}: "

    def show(item: Item) -> None:
        if isinstance(item, Event):
            kind, data = (stdio.one_line(item.type), stdio.harmless(item.data)) if terminal else (item.type, item.data)
            write(f"{'' if kind == 'message' else name.format(kind)}{data}\n")
        elif isinstance(item, Opened) and item.id_left_out:
            tell("the server was not sent the last event id, so events may be missing")

    return show


def _verbose(show: Callable[[Item], None], tell: Callable[[str], None], source: EventSource) -> Callable[[Item], None]:
    """The same, and each opening with its details. Its error, or that it is connected, is in the log already."""

    def show_more(item: Item) -> None:
        if isinstance(item, Opened):
            quote = source._record.secrets.quote  # A server may echo what it was sent.
            fields = ", ".join(f"{name}: {quote(value)}" for name, value in item.headers if name in _TOLD_HEADERS)
            tell(f"opened: status {item.status}, address {source.state.address}{', ' if fields else ''}{fields}")
        show(item)

    return show_more


_TOLD_HEADERS: Final = ("server", "via", "content-type", "cache-control", "x-accel-buffering", "date")


def _json(write: Callable[[str], None], everything: bool) -> Callable[[Item], None]:
    """One JSON object a line, in ASCII, so that nothing in an event can end the line for anybody's reader."""
    import json

    def show(item: Item) -> None:
        facts: dict[str, object]
        if isinstance(item, Event):
            facts = {"type": item.type, "data": item.data, "id": item.id}
        elif not everything:
            return
        elif isinstance(item, Comment):
            facts = {"comment": item.text}
        elif isinstance(item, Closed):
            error, wait = item
            told = None if error is None else str(error)
            facts = {"closed": {"error": told, "retry_in": None if wait is None else round(wait, 3)}}
        else:
            facts = {"opened": {"status": item.status, "id_left_out": item.id_left_out}}
        write(json.dumps(facts, separators=(",", ":")) + "\n")

    return show
