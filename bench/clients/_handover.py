"""The two ways in which a peer's blocking iterator wakes a daemon's main thread. Knows no HTTP.

`in_thread` is a daemon's: a reader thread, and a main thread that sleeps on a `SimpleQueue` with a timeout, of all the
hand-overs that the floors measure the fastest or as good; a `queue.Queue` would add what is no fault of a peer.
`in_main` lets the main thread iterate: nothing is handed over, nothing else can be done, and no timeout of the daemon's
own exists.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from time import monotonic_ns

from bench.clients._probe import Probe


def in_thread(probe: Probe, events: Callable[[str], Iterable[object]]) -> None:
    """Wake for each of `events(url)`, which a thread for each URL iterates. Raises what an iterator raised."""
    inbox: queue.SimpleQueue[object] = queue.SimpleQueue()

    def read(url: str) -> None:
        put = inbox.put
        try:
            for event in events(url):
                put(event)
            put(ConnectionError("the stream ended"))
        except Exception as error:
            put(error)

    for url in probe.urls:
        threading.Thread(target=read, args=(url,), daemon=True).start()
    while True:
        try:
            item = inbox.get(timeout=5.0)
        except queue.Empty:
            continue
        probe.woken(monotonic_ns())
        if isinstance(item, Exception):
            raise item


def in_main(probe: Probe, events: Callable[[str], Iterable[object]]) -> None:
    """Wake for each of the first URL's events, iterated here. Raises what the iterator raises."""
    for _ in events(probe.url):
        probe.woken(monotonic_ns())
    raise ConnectionError("the stream ended")
