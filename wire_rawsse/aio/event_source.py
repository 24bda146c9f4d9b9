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
"""Items that are unread. With so many the stream is not received from."""
_ROOM: Final = 32
"""Items that are still unread when it is received from again."""
_FAILURE_PAUSE: Final = 1.0
"""Seconds until the stream starts over after an internal error, which `next` raises."""


class AsyncEventSource(BaseEventSource):
    """`EventSource` for asyncio: `async for event in source`, `await source.next(timeout)`, `async for … in items()`.

    The running event loop attends the stream from the first of these or `async with` until `close`, also while nobody
    waits, so that a stream that has died is renewed meanwhile. There is no task: cancelling a task that waits changes
    nothing else, and never loses an event. While 64 items are unread the stream is not received from, and its silence
    is not judged.

    One task waits at a time, in the thread of the event loop. `close`, `restart` and `state` are for any thread.
    Callables among the arguments are called by the event loop, so they must not block.

    All arguments, what they raise, and what iterating raises, are those of `EventSource`.
    """

    def _prepare(self) -> None:
        super()._prepare()
        self._driver = Driver(self._loop, self)
        self._failure: Exception | None = None

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or None when `timeout` seconds are up (None: wait for ever). With 0 or less it looks only.

        Raises what ended the source for good, `ClosedError` after `close()`, a 204, or the one response of
        `reconnect=False`, `BusyError` if another task waits or another event loop attends the stream, and
        `InvalidRequestError` for a timeout that is no number.
        """
        item = await self._next(timeout, Event)
        assert item is None or isinstance(item, Event)
        return item

    async def next_item(self, timeout: float | None = None) -> Item | None:
        """The next of all that happens (see `items`), or None when `timeout` seconds are up. Raises as `next`."""
        return await self._next(timeout, None)

    def items(self) -> AsyncIterator[Item]:
        """Everything that happens, in order: `Opened`, `Event`, `Comment`, `Closed`.

        Ends after `close()` and after a 204; raises what else ends the source for good, after its `Closed`.
        """
        self._check_usable()
        return _Iterator(self, None)

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events. Ends after `close()` and after a 204, raises as `next` does otherwise."""
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
    """The items of one kind; None: of all."""

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
