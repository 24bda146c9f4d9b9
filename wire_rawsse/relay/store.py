"""Slots and their events, as wire's relay keeps them. Knows no socket, no HTTP and no clock.

An event is whatever JSON value was posted under "event". It is kept as canonical JSON (sorted keys, no spaces, UTF-8),
because that is what wire's relay hands out, and because such text never holds a line end: one event is always one
`data:` line. Its `event_id` counts only if it is a string at the top of an object; then it is the key for duplicates
and for `since`. An event without one is stored each time it is posted and answered with `"event_id": null`; none is
made up.

The limits of an event and a slot are in bytes of that canonical text. Our own bounds on slots and on the whole store
keep the relay's memory finite; wire's relay keeps events on disk.

Nothing leaves a slot: a stream is therefore no queue but a position in
the slot's list, so that a slow or silenced reader costs no memory beyond the events themselves.
"""

from __future__ import annotations

import json
import secrets
from typing import Final, NoReturn

EVENT_BYTES: Final = 256 * 1024
SLOT_BYTES: Final = 64 * 1024 * 1024
STREAMS_PER_SLOT: Final = 256
SLOTS: Final = 10_000
STORE_BYTES: Final = 512 * 1024 * 1024
"""Of all slots together, `OVERHEAD` for each event included."""
OVERHEAD: Final = 256
"""About what an event of one byte takes in memory."""
PULL_DEFAULT: Final = 100
PULL_MAXIMUM: Final = 1000


class EventTooBig(Exception):
    """The event alone is beyond `EVENT_BYTES`."""


class SlotFull(Exception):
    """The slot would grow beyond `SLOT_BYTES`."""


def read_json(text: bytes) -> object:
    """The value that `text` (UTF-8 JSON, RFC 8259) stands for. Raises ValueError for anything else, NaN included."""
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def canonical(value: object) -> bytes:
    """`value` as JSON in one line: sorted keys, no spaces, UTF-8. Raises ValueError where JSON cannot hold it."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return text.encode("utf-8")  # A lone surrogate ends here, as a UnicodeEncodeError, which is a ValueError.


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


class StoreFull(Exception):
    """The relay has `SLOTS` slots, or would hold more than `STORE_BYTES`."""


class StoredSlot:
    """One mailbox. `bodies`, `event_ids` and `published` run in parallel, oldest first."""

    __slots__ = ("_store", "bodies", "event_ids", "positions", "published", "size", "slot_id", "slot_token")

    def __init__(self, store: Store, slot_id: str, slot_token: str) -> None:
        self._store = store
        self.slot_id = slot_id
        self.slot_token = slot_token
        self.bodies: list[bytes] = []
        self.event_ids: list[str | None] = []
        self.published: list[float | None] = []
        """Seconds on CLOCK_MONOTONIC, just before the event was written to the first of the streams; see `stamp`."""
        self.positions: dict[str, int] = {}
        self.size = 0

    def admits(self, token: str) -> bool:
        """True for this slot's token; takes equally long for every wrong one."""
        return secrets.compare_digest(self.slot_token.encode(), token.encode())

    def add(self, event: object) -> tuple[str | None, bool]:
        """Store `event`: its id, and False if an event with that id is here already.

        Raises `EventTooBig`, `SlotFull`, `StoreFull`, or ValueError where JSON cannot hold the event. As with wire's
        relay a full slot refuses duplicates too.
        """
        body = canonical(event)
        if len(body) > EVENT_BYTES:
            raise EventTooBig
        if self.size + len(body) > SLOT_BYTES:
            raise SlotFull
        found = event.get("event_id") if isinstance(event, dict) else None
        event_id = found if isinstance(found, str) else None
        if event_id is not None and event_id in self.positions:
            return event_id, False
        if self._store.size + len(body) + OVERHEAD > STORE_BYTES:
            raise StoreFull
        self._store.size += len(body) + OVERHEAD
        if event_id is not None:
            self.positions[event_id] = len(self.bodies)
        self.bodies.append(body)
        self.event_ids.append(event_id)
        self.published.append(None)
        self.size += len(body)
        return event_id, True

    def stamp(self, position: int, now: float) -> None:
        """Note when the event was published. Only the first stamp counts."""
        if self.published[position] is None:
            self.published[position] = now

    def after(self, event_id: str | None) -> int:
        """The position of the first event after `event_id`; 0 for None and for an unknown id."""
        found = None if event_id is None else self.positions.get(event_id)
        return 0 if found is None else found + 1

    def pull(self, since: str | None, limit: int) -> bytes:
        """A JSON array of at most `limit` (never over `PULL_MAXIMUM`) events after `since`, oldest first."""
        start = self.after(since)
        return b"[" + b",".join(self.bodies[start : start + min(limit, PULL_MAXIMUM)]) + b"]"


class Store:
    """All slots, by id. `size` is in bytes, see `STORE_BYTES`."""

    __slots__ = ("size", "slots")

    def __init__(self) -> None:
        self.size = 0
        self.slots: dict[str, StoredSlot] = {}

    def allocate(self) -> StoredSlot:
        """A new slot. Raises `StoreFull`."""
        if len(self.slots) >= SLOTS:
            raise StoreFull
        return self.adopt(secrets.token_hex(16), secrets.token_hex(32))

    def adopt(self, slot_id: str, slot_token: str) -> StoredSlot:
        """An empty slot with a given id and token, so that clients take a relay that was restarted for the old one."""
        before = self.slots.get(slot_id)
        if before is not None:
            self.size -= before.size + OVERHEAD * len(before.bodies)
        slot = self.slots[slot_id] = StoredSlot(self, slot_id, slot_token)
        return slot


class RateLimiter:
    """A token bucket: `rate` a second, `burst` at once. The clock is the caller's."""

    __slots__ = ("_burst", "_left", "_looked", "_rate")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._looked: float | None = None

    def take(self, now: float) -> float:
        """0 if granted, otherwise the seconds until the next one will be."""
        if self._looked is not None:
            self._left = min(self._burst, self._left + (now - self._looked) * self._rate)
        self._looked = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate
