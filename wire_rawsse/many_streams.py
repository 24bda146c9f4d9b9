"""`Streams`: the wakes of many streams in one thread. Its `wait` is the sleep of the program.

It does for many streams what `StreamSubscriber` does for one, on the same loop (`hosts`). One thread at a time waits on
a set. Any thread may add and remove streams. `EventStreams` is in `many_events`.
"""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from wire_rawsse import checks
from wire_rawsse.errors import BusyError, ClosedError
from wire_rawsse.gate import MAX_CONNECTING
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.plan import make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.request import Headers, first_event_id
from wire_rawsse.state import EndpointState
from wire_rawsse.stream_set import StreamHandle, StreamSet
from wire_rawsse.transport.trust import ClientCertificate, Trust
from wire_rawsse.wake_streams import WakeStreams

S = TypeVar("S", bound="InlineStreams")


class ManyStreams:
    """The common part of `Streams`, `EventStreams` and `aio.AsyncStreams`."""

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


class InlineStreams(ManyStreams):
    """The common part of `Streams` and `EventStreams`, which run only in the calls of the program."""

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


class BaseStreams(ManyStreams):
    """The common part of `Streams` and `aio.AsyncStreams`: everything but the waiting."""

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
        """Begin a stream, from any thread.

        tag:             anything of the caller's, kept as `handle.tag`.
        url:             http://, https:// or unix:///path.sock?path=/target. A str, or a callable that is asked before
                         each connection, for a token in the query.
        bearer_token:    sent as `Authorization: Bearer …`. A str, or a callable that is asked before each connection.
        headers:         a mapping of str to str, pairs, or a callable that returns either and is asked before each
                         connection. They override the library's own fields (Accept, User-Agent …).
        method, body:    a str (GET, POST …), and the content in bytes or None. Each connection sends the whole request
                         again.
        last_event_id:   a str, the id to begin with. Without one, here or as `Last-Event-ID` in `headers`, no id is
                         ever sent: each connection is a wake anyway.
        timeouts:        `Timeouts`, in seconds.
        keepalive:       `Keepalive`, TCP keepalive in seconds.
        backoff:         `Backoff`, the pauses between connections in seconds.
        tls:             None for the default roots, the path of a CA file (PEM) that is trusted instead, or an
                         `ssl.SSLContext` that is used as it is.
        client_cert:     a client certificate: the path of a PEM file that also has its key, or the paths (certificate,
                         key). An `SSLContext` of your own must hold it itself. It is not sent to another origin.
        max_event_bytes: an int; it has no effect, since no event is kept.

        Before each connection the callables are asked, and files that have changed are read again. After a 401 the
        callables are asked once more, and if an answer differs the stream connects again at once.

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


class Streams(InlineStreams, BaseStreams):
    """Sleeps on many event streams: `wait` returns the handles of those that have woken.

    A wake tells that something has come on that stream: an event, or a new connection, before which events may have
    been missed. It does not tell which. A stream never ends by itself: like that of a `StreamSubscriber`, it is tried
    again for ever. Nothing is opened before the first `wait`, and nothing runs between two calls of it.

    max_connecting: how many streams connect at a time, from the look-up of the name until the response head is accepted
                    (default 16). The others are in the phase "waiting", and their budgets begin with their turn. Starts
                    to one origin are spread at random as well, about 1,000 a second after the first `max_connecting`.
    watch:          False to notice neither changes of the network nor a suspend of the machine.

    `wait` is for one thread at a time; everything else is for any thread, also while another one waits.
    """

    def __init__(self, *, max_connecting: int = MAX_CONNECTING, watch: bool = True) -> None:
        super().__init__(max_connecting=max_connecting, watch=watch)
        self._untold = False
        """The last `wait` may have found wakes that it did not return, because a signal handler raised."""

    def wait(self, timeout: float | None = None) -> tuple[StreamHandle, ...]:
        """Sleep until at least one stream wakes, or `timeout` seconds have passed (None: no limit).

        Returns the handle of each stream that has woken since the last call, each once. Returns () when the time is up,
        and at once when another thread calls `close`. With 0 or less it looks and does not sleep. Raises `ClosedError`
        after `close`, `BusyError` if another thread is in `wait`, and `InvalidRequestError` for a timeout that is no
        number.
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
