"""The fast path of `Loop.run`, for a host whose own poll has found the loop's descriptor readable."""

from __future__ import annotations

from wire_rawsse.hosts.loop import RECEIVE_BYTES, Loop


def receive_ready(loop: Loop) -> bool:
    """Receive for the only stream, without a poll of ours. True: its bytes hold a wake, and they are not parsed yet.

    `run(0)` is due afterwards in any case. It takes no lock, so it is for a host in whose thread alone the loop is run
    and closed. Of a stream whose deadline has passed it receives nothing: that takes a poll which began after it.
    """
    task = loop._schedule.only
    if task is None or loop._pending_data is not None or loop._uncommitted or loop.closing:
        return False
    receive, now = task.receive, loop._monotonic()
    if receive is None or receive.is_wake is None or task.runnable or task.exception is not None:
        return False
    if loop._next_deadline <= now:
        return False
    loop._uncommitted = True
    try:
        data = receive.recv(RECEIVE_BYTES)
    except OSError as error:
        if not isinstance(error, BlockingIOError):
            loop._receive_failed(task, error, now)
        loop._uncommitted = False
        return False
    marker = receive.wake_marker
    woken = (marker is not None and data.find(marker) >= 0) or receive.is_wake(data)
    loop._pending_at = now
    loop._pending_data = data
    if not woken:
        loop._deliver_pending(woke=False)
    loop._uncommitted = False
    return woken
