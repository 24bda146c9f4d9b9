"""Requests and replies as values: all that wire's routes and the control call see of HTTP. No I/O."""

from __future__ import annotations

import dataclasses
from typing import Final, Protocol

BODY_BYTES: Final = 2 * 1024 * 1024
"""The longest request body that is read, as with wire's relay; beyond it the answer is 413."""
BODY_PIECES: Final = 20_000
"""A body in more chunks and receptions than this costs more processor time than it is worth: 413 too."""
HEAD_BYTES: Final = 64 * 1024


@dataclasses.dataclass(frozen=True)
class ServerRequest:
    """`fields` has the first value of each field, by lower-case name; `path` and `query` are still percent-encoded."""

    method: str
    path: str
    query: str
    fields: dict[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Reply:
    """A whole response. Content-Length and Date are added; `measured=False` leaves Content-Length out (HEAD of a
    stream)."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    measured: bool = True


class Body(Protocol):
    """An answer's body that goes on for ever."""

    def pump(self) -> None:
        """Send what there is; called again after a hold or a full write buffer is over."""

    def close(self) -> None:
        """The connection is gone, or going. Called once or more."""


REFUSALS: Final = {
    408: "the request did not end in time\n",
    503: "too many bytes of incomplete requests are held already; try again\n",
    413: f"the request body is longer than {BODY_BYTES} bytes, or comes in more than {BODY_PIECES} pieces\n",
    431: f"the request head is longer than {HEAD_BYTES} bytes\n",
}
REASONS: Final = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
