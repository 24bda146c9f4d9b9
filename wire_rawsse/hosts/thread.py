"""The thread host: a subscriber's `wait` in one daemon thread, and a `WakeChannel` for whoever sleeps elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

from wire_rawsse.errors import ClosedError
from wire_rawsse.wake import WakeChannel

LET_GO: Final = 0.0002
"""Seconds for which the thread stands aside after a wake.

The woken thread needs the interpreter's lock, and would wait for it for up to 5 ms (`sys.getswitchinterval`) if this
one went straight on to parse what it has just announced.
"""


class Waiter(Protocol):
    """What a `StreamSubscriber` is to this module."""

    def wait(self, timeout: float | None = None) -> bool: ...
    def close(self) -> None: ...


class SubscriberThread(threading.Thread):
    """Runs until `stop()`; a daemon thread, so it never holds up the interpreter's exit. Started by its maker."""

    def __init__(self, wake: WakeChannel, subscriber: Waiter) -> None:
        super().__init__(name="wire-stream-sub", daemon=True)
        self.subscriber = subscriber
        self._wake = wake

    def run(self) -> None:
        wait, wake, let_go = self.subscriber.wait, self._wake.set, time.sleep
        try:
            while wait():
                wake()
                let_go(LET_GO)
        except ClosedError:
            pass  # Closed while it was not waiting.

    def stop(self, timeout: float | None = None) -> None:
        """Close the subscriber and join the thread, for at most `timeout` seconds. Twice is fine."""
        self.subscriber.close()
        if self is not threading.current_thread():
            self.join(timeout)
