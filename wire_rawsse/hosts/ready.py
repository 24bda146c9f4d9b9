"""`Loop.run` in two halves, for a host whose own poller watches the loop's descriptor.

That poll takes the place of ours. `receive_ready` is what follows it, up to the wake, and `settle` is what comes before
the next one. Without them a wake would cost another poll, and a reception that finds nothing, on each side.
"""

from __future__ import annotations

from wire_rawsse.hosts.loop import Loop
from wire_rawsse.wakeup import try_acquire


def receive_ready(loop: Loop) -> bool | None:
    """The descriptor is readable: receive for the only stream. True: the bytes hold a wake. Call `settle` afterwards.

    None: nothing was received, and `run(0)` must be called. That is so for several streams, for events, for other
    descriptors, and for a stream whose deadline has passed, which only a poll that began after it may judge.

    It takes no lock, so it is for a host in whose thread alone the loop is run and closed.
    """
    task = loop.schedule.only
    if task is None or loop._pending_data is not None or loop._uncommitted or loop._handle.closing:
        return None
    receive, now = task.receive, loop._monotonic()
    if receive is None or receive.is_wake is None or task.runnable or task.exception is not None:
        return None
    if loop._next_deadline <= now:
        return None
    loop._uncommitted = True
    try:
        data = receive.recv(receive.bufsize)
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            loop.schedule.fail(task, error, now)
        loop._uncommitted = False
        return None
    marker = receive.wake_marker
    woken = (marker is not None and data.find(marker) >= 0) or receive.is_wake(data)
    loop._pending_at = now
    loop._pending_data = data
    if not woken:
        loop._deliver_pending(woke=False)
    loop._uncommitted = False
    return woken


def settle(loop: Loop) -> bool:
    """Do what can be done without a poll, as `run` does before it sleeps. True: that gave a wake."""
    busy = loop._handle.busy
    held: list[bool] = []
    woken = False
    try:
        try_acquire(busy, held)
        if held and not loop.closing:
            loop._begin(None)
            loop._before_sleep()
            woken = loop._woken
            loop._uncommitted = False
    finally:
        if held:
            busy.release()
            if loop.closing:
                loop._handle.tear_down_if_idle()
    return woken
