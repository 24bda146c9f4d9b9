"""The faults that the relay can inject: plain values, known to server and client alike. No I/O, no asyncio.

A fault is an *action* at a *place* in the life of a connection:

    accept     right after the connection is accepted; no byte is read or sent, TLS or not
    handshake  in the TLS handshake: after the client's first flight, and after `flights` flights of the server's own
    request    a whole request was read, nothing of its answer was sent
    head       in the middle of an answer's head
    stream     on an event stream, between two events
    event      in the middle of the next event, at the end of a chunk
    chunk      in the middle of the chunk that holds the next event
    record     in the middle of the TLS record that holds the next event (without TLS: as `chunk`)
    end        on an event stream, after a proper last chunk
    line, extension, trailer   the place of a drip: an unfinished line, chunk extension or trailer field

and the actions are

    silent     sends nothing more; connections stay open, and the kernel goes on acknowledging. The withheld bytes are
               sent once things are back to normal, as after SIGSTOP and SIGCONT
    cut        FIN (with TLS no close_notify before it, except at `end`)
    reset      RST
    drip       one byte every `seconds`, of a line, head, extension or trailer that never ends, or of the next event
    garbage    sends `text`, which is no HTTP, and stays open
    answer     answers a request with `status`, `retry_after`, `location`, `content_type` and `text`
    refuse     closes the listening sockets, so that the kernel refuses connections. Existing connections live on

So "accept, never answer" is silent at accept; "stall the handshake" is silent at handshake; "the head that drips" is
drip at head. `PLACES` says which pairs exist, the default place first.

The *scope* says which connections a fault applies to: `new` to later ones, `live` to the event streams that are open
now, `both` to both. The default is `both` for faults of streams and requests, and `new` for faults of connections,
heads and answers. On a live stream `request` means at once. With `only="stream"` a fault applies to requests for an
event stream alone, so that a sender can go on posting. With `count=N` a fault is over once it has been injected into N
new connections or requests. Of several faults given at once the first that applies is injected, so that a script of
faults with count=1 is carried out in order.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, TypeAlias

from wire_rawsse.errors import InvalidRequestError

Action: TypeAlias = Literal["silent", "cut", "reset", "drip", "garbage", "answer", "refuse"]
Place: TypeAlias = Literal[
    "accept",
    "handshake",
    "request",
    "head",
    "stream",
    "event",
    "chunk",
    "record",
    "end",
    "line",
    "extension",
    "trailer",
]
Scope: TypeAlias = Literal["new", "live", "both"]

PLACES: Final[dict[str, tuple[str, ...]]] = {
    "silent": ("request", "accept", "handshake", "head", "stream", "event", "chunk", "record"),
    "cut": ("stream", "accept", "handshake", "request", "head", "event", "chunk", "record", "end"),
    "reset": ("stream", "accept", "handshake", "request", "head", "event", "chunk", "record"),
    "drip": ("line", "head", "event", "extension", "trailer"),
    "garbage": ("stream", "accept", "request"),
    "answer": ("request",),
    "refuse": ("accept",),
}
ON_CONNECTION: Final = ("accept", "handshake")
ON_REQUEST: Final = ("request", "head")
IN_EVENT: Final = ("event", "chunk", "record")
_NEVER_LIVE: Final = (*ON_CONNECTION, "head")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault, checked. Raises `InvalidRequestError`, saying what is allowed, for a combination that does not exist.

    `count` None: until things are back to normal. `after`: seconds from the opening of a stream (for a live one from
    now) until a fault at `stream`, `end`, `line`, `extension` or `trailer` injected. `flights`: how many flights of the
    server's TLS handshake are still sent. `seconds`: between two bytes of a drip; `size`: how many bytes each time.
    `text` is what `garbage` and `answer` send, as Latin-1.
    """

    action: Action
    at: Place | None = None
    scope: Scope | None = None
    only: Literal["all", "stream"] = "all"
    count: int | None = None
    after: float = 0.0
    flights: int = 0
    seconds: float = 1.0
    size: int = 1
    status: int = 503
    retry_after: str | None = None
    location: str | None = None
    content_type: str | None = None
    text: str = ""

    def __post_init__(self) -> None:
        places = PLACES.get(self.action)
        if places is None:
            raise InvalidRequestError(f"action must be one of {', '.join(PLACES)}")
        place = self.at or places[0]
        if place not in places:
            raise InvalidRequestError(f"{self.action} must be at one of {', '.join(places)}")
        live = self.action not in ("answer", "refuse") and place not in _NEVER_LIVE
        scope = self.scope or ("both" if live else "new")
        if scope not in ("new", "live", "both"):
            raise InvalidRequestError("scope must be new, live or both")
        if scope != "new" and not live:
            raise InvalidRequestError(f"{self.action} at {place} does not apply to a live stream: scope must be new")
        if self.only not in ("all", "stream"):
            raise InvalidRequestError("only must be all or stream")
        if self.only == "stream" and place in ON_CONNECTION:
            raise InvalidRequestError(f"what a connection asks for is not known yet at {place}: only must be all")
        if self.count is not None and (self.count < 1 or self.action == "refuse"):
            raise InvalidRequestError(
                "count must be 1 or more, and refuse has none: the kernel refuses, and does not count"
            )
        if self.seconds <= 0 or self.size < 1 or self.after < 0 or self.flights < 0:
            raise InvalidRequestError("seconds and size must be above 0, after and flights not below it")
        if not 200 <= self.status <= 599:
            raise InvalidRequestError("status must be 200 to 599")
        for value in (self.retry_after, self.location, self.content_type):
            if value is not None and not (value.isascii() and value.isprintable() and value == value.strip()):
                raise InvalidRequestError(
                    "retry_after, location and content_type must be printable ASCII without outer spaces"
                )
        if any(character > "\xff" for character in self.text):
            raise InvalidRequestError("text must be Latin-1: each character stands for one byte")
        object.__setattr__(self, "at", place)
        object.__setattr__(self, "scope", scope)

    @property
    def place(self) -> str:
        return str(self.at)

    @property
    def applies_to_new(self) -> bool:
        return self.scope != "live"

    @property
    def applies_to_live(self) -> bool:
        return self.scope != "new"

    def as_json(self) -> dict[str, Any]:
        """Every field that is not at its default; `Fault(**fault.as_json())` is the same fault."""
        fields = ((field.name, getattr(self, field.name), field.default) for field in dataclasses.fields(self))
        return {name: value for name, value, default in fields if value != default}


def read_fault(value: object) -> Fault:
    """A fault from its JSON object. Raises `InvalidRequestError` saying what is wrong with it."""
    if not isinstance(value, dict):
        raise InvalidRequestError("a fault must be a JSON object")
    kinds = {field.name: field.type for field in dataclasses.fields(Fault)}
    for name, given in value.items():
        if name not in kinds:
            raise InvalidRequestError(f"a fault has the fields {', '.join(kinds)}, and no others")
        kind = kinds[name]
        right: bool
        if kind == "float":
            right = isinstance(given, (int, float)) and not isinstance(given, bool)
        elif kind in ("int", "int | None"):
            right = isinstance(given, int) and not isinstance(given, bool)
        else:
            right = isinstance(given, str)
        if not right and not (given is None and "None" in str(kind)):
            raise InvalidRequestError(f"{name} must be of type {kind}")
    if "action" not in value:
        raise InvalidRequestError(f"a fault needs an action: one of {', '.join(PLACES)}")
    return Fault(**value)
