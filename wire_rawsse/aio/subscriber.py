"""`AsyncStreamSubscriber`: wakes for a program that lives in asyncio. `driver` attends the streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from wire_rawsse import checks
from wire_rawsse.aio.driver import Driver
from wire_rawsse.errors import ClosedError
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.request import Headers
from wire_rawsse.subscriber import BaseSubscriber
from wire_rawsse.transport.trust import ClientCertificate, Trust

if TYPE_CHECKING:
    from typing_extensions import Self  # Part of `typing` from Python 3.11 on.

_FAILURE_PAUSES = (1.0, 30.0)
"""Seconds until the streams start over after an internal error: at first, doubled each time, up to the second value."""


class AsyncStreamSubscriber(BaseSubscriber):
    """`StreamSubscriber` for asyncio: `await wait(timeout)`, `async for _ in subscriber`, or `on_wake`.

    The running event loop attends the streams from the first `wait` or `async with` until `close`, also while no task
    waits. There is no task of ours: cancelling a task that waits changes nothing else, and never loses a wake. A wake
    that comes while no task waits is kept for the next `wait`; several are kept as one.

    One task waits at a time, in the thread of the event loop. `close`, `restart` and `state` are for any thread.
    Callables among the arguments are called by the event loop, so they must not block.

    url:             http://, https:// or unix:///path.sock?path=/target. A str, or a callable that is asked before each
                     connection, for a token in the query.
    on_wake:         called by the event loop on each wake, without arguments. It is called sooner than `wait` returns,
                     and both may be used. An exception that it raises goes to the event loop's exception handler, and
                     the streams go on.
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

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        on_wake: Callable[[], object] | None = None,
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
        super().__init__(
            url,
            bearer_token=bearer_token,
            headers=headers,
            method=method,
            body=body,
            last_event_id=last_event_id,
            timeouts=timeouts,
            keepalive=keepalive,
            backoff=backoff,
            tls=tls,
            client_cert=client_cert,
            max_event_bytes=max_event_bytes,
            watch=watch,
        )
        self._set_on_wake(on_wake)

    @classmethod
    def from_wire(
        cls,
        *,
        on_wake: Callable[[], object] | None = None,
        timeouts: Timeouts = Timeouts(),
        keepalive: Keepalive = Keepalive(),
        backoff: Backoff = Backoff(),
        tls: Trust = None,
        client_cert: ClientCertificate = None,
        watch: bool = True,
    ) -> Self:
        """Every endpoint in wire's relay.json: see `StreamSubscriber.from_wire`. Reads and writes small local files."""
        subscriber = super().from_wire(
            timeouts=timeouts, keepalive=keepalive, backoff=backoff, tls=tls, client_cert=client_cert, watch=watch
        )
        subscriber._set_on_wake(on_wake)
        return subscriber

    def _prepare(self, max_connecting: int | None = None) -> None:
        super()._prepare(max_connecting)
        self._driver = Driver(self._loop, self)
        self._reason: Literal["event", "reconnect"] | None = None
        self._pause = _FAILURE_PAUSES[0]

    def _set_on_wake(self, on_wake: Callable[[], object] | None) -> None:
        if on_wake is not None and not callable(on_wake):
            raise checks.wrong("on_wake", "a callable or None", on_wake)
        self._driver.on_wake = on_wake

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is a wake (True) or `timeout` seconds have passed (False). None: no limit.

        With 0 or less it only looks. Returns False at once when `close` is called meanwhile. Raises
        `ClosedError` after `close`, `BusyError` if another task waits or another event loop attends the streams, and
        `InvalidRequestError` for a timeout that is no number.
        """
        driver = self._driver
        until = driver.begin(checks.seconds(timeout))
        driver.check_open()
        self._reason = None
        while not driver.woken:
            if self._loop.closing or driver.is_over(until):
                return False
            await driver.wait(until)
        driver.woken = False
        self._pause = _FAILURE_PAUSES[0]
        before, self._connections = self._connections, self._streams.connections
        self._reason = "event" if before == self._connections else "reconnect"
        return True

    @property
    def wait_reason(self) -> Literal["event", "reconnect"] | None:
        """Why the last `wait` returned True; None if it returned False. See `StreamSubscriber.wait_reason`."""
        return self._reason

    def __aiter__(self) -> AsyncIterator[None]:
        """A None for each wake, until `close`. Raises `ClosedError` after `close`."""
        self._driver.check_open()
        return self

    async def __anext__(self) -> None:
        try:
            woken = await self.wait()
        except ClosedError:  # Closed by the body of the loop.
            woken = False
        if not woken:
            raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        self._driver.attach()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def restart(self) -> None:
        super().restart()
        self._driver.look_soon()

    def close(self) -> None:
        """End it in any phase and close everything, at once. From any thread; twice is fine."""
        self._driver.close()

    # For the driver.

    def is_full(self) -> bool:
        return False

    def on_failure(self, error: Exception) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, _FAILURE_PAUSES[1])
        self._failed(error, pause)
        return pause
