"""The two ways in which a peer's blocking iterator wakes a daemon's main thread. Knows no HTTP.

`in_thread` is the usual one: a reader thread, a `queue.Queue`, and a main thread that sleeps on it with a
timeout. `in_main` lets the main thread iterate: nothing is handed over, nothing else can be done, and no
timeout of the daemon's own exists.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from time import monotonic_ns

from bench.clients._probe import Probe


def in_thread(probe: Probe, events: Callable[[], Iterable[object]]) -> None:
    """Wake for each of `events()`, which a thread iterates. Raises what the iterator raised."""
    inbox: queue.Queue[object] = queue.Queue()

    def read() -> None:
        try:
            for event in events():
                inbox.put(event)
            inbox.put(ConnectionError("the stream ended"))
        except Exception as error:
            inbox.put(error)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            item = inbox.get(timeout=5.0)
        except queue.Empty:
            continue
        probe.woken(monotonic_ns())
        if isinstance(item, Exception):
            raise item


def in_main(probe: Probe, events: Iterable[object]) -> None:
    """Wake for each of `events`, iterated here. Raises what the iterator raises."""
    for _ in events:
        probe.woken(monotonic_ns())
    raise ConnectionError("the stream ended")
