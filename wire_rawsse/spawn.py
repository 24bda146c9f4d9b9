"""`spawn_stream_subscriber`: the original's one function, with a channel whose wakes coalesce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire_rawsse.subscriber import StreamSubscriber
from wire_rawsse.wake import WakeChannel

if TYPE_CHECKING:
    from wire_rawsse.hosts.thread import SubscriberThread


def spawn_stream_subscriber(wake: WakeChannel, subscriber: StreamSubscriber | None = None) -> SubscriberThread:
    """Start one daemon thread, named `wire-stream-sub`, that sets `wake` on each wake. `.stop()` ends and joins it.

    Without a subscriber it is `StreamSubscriber.from_wire()`: every endpoint in wire's relay.json. The thread's
    `subscriber` attribute has the state. Raises `RuntimeError` where the system has no thread left.
    """
    from wire_rawsse.hosts.thread import SubscriberThread  # `threading` is loaded by whoever wants a thread.

    thread = SubscriberThread(wake, StreamSubscriber.from_wire() if subscriber is None else subscriber)
    thread.start()
    return thread
