"""`AsyncEventSource`: the events of a stream, for a program that lives in asyncio. `driver` attends the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

from wire_rawsse import checks
from wire_rawsse.aio.driver import Driver
from wire_rawsse.errors import ClosedError
from wire_rawsse.event_source import BaseEventSource, Item
from wire_rawsse.protocol.events import Event

if TYPE_CHECKING:
    from typing_extensions import Self  # Part of `typing` from Python 3.11 on.

_FULL: Final = 64
"""With so many unread items, the stream is not received from."""
_ROOM: Final = 32
"""When only so many items are left unread, it is received from again."""
_FAILURE_PAUSE: Final = 1.0
"""Seconds until the stream starts over after an internal error, which `next` raises."""


class AsyncEventSource(BaseEventSource):
    """`EventSource` for asyncio: `async for event in source`, `await source.next(timeout)`, `async for … in items()`.

    The running event loop attends the stream from the first of these calls or `async with` until `close`, also while no
    task waits, so a dead stream is replaced meanwhile. There is no task of ours: cancelling a task that waits changes
    nothing else, and never loses an event. While 64 items are unread, the stream is not received from, and its silence
    is no fault.

    One task waits at a time, in the thread of the event loop. `close`, `restart` and `state` are for any thread.
    Callables among the arguments are called by the event loop, so they must not block.

    url:             http://, https:// or unix:///path.sock?path=/target. A str, or a callable that is asked before each
                     connection, for a token in the query.
    headers:         a mapping of str to str, pairs, or a callable that returns either and is asked before each
                     connection. They override the library's own fields (Accept, User-Agent …).
    method, body:    a str (GET, POST …), and the content in bytes or None. Each connection sends the whole request
                     again.
    bearer_token:    sent as `Authorization: Bearer …`. A str, or a callable that is asked before each connection.
    last_event_id:   a str, the id to begin with; the ids of the stream replace it. `Last-Event-ID` in `headers` does
                     the same. An id of more than 4 KiB is not sent.
    timeouts:        `Timeouts`, in seconds.
    keepalive:       `Keepalive`, TCP keepalive in seconds.
    backoff:         `Backoff`, the pauses between connections in seconds.
    tls:             None for the default roots, the path of a CA file (PEM) that is trusted instead, or an
                     `ssl.SSLContext` that is used as it is.
    client_cert:     a client certificate: the path of a PEM file that also has its key, or the paths (certificate,
                     key). An `SSLContext` of your own must hold it itself. It is not sent to another origin.
    max_event_bytes: the largest event in bytes, an int (default 1 MiB). A larger one ends the source for good.
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

    def _prepare(self) -> None:
        super()._prepare()
        self._driver = Driver(self._loop, self)
        self._failure: Exception | None = None

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or None when `timeout` seconds are up (None: wait for ever). With 0 or less it only looks.

        Raises the error that ended the source for good; `ClosedError` after `close()`, after a 204, and after the one
        response of `reconnect=False`; `BusyError` if another task waits or another event loop attends the stream; and
        `InvalidRequestError` for a timeout that is no number.
        """
        item = await self._next(timeout, Event)
        assert item is None or isinstance(item, Event)
        return item

    async def next_item(self, timeout: float | None = None) -> Item | None:
        """The next item of any kind (see `items`), or None when `timeout` seconds are up. Raises as `next`."""
        return await self._next(timeout, None)

    def items(self) -> AsyncIterator[Item]:
        """All items in their order: `Opened`, `Event`, `Comment`, `Closed`.

        Ends after `close()` and after a 204. The error of any other end for good is raised after its `Closed`.
        """
        self._check_usable()
        return _Iterator(self, None)

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events. Ends after `close()` and after a 204. Otherwise it raises as `next`."""
        self._check_usable()
        return _Iterator(self, Event)  # type: ignore[return-value]  # Only events come out of it.

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
        """End it in any phase and give everything back, at once. From any thread; twice is fine."""
        self._driver.close()

    async def _next(self, timeout: float | None, wanted: type[Event] | None) -> Item | None:
        sink, driver = self._sink, self._driver
        until = driver.begin(checks.seconds(timeout))
        while True:
            if sink.ended is None and self._loop.closing:
                self._refuse_closed()
            while sink.items:
                item = sink.items.popleft()
                if len(sink.items) == _ROOM:
                    driver.resume()
                if wanted is None or isinstance(item, wanted):
                    return item
            self._check_usable()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if driver.is_over(until):
                return None
            await driver.wait(until)

    # For the driver.

    def is_full(self) -> bool:
        return len(self._sink.items) >= _FULL

    def on_failure(self, error: Exception) -> float:
        self._failure = error
        self._loop.start_over()
        return _FAILURE_PAUSE


class _Iterator:
    """Iterates over the items of one type; None: over all items."""

    def __init__(self, source: AsyncEventSource, wanted: type[Event] | None) -> None:
        self._source = source
        self._wanted = wanted

    def __aiter__(self) -> _Iterator:
        return self

    async def __anext__(self) -> Item:
        try:
            item = await self._source._next(None, self._wanted)
        except ClosedError:
            raise StopAsyncIteration from None
        assert item is not None
        return item
