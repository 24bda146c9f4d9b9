"""`listen`: any event stream to standard output, one event at a time: `curl -N` that cannot wedge.

Standard output holds events and nothing else, each written at once and whole. What happens to the connection is told
on standard error in the human form; with --json it has lines of its own if --all asks for them, and is not told
otherwise, so that a program that reads both streams never meets a sentence.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from wire_rawsse.cli import inputs, logs, stdio
from wire_rawsse.cli.arguments import Parser, add_limits, add_request, timeouts, whole
from wire_rawsse.cli.exit import FAILED, INTERRUPTED, OK, TERMINATED, USAGE, Failure, before_the_end
from wire_rawsse.cli.status_line import QuietLine, describe
from wire_rawsse.errors import ClosedError, InvalidRequestError, WireRawSSEError
from wire_rawsse.event_source import Closed, EventSource, Item, Opened
from wire_rawsse.protocol.request import can_carry
from wire_rawsse.protocol.sse import Comment, Event

_LONG_SILENCE: Final = 5.0
"""Seconds, or a quarter of the read timeout where that is less."""


def parser() -> Parser:
    options = Parser(
        "listen",
        "Print the events of an event stream (text/event-stream) as they arrive, and reconnect for ever. Each event is "
        "printed as its data, preceded by its type and a colon unless the type is message. Without --json, "
        "connections and errors are reported on standard error.",
        operand="URL",
        examples=[
            "wire-rawsse listen https://example.org/events",
            "wire-rawsse listen --json --token-file token.txt https://example.org/events | jq .data",
            "wire-rawsse listen 'unix:///run/relay.sock?path=/v1/events/SLOT/stream' --token-env SLOT_TOKEN",
        ],
        statuses={
            OK: "--count events were printed, the server answered 204, or standard output was closed",
            FAILED: "the stream ended for good (an answer, a certificate, an event too large); one line says why",
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
    options.add_argument("--count", metavar="N", type=whole, help="end after N events")
    largest = "the largest event in bytes; a larger one ends the stream for good (default %(default)d)"
    options.add_argument("--max-event-bytes", metavar="N", type=whole, default=1 << 20, help=largest)
    persistent = "also retry what would end the stream for good (404, 204, a bad certificate …), every 15 to 30 s"
    options.add_argument("--persistent", action="store_true", help=persistent)
    options.add_argument("--last-event-id", metavar="ID", default="", help="the id to begin with: resume after it")
    add_request(options)
    add_limits(options)
    return options


def run(arguments: list[str]) -> int:
    options = parser().parse(arguments)
    if options.all and not options.json:
        raise Failure("--all: expected together with --json; see: wire-rawsse listen --help", USAGE)
    line = None
    if stdio.can_move(sys.stderr):
        line = QuietLine(min(_LONG_SILENCE, options.read_timeout / 4))
        before_the_end(line.erase)

    def tell(text: str) -> None:
        if line is not None:
            line.erase()
        stdio.say("listen", text)

    def tell_more(text: str) -> None:
        if not text.endswith(": connected"):  # The first time, which is as expected.
            tell(text)

    logs.route(None if options.json else tell_more)
    source = _source(options)
    show = _json(options.all) if options.json else _human(tell)
    with source:
        try:
            _listen(source, show, line, options.count)
        finally:
            if line is not None:
                line.erase()
    return OK


def _source(options: Namespace) -> EventSource:
    """Everything that can be wrong with what was given is told here, before a byte is sent."""
    inputs.url(options.url)
    if not can_carry(options.last_event_id):
        raise Failure("--last-event-id: expected at most 4 KiB, no control characters and no outer spaces", USAGE)
    body = inputs.body(options.data_file)
    try:
        return EventSource(
            options.url,
            headers=inputs.headers(options.header, options.headers_file),
            method=options.method or ("GET" if body is None else "POST"),
            body=body,
            bearer_token=inputs.token(options.token_file, options.token_env),
            last_event_id=options.last_event_id,
            timeouts=timeouts(options),
            **inputs.tls(options),
            max_event_bytes=options.max_event_bytes,
            persistent=options.persistent,
        )
    except InvalidRequestError as error:
        raise Failure(str(error), USAGE) from None


def _listen(source: EventSource, show: Callable[[Item], None], line: QuietLine | None, count: int | None) -> None:
    printed = 0
    while True:
        try:
            item = source.next_item(None if line is None else max(0.0, line.due() - time.monotonic()))
        except ClosedError:
            return  # A 204: the server wants no further connection.
        except WireRawSSEError as error:
            raise Failure(str(error), USAGE if isinstance(error, InvalidRequestError) else FAILED) from None
        if item is not None:
            if line is not None and not isinstance(item, Comment):
                line.erase()
            show(item)
            if isinstance(item, Event):
                printed += 1
                if printed == count:
                    return
        elif line is not None:
            line.show(describe(source.state, time.time(), source.deadline() - time.monotonic()))


def _human(tell: Callable[[str], None]) -> Callable[[Item], None]:
    """Events as text; on a terminal without what could command it, and with the type in bold."""
    terminal = stdio.is_terminal(sys.stdout)
    name = "\x1b[1m{}\x1b[22m: " if stdio.has_colours(sys.stdout) else "{}: "

    def show(item: Item) -> None:
        if isinstance(item, Event):
            kind, data = (stdio.one_line(item.type), stdio.harmless(item.data)) if terminal else (item.type, item.data)
            stdio.write(f"{'' if kind == 'message' else name.format(kind)}{data}\n")
        elif isinstance(item, Opened) and item.id_left_out:
            tell("the server was not sent the last event id, so events may be missing")

    return show


def _json(everything: bool) -> Callable[[Item], None]:
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
        stdio.write(json.dumps(facts, separators=(",", ":")) + "\n")

    return show
