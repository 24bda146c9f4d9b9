"""Client programs that stay connected to one sender while `cost` measures them.

A client may hold several streams, and may be started under another program (valgrind). `proc` reads the figures of its
process.
"""

from __future__ import annotations

import os
import random
import ssl
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench import roster, scenario

BEGIN = b"-----BEGIN CERTIFICATE-----"
AT_ONCE = 4
"""So many may be starting at a time; a herd of interpreters would run into each other's time limits."""
CONNECT_SECONDS = 60.0
BEAT_SECONDS = 30.0
"""As wire's relay has it."""
BEAT_GAP_MS = (0.2, 0.4)
HANDOVER = {roster.HANDOVER_CHOICE: roster.CHEAPEST_HANDOVER}


@dataclass
class Held:
    """One connected process. `streams` are the sender's names for what it holds."""

    label: str
    client: roster.Client
    child: scenario.Child
    streams: list[str]

    @property
    def pid(self) -> int:
        return self.child.process.pid


class Stage:
    """A sender, http or https, and anyone who is held connected to it. `with` ends them all."""

    def __init__(self, tls: bool) -> None:
        self.tls = tls
        self.held: dict[str, Held] = {}
        self.failed: dict[str, str] = {}
        self.lost: set[str] = set()
        """Streams that were not there when an event was due."""
        self._starting: list[Held] = []
        self._beaten = time.monotonic()

    def __enter__(self) -> Stage:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        pair = None
        self.ca: str | None = None
        self.with_system_roots = self.system_roots = ""
        if self.tls:
            ca, certificate, key = scenario.certificates(folder)
            pair = certificate, key
            self.ca = with_public_roots(Path(ca))
            self.with_system_roots, self.system_roots = with_system_roots(Path(ca))
        self._sender, self._address, self._port = scenario.start_sender("loopback", pair)
        plan = scenario.Plan("loopback", self.tls, [], 0, 0, 0, (0, 0), (0, 0), 1)
        self._talk = scenario.Scenario(plan, quiet=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in [*self.held.values(), *self._starting]:
            one.child.process.kill()
        for one in [*self.held.values(), *self._starting]:
            one.child.finish()
        scenario.end_sender(self._sender)
        self._folder.cleanup()

    def start(
        self,
        label: str,
        client: roster.Client,
        *,
        streams: int = 1,
        behind: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        trust: bool = True,
    ) -> None:
        """Begin to start one; `settle` waits for it. If it cannot be started, `failed` says why. Without `trust` it is
        not told of a CA file."""
        names = [label] if streams == 1 else [f"{label}.{number}" for number in range(streams)]
        scheme = "https" if self.tls else "http"
        urls = ",".join(f"{scheme}://{self._address}:{self._port}/v1/events/{name}/stream" for name in names)
        try:
            command = [*behind, *roster.command(client, urls, self.ca if trust else None)]
            child = scenario.Child(client, command, {**os.environ, **HANDOVER, **(environ or {})})
        except (roster.Unavailable, OSError) as error:
            self.failed[label] = str(error)
            return
        self._starting.append(Held(label, client, child, names))
        self.beat()
        if len(self._starting) >= AT_ONCE:
            self._take(self._starting.pop(0))

    def settle(self, seconds: float = 0.0) -> None:
        """Wait until all that were started are connected, or have failed, and then for some rest."""
        while self._starting:
            self._take(self._starting.pop(0))
            self.beat()
        time.sleep(seconds)

    def _take(self, one: Held) -> None:
        if one.child.ready.wait(CONNECT_SECONDS) and one.child.connected:
            self.held[one.label] = one
            return
        one.child.process.kill()
        one.child.finish()
        self.failed[one.label] = one.child.reason()

    def let_go_of_the_dead(self) -> None:
        """Anyone who has ended by itself is no longer held, but has failed."""
        for label, one in list(self.held.items()):
            if one.child.process.poll() is not None:
                del self.held[label]
                one.child.finish()
                self.failed[label] = f"ended while it was held: {one.child.reason()}"

    def beat(self) -> None:
        """A heartbeat for every stream that is held, where one is due: who listens for silence must find none."""
        if time.monotonic() >= self._beaten + BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.send([stream for one in self.held.values() for stream in one.streams], BEAT_GAP_MS, "heartbeat")

    def send(self, steps: Sequence[str], gap_ms: tuple[float, float], what: str = "event") -> None:
        """One event (or heartbeat) to each of these streams, in this order, with gaps; returns when all were sent."""
        sent = self._talk.send(self._sender, [(name, 1) for name in steps], gap_ms, len(steps), what)
        if what == "event":
            self.lost.update(name for name, stamps in zip(steps, sent, strict=True) if not stamps)


def shuffled(streams: Sequence[Sequence[str]], each: int, seed: int = 1) -> list[str]:
    """`each` steps for each client, of which every pass visits all in a new order, one of its streams at random."""
    dice = random.Random(seed)
    steps: list[str] = []
    for _ in range(each):
        steps.extend(dice.choice(own) for own in dice.sample(streams, len(streams)))
    return steps


def with_public_roots(ca: Path) -> str:
    """A CA file with certifi's roots added, as in life: what trust weighs belongs to what a stream costs."""
    import certifi

    both = ca.with_name("roots.pem")
    both.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + ca.read_bytes())
    return str(both)


def with_system_roots(ca: Path) -> tuple[str, str]:
    """The file that OpenSSL takes the system's roots from (or none, where it has but a folder), with the bench's CA
    added; and what it is, in words. For SSL_CERT_FILE, so that trust by default is this system's own."""
    system = ssl.get_default_verify_paths().cafile
    roots = Path(system).read_bytes() if system else b""
    both = ca.with_name("system.pem")
    both.write_bytes(roots + b"\n" + ca.read_bytes())
    return str(both), f"{system or 'a folder of single files, read when needed'}: {roots.count(BEGIN)} certificates"
