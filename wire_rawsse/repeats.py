"""Leaves out events that two connections of one stream both bring, when the second takes the place of the first.

The request for the second connection names the last event id that was known when it was sent. A server that keeps its
events sends those after that id, and the first connection has brought some of them meanwhile. They are handed out once.
Two events are the same if their id, type and data are equal, and if the id differs from that of the event before. (An
event without an id of its own has the id of the event before, and a constant id identifies nothing.) Events without ids
cannot be compared, so an event that comes at the moment of the change may be handed out twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wire_rawsse.protocol.events import Comment, Event

MOST: Final = 4096
"""Events that are remembered; with more, the oldest may be handed out twice."""
OTHERS: Final = 16
"""Events that a server may send before it repeats those that it has kept, as a greeting."""


class Repeats:
    """First it notes the events of the old connection. After `leave_out` it leaves out those that come again."""

    __slots__ = ("_before", "_known", "_left", "_sent")

    def __init__(self, last_event_id: str) -> None:
        """`last_event_id`: the one that the new request sends."""
        self._sent = self._before = last_event_id
        self._known: dict[int, None] = {}
        """The hash of each event, in their order."""
        self._left: int | None = None
        """How many events may still be repeats; None while events are noted."""

    @property
    def over(self) -> bool:
        """No event is left out any more."""
        return self._left is not None and (self._left <= 0 or not self._known)

    def leave_out(self) -> None:
        """The events that follow are those of the new connection."""
        self._before = self._sent
        self._left = len(self._known) + OTHERS

    def without(self, items: Sequence[Event | Comment]) -> list[Event | Comment]:
        """The items that are handed out."""
        return [item for item in items if not (isinstance(item, Event) and self._is_repeat(item))]

    def _is_repeat(self, event: Event) -> bool:
        before, self._before = self._before, event.id
        if event.id == before:
            return False
        if self._left is None:
            self._known[hash(event)] = None
            if len(self._known) > MOST:
                del self._known[next(iter(self._known))]
            return False
        self._left -= 1
        key = hash(event)
        if self._left < 0 or key not in self._known:
            return False
        del self._known[key]
        return True
