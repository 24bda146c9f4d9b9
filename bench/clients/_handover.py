"""The ways in which a peer's blocking iterator wakes a daemon's main thread. Knows no HTTP.

`in_thread` is a daemon's: a reader thread, and a main thread that sleeps with a timeout on the hand-over that
`BENCH_HANDOVER` names, one of those that the floors measure. Which is best depends on what is measured, so anyone who
starts a client decides. On both sides the calls are C's own: a frame of Python in between is no fault of a peer.

`in_main` lets the main thread iterate: nothing is handed over, nothing else can be done, and no timeout of the daemon's
own exists.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic_ns

from bench.clients._probe import Probe

SLEEP_SECONDS = 5.0


class HandOver:
    """`give()` in a reader thread wakes `wake_for_each` in the main thread. Raises `RuntimeError` where a wake is
    pending and another could not be kept, which loses nothing. Only the queue gives a wake for each event."""

    def __init__(self, name: str) -> None:
        self.coalesces = name != "simplequeue"
        self.failures: list[Exception] = []
        self._clear: Callable[[], object] | None = None
        self._descriptor = -1
        self.give: Callable[[], object]
        self._take: Callable[[], object]
        if name == "simplequeue":
            inbox: queue.SimpleQueue[bool] = queue.SimpleQueue()
            self.give, self._take = partial(inbox.put, True), partial(inbox.get, timeout=SLEEP_SECONDS)
        elif name == "eventfd":
            if not hasattr(os, "eventfd"):
                raise ImportError("this platform has no eventfd")
            wake = self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            poll = select.poll()
            poll.register(wake, select.POLLIN)
            self.give, self._take = partial(os.eventfd_write, wake, 1), partial(poll.poll, SLEEP_SECONDS * 1000)
            self._clear = partial(os.eventfd_read, wake)
        else:
            lock = threading.Lock()
            lock.acquire()
            self.give, self._take = lock.release, partial(lock.acquire, timeout=SLEEP_SECONDS)

    def fail(self, error: Exception) -> None:
        """Called in a reader thread: have the main thread raise `error`."""
        self.failures.append(error)
        try:
            self.give()
        except RuntimeError:
            pass

    def wake_for_each(self, probe: Probe) -> None:
        """Never returns. Raises what a reader failed with."""
        take, clear = self._take, self._clear
        while True:
            try:
                came = take()
            except queue.Empty:
                continue
            if not came:
                continue
            probe.woken(monotonic_ns())
            if clear is not None:
                clear()
            if self.failures:
                raise self.failures[0]

    def close(self) -> None:
        """Once no thread gives any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def chosen(probe: Probe) -> HandOver:
    """The hand-over that this run has; if it coalesces, the probe promises no stamp for each event."""
    found = HandOver(os.environ.get("BENCH_HANDOVER", "simplequeue"))
    if found.coalesces:
        probe.kind = "wake"
    return found


def in_thread(probe: Probe, events: Callable[[str], Iterable[object]]) -> None:
    """Wake for `events(url)`, which a thread for each URL iterates. Raises what an iterator raised."""
    hand_over = chosen(probe)

    def read(url: str) -> None:
        give = hand_over.give
        try:
            for _ in events(url):
                try:
                    give()
                except RuntimeError:
                    pass
            hand_over.fail(ConnectionError("the stream ended"))
        except Exception as error:
            hand_over.fail(error)

    for url in probe.urls:
        threading.Thread(target=read, args=(url,), daemon=True).start()
    hand_over.wake_for_each(probe)


def in_main(probe: Probe, events: Callable[[str], Iterable[object]]) -> None:
    """Wake for each of the first URL's events, iterated here. Raises what the iterator raises."""
    for _ in events(probe.url):
        probe.woken(monotonic_ns())
    raise ConnectionError("the stream ended")
