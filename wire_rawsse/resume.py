"""Which `Last-Event-ID` the next request sends (WHATWG HTML, "server-sent events", section 9.2.4), if any.

The sink knows the last event id of the stream. Three cases keep it out of a request:

* HTTP cannot carry it, or it is longer than 4 KiB (see `protocol.request.can_carry`).
* A redirect has led to another origin.
* The server has refused it: a server that was restarted may answer each request that names an unknown id with 400, 404
  or 410. So after a 4xx the next request leaves the id out. After another 4xx the id is sent again, because it was not
  the cause. So a client is not locked out by its id, and a 4xx with another cause does not lose its place.

If a stream is accepted without the id, events may be missing, and the sink is told so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wire_rawsse.protocol.request import HeaderList, Request, take_last_event_id

if TYPE_CHECKING:
    from wire_rawsse.sink import HasId

NOT_ABOUT_THE_ID: Final = (401, 407, 408, 425, 429)
"""4xx about credentials, or that ask the client to come back (RFC 9110 §15.5, RFC 8470 §5.2, RFC 6585 §4)."""


class Resume:
    """The knowledge of one stream, over its connections, about sending its id."""

    __slots__ = ("_begun", "_refused")

    def __init__(self) -> None:
        self._begun = False
        self._refused = False
        """The id was sent and answered with 4xx; the next request goes without it."""

    def begin(self, given: HeaderList, sink: HasId) -> HeaderList:
        """Take `Last-Event-ID` out of the caller's fields: it is where to begin, unless an id is known already."""
        fields, initial = take_last_event_id(given)
        if initial and not self._begun:
            self._begun = True
            if not sink.last_event_id:
                sink.resume_from(initial)
        return fields

    def id_to_send(self, sink: HasId) -> str:
        return "" if self._refused else sink.last_event_id

    def refused(self, status: int, request: Request) -> None:
        """The request was answered with another status than 200."""
        if 400 <= status < 500 and status not in NOT_ABOUT_THE_ID:
            self._refused = request.sends_id

    def accepted(self, request: Request, sink: HasId) -> bool:
        """The stream begins. Returns whether the request left out an id that was known."""
        left_out = bool(sink.last_event_id) and not request.sends_id
        if self._refused:
            self._refused = False
            sink.resume_from("")  # The server does not know the id, and would refuse it again.
        return left_out
