"""`EventStreams`: the events of many streams in one thread. Its `next` is the sleep of the program.

It does for many streams what `EventSource` does for one, on the same loop (`hosts`). Sources take turns, and the number
of unread items of each is bounded.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from typing import Any, Final

from wire_rawsse import checks
from wire_rawsse.errors import InvalidRequestError, WireRawSSEError
from wire_rawsse.event_source import EventSink, Item, check_endings
from wire_rawsse.gate import MAX_CONNECTING
from wire_rawsse.hosts.loop import PAST
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.many_streams import InlineStreams
from wire_rawsse.plan import make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.events import Event
from wire_rawsse.protocol.request import Headers, first_event_id
from wire_rawsse.protocol.response import Response
from wire_rawsse.stream_set import StreamHandle, StreamSet
from wire_rawsse.transport.trust import ClientCertificate, Trust

MOST_UNREAD: Final = 64
"""With so many unread items, a source is not received from."""
LOOK_EVERY: Final = 0.01
"""Seconds. While items are unread, the loop runs this often, so that the other sources are received from."""


class SourceHandle(StreamHandle):
    """One stream of `EventStreams`. Everything here is for any thread."""

    __slots__ = ()

    def restart(self) -> None:
        """Drop the connection and make a new one at once, in any phase. No effect on a stream that has ended.

        Raises `InvalidRequestError` if it was added with `reconnect=False`, which allows no second request.
        """
        if not self._sink.reconnect:
            raise InvalidRequestError("restart() would send a second request, which reconnect=False does not allow")
        super().restart()

    @property
    def last_event_id(self) -> str:
        """The id that a reconnect would send as `Last-Event-ID`."""
        found: str = self._sink.last_event_id
        return found

    @property
    def retry_ms(self) -> int | None:
        """The reconnection time that the stream has asked for, in milliseconds, or None."""
        found: int | None = self._sink.retry_ms
        return found


class _Unread:
    """The sources that have unread items, and those of them that have too many."""

    __slots__ = ("full", "ready")

    def __init__(self) -> None:
        self.ready: dict[SourceHandle, None] = {}
        """The first has the next turn."""
        self.full: dict[SourceHandle, None] = {}


class _SourceSink(EventSink):
    """An `EventSink` that enters its source in `unread` when it has items."""

    handle: SourceHandle
    reconnect: bool

    def __init__(self, last_event_id: str, max_event_bytes: int, unread: _Unread) -> None:
        super().__init__(last_event_id, max_event_bytes)
        self._unread = unread

    def opened(self, response: Response, id_left_out: bool) -> None:
        super().opened(response, id_left_out)
        self._note()

    def feed(self, piece: bytes) -> bool:
        try:
            return super().feed(piece)
        finally:
            if self.items:  # Also if an event was too large: there may be items before it.
                self._note()

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        return super().closed(error, retry_in) and self._note()

    def _note(self) -> bool:
        self._unread.ready[self.handle] = None
        if len(self.items) >= MOST_UNREAD:
            self._unread.full[self.handle] = None
        return True


class EventStreams(InlineStreams):
    """The events of many streams, in the thread that asks for them.

    Each stream is kept alive like that of an `EventSource`. When it ends for good, nothing is raised: `next_item`
    returns `Closed(error, None)`, and `source.state` tells it. The stream leaves the set when that item is read.
    Nothing is opened before the first `next`, and nothing runs between two calls.

    max_connecting: how many streams connect at a time, from the look-up of the name until the response head is accepted
                    (an int, default 16). The others are in the phase "waiting", and their budgets begin with their
                    turn. Starts to one origin are spread at random as well, about 1,000 a second after the first
                    `max_connecting`.
    watch:          False to notice neither changes of the network nor a suspend of the machine: see
                    `notify_network_change`.

    Sources take turns: one item of each that has any. A source with 64 unread items is not received from until they are
    read, and its silence is no fault meanwhile. The other sources go on.

    `next` and `next_item` are for one thread at a time; everything else is for any thread.
    """

    def __init__(self, *, max_connecting: int = MAX_CONNECTING, watch: bool = True) -> None:
        self._set = StreamSet(max_connecting=checks.whole(max_connecting, "max_connecting"))
        self._loop = self._set.loop
        self._notice = Notice(self._loop, checks.flag(watch, "watch"))
        self._unread = _Unread()
        self._paused: set[SourceHandle] = set()
        self._look_at = 0.0
        """When the loop runs again even though items are unread."""

    def add(
        self,
        url: str | Callable[[], str],
        *,
        tag: Any = None,
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
    ) -> SourceHandle:
        """Begin a stream, from any thread.

        tag:             anything of the caller's, kept as `source.tag`.
        url:             http://, https:// or unix:///path.sock?path=/target. A str, or a callable that is asked before
                         each connection, for a token in the query.
        headers:         a mapping of str to str, pairs, or a callable that returns either and is asked before each
                         connection. They override the library's own fields (Accept, User-Agent …).
        method, body:    a str (GET, POST …), and the content in bytes or None. Each connection sends the whole request
                         again.
        bearer_token:    sent as `Authorization: Bearer …`. A str, or a callable that is asked before each connection.
        last_event_id:   a str, the id to begin with; the ids of the stream replace it. `Last-Event-ID` in `headers`
                         does the same. An id of more than 4 KiB is not sent.
        timeouts:        `Timeouts`, in seconds.
        keepalive:       `Keepalive`, TCP keepalive in seconds.
        backoff:         `Backoff`, the pauses between connections in seconds.
        tls:             None for the default roots, the path of a CA file (PEM) that is trusted instead, or an
                         `ssl.SSLContext` that is used as it is.
        client_cert:     a client certificate: the path of a PEM file that also has its key, or the paths (certificate,
                         key). An `SSLContext` of your own must hold it itself. It is not sent to another origin.
        max_event_bytes: the largest event in bytes, an int (default 1 MiB). A larger one ends the stream for good.
        persistent:      True to retry everything, a 204 too: what is for good is tried again at the slowest pace,
                         `backoff.maximum` seconds shortened at random by up to half. Only `remove()` and `close()` end
                         the stream.
        reconnect:       False for one response and no more. Redirects are followed. Not together with `persistent`.

        Before each connection the callables are asked, and files that have changed are read again. After a 401 the
        callables are asked once more, and if an answer differs the stream connects again at once.

        `Closed(error, None)` tells the end of a stream for good: a 204 or another status that is no redirect and not
        200, 408, 425, 429 or 5xx (`StatusError`), a certificate that does not verify (`CertificateError`), a response
        that is no event stream (`NotAnEventStreamError`), an event that is too large (`EventTooLargeError`), a redirect
        without a usable Location, from https to http, or with a body to another origin (`RedirectError`). Everything
        else is retried, also a callable that raises (`CredentialsError`) and a file that cannot be read (`TrustError`).

        Raises `InvalidRequestError` for an argument of a wrong type or value, and `ClosedError` after `close`.
        """
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
        self._check_open()
        sink = _SourceSink(first_event_id(plan.headers, last_event_id), max_event_bytes, self._unread)
        sink.reconnect = reconnect
        source = sink.handle = SourceHandle(self._set, self._set.record(plan), sink, tag)
        self._set.request_start(source, plan, persistent=persistent)
        return source

    def next(self, timeout: float | None = None) -> tuple[SourceHandle, Event] | None:
        """The next event and its source, or None when `timeout` seconds are up (None: wait for ever).

        Raises `ClosedError` after `close`, `BusyError` if another thread waits on this set, and `InvalidRequestError`
        for a timeout that is no number.
        """
        until = self._until(timeout)
        found = self._next_item(until)
        while found is not None:
            source, item = found
            if isinstance(item, Event):
                return source, item
            # Endless comments must not hold up the caller: once the time is up, nothing more is received.
            is_over = until is not None and self._loop.system.monotonic() >= until
            found = self._take() if is_over else self._next_item(until)
        return None

    def next_item(self, timeout: float | None = None) -> tuple[SourceHandle, Item] | None:
        """The next item (`Opened`, `Event`, `Comment` or `Closed`) and its source, or None. Raises as `next`."""
        return self._next_item(self._until(timeout))

    def deadline(self) -> float:
        """When `next(0)` is due at the latest, in seconds of `time.monotonic()`; may be `math.inf`.

        It lies in the past while items wait to be taken or received bytes are unparsed, and before the first call.
        """
        return PAST if self._unread.ready else self._loop.deadline()

    def _until(self, timeout: float | None) -> float | None:
        """The end of `timeout` seconds from now, on the loop's clock. Raises `InvalidRequestError`."""
        seconds = checks.seconds(timeout)
        return None if seconds is None else self._loop.system.monotonic() + seconds

    def _next_item(self, until: float | None) -> tuple[SourceHandle, Item] | None:
        loop, monotonic = self._loop, self._loop.system.monotonic
        self._set.runner = get_ident()
        while True:
            self._check_open()
            if self._unread.ready and monotonic() < self._look_at and (found := self._take()) is not None:
                return found
            if self._unread.ready:
                left: float | None = 0.0
            else:
                left = None if until is None else max(0.0, until - monotonic())
            loop.run(left)
            self._look_at = monotonic() + LOOK_EVERY
            self._pause_the_full()
            if (found := self._take()) is not None:
                return found
            if until is not None and monotonic() >= until and not loop.closing:
                return None

    def _take(self) -> tuple[SourceHandle, Item] | None:
        """One item of the source whose turn it is."""
        ready = self._unread.ready
        while ready:
            source = next(iter(ready))
            del ready[source]
            sink: _SourceSink = source._sink
            if source._removed or not sink.items:  # Without items: a signal handler raised as the last one was taken.
                self._paused.discard(source)
                continue
            try:
                if len(sink.items) > 1:
                    ready[source] = None  # At the end, after the other sources.
                else:
                    self._resume(source)
                if sink.items[0] is sink.ended:
                    self._set.remove(source)
                return source, sink.items.popleft()
            except BaseException:
                ready[source] = None  # A signal handler raised.
                raise
        return None

    def _pause_the_full(self) -> None:
        full = self._unread.full
        while full:
            source = next(iter(full))
            if source._task is not None and not source._removed:
                self._paused.add(source)
                self._loop.pause(source._task)
            del full[source]

    def _resume(self, source: SourceHandle) -> None:
        if source in self._paused and source._task is not None:
            self._loop.resume(source._task)
            self._paused.discard(source)
