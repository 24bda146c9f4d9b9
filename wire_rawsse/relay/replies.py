"""Whole replies, and the reading of JSON requests, for wire's routes and the control call. No I/O."""

from __future__ import annotations

import json
from typing import Final

from wire_rawsse.relay.messages import Reply, ServerRequest
from wire_rawsse.relay.store import read_json

JSON: Final = ("content-type", "application/json")
TEXT: Final = ("content-type", "text/plain; charset=utf-8")


class Refused(Exception):
    """Ends a request with `answer`."""

    def __init__(self, answer: Reply) -> None:
        self.answer = answer


def json_reply(status: int, value: object) -> Reply:
    return Reply(status, (JSON,), json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def text_reply(status: int, text: str) -> Reply:
    return Reply(status, (TEXT,), text.encode())


def json_body(request: ServerRequest) -> object:
    """The body's JSON value. Refused with 415 unless its media type is JSON's, with 400 where it isn't JSON."""
    kind = request.fields.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refused(text_reply(415, "send the body as Content-Type: application/json\n"))
    try:
        return read_json(request.body)
    except ValueError as error:
        raise Refused(text_reply(400, f"the body is no JSON: {error}\n")) from None
