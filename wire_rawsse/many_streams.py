"""`Streams` and `EventStreams`: many streams in one thread, whose calls are the sleep of a program that holds them.

They are what `StreamSubscriber` and `EventSource` are for one stream, and share their loop: see `hosts`. One thread at
a time waits on a set; streams come and go from any thread.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

from wire_rawsse import checks
from wire_rawsse.errors import BusyError, ClosedError, InvalidRequestError, WireRawSSEError
from wire_rawsse.event_source import EventSink, Item, check_endings
from wire_rawsse.gate import MAX_CONNECTING
from wire_rawsse.hosts.loop import PAST, Loop
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.plan import make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.events import Event
from wire_rawsse.protocol.request import Headers, first_event_id
from wire_rawsse.protocol.response import Response
from wire_rawsse.state import EndpointState
from wire_rawsse.stream_set import StreamHandle, StreamSet
from wire_rawsse.transport.trust import ClientCertificate, Trust
from wire_rawsse.wake_streams import WakeStreams

MOST_UNREAD: Final = 64
"""Items of one source that wait to be read, before it is not received from."""
LOOK_EVERY: Final = 0.01
"""Seconds. While items are unread, the other sources are received from this often."""

S = TypeVar("S", bound="_Inline")


class _Many:
    """The common part of both."""

    _set: StreamSet
    _loop: Loop
    _notice: Notice

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}>"

    def __len__(self) -> int:
        """How many streams were added and have neither been removed nor ended for good."""
        return len(self._set)

    def states(self) -> list[EndpointState]:
        """The state of each stream, in the order they were added. From any thread."""
        return self._set.snapshots()

    def restart(self) -> None:
        """Drop every connection and make new ones, as many at a time as may connect. From any thread."""
        self._set.restart()

    def notify_network_change(self) -> None:
        """The network has changed: check all connections, and end pauses. From any thread.

        For a host that knows it sooner than the kernel says, or where `watch` has nothing to watch.
        """
        self._notice.network_changed()

    def close(self) -> None:
        """End every stream, in any phase, and close everything. From any thread or signal handler; twice is fine."""
        self._loop.close()

    def _check_open(self) -> None:
        if self._loop.closing:
            self._loop.release_descriptor()
            raise ClosedError("these streams are closed; make others")


class _Inline(_Many):
    """The calls of the program are the sleep of the streams."""

    def fileno(self) -> int:
        """One descriptor for a select loop of the host's own, the same for all streams and over all reconnects.

        Whenever it is readable, or `deadline()` has come, wait with a timeout of 0. It stays open and readable after
        `close` until that call. Raises `OSError` where the platform has neither epoll nor kqueue.
        """
        return self._loop.descriptor()

    def __enter__(self: S) -> S:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BaseStreams(_Many):
    """Everything but the waiting: what `Streams` and `aio.AsyncStreams` have in common."""

    def __init__(self, *, max_connecting: int = MAX_CONNECTING, watch: bool = True) -> None:
        self._set: WakeStreams = WakeStreams(max_connecting=checks.whole(max_connecting, "max_connecting"))
        self._loop = self._set.loop
        self._notice = Notice(self._loop, checks.flag(watch, "watch"))

    def add(
        self,
        url: str | Callable[[], str],
        *,
        tag: Any = None,
        bearer_token: str | Callable[[], str] | None = None,
        headers: Headers | Callable[[], Headers] | None = None,
        method: str = "GET",
        body: bytes | None = None,
        last_event_id: str = "",
        timeouts: Timeouts = Timeouts(),
        keepalive: Keepalive = Keepalive(),
        backoff: Backoff = Backoff(),
        tls: Trust = None,
        client_cert: ClientCertificate = None,
        max_event_bytes: int = 1 << 20,
    ) -> StreamHandle:
        """Begin a stream, from any thread. The arguments are those of `StreamSubscriber`.

        tag: anything of the caller's, kept as `handle.tag`.

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
        )
        checks.whole(max_event_bytes, "max_event_bytes")
        self._check_open()
        handle = self._set.new_handle(plan, last_event_id=first_event_id(plan.headers, last_event_id), tag=tag)
        self._set.request_start(handle, plan)
        return handle


class Streams(_Inline, BaseStreams):
    """Sleeps on many event streams: `wait` returns the handles of those that have woken.

    A wake says that something has come on that stream: an event, or a new connection, before which events may have been
    missed. It does not say what. Streams never end by themselves; they are tried again for ever, as those of a
    `StreamSubscriber`. Nothing runs and nothing is opened before the first `wait`, and nothing runs between two.

    max_connecting: how many streams connect at a time, from the look-up of the name until the response head is accepted
                    (default 16). The others are in the phase "waiting", and their budgets begin with their turn. Starts
                    to one origin are spread at random as well, about 1,000 a second after the first `max_connecting`.
    watch:          False to notice neither changes of the network nor a suspend of the machine.

    `wait` is for one thread at a time; everything else is for any thread, also while another one waits.
    """

    def __init__(self, *, max_connecting: int = MAX_CONNECTING, watch: bool = True) -> None:
        super().__init__(max_connecting=max_connecting, watch=watch)
        self._untold = False
        """The last `wait` may have found wakes that it could not give, because a signal handler raised."""

    def wait(self, timeout: float | None = None) -> tuple[StreamHandle, ...]:
        """Sleep until at least one stream wakes, or `timeout` seconds have passed (None: no limit).

        Gives the handle of each stream that has woken since the last call, once; () when the time is up, and at once
        when another thread calls `close`. With 0 or less it looks and does not sleep. Raises `ClosedError` after
        `close`, `BusyError` if another thread is in `wait`, and `InvalidRequestError` for a timeout that is no number.
        """
        seconds = checks.seconds(timeout)
        self._set.runner = get_ident()
        woken = self._set.woken() if self._untold else ()
        if not woken:
            try:
                woken = self._set.woken() if self._loop.run(seconds) else ()
            except (BusyError, ClosedError):
                raise
            except BaseException:
                self._untold = True
                raise
        self._untold = False
        return woken

    def deadline(self) -> float:
        """When `wait(0)` is due at the latest, in seconds of `time.monotonic()`; may be `math.inf`.

        It lies in the past while received bytes are unparsed, and before the first wait.
        """
        return self._loop.deadline()


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
    """The sources that have items to be read, and those of them that have too many."""

    __slots__ = ("full", "ready")

    def __init__(self) -> None:
        self.ready: dict[SourceHandle, None] = {}
        """The first has the next turn."""
        self.full: dict[SourceHandle, None] = {}


class _SourceSink(EventSink):
    """An `EventSink` that says when it has something."""

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
            if self.items:  # Also before an event that is too large.
                self._note()

    def closed(self, error: WireRawSSEError | None, retry_in: float | None) -> bool:
        return super().closed(error, retry_in) and self._note()

    def _note(self) -> bool:
        self._unread.ready[self.handle] = None
        if len(self.items) >= MOST_UNREAD:
            self._unread.full[self.handle] = None
        return True


class EventStreams(_Inline):
    """The events of many streams, in the thread that asks for them.

    Each stream is kept alive like that of an `EventSource`. Its end for good raises nothing: `next_item` gives
    `Closed(error, None)`, and `source.state` has it. The stream leaves the set when that item is read.
    Nothing runs and nothing is opened before the first `next`, and nothing runs between two.

    max_connecting, watch: as for `Streams`.

    Sources take turns: `next` gives one item of each that has any. A source with 64 unread items is not received from
    until they are read; the others go on. Its silence is no fault meanwhile.

    `next` and `next_item` are for one thread at a time; everything else is for any thread.
    """

    def __init__(self, *, max_connecting: int = MAX_CONNECTING, watch: bool = True) -> None:
        self._set = StreamSet(max_connecting=checks.whole(max_connecting, "max_connecting"))
        self._loop = self._set.loop
        self._notice = Notice(self._loop, checks.flag(watch, "watch"))
        self._unread = _Unread()
        self._paused: set[SourceHandle] = set()
        self._look_at = 0.0
        """When the loop has its turn, even though items are unread."""

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
        """Begin a stream, from any thread. The arguments are those of `EventSource`.

        tag: anything of the caller's, kept as `source.tag`.

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
            # Comments without end must not hold the caller up: when the time is up, nothing more is received.
            is_over = until is not None and self._loop.system.monotonic() >= until
            found = self._take() if is_over else self._next_item(until)
        return None

    def next_item(self, timeout: float | None = None) -> tuple[SourceHandle, Item] | None:
        """The next of all that happens: `Opened`, `Event`, `Comment` or `Closed`, and its source. Raises as `next`."""
        return self._next_item(self._until(timeout))

    def deadline(self) -> float:
        """When `next(0)` is due at the latest, in seconds of `time.monotonic()`; may be `math.inf`.

        It lies in the past while items wait to be taken or received bytes are unparsed, and before the first call.
        """
        return PAST if self._unread.ready else self._loop.deadline()

    def _until(self, timeout: float | None) -> float | None:
        """The moment at which `timeout` seconds are up, on the loop's own clock. Raises `InvalidRequestError`."""
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
            if source._removed or not sink.items:  # None: a signal handler raised when the last one was taken.
                self._paused.discard(source)
                continue
            try:
                if len(sink.items) > 1:
                    ready[source] = None  # At the end: the others first.
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
