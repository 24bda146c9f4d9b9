"""An HTTP event stream (Server-Sent Events) on a raw socket that cannot wedge, and that wakes a daemon at once.

Public are the names in `__all__` here and in `errors`, `aio` and `testing`. Everything else is internal and may change
at any time. The rooms from the ground up (`ARCHITECTURE.md` in this folder has the rules):

waits, errors, state       what a stream waits for, how it fails, how it is described; `services`, `wakeup`, `log`
redact, foreign, checks    secrets, files of others, arguments
protocol/, policy          URLs, HTTP and events as values, and when to connect again; no sockets
transport/                 names, addresses, TCP and TLS
hosts/, wake               the loop that runs streams, its clock and poller, and the thread
connection, reconnect      the life of one connection, and of one stream over all of them; `record` has its state
stream_set, event_source, subscriber, many_*, aio/   the public classes, and the set of streams below them
wire/                      the files of wire, which names the endpoints of a machine
probe/, relay/, cli/       a diagnosis of a URL, a small server, the command
testing/                   a relay that breaks on request, for tests
"""

from typing import TYPE_CHECKING

from wire_rawsse._version import __version__
from wire_rawsse.errors import WireRawSSEError
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.protocol.request import Headers
from wire_rawsse.state import EndpointState, State, SubscriberState
from wire_rawsse.subscriber import StreamSubscriber, spawn_stream_subscriber
from wire_rawsse.transport.trust import ClientCertificate, Trust
from wire_rawsse.wake import WakeChannel

if TYPE_CHECKING:
    from wire_rawsse.event_source import Closed, EventSource, Item, Opened
    from wire_rawsse.hosts.thread import SubscriberThread
    from wire_rawsse.many_events import EventStreams, SourceHandle
    from wire_rawsse.many_streams import Streams
    from wire_rawsse.protocol.events import Comment, Event, EventParser
    from wire_rawsse.stream_set import StreamHandle

__all__ = [
    "Backoff",
    "ClientCertificate",
    "Closed",
    "Comment",
    "EndpointState",
    "Event",
    "EventParser",
    "EventSource",
    "EventStreams",
    "Headers",
    "Item",
    "Keepalive",
    "Opened",
    "SourceHandle",
    "State",
    "StreamHandle",
    "StreamSubscriber",
    "Streams",
    "SubscriberState",
    "SubscriberThread",
    "Timeouts",
    "Trust",
    "WakeChannel",
    "WireRawSSEError",
    "__version__",
    "spawn_stream_subscriber",
]


def __getattr__(name: str) -> object:
    """Load a name that a program with one `StreamSubscriber` does not need, when it is asked for (PEP 562)."""
    module: object
    if name in ("Closed", "EventSource", "Item", "Opened"):
        from wire_rawsse import event_source

        module = event_source
    elif name in ("Comment", "Event", "EventParser"):
        from wire_rawsse.protocol import events

        module = events
    elif name in ("EventStreams", "SourceHandle"):
        from wire_rawsse import many_events

        module = many_events
    elif name in ("StreamHandle", "Streams"):
        from wire_rawsse import many_streams

        module = many_streams
    elif name == "SubscriberThread":
        from wire_rawsse.hosts import thread

        module = thread
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
