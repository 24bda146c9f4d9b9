"""An HTTP event stream (Server-Sent Events) on a raw socket that cannot wedge, and that wakes a daemon at once."""

from wire_rawsse._version import __version__
from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.sse import Comment, Event, EventParser
from wire_rawsse.source import Closed, EventSource, Opened
from wire_rawsse.subscriber import StreamSubscriber, spawn_stream_subscriber
from wire_rawsse.wake import WakeChannel

__all__ = [
    "Backoff",
    "Closed",
    "Comment",
    "Event",
    "EventParser",
    "EventSource",
    "Keepalive",
    "Opened",
    "StreamSubscriber",
    "Timeouts",
    "WakeChannel",
    "WireRawSSEError",
    "__version__",
    "spawn_stream_subscriber",
]
