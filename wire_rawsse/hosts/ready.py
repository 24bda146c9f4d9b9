"""`Loop.run` in two halves, for an event loop whose own poller watches the loop's descriptor.

Its poll takes the place of ours. `receive_ready` does the work between the poll and the wake, `settle` the work before
the next poll. With `run` itself, each of the two would need another poll and a reception without data.

The event loop calls `attend` first, and `leave` when its poller has forgotten the descriptor. In between, `close` from
another thread closes the streams at once, but not the descriptor, because another file could get its number.
"""

from __future__ import annotations

from wire_rawsse.hosts.loop import Loop
from wire_rawsse.wakeup import try_acquire


def attend(loop: Loop) -> int:
    """The descriptor for the host's poller; -1 if there is none. Raises `OSError` if the system has none left."""
    fd = loop.fileno()
    loop._handle.attended = fd >= 0
    return fd


def leave(loop: Loop) -> None:
    """After `close`: the host's poller has forgotten the descriptor."""
    loop._handle.attended = False
    loop.release_descriptor()


def receive_ready(loop: Loop) -> bool | None:
    """The descriptor is readable: receive for the only stream. True: the bytes hold a wake. Call `settle` afterwards.

    None: nothing was received, so call `run(0)`. This happens with several streams, for other descriptors, and for a
    stream whose deadline has passed, which only a poll that began after it may judge.

    It takes no lock, so only the thread that runs the loop may call it. If another thread closes the loop meanwhile,
    this call does the teardown at its end.
    """
    handle = loop._handle
    handle.receiving = True  # First, because `close` reads it after it has set `closing`.
    try:
        # Cleared, because the bytes must be delivered before the stream is received from again.
        receive, loop._fast_receive = loop._fast_receive, None
        now = loop._monotonic()
        if receive is None or loop._next_deadline <= now or loop._uncommitted or handle.closing:
            return None
        loop._uncommitted = True
        try:
            data = receive.recv(receive.bufsize)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                loop.schedule.fail(loop.schedule.only, error, now)
            loop._uncommitted = False
            return None
        marker, is_wake = receive.wake_marker, receive.is_wake
        woken = (marker is not None and data.find(marker) >= 0) or (is_wake is not None and is_wake(data))
        loop._pending_at = now
        loop._pending_data = data
        if not woken:
            loop._deliver_pending(woke=False)
        loop._uncommitted = False
        return woken
    finally:
        handle.receiving = False
        if handle.closing:
            handle.tear_down_if_idle()


def settle(loop: Loop) -> float | None:
    """Do the work that `run` does before it sleeps. Returns `deadline()`, or None if a wake is due."""
    handle = loop._handle
    busy = handle.busy
    held: list[bool] = []
    woken = settled = False
    try:
        try_acquire(busy, held)
        if held and not handle.closing:
            loop._begin(None)
            settled = loop._before_sleep() is not None
            woken = loop._woken
            loop._uncommitted = False
    finally:
        if held:
            busy.release()
            if handle.closing:
                handle.tear_down_if_idle()
    if woken:
        return None
    return loop._next_deadline if settled else loop.deadline()
