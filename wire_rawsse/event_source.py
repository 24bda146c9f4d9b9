"""`EventSource`: the parsed events of a stream that is kept alive by `reconnect`, in the thread that asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from wire_rawsse import checks
from wire_rawsse.errors import ClosedError, InvalidRequestError, StatusError, WireRawSSEError
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.plan import make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.events import Comment, Event, EventParser
from wire_rawsse.protocol.request import Headers, first_event_id
from wire_rawsse.protocol.response import Response
from wire_rawsse.reconnect import Restart, reconnect_forever
from wire_rawsse.record import Record
from wire_rawsse.state import EndpointState
from wire_rawsse.transport.trust import ClientCertificate, Trust

if TYPE_CHECKING:
    from wire_rawsse.repeats import Repeats


class Opened(NamedTuple):
    """A connection has opened. `headers` are pairs of lower-case name and value; the repr does not show them.

    `id_left_out` is True if there is a last event id that the request did not send, so that events may be missing. The
    reason is that the id holds a control character, is longer than 4 KiB, belongs to another origin, or was refused by
    the server with a 4xx (and is then forgotten).
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    id_left_out: bool = False

    def __repr__(self) -> str:
        return f"Opened(status={self.status}, id_left_out={self.id_left_out})"


class Closed(NamedTuple):
    """A connection has ended. `error` is None after a clean end.

    `retry_in` is the number of seconds until the next attempt, or None if there is none.
    """

    error: WireRawSSEError | None
    retry_in: float | None


Item: TypeAlias = Opened | Event | Comment | Closed
"""An item of `EventSource.items`."""


class EventSink:
    """Parses events into a queue."""

    def __init__(self, last_event_id: str, max_event_bytes: int) -> None:
        self.items: deque[Item] = deque()
        self.wake_marker: bytes | None = None
        self.is_wake: Callable[[bytes], bool] | None = None  # Only a parsed item is a wake.
        self.ended: Closed | None = None
        self.delivered = False
        self.repeats: Repeats | None = None
        """Set while a second connection is made beside the present one, and then until its repeats are left out."""
        self._max_event_bytes = max_event_bytes
        self.parser = self._new_parser(last_event_id, None)

    @property
    def last_event_id(self) -> str:
        parsed = self.parser.last_event_id
        return parsed if self.repeats is None else self.repeats.last_event_id(parsed)

    def resume_from(self, last_event_id: str) -> None:
        self.parser = self._new_parser(last_event_id, self.retry_ms)

    @property
    def retry_ms(self) -> int | None:
        return self.parser.retry_ms

    def begin(self) -> None:
        self.delivered = False

    def opened(self, response: Response, id_left_out: bool) -> None:
        self.parser = self._new_parser(self.last_event_id, self.retry_ms)
        self.items.append(Opened(response.status, response.headers, id_left_out))

    def feed(self, piece: bytes) -> bool:
        parser = self.parser
        items = parser.feed(piece)
        if self.repeats is not None:
            items = self._without_repeats(self.repeats, items)
        self.items.extend(items)
        if not self.delivered:
            self.delivered = any(isinstance(item, Event) for item in items)
        if parser.failed:
            parser.feed(b"")  # Raises the error that follows the items above.
        return bool(items)

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        item = Closed(error, retry_in)
        self._end_repeats()
        self.items.append(item)
        if retry_in is None:
            self.ended = item
        return True

    def renewing(self) -> None:
        from wire_rawsse.repeats import Repeats  # Loaded by the first connection that is renewed.

        self._end_repeats()
        self.repeats = Repeats(self.last_event_id)

    def renewed(self, error: WireRawSSEError | None, response: Response, id_left_out: bool) -> None:
        repeats = self.repeats
        self.closed(error, 0.0)
        self.begin()
        self.opened(response, id_left_out)
        if repeats is not None:
            repeats.leave_out(self.parser)
            self.repeats = repeats

    def not_renewed(self) -> None:
        self._end_repeats()

    def _without_repeats(self, repeats: Repeats, items: list[Event | Comment]) -> list[Event | Comment]:
        kept = repeats.without(items)
        if repeats.over:
            self._end_repeats()
        return kept

    def _end_repeats(self) -> None:
        if self.repeats is not None:
            self.parser.last_event_id = self.last_event_id
            self.repeats.end()
            self.repeats = None

    def _new_parser(self, last_event_id: str, retry_ms: int | None) -> EventParser:
        """The parser of one connection. It takes over the values that outlive a connection."""
        parser = EventParser(comments=True, max_event_bytes=self._max_event_bytes, last_event_id=last_event_id)
        parser.retry_ms = retry_ms
        return parser


def check_endings(persistent: bool, reconnect: bool) -> None:
    """Raises `InvalidRequestError`."""
    checks.flag(persistent, "persistent")
    if persistent and not reconnect:
        raise InvalidRequestError("persistent=True and reconnect=False contradict each other; give one of them")


class BaseEventSource:
    """The common part of `EventSource` and `aio.AsyncEventSource`: everything but the waiting."""

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        headers: Headers | Callable[[], Headers] | None = None,
        method: str = "GET",
        body: bytes | None = None,
        bearer_token: str | Callable[[], str] | None = None,
        last_event_id: str = "",
        timeouts: Timeouts = Timeouts(),
        keepalive: Keepalive = Keepalive(),
        backoff: Backoff = Backoff(),
        tls: Trust = None,
        client_cert: ClientCertificate = None,
        max_event_bytes: int = 1 << 20,
        persistent: bool = False,
        reconnect: bool = True,
        watch: bool = True,
    ) -> None:
        checks.flag(watch, "watch")
        plan = make_plan(
            url,
            headers=headers,
            method=method,
            body=body,
            bearer_token=bearer_token,
            timeouts=timeouts,
            keepalive=keepalive,
            backoff=backoff,
            tls=tls,
            client_cert=client_cert,
            reconnect=reconnect,
        )
        check_endings(persistent, reconnect)
        self._reconnect = reconnect
        self._sink = sink = EventSink(first_event_id(plan.headers, last_event_id), max_event_bytes)
        self._prepare()
        self._notice = Notice(self._loop, watch)
        self._record = record = Record(plan.url.redacted, backoff, wall=self._loop.system.time, timeouts=timeouts)
        self._task = self._loop.add(
            lambda services: reconnect_forever(services, plan, record, sink, persistent=persistent)
        )

    def _prepare(self) -> None:
        self._loop = Loop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._record.url} {self._record.phase}>"

    def restart(self) -> None:
        """Drop the connection and make a new one at once, in any phase. From any thread; twice is fine.

        Raises `InvalidRequestError` after `reconnect=False`, which allows no second request.
        """
        if not self._reconnect:
            raise InvalidRequestError("restart() would send a second request, which reconnect=False does not allow")
        self._loop.interrupt(self._task, Restart())

    def notify_network_change(self) -> None:
        """The network has changed: check the connection, and end a pause. From any thread, in any phase.

        For a host that knows it sooner than the kernel says, or where `watch` has nothing to watch.
        """
        self._notice.network_changed()

    def close(self) -> None:
        """End it, in any phase, and give everything back. From any thread or signal handler; twice is fine."""
        self._loop.close()

    @property
    def state(self) -> EndpointState:
        """A frozen value: phase, since when, last byte, last error, next attempt. From any thread."""
        return self._record.snapshot(self._loop.system.time())

    @property
    def last_event_id(self) -> str:
        """The id that a reconnect would send as `Last-Event-ID`."""
        return self._sink.last_event_id

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time that the stream has asked for, in milliseconds, or None."""
        return self._sink.retry_ms

    def _check_usable(self) -> None:
        """If the source has ended and all its items were taken, raise the error that ended it."""
        ended = self._sink.ended
        if ended is not None and not self._sink.items:
            self.close()
            self._loop.release_descriptor()
            error = ended.error
            if error is None:
                raise ClosedError("the response has ended, and reconnect=False asks for no other one")
            if isinstance(error, StatusError) and error.status == 204:
                raise ClosedError("the server answered 204: it wants no further connection") from error
            raise error
        if ended is None and self._loop.closing:
            self._refuse_closed()

    def _refuse_closed(self) -> NoReturn:
        self.close()
        self._loop.release_descriptor()
        raise ClosedError("this stream is closed; make another one")


class EventSource(BaseEventSource):
    """The events of an event stream (WHATWG HTML, "server-sent events"), over as many connections as it takes.

    Iterate it for its events, or call `next` or `next_item` with a timeout. It runs in the calling thread, and only
    during the call: between two calls nothing runs, and no clock of the stream advances. Its iterators, `next` and
    `next_item` are for one thread at a time; `close`, `restart` and `state` are for any thread.

    url:             http://, https:// or unix:///path.sock?path=/target. A str, or a callable that is asked before each
                     connection, for a token in the query.
    headers:         a mapping of str to str, pairs, or a callable that returns either and is asked before each
                     connection. They override the library's own fields (Accept, User-Agent …).
    method, body:    GET, POST … and the content in bytes. Each connection sends the whole request again.
    bearer_token:    sent as `Authorization: Bearer …`. A str, or a callable that is asked before each connection.
    last_event_id:   the id to begin with; the ids of the stream replace it. `Last-Event-ID` in `headers` does the same.
                     An id of more than 4 KiB is not sent.
    timeouts:        `Timeouts`, in seconds.
    keepalive:       `Keepalive`, TCP keepalive in seconds.
    backoff:         `Backoff`, the pauses between connections in seconds.
    tls:             None for the default roots, the path of a CA file (PEM) that is trusted instead, or an
                     `ssl.SSLContext` that is used as it is.
    client_cert:     a client certificate: the path of a PEM file that also has its key, or the paths (certificate,
                     key). An `SSLContext` of your own must hold it itself. It is not sent to another origin.
    max_event_bytes: the largest event in bytes (default 1 MiB). A larger one ends the source for good.
    persistent:      True to retry everything, a 204 too: what is for good is tried again at the slowest pace,
                     `backoff.maximum` seconds shortened at random by up to half. Only `close()` ends the source.
    reconnect:       False for one response and no more. Redirects are followed. Not together with `persistent`.
    watch:           False to notice neither changes of the network nor a suspend of the machine: see
                     `notify_network_change`.

    Before each connection the callables are asked, and files that have changed are read again. After a 401 the
    callables are asked once more, and if an answer differs the source connects again at once.

    Raises `InvalidRequestError` (a `ValueError` and a `TypeError`) for an argument of a wrong type or value.

    Iterating raises the `WireRawSSEError` that ends the source for good: a certificate that does not verify
    (`CertificateError`), a status other than 200 that is no redirect and not 408, 425, 429 or 5xx (`StatusError`), a
    response that is not an event stream (`NotAnEventStreamError`), an event that is too large (`EventTooLargeError`), a
    redirect without a usable Location, from https to http, or with a body to another origin (`RedirectError`). After a
    204 it stops without an error. Everything else is retried, also a callable that raises (`CredentialsError`) and a
    file that cannot be read (`TrustError`).

    With `reconnect=False` iterating raises whatever ended the response, a failure to connect included, and stops after
    a response that ended cleanly.
    """

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or None when `timeout` seconds are up (None: wait for ever).

        Raises the error that ended the source for good; `ClosedError` after `close()`, after a 204, and after the one
        response of `reconnect=False`; `BusyError` if another thread waits on this source; and `InvalidRequestError` for
        a timeout that is no number.
        """
        until = self._until(timeout)
        while True:
            item = self._next_item(until)
            if item is None or isinstance(item, Event):
                return item
            if until is not None and not self._sink.items and self._loop.system.monotonic() >= until:
                return None  # Endless comments must not hold up the caller.

    def next_item(self, timeout: float | None = None) -> Item | None:
        """The next item of any kind (see `items`), or None when `timeout` seconds are up. Raises as `next`."""
        return self._next_item(self._until(timeout))

    def items(self) -> Iterator[Item]:
        """All items in their order: `Opened`, `Event`, `Comment`, `Closed`.

        Ends after `close()` and after a 204. The error of any other end for good is raised after its `Closed`.
        """
        return self._until_closed(None)

    def __iter__(self) -> Iterator[Event]:
        """The events. Ends after `close()` and after a 204. Otherwise it raises as `next`."""
        for item in self._until_closed(Event):
            assert isinstance(item, Event)
            yield item

    def __enter__(self) -> EventSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """One descriptor for a select loop of the host's own, the same over all reconnects.

        Whenever it is readable, or `deadline()` has come, call `next(0)` or `next_item(0)`. It stays open and readable
        after `close`, or after an end for good, until the call that raises. Raises `OSError` where the platform has
        neither epoll nor kqueue.
        """
        return self._loop.descriptor()

    def deadline(self) -> float:
        """When `next(0)` is due at the latest, in seconds of `time.monotonic()`; may be `math.inf`.

        It lies in the past while items wait to be taken or received bytes are unparsed, and before the first call.
        """
        return PAST if self._sink.items or self._sink.ended is not None else self._loop.deadline()

    def _until_closed(self, wanted: type[Event] | None) -> Iterator[Item]:
        self._check_usable()
        while True:
            try:
                item = self._next_item(None)
            except ClosedError:
                return
            if item is not None and (wanted is None or isinstance(item, wanted)):
                yield item

    def _next_item(self, until: float | None) -> Item | None:
        sink, loop = self._sink, self._loop
        while True:
            if sink.ended is None and loop.closing:
                self._refuse_closed()
            if sink.items:
                return sink.items.popleft()
            self._check_usable()
            left = None if until is None else max(0.0, until - loop.system.monotonic())
            woken = loop.run(left)
            if woken and sink.items:
                return sink.items.popleft()  # The usual case, in few steps, because a cold wake pays for each.
            if not woken and left == 0 and not sink.items and not loop.closing:
                return None

    def _until(self, timeout: float | None) -> float | None:
        """The end of `timeout` seconds from now, on the loop's clock. Raises `InvalidRequestError`."""
        seconds = checks.seconds(timeout)
        return None if seconds is None else self._loop.system.monotonic() + seconds
