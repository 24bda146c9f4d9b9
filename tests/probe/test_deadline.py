"""No wait of a probe ends after the probe itself. The deadlines are looked at, so a busy machine changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import pytest

from tests.support.fixtures import Serve
from tests.support.server import CHUNKED, Script, answer, chunk, drip, pause, request, send, stall
from wire_rawsse.plan import Plan, make_plan
from wire_rawsse.policy import Backoff, Keepalive, Timeouts
from wire_rawsse.probe.blocking import BlockingHost
from wire_rawsse.probe.measure import Probe
from wire_rawsse.waits import Wait

SECONDS = 2.0
LATE: Script = [request, pause(1.2), send(answer("302 Found", "Location: /next"))]
EVENT = send(chunk(b"id: 1\ndata: x\n\n")), send(chunk(b"id: 2\ndata: x\n\n"))


def a_plan(url: str) -> Plan:
    return make_plan(
        url,
        headers=None,
        method="GET",
        body=None,
        bearer_token=None,
        timeouts=Timeouts(),
        keepalive=Keepalive(),
        backoff=Backoff(),
        tls=None,
    )


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of all waits, on the monotonic clock."""
    seen: list[float] = []

    def watched(wait: Callable[[BlockingHost, Wait], object]) -> Callable[[BlockingHost, Wait], object]:
        def run(host: BlockingHost, step: Wait) -> object:
            if step.deadline > host.now():  # Otherwise it waits for nothing, and may have begun after the end.
                seen.append(step.deadline)
            return wait(host, step)

        return run

    for name in ("_wait", "_receive"):
        monkeypatch.setattr(BlockingHost, name, watched(getattr(BlockingHost, name)))
    return seen


@pytest.mark.parametrize(
    "scripts",
    [
        [[request, drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", 0.05)]],
        [[request, pause(1.5), send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"), stall]],
        [LATE, [stall]],
        [LATE, LATE, [request, stall]],
        [[request, send(CHUNKED), *EVENT, pause(0.3)], [stall]],
        [[request, send(CHUNKED), *EVENT, stall], [request, stall]],
    ],
    ids=["head", "refusal", "redirect", "redirects", "reconnect", "replay"],
)
def test_no_wait_ends_after_the_probe(scripts: Iterable[Script], serve: Serve, deadlines: list[float]) -> None:
    plan = a_plan(serve(*scripts).url)
    began = time.monotonic()
    Probe(plan, SECONDS, began=began).run()
    assert deadlines and max(deadlines) < began + SECONDS


def test_a_tls_handshake_ends_with_the_probe(serve: Serve, deadlines: list[float]) -> None:
    """And so does the second one, which shows a certificate."""
    url = serve([stall]).url.replace("http:", "https:")
    plan = a_plan(url)
    began = time.monotonic() - SECONDS * 0.8  # A command that took long to begin.
    Probe(plan, SECONDS, began=began).run()
    assert deadlines and max(deadlines) < began + SECONDS
