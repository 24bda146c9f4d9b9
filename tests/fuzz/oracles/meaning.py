"""Whether a head is an event stream's (WHATWG HTML, section "server-sent events"): accepted, or refused and why."""

from __future__ import annotations

import re
from typing import Final

from tests.fuzz.oracles import secrets
from wire_rawsse.errors import NotAnEventStreamError, StatusError
from wire_rawsse.protocol import http, tunnel
from wire_rawsse.protocol.proxy import proxy_for
from wire_rawsse.protocol.request import Request
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import parse_url

_PLAINLY_ONE: Final = re.compile(r"text/event-stream *(;[^,\"]*)?")
_PLAIN: Final = re.compile(r"[a-z]+/[a-z]+")


_COMPRESSIONS: Final = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz")


def _masked(value: str | None) -> str | None:
    return None if value is None else secrets.SECRETS.quote(value)


_PROXY: Final = proxy_for(parse_url("https://h/"), {"HTTPS_PROXY": "http://u:p@proxy"})
_SCHEME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_proxy(response: Response, request: Request) -> None:
    """A proxy's answer to CONNECT other than 2xx."""
    assert _PROXY is not None
    error = tunnel.refusal(_PROXY, response, "a tunnel to place", request.secrets)
    secrets.check_error(error)
    assert error.status == response.status and not error.permanent
    schemes = tunnel.offered(response.get("proxy-authenticate") or "")
    assert len(set(schemes)) == len(schemes) <= 5 and all(map(_SCHEME.fullmatch, schemes)), "no schemes"


def check(response: Response, request: Request, body: bytes) -> None:
    kinds = (response.get("content-type") or "").lower()
    codings = (response.get("content-encoding") or "").lower().split(",")
    coded = any(coding.partition(";")[0].strip(" \t") in _COMPRESSIONS for coding in codings)
    try:
        http.check_event_stream(response, request, "place", body)
    except StatusError as error:
        secrets.check_error(error)
        assert error.status == response.status != 200
        assert error.retry_after == _masked(response.get("retry-after"))
        assert error.permanent == (error.status not in (408, 425, 429) and error.status < 500)
        assert len(error.body) <= 1024 and error.body.isprintable(), "a body that is no line, or too long"
    except NotAnEventStreamError as error:
        secrets.check_error(error)
        assert coded or not _PLAINLY_ONE.fullmatch(kinds), "an event stream was refused"
    else:
        assert response.status == 200 and "text/event-stream" in kinds, "no event stream was accepted"
        assert not coded, "what is coded was accepted"
        # Of several kinds the last one counts; this sees only plain ones.
        last = kinds.rpartition(",")[2].strip(" \t")
        assert '"' in kinds or last.startswith("text/event-stream") or not _PLAIN.fullmatch(last), "another kind"
