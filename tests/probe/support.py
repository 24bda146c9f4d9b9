"""How the tests run the probe: as a user does, with its JSON; and measurements made by hand for the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.cli.command import run
from wire_rawsse.probe.measurements import (
    Arrival,
    Attempt,
    Head,
    HopFacts,
    Life,
    Measurements,
    Name,
    StreamFacts,
    TlsFacts,
)

PATIENCE = 60.0
"""Seconds for a probe to end; it promises to end within what `--for` says, and a busy machine adds to that."""


class Probed(NamedTuple):
    status: int
    report: dict[str, Any]

    @property
    def codes(self) -> list[str]:
        return [one["code"] for one in self.report["findings"]]

    @property
    def first(self) -> dict[str, str]:
        found: dict[str, str] = self.report["findings"][0]
        return found

    @property
    def measured(self) -> dict[str, Any]:
        found: dict[str, Any] = self.report["measurements"]
        return found

    @property
    def told(self) -> str:
        """For the message of an assertion."""
        return "\n".join(f"{one['severity']} {one['code']}: {one['text']}" for one in self.report["findings"])


def probe(url: str, *options: str, home: Path, seconds: float = 3, environ: Mapping[str, str] | None = None) -> Probed:
    """Run `wire-rawsse probe --json`."""
    ran = run("probe", "--json", "--for", str(seconds), *options, url, home=home, environ=environ, timeout=PATIENCE)
    assert ran.stderr == "", ran.stderr
    return Probed(ran.returncode, json.loads(ran.stdout))


def healthy(**changes: Any) -> Measurements:
    """A stream with nothing to find fault with: a heartbeat each second, over https."""
    hop = HopFacts(
        "https://relay.example/stream",
        name=Name("relay.example", 0.01, ["192.0.2.1:443"]),
        attempts=[
            Attempt("192.0.2.1:443", tcp=0.01, tls=TlsFacts(0.02, "TLSv1.3", verified=True), head=0.03, status=200)
        ],
        head=Head(200, "text/event-stream", [], "chunked", skew=0.0, held=0.0),
    )
    stream = StreamFacts(lives=[life(*(float(second) for second in range(1, 17)))], comments=16, bytes=128)
    return Measurements("https://relay.example/stream", 18.0, True, hops=[hop], stream=stream, wall=1.8e9, **changes)


def life(*heartbeats: float, until: float = 16.5, **changes: Any) -> Life:
    """A response body with a comment at each of these moments."""
    arrivals = [Arrival(at, 1.8e9 + at, 8, 0, 1, False) for at in heartbeats]
    return Life(**{"began": 0.05, "opened": 0.1, "arrivals": arrivals, "stopped": until, **changes})
