"""`AsyncStreams`: many wakes for a program that lives in asyncio. `driver` attends the streams."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from wire_rawsse import checks
from wire_rawsse.aio.driver import Driver
from wire_rawsse.gate import MAX_CONNECTING
from wire_rawsse.many_streams import BaseStreams
from wire_rawsse.stream_set import StreamHandle

if TYPE_CHECKING:
    from typing_extensions import Self  # Part of `typing` from Python 3.11 on.

_FAILURE_PAUSE = 1.0
"""Seconds until all streams start over after an internal error."""


class AsyncStreams(BaseStreams):
    """`Streams` for asyncio: `await streams.wait(timeout)` returns the handles of the streams that have woken.

    The running event loop attends the streams from the first `wait` or `async with` until `close`, also while no task
    waits. There is no task of ours: cancelling a task that waits changes nothing else, and never loses a wake. Wakes
    that come while no task waits are kept for the next `wait`, once for each stream.

    One task waits at a time, in the thread of the event loop; everything else is for any thread. Callables among the
    arguments of `add` are called by the event loop, so they must not block.

    max_connecting: how many streams connect at a time, from the look-up of the name until the response head is accepted
                    (an int, default 16). The others are in the phase "waiting", and their budgets begin with their
                    turn. Starts to one origin are spread at random as well, about 1,000 a second after the first
                    `max_connecting`.
    watch:          False to notice neither changes of the network nor a suspend of the machine: see
                    `notify_network_change`.

    Raises `InvalidRequestError` (a `ValueError` and a `TypeError`) for an argument of a wrong type or value.
    """

    def __init__(self, *, max_connecting: int = MAX_CONNECTING, watch: bool = True) -> None:
        super().__init__(max_connecting=max_connecting, watch=watch)
        self._driver = Driver(self._loop, self, self._note_wake)
        self._woken: dict[StreamHandle, None] = {}

    async def wait(self, timeout: float | None = None) -> tuple[StreamHandle, ...]:
        """Wait until at least one stream wakes, or `timeout` seconds have passed (None: no limit).

        Returns the handle of each stream that has woken since the last call, each once. Returns () when the time is up,
        and at once when `close` is called meanwhile. With 0 or less it only looks. Raises `ClosedError` after `close`,
        `BusyError` if another task waits or another event loop attends the streams, and `InvalidRequestError` for a
        timeout that is no number.
        """
        driver = self._driver
        until = driver.begin(checks.seconds(timeout))
        driver.check_open()
        while not (woken := self._take()):
            if self._loop.closing or driver.is_over(until):
                return ()
            await driver.wait(until)
        return woken

    def _take(self) -> tuple[StreamHandle, ...]:
        """The streams that have woken, without those that were removed since."""
        woken = list(self._woken)
        for handle in woken:
            del self._woken[handle]
        return tuple([handle for handle in woken if not handle._removed])

    async def __aenter__(self) -> Self:
        self._driver.attach()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every stream, in any phase, and close everything, at once. From any thread; twice is fine."""
        self._driver.close()

    def _note_wake(self) -> None:
        for handle in self._set.woken():
            self._woken[handle] = None

    # For the driver.

    def is_full(self) -> bool:
        return False

    def on_failure(self, error: Exception) -> float:
        self._set.failed(error, _FAILURE_PAUSE)
        return _FAILURE_PAUSE
