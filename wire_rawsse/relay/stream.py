"""One live event stream: a position in its slot's list of events, and a heartbeat. Knows HTTP only as bytes to frame.

It buffers nothing. The events between its position and the end of the slot have not been sent yet, and it moves
on whenever the connection can take more: after a post, after a full write buffer drained, after a hold. A reader that
is slow, or silenced for an hour, therefore costs one small write buffer and loses nothing, and an event whose turn has
come goes out as a write of its own in the very call that stored it.

Two starting points: the end of the slot (wire's relay, which never replays), or, if ids are sent, the event after
the `Last-Event-ID`. The id of an event is its number in the slot, from 1; an id that is no such number means from the
start, as an unknown `since` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.http import ServerConnection
from wire_rawsse.relay.store import StoredSlot

HEARTBEAT: Final = b": phyllis: still on the line\n\n"


class RelayStream:
    """A stream of `slot` from `position` on; `heartbeat` in seconds without an event. `close` takes it off the
    log."""

    def __init__(
        self,
        connection: ServerConnection,
        slot: StoredSlot,
        log: EventLog,
        *,
        position: int,
        heartbeat: float,
        ids: bool,
        closed: Callable[[RelayStream], None],
    ) -> None:
        self.connection = connection
        self.slot = slot
        self._log = log
        self._position = position
        self._heartbeat = heartbeat
        self._ids = ids
        self._closed = closed
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._wrote_at = self._loop.time()
        self._timer = self._loop.call_later(heartbeat, self._beat)
        log.stream_opened(connection.record, slot.slot_id)

    def pump(self) -> None:
        slot, connection = self.slot, self.connection
        while self._position < len(slot.bodies) and connection.ready:
            number = self._position = self._position + 1
            event = b"data: " + slot.bodies[number - 1] + b"\n\n"
            if self._ids:
                event = b"id: %d\n" % number + event
            self._send_event(event, number)
            self._wrote_at = self._loop.time()
            connection.record.note("event", slot.event_ids[number - 1] or "")

    def _send_event(self, event: bytes, number: int) -> None:
        """Send the bytes of the event that is the slot's `number`-th, unframed."""
        wire = self.connection.seal(self.connection.frame(event))
        self.slot.stamp(number - 1, time.monotonic())  # As late as possible: wakes are measured from here.
        self.connection.send_wire(wire)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._timer.cancel()
            self._log.stream_closed(self.connection.record, self.slot.slot_id)
            self._closed(self)

    def _beat(self) -> None:
        now = self._loop.time()
        due = self._wrote_at + self._heartbeat
        if now >= due:
            if self.connection.ready:
                self.connection.record.note("heartbeat")
                self.connection.send(self.connection.frame(HEARTBEAT))
            self._wrote_at = now
            due = now + self._heartbeat
        self._timer = self._loop.call_at(due, self._beat)


def position_after(last_event_id: str, slot: StoredSlot) -> int:
    """The position from which a stream goes on after `Last-Event-ID: last_event_id`."""
    if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 20:
        number = int(last_event_id)
        if number <= len(slot.bodies):
            return number
    return 0
