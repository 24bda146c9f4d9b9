"""Leaves out events that two connections of one stream both bring, when the second takes the place of the first.

The request for the second connection names the last event id that was known when it was sent. A server that keeps its
events sends those after that id, and the first connection has brought some of them meanwhile. They are handed out once.
Two events are the same if their id, type and data are equal, and if the id differs from that of the event before. (An
event without an id of its own has the id of the event before, and a constant id identifies nothing.) Events without ids
cannot be compared, so an event that comes at the moment of the change may be handed out twice.

While a server repeats its events, their ids are older than the last one that was handed out. If the second connection
breaks then, the next request names the last one, so that no event comes a third time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wire_rawsse.protocol.events import Comment, Event, EventParser

MOST: Final = 4096
"""Events that are remembered; with more, the oldest may be handed out twice."""
OTHERS: Final = 16
"""Events that a server may send before it repeats those that it has kept, as a greeting."""
NONE: Final = "\0"
"""The id of an event of the new connection before the first that names one. No server can send it: an id with a NUL is
ignored (WHATWG HTML, "server-sent events")."""


class Repeats:
    """First it notes the events of the old connection. After `leave_out` it leaves out those that come again."""

    __slots__ = ("_before", "_ids", "_known", "_last", "_left", "_parser", "_sent")

    def __init__(self, last_event_id: str) -> None:
        """`last_event_id`: the one that the new request sends."""
        self._sent = self._before = last_event_id
        self._known: dict[int, str] = {}
        """The hash of each event and its id, in their order."""
        self._ids: frozenset[str] = frozenset()
        """That of the new request, and those of all events that the new connection may repeat."""
        self._left = OTHERS
        """How many events of the new connection may still be repeats."""
        self._parser: EventParser | None = None
        """That of the new connection; None while events are noted."""
        self._last = ""
        """The last event id of the old connection."""

    @property
    def over(self) -> bool:
        """No event is left out any more."""
        return self._parser is not None and (self._left <= 0 or not self._known)

    def leave_out(self, parser: EventParser) -> None:
        """The events that follow are those of the new connection, parsed by `parser`."""
        self._before, self._parser, self._last = self._sent, parser, parser.last_event_id
        self._ids = frozenset([self._sent, *self._known.values()])
        parser.replace_id(parser.last_event_id, NONE)

    def last_event_id(self, parsed: str) -> str:
        """The id that the next request sends. `parsed`: the parser's."""
        return self._last if self._parser is not None and (parsed == NONE or parsed in self._ids) else parsed

    def end(self) -> None:
        """Leave the parser as if there had been no repeats."""
        if self._parser is not None:
            self._parser.replace_id(NONE, self._last)

    def without(self, items: Sequence[Event | Comment]) -> list[Event | Comment]:
        """The items that are handed out."""
        kept: list[Event | Comment] = []
        for item in items:
            if isinstance(item, Event):
                self._left += 1 if self._parser is None else -1
                if item.id == NONE:
                    item = Event(item.type, item.data, self._last)
                elif self._is_repeat(item):
                    continue
            kept.append(item)
        return kept

    def _is_repeat(self, event: Event) -> bool:
        before, self._before = self._before, event.id
        if event.id == before:
            return False
        if self._parser is None:
            self._known[hash(event)] = event.id
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
            return False
        key = hash(event)
        if self._left < 0 or key not in self._known:
            return False
        del self._known[key]
        return True
