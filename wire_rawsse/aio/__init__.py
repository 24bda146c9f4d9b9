"""Event streams and wakes for programs that live in asyncio, on its own event loops and on uvloop.

Public are the names in `__all__`. The rest of the library never imports asyncio.
"""

from wire_rawsse.aio.event_source import AsyncEventSource
from wire_rawsse.aio.streams import AsyncStreams
from wire_rawsse.aio.subscriber import AsyncStreamSubscriber

__all__ = ["AsyncEventSource", "AsyncStreamSubscriber", "AsyncStreams"]
