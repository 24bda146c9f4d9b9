"""One relay, one stream, exact times: a scene for tests that compare clock readings with `==`.

Latencies, delays and dice are binary fractions, so that sums of them are exact. Times are told relative to the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.answers import Proxy, well
from tests.simulation.relay import Answer, Relay, Visit
from tests.simulation.scene import Scene, Stream
from tests.simulation.tls import Endpoint, MemoryContext
from wire_rawsse.errors import ClosedError, WireRawSSEError
from wire_rawsse.sink import OwnedSink

HTTP = "http://relay.test/v1/events/slot/stream"
HTTPS = "https://relay.test/v1/events/slot/stream"
LATENCY = 0.125


def elsewhere(scene: Scene, name: str, host: str, answer: Answer | None = None, delay: float = 0.0) -> Relay:
    """A relay of an origin of its own, over plain http; its name takes `delay` seconds to look up."""
    other = Relay(scene.kernel, answer or well())
    other.gate.program = other
    scene.place(host, 80, other.gate, LATENCY)
    scene.name(name, host, delay=delay)
    return other


class Single(Scene):
    """`relay` answers at relay.test = 192.0.2.1, over TLS where the URL says so, behind a proxy where asked for."""

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        url: str = HTTP,
        latency: float = LATENCY,
        proxy: bool = False,
        dice: float = 0.5,
        sink: OwnedSink | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.kernel.dice = lambda: dice
        tls = url.startswith("https:")
        self.relay = Relay(self.kernel, answer or well(), tls=tls)
        self.endpoint = Endpoint(self.relay)
        self.relay.gate.program = self.endpoint if tls else self.relay
        self.proxy = Proxy(self.relay.gate)
        self.there = self.place("192.0.2.1", 443 if tls else 80, self.relay.gate, latency)
        self.place("192.0.2.9", 3128, self.proxy, latency)
        self.found = self.name("relay.test", "192.0.2.1")
        self.name("proxy.test", "192.0.2.9")
        environ = {"HTTPS_PROXY": "http://proxy.test:3128"} if proxy else {}
        self.only = self.stream(url, sink, tls=MemoryContext() if tls else None, environ=environ, **settings)
        self.only.keep_journal()
        self.network.keep_dialled = True

    @property
    def time(self) -> float:
        """Seconds since the start."""
        return self.kernel.now - self.kernel.start

    def at(self, when: float, call: Callable[..., object], *args: object) -> None:
        self.kernel.at(self.kernel.start + when, call, *args)

    def run(self, until: float) -> list[float]:
        """An attentive host, until then; when it was woken."""
        woken = []
        while self.time < until:
            if self.loop.run(until - self.time):
                woken.append(self.time)
        return woken

    def look(self, every: float, until: float) -> None:
        """A host that only ever looks in."""
        self.loop.run(0)
        while self.time < until:
            self.kernel.advance(every)
            self.loop.run(0)

    @property
    def phases(self) -> list[tuple[float, str]]:
        return [(when - self.kernel.start, phase) for when, phase in self.only.phases]

    @property
    def phase(self) -> str:
        return self.only.phase

    @property
    def end(self) -> tuple[float, WireRawSSEError | None, float | None]:
        """The first end: when, why, and how long until the next attempt."""
        when, error, delay = self.only.ends[0]
        return when - self.kernel.start, error, delay

    @property
    def ends(self) -> list[float]:
        return [when - self.kernel.start for when, _, _ in self.only.ends]

    @property
    def doubt(self) -> tuple[float, WireRawSSEError, float]:
        """The first doubt: when, why, and how long until the attempt."""
        when, error, delay = self.only.doubts[0]
        return when - self.kernel.start, error, delay

    @property
    def renewals(self) -> list[float]:
        return [when - self.kernel.start for when in self.only.renewals]

    @property
    def delays(self) -> list[float | None]:
        return [delay for _, _, delay in self.only.ends]

    @property
    def begun(self) -> list[float]:
        """When an attempt began."""
        return [when for when, phase in self.phases if phase == "resolving"]

    @property
    def visit(self) -> Visit:
        """The one connection that the relay has."""
        (only,) = self.relay.visits.values()
        return only

    def close(self) -> None:
        """Close, and see that nothing is left."""
        self.loop.close()
        if self.kernel.pollers:  # Handed out: open until the host looks once more.
            try:
                self.loop.run(0)
            except ClosedError:
                pass
        assert not self.kernel.descriptors and not self.kernel.pollers and not self.network.open_sockets
        self.kernel.advance(600)
        assert self.kernel.threads == 0


def stop(relay: Relay) -> None:
    """SIGSTOP."""
    relay.gate.stopped += 1


__all__ = ["HTTP", "HTTPS", "LATENCY", "Single", "Stream", "stop"]
