"""Heads and bodies read by hand from RFC 9112, to compare with what `Exchange` made of the same bytes."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tests.fuzz.oracles.outcome import Outcome, opens_tunnel
from wire_rawsse.protocol import http
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response

_HEAD_END: Final = re.compile(rb"\n\r?\n")
_STATUS: Final = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: ([^\r\n]*))?\r?\n")

_NONE, _NO_HTTP = 0, -1


class _Head(NamedTuple):
    """The final response's head. `status` is `_NONE` where it is not complete and `_NO_HTTP` where there is none."""

    status: int
    text: bytes = b""
    end: int = 0
    """The offset at which its body begins."""


def check(found: Outcome, stream: bytes, request: Request, closes: bool) -> None:
    head = _final_head(stream)
    response = found.response
    if response is None:
        if found.error is None:
            assert head.status < 200, "a whole head was overlooked"
            assert not closes, "nothing was made of a head that broke off"
            assert len(stream) < http.HEAD_BYTES, "a head without end"
        return
    assert response.status == head.status, "another status"
    assert head.end <= http.HEAD_BYTES, "a head over the limit"
    if b"\n " not in head.text and b"\n\t" not in head.text:  # Folded lines are h11's business.
        fields = _fields(head.text)
        if opens_tunnel(request, head.status):  # RFC 9110 §9.3.6: these two are ignored.
            fields = [field for field in fields if field[0].strip() not in ("transfer-encoding", "content-length")]
        assert fields == list(response.headers), "other fields"
    behind = stream[head.end :]
    if opens_tunnel(request, head.status):
        assert found.tunnel == behind, "something of the tunnel was lost"
    else:
        _check_body(found, response, behind, closes)


def _final_head(stream: bytes) -> _Head:
    """Behind any interim ones (RFC 9110 §15.2), of which 101 is none: another protocol follows it."""
    start = 0
    while (end := _HEAD_END.search(stream, start)) is not None:
        line = _STATUS.match(stream, start)
        if line is None:
            return _Head(_NO_HTTP)
        status = int(line[1])
        if status >= 200 or status == 101:
            return _Head(status, stream[start : end.end()], end.end())
        start = end.end()
    return _Head(_NONE)


def _fields(head: bytes) -> list[tuple[str, str]]:
    """Names in lower case, and values, as they stand in a head without folded lines."""
    fields: list[tuple[str, str]] = []
    for line in head.replace(b"\r\n", b"\n").decode("latin-1").split("\n")[1:-2]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t\r")
        if name == "transfer-encoding":
            value = value.lower()
        elif name == "content-length":
            # h11 makes one of several equal ones, in a line or in many.
            if any(known == name for known, _ in fields):
                continue
            value = value.split(",")[0].strip()
        fields.append((name, value))
    return fields


def _check_body(found: Outcome, response: Response, behind: bytes, closes: bool) -> None:
    """RFC 9112 §6.3, in its order."""
    length = response.get("content-length")
    if response.status in (204, 304):
        assert found.ended and not found.body, "a body where there is none"
    elif response.get("transfer-encoding") is not None:
        assert len(found.body) <= len(behind), "a body out of nothing"  # The target `chunks` looks closer.
    elif length is not None:
        size = int(length.split(",")[0])
        assert found.body == behind[:size], "another body"
        assert found.ended == (len(behind) >= size), "another end"
    else:
        assert found.body == behind, "another body"
        assert found.ended == closes, "another end"
    if response.get("transfer-encoding") is None:
        assert (found.error is None) == (found.ended or not closes), "an end that is none"
