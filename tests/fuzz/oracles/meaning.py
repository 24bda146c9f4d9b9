"""Whether a head is an event stream's (WHATWG HTML, section "server-sent events"): accepted, or refused and why."""

from __future__ import annotations

import re
from typing import Final

from tests.fuzz.oracles import secrets
from wire_rawsse.errors import NotAnEventStream, StatusError
from wire_rawsse.protocol import http
from wire_rawsse.protocol.http import Response
from wire_rawsse.protocol.request import Request

_PLAINLY_ONE: Final = re.compile(r"text/event-stream *(;[^,\"]*)?")
_PLAIN: Final = re.compile(r"[a-z]+/[a-z]+")


_COMPRESSIONS: Final = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz")


def _masked(value: str | None) -> str | None:
    return None if value is None else secrets.SECRETS.quote(value)


def check(response: Response, request: Request, body: bytes) -> None:
    kinds = (response.get("content-type") or "").lower()
    codings = (response.get("content-encoding") or "").lower().split(",")
    coded = any(coding.partition(";")[0].strip() in _COMPRESSIONS for coding in codings)
    try:
        http.check_event_stream(response, request, "place", body)
    except StatusError as error:
        secrets.check_error(error)
        assert error.status == response.status != 200
        assert error.retry_after == _masked(response.get("retry-after"))
        assert error.permanent == (error.status not in (408, 425, 429) and error.status < 500)
        assert len(error.body) <= 1024 and error.body.isprintable(), "a body that is no line, or too long"
    except NotAnEventStream as error:
        secrets.check_error(error)
        assert coded or not _PLAINLY_ONE.fullmatch(kinds), "an event stream was refused"
    else:
        assert response.status == 200 and "text/event-stream" in kinds, "no event stream was accepted"
        assert not coded, "what is coded was accepted"
        # Of several kinds the last one counts; this sees only plain ones.
        last = kinds.rpartition(",")[2].strip(" \t")
        assert '"' in kinds or last.startswith("text/event-stream") or not _PLAIN.fullmatch(last), "another kind"
