"""The thread host: a subscriber's loop in one daemon thread, which sets a `WakeChannel`."""

from __future__ import annotations

import _thread
import threading
import time
from typing import Final, Protocol

from wire_rawsse import checks
from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.loop import Loop
from wire_rawsse.state import SubscriberState
from wire_rawsse.wake import WakeChannel

_PAUSES: Final = (1.0, 30.0)
"""Seconds until `run` is called again after an unexpected error: the first, doubled each time, up to the second."""
_LOOK_EVERY: Final = 0.05
"""Seconds between two looks in such a pause at whether the subscriber was closed."""

LET_GO: Final = 0.0002
"""Seconds for which the thread sleeps after a wake.

The woken thread needs the interpreter's lock. It would wait for up to 5 ms (`sys.getswitchinterval`) if this thread
went on at once to parse the bytes of the wake.
"""


class Subscriber(Protocol):
    """A `StreamSubscriber`, as far as this module and the users of a `SubscriberThread` need it."""

    @property
    def state(self) -> SubscriberState: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...
    def _failed(self, error: Exception, pause: float) -> None: ...


class SubscriberThread(threading.Thread):
    """The thread that `spawn_stream_subscriber` starts: it sets the channel on each wake, until `stop()`.

    `subscriber` is the `StreamSubscriber` that it runs, for `subscriber.state` and `subscriber.restart()`. It is a
    daemon thread, so it does not hold up the interpreter's exit.
    """

    # The loop itself sets the channel when it finds a wake, so that the sleeper need not wait until `run` has returned.

    def __init__(self, wake: WakeChannel, subscriber: Subscriber, loop: Loop) -> None:
        super().__init__(name="wire-stream-sub", daemon=True)
        self.subscriber = subscriber
        self._loop = loop
        self._wake = wake

    def start_safely(self) -> None:
        """`start`, from a thread of its own. Raises `RuntimeError` where the system has no thread left.

        `threading.Thread.start` takes locks by `with`, one of them that of the whole module. On CPython 3.14 a signal
        handler that raises in the main thread may leave them held for ever. In other threads no handler runs.
        """
        failures: list[BaseException] = []
        started = _thread.allocate_lock()
        started.acquire()

        def start() -> None:
            try:
                self.start()
            except BaseException as error:
                failures.append(error)
            finally:
                started.release()

        _thread.start_new_thread(start, ())
        started.acquire()
        if failures:
            raise failures[0]

    def run(self) -> None:
        """Run the loop until the subscriber is closed. Nothing that the loop raises ends this thread.

        Such errors come from a patched standard library (gevent, eventlet), or from a second thread in `wait`.
        """
        pause, longest = _PAUSES
        while not self._loop.closing:
            try:
                self._run()
                return
            except ClosedError:
                return  # Closed while it was not waiting.
            except Exception as error:
                self.subscriber._failed(error, pause)
            left = pause
            while left > 0 and not self._loop.closing:
                time.sleep(_LOOK_EVERY)
                left -= _LOOK_EVERY
            pause = min(2 * pause, longest)

    def _run(self) -> None:
        run, on_wake, sleep = self._loop.run, self._wake.set, time.sleep
        while run(None, on_wake):
            sleep(LET_GO)

    def stop(self, timeout: float | None = None) -> None:
        """Close the subscriber and join the thread, for at most `timeout` seconds (None: as long as it takes).

        Twice is fine. Raises `InvalidRequestError` for a timeout that is no number.
        """
        seconds = checks.seconds(timeout)
        self.subscriber.close()
        if self is not threading.current_thread():
            self.join(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
