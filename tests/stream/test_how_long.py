"""How long an `EventSource` goes on: until an end for good, for ever, or for one response."""

from __future__ import annotations

import time

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import event, source
from tests.support.server import OPEN, PATIENCE, answer, request, send, stall, tls
from tests.support.trust import Authority
from wire_rawsse import Backoff, Closed
from wire_rawsse.errors import CertificateError, ClosedError

EVENT = b"data: x\n\n"
SLOW = Backoff(initial=0.001, maximum=0.3, healthy_after=0)


class TestPersistent:
    @pytest.mark.parametrize(
        "refusal",
        [
            answer("204 No Content"),
            answer("401 Unauthorized"),
            answer("404 Not Found"),
            answer("200 OK", "Content-Type: text/html", body=b"<html>"),
            OPEN.replace(b"\r\n\r\n", b"\r\nContent-Encoding: br\r\n\r\n"),
            OPEN + b"data: " + b"y" * 2000 + b"\n\n",
            answer("302 Found", "Location: unix:///run/x.sock"),
        ],
        ids=["204", "401", "404", "a web page", "brotli", "too large", "redirect off"],
    )
    def test_retries_what_is_for_good_at_the_slowest_pace(self, refusal: bytes, serve: Serve) -> None:
        server = serve([request, send(refusal), stall], [request, send(OPEN + EVENT), stall])
        with source(server.url, backoff=SLOW, persistent=True, max_event_bytes=1000) as listening:
            began = time.monotonic()
            closed = None
            while closed is None:
                item = listening.next_item(PATIENCE)
                closed = item if isinstance(item, Closed) else None
            assert closed.error is not None and closed.error.permanent
            assert closed.retry_in is not None and 0.15 <= closed.retry_in <= 0.3
            assert event(listening).data == "x"
            assert time.monotonic() - began >= 0.15
            assert listening.state.phase == "streaming"
        with pytest.raises(ClosedError):
            listening.next(0)

    def test_retries_a_certificate_that_does_not_verify(
        self, serve: Serve, authority: Authority, stranger: Authority
    ) -> None:
        server = serve([tls(stranger.server()), request], [tls(authority.server()), request, send(OPEN + EVENT), stall])
        url = server.url.replace("http", "https")
        with source(url, tls=authority.file, backoff=SLOW, persistent=True) as listening:
            item = listening.next_item(PATIENCE)
            assert isinstance(item, Closed) and isinstance(item.error, CertificateError)
            assert item.retry_in is not None
            assert event(listening).data == "x"
