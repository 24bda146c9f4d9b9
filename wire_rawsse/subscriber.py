"""`StreamSubscriber`: wakes from one endpoint or several, inline or in a thread. It never gives up.

`wait` is the sleep of a daemon that embeds it. `hosts.loop` has the sleep, `wake_streams` the definition of a wake, and
`wire.follow` the part that `from_wire` adds.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from wire_rawsse import checks
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.plan import check_settings, make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.request import Headers, first_event_id
from wire_rawsse.state import SubscriberState, summarise
from wire_rawsse.transport.trust import ClientCertificate, Trust, check_client_cert
from wire_rawsse.wake import WakeChannel
from wire_rawsse.wake_streams import WakeStreams

if TYPE_CHECKING:
    from typing_extensions import Self  # Part of `typing` from Python 3.11 on.

    from wire_rawsse.hosts.thread import SubscriberThread
    from wire_rawsse.wire.follow import Follower


class BaseSubscriber:
    """The common part of `StreamSubscriber` and `aio.AsyncStreamSubscriber`: everything but the waiting."""

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
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
        watch: bool = True,
    ) -> None:
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
        checks.flag(watch, "watch")
        self._prepare()
        self._notice = Notice(self._loop, watch)
        self._streams.add(plan, last_event_id=first_event_id(plan.headers, last_event_id))

    def _prepare(self, max_connecting: int | None = None) -> None:
        self._streams = WakeStreams(max_connecting=max_connecting)
        self._loop = self._streams.loop
        self._follower: Follower | None = None
        self._connections = 0
        """The number of connections before the last `wait`."""

    @classmethod
    def from_wire(
        cls,
        *,
        timeouts: Timeouts = Timeouts(),
        keepalive: Keepalive = Keepalive(),
        backoff: Backoff = Backoff(),
        tls: Trust = None,
        client_cert: ClientCertificate = None,
        watch: bool = True,
    ) -> Self:
        """Subscribe to every endpoint in wire's relay.json, follow its changes, and write wire's stream_state.json.

        No other constructor reads wire's files and environment. A missing or broken file shows in `state` and in the
        log, and is never raised. Raises `InvalidRequestError` for an argument of a wrong type.
        """
        check_settings(timeouts, keepalive, backoff, tls)
        checks.flag(watch, "watch")
        from wire_rawsse.gate import MAX_CONNECTING
        from wire_rawsse.wire.follow import Follower

        subscriber = cls.__new__(cls)
        subscriber._prepare(MAX_CONNECTING)
        subscriber._notice = Notice(subscriber._loop, watch)
        subscriber._follower = Follower(
            subscriber._streams,
            timeouts=timeouts,
            keepalive=keepalive,
            backoff=backoff,
            trust=tls,
            client_cert=check_client_cert(client_cert, tls),
        )
        subscriber._loop.add_housekeeping(subscriber._follower)
        return subscriber

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.state.state} {', '.join(one.url for one in self.state.endpoints)}>"

    @property
    def state(self) -> SubscriberState:
        """A frozen value: phase, last byte, last wake, last error, next attempt and more, of the whole and of each
        endpoint.
        """
        if self._follower is not None:
            return self._follower.state()
        return summarise(self._streams.snapshots())

    @property
    def wait_reason(self) -> Literal["event", "reconnect"] | None:
        """Why the last `wait` returned True; None if it returned False.

        `reconnect`: there is a new connection (the first one counts), and events may have been missed before it, so
        fetch everything that is new. `event`: there was an event, and no new connection.
        """
        if not self._loop.woken():
            return None
        return "event" if self._connections == self._streams.connections else "reconnect"

    def _failed(self, error: Exception, pause: float) -> None:
        """For a host: the loop has raised an unexpected `error`, and is run again in `pause` seconds."""
        self._streams.failed(error, pause)

    def restart(self) -> None:
        """Drop every connection and make new ones at once, in any phase. It interrupts no `wait`. From any thread."""
        self._streams.restart()

    def notify_network_change(self) -> None:
        """The network has changed: check all connections, and end pauses. It interrupts no `wait`. From any thread.

        For a host that knows it sooner than the kernel says, or where `watch` has nothing to watch.
        """
        self._notice.network_changed()

    def close(self) -> None:
        """End it in any phase and close everything. From any thread or signal handler; twice is fine."""
        self._loop.close()


class StreamSubscriber(BaseSubscriber):
    """Sleeps on an event stream: `wait(timeout)` returns True at once on a wake.

    A wake tells that something has come: an event, or a new connection, before which events may have been missed. It
    does not tell which. Nothing is opened before the first `wait`, and nothing runs between two calls of it. `wait` is
    for one thread at a time; `close`, `restart` and `state` are for any thread.

    url:             http://, https:// or unix:///path.sock?path=/target. A str, or a callable that is asked before each
                     connection, for a token in the query.
    bearer_token:    sent as `Authorization: Bearer …`. A str, or a callable that is asked before each connection.
    headers:         a mapping of str to str, pairs, or a callable that returns either and is asked before each
                     connection. They override the library's own fields (Accept, User-Agent …).
    method, body:    a str (GET, POST …), and the content in bytes or None. Each connection sends the whole request
                     again.
    last_event_id:   a str, the id to begin with. Without one, here or as `Last-Event-ID` in `headers`, no id is ever
                     sent: each connection is a wake anyway.
    timeouts:        `Timeouts`, in seconds.
    keepalive:       `Keepalive`, TCP keepalive in seconds.
    backoff:         `Backoff`, the pauses between connections in seconds.
    tls:             None for the default roots, the path of a CA file (PEM) that is trusted instead, or an
                     `ssl.SSLContext` that is used as it is.
    client_cert:     a client certificate: the path of a PEM file that also has its key, or the paths (certificate,
                     key). An `SSLContext` of your own must hold it itself. It is not sent to another origin.
    max_event_bytes: an int; it has no effect, since no event is kept.
    watch:           False to notice neither changes of the network nor a suspend of the machine: see
                     `notify_network_change`.

    Before each connection the callables are asked, and files that have changed are read again. After a 401 the
    callables are asked once more, and if an answer differs the stream connects again at once.

    Raises `InvalidRequestError` (a `ValueError` and a `TypeError`) for an argument of a wrong type or value. Nothing
    that a network, a server or a file does is raised: it is in `state` and in the log, and the stream is tried again.
    """

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep until there is a wake (True) or `timeout` seconds have passed (False). None: no limit.

        With 0 or less it looks and does not sleep. Returns False at once when another thread calls `close`. Raises
        `ClosedError` after `close`, `BusyError` if another thread is in `wait`, and `InvalidRequestError` for a timeout
        that is no number.
        """
        self._connections = self._streams.connections
        return self._loop.run(checks.seconds(timeout))

    def fileno(self) -> int:
        """One descriptor for a select loop of the host's own, the same over all reconnects.

        Whenever it is readable, or `deadline()` has come, call `wait(0)`. It stays open and readable after `close`
        until that call. Raises `OSError` where the platform has neither epoll nor kqueue: use `WakeChannel.fileno()`.
        """
        return self._loop.descriptor()

    def deadline(self) -> float:
        """When `wait(0)` is due at the latest, in seconds of `time.monotonic()`; may be `math.inf`.

        It lies in the past while received bytes are unparsed, and before the first wait.
        """
        return self._loop.deadline()

    def __enter__(self) -> StreamSubscriber:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def spawn_stream_subscriber(wake: WakeChannel, subscriber: StreamSubscriber | None = None) -> SubscriberThread:
    """Start a daemon thread, named `wire-stream-sub`, that sets `wake` on each wake. `.stop()` ends and joins it.

    The default `subscriber` is `StreamSubscriber.from_wire()`: every endpoint in wire's relay.json. The thread has it
    as its attribute `subscriber`, for its `state`. Raises `InvalidRequestError` for arguments of another type, and
    `RuntimeError` if the system cannot start a thread.
    """
    checks.instance(wake, WakeChannel, "wake")
    from wire_rawsse.hosts.thread import SubscriberThread  # `threading` is loaded for a thread only.

    own = StreamSubscriber.from_wire() if subscriber is None else subscriber
    checks.instance(own, StreamSubscriber, "subscriber")
    thread = SubscriberThread(wake, own, own._loop)
    try:
        thread.start_safely()
    except BaseException:
        if subscriber is None:
            own.close()  # A signal handler raised. The caller has no thread to stop.
        raise
    return thread
