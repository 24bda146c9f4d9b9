"""The thread host: a subscriber's loop in one daemon thread, and a `WakeChannel` for whoever sleeps elsewhere."""

from __future__ import annotations

import threading
import time
from typing import Final, Protocol

from wire_rawsse.errors import ClosedError
from wire_rawsse.hosts.inline import Loop
from wire_rawsse.wake import WakeChannel

LET_GO: Final = 0.0002
"""Seconds for which the thread stands aside after a wake.

The woken thread needs the interpreter's lock, and would wait for it for up to 5 ms (`sys.getswitchinterval`) if this
one went straight on to parse what it has just announced.
"""


class Subscriber(Protocol):
    """What a `StreamSubscriber` is to this module."""

    def wait(self, timeout: float | None = None) -> bool: ...
    def close(self) -> None: ...


class SubscriberThread(threading.Thread):
    """Runs `loop`, which is the subscriber's, until `stop()`; a daemon thread, so it never holds up the interpreter's
    exit. Started by its maker.

    The loop itself sets the channel, as soon as it knows: whoever sleeps on it would else wait until all of `run` has
    been returned from.
    """

    def __init__(self, wake: WakeChannel, subscriber: Subscriber, loop: Loop) -> None:
        super().__init__(name="wire-stream-sub", daemon=True)
        self.subscriber = subscriber
        self._loop = loop
        self._wake = wake

    def run(self) -> None:
        run, tell, let_go = self._loop.run, self._wake.set, time.sleep
        try:
            while run(None, tell):
                let_go(LET_GO)
        except ClosedError:
            pass  # Closed while it was not waiting.

    def stop(self, timeout: float | None = None) -> None:
        """Close the subscriber and join the thread, for at most `timeout` seconds. Twice is fine."""
        self.subscriber.close()
        if self is not threading.current_thread():
            self.join(timeout)
