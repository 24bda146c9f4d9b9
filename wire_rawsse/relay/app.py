"""wire's routes: who may do what, and with which status it ends. Knows no socket and no fault.

The order of the checks is wire's own, found by asking it: for a post the media type (415), the JSON (400), its shape
(422), the token (401), the slot (404), whether they fit (403), the event's size and then the slot's (413), and only
then whether the event is a duplicate (200). A query string is judged before the token. HEAD is allowed wherever GET
is. Of an allocation the budget is looked at before anything else, its method too. `WIRE_ALLOCATE_RATE` and its burst
are what wire's documents say; wire 0.17 itself refills its budget more slowly, one slot in 10 s.
"""

from __future__ import annotations

import dataclasses
import math
import time
import urllib.parse
from collections.abc import Callable
from typing import Final, TypeAlias

from wire_rawsse.relay.event_log import EventLog
from wire_rawsse.relay.http import ServerConnection
from wire_rawsse.relay.messages import Reply, ServerRequest
from wire_rawsse.relay.replies import JSON, TEXT, Refused, json_body, json_reply, text_reply
from wire_rawsse.relay.store import (
    EVENT_BYTES,
    PULL_DEFAULT,
    SLOT_BYTES,
    SLOTS,
    STREAMS_PER_SLOT,
    EventTooBig,
    RateLimiter,
    SlotFull,
    Store,
    StoredSlot,
    StoreFull,
)
from wire_rawsse.relay.stream import RelayStream, position_after

WIRE_HEARTBEAT: Final = 30.0
WIRE_ALLOCATE_RATE: Final = 10.0
WIRE_ALLOCATE_BURST: Final = 50

_STREAM: Final = (("content-type", "text/event-stream"), ("cache-control", "no-cache"))


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the routes behave where wire leaves a choice. `heartbeat` in seconds, `allocate_rate` in slots a second."""

    heartbeat: float = WIRE_HEARTBEAT
    replay_ids: bool = False
    allocate_rate: float = WIRE_ALLOCATE_RATE
    allocate_burst: int = WIRE_ALLOCATE_BURST


def _origin_form(target: str) -> str:
    """The path of a request target, which may come in absolute form too (RFC 9112 §3.2.2)."""
    if target.startswith("/"):
        return target
    _, _, rest = target.partition("://")
    return "/" + rest.partition("/")[2]


def _query(query: str) -> dict[str, str]:
    """The fields of a query string. Refused with 400 where one that is looked at comes twice."""
    fields: dict[str, str] = {}
    for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        if name in fields and name in ("since", "limit"):
            raise Refused(text_reply(400, f"{name} came twice in the query\n"))
        fields[name] = value
    return fields


_Route: TypeAlias = Callable[[ServerConnection, ServerRequest, str], "Reply | None"]


class App:
    """The handler of every ordinary listener."""

    stream_type: type[RelayStream] = RelayStream

    def __init__(self, store: Store, log: EventLog, settings: Settings) -> None:
        self._store = store
        self._log = log
        self._settings = settings
        self._limiter = RateLimiter(settings.allocate_rate, settings.allocate_burst)
        self._streams: dict[str, dict[RelayStream, None]] = {}

    def accepted(self, connection: ServerConnection) -> None: ...

    def gone(self, connection: ServerConnection) -> None: ...

    def pump(self, slot: StoredSlot) -> None:
        """Send what is new in a slot to its streams."""
        for stream in tuple(self._streams.get(slot.slot_id, ())):
            stream.pump()

    def requested(self, connection: ServerConnection, request: ServerRequest) -> None:
        try:
            handler, slot_id = self._find(request)
            answer = handler(connection, request, slot_id)
        except Refused as refused:
            answer = refused.answer
        if answer is not None:
            connection.answer(answer)

    def _find(self, request: ServerRequest) -> tuple[_Route, str]:
        """The handler for a path and method, and the slot id that the path holds."""
        slot_id = ""
        methods: dict[str, _Route]
        parts = [urllib.parse.unquote(part) for part in _origin_form(request.path).split("/")]
        if parts == ["", "healthz"]:
            methods = {"GET": self._health}
        elif parts == ["", "v1", "slot", "allocate"]:
            self._spend()
            methods = {"POST": self._allocate}
        elif parts[:3] == ["", "v1", "events"] and len(parts) == 4 and parts[3]:
            slot_id, methods = parts[3], {"POST": self._post, "GET": self._pull}
        elif parts[:3] == ["", "v1", "events"] and len(parts) == 5 and parts[4] == "stream":
            slot_id, methods = parts[3], {"GET": self._stream}
        else:
            raise Refused(Reply(404))
        if "GET" in methods:
            methods["HEAD"] = methods["GET"]
        if request.method not in methods:
            raise Refused(Reply(405, (("allow", ",".join(methods)),)))
        return methods[request.method], slot_id

    def _spend(self) -> None:
        wait = self._limiter.take(time.monotonic())
        if wait:
            seconds = math.ceil(wait)
            text = f"too many allocations: the next one is due in {seconds} s\n"
            limited = Reply(429, (TEXT, ("x-ratelimit-after", str(int(wait)))), text.encode())
            raise Refused(limited)

    def _slot(self, request: ServerRequest, slot_id: str) -> StoredSlot:
        """The slot that the request may use. Refused with 401, 404 or 403."""
        scheme, _, token = request.fields.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise Refused(json_reply(401, {"error": "no bearer token: send Authorization: Bearer SLOT_TOKEN"}))
        slot = self._store.slots.get(slot_id)
        if slot is None:
            raise Refused(json_reply(404, {"error": "no such slot"}))
        if not slot.admits(token):
            raise Refused(json_reply(403, {"error": "the token is not this slot's"}))
        return slot

    def _health(self, connection: ServerConnection, request: ServerRequest, slot_id: str) -> Reply:
        return text_reply(200, "ok\n")

    def _allocate(self, connection: ServerConnection, request: ServerRequest, slot_id: str) -> Reply:
        value = json_body(request)
        if not isinstance(value, dict) or not isinstance(value.get("handle"), (str, type(None))):
            raise Refused(text_reply(422, 'the body must be {} or {"handle": "NAME"}\n'))
        try:
            slot = self._store.allocate()
        except StoreFull:
            return json_reply(503, {"error": f"the relay has its {SLOTS} slots already; end it and start another"})
        return json_reply(201, {"slot_id": slot.slot_id, "slot_token": slot.slot_token})

    def _post(self, connection: ServerConnection, request: ServerRequest, slot_id: str) -> Reply:
        value = json_body(request)
        if not isinstance(value, dict) or "event" not in value:
            raise Refused(text_reply(422, 'the body must be {"event": …}\n'))
        slot = self._slot(request, slot_id)
        try:
            event_id, is_new = slot.add(value["event"])
        except EventTooBig:
            return json_reply(413, {"error": "the event is over 256 KiB", "max_bytes": EVENT_BYTES})
        except SlotFull:
            used = {"slot_bytes_max": SLOT_BYTES, "slot_bytes_used": slot.size}
            return json_reply(413, {"error": "the slot is full", "remediation": "allocate another slot", **used})
        except StoreFull:
            return json_reply(503, {"error": "the relay's memory is full; end it and start another"})
        except ValueError as error:
            return text_reply(400, f"the event cannot be kept as JSON: {type(error).__name__}\n")
        if is_new:
            position = len(slot.bodies) - 1
            self.pump(slot)
            slot.stamp(position, time.monotonic())  # Counts where no stream took it.
        return json_reply(201 if is_new else 200, {"event_id": event_id, "status": "stored" if is_new else "duplicate"})

    def _pull(self, connection: ServerConnection, request: ServerRequest, slot_id: str) -> Reply:
        query = _query(request.query)
        limit = query.get("limit", str(PULL_DEFAULT))
        if not (limit.isascii() and limit.isdigit() and len(limit) < 20):
            raise Refused(text_reply(400, "limit must be a number, 0 or more\n"))
        slot = self._slot(request, slot_id)
        return Reply(200, (JSON,), slot.pull(query.get("since"), int(limit)))

    def _stream(self, connection: ServerConnection, request: ServerRequest, slot_id: str) -> Reply | None:
        slot = self._slot(request, slot_id)
        live = self._streams.setdefault(slot.slot_id, {})
        if len(live) >= STREAMS_PER_SLOT:
            raise Refused(json_reply(503, {"error": f"the slot has its {STREAMS_PER_SLOT} streams already"}))
        if request.method == "HEAD":
            return Reply(200, _STREAM, measured=False)
        position = len(slot.bodies)
        last_event_id = request.fields.get("last-event-id")
        if self._settings.replay_ids and last_event_id:
            position = position_after(last_event_id, slot)
        stream = self.stream_type(
            connection,
            slot,
            self._log,
            position=position,
            heartbeat=self._settings.heartbeat,
            ids=self._settings.replay_ids,
            closed=lambda stream: live.pop(stream, None),
        )
        live[stream] = None
        connection.begin(stream, _STREAM)
        self._opened(stream)
        stream.pump()
        return None

    def _opened(self, stream: RelayStream) -> None:
        """The head of a stream was sent, and none of its events."""
