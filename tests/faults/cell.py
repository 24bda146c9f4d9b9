"""One cell: its world, relay and daemon, and what a fault, a phase's hold and the rounds may do with them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any, Final

from tests.faults import bounds
from tests.faults.bounds import Expectation, Setup
from tests.faults.catalogue.base import Fault
from tests.faults.daemon import Daemon, StateWatch, environment
from tests.faults.lines import Line, word
from tests.faults.look import sockets
from tests.faults.measured import WAKE_SECONDS, Measured, events_in
from tests.faults.names import Names
from tests.faults.phases import PROXY_PORT
from tests.faults.stage import HTTPS, PROXY_NAME, Poster, Relay
from tests.faults.tools import LabError
from tests.faults.world import RELAY, World
from wire_rawsse.testing.faults import Fault as RelayFault

SETTLE: Final = 3.0
"""Seconds within which all that was posted must be fetched once the stream is back, and leftovers to be gone."""


class Cell:
    """Made in a world of its own; `tests.faults.rounds` runs it."""

    def __init__(self, fault: Fault, setup: Setup, expectation: Expectation) -> None:
        self.fault = fault
        self.setup = setup
        self.expectation = expectation
        self.settings = setup.settings
        self.world = World()
        self.names = Names(self.world)
        self.relay = Relay(self.world, setup, tls12=fault.tls12)
        self.environment = environment(self.world, self.relay, setup)
        self.poster = Poster(self.relay, self.opening_has_woken)
        self.daemon: Daemon
        self.injected = 0.0
        self.begun = 0
        """The position in the daemon's log at which the present round begins."""
        self.mark = 0
        self._looked = 0
        self._said: set[str] = set()
        self.facts: dict[str, Any] = {}
        """For the report: what a fault or the engine notes."""
        promise = bounds.promise(expectation, setup)
        if fault.burns:
            promise = dataclasses.replace(promise, within=promise.within + bounds.BUSY_SLACK)
        self.measured = Measured(promise, spared=fault.spares or expectation.stranger)
        self._closing = contextlib.ExitStack()
        if setup.transport == "proxy":
            self._start_proxy()

    def note(self, **facts: Any) -> None:
        self.facts.update(facts)

    def inject(self) -> None:
        """Begin the fault, once."""
        if not self.injected:
            self.mark = len(self.daemon.log)
            self.injected = self.measured.injected = time.monotonic()
            self.fault.inject(self)
            if self.expectation.stranger:
                self.note(stranger=self.fault.meet(self))

    def calm_events(self, count: int) -> None:
        """Events on a stream that is well, each once the one before has woken: so none can hide behind the next."""
        for _ in range(count):
            position, post = len(self.daemon.log), self.poster.one()
            if post.answered is None:
                raise LabError("the relay does not take events")
            self.measured.calm.append(post)
            self.daemon.log.wait(word("wake", "event"), WAKE_SECONDS, position)
            time.sleep(0.1)

    def opening_has_woken(self) -> None:
        """Wait until the stream that opened last has woken, if one is open, so that no event's wake is taken for it."""
        if self.setup.consumer != "subscriber":
            return
        lines = self.daemon.log.since(self.begun)
        last = max((position for position, line in enumerate(lines) if line.word == "state"), default=None)
        if last is not None and lines[last].first == "streaming":
            left = lines[last].at + WAKE_SECONDS - time.monotonic()
            self.daemon.log.wait(word("wake"), left, self.begun + last)

    def strike(self, *deeds: RelayFault) -> Callable[[], None]:
        """Tell the relay what to do wrong from now on; gives a function that waits until each has been done."""
        wanted = self.relay.report()["injected"] + len(deeds)
        self.relay.misbehave(*deeds)

        def wait() -> None:
            done = self.relay.control("await", counter="injected", at_least=wanted, seconds=3.0)
            if not done["reached"]:
                raise LabError(f"the relay did not do {', '.join(deed.action for deed in deeds)}")

        return wait

    def start(self) -> None:
        """Start the daemon and anyone who watches it."""
        self.fault.prepare(self)
        self.daemon = Daemon(self.world, self.setup, self.environment)
        self._closing.callback(self.daemon.close)
        watch = self.measured.watch = StateWatch(self.daemon.state_file)
        self._closing.callback(watch.close)

    def go(self) -> int:
        """Begin a round; the position in the log from which what the daemon says is of it."""
        position = len(self.daemon.log)
        self.daemon.order("go")
        return position

    def stop(self, position: int) -> None:
        """End the round that began there."""
        if not self.daemon.ours:
            return
        self.daemon.order("stop")
        self.until_said(word("over"), position, "stop")
        self.daemon.ready(position)

    def until_said(self, there: Callable[[Line], bool], position: int, what: str) -> Line:
        """Wait for a line. Raises `LabError` with `what` the daemon did not do."""
        found = self.daemon.log.wait(there, 10.0, position)
        if found is None:
            raise LabError(f"the daemon did not {what}: {self.daemon.last_words()}")
        return found

    def said(self, event: str) -> bool:
        """Whether the daemon has said of an event that it fetched it or was handed it."""
        new = self.daemon.log.since(self._looked)
        self._looked += len(new)
        for line in new:
            self._said.update(events_in(line))
        return event in self._said

    def fetched(self) -> None:
        """Give the daemon time to fetch all that there is."""
        last = self.relay.stored()[-1:]
        until = time.monotonic() + SETTLE
        while last and not self.said(last[0]) and time.monotonic() < until:
            time.sleep(0.01)

    def sockets(self) -> dict[str, list[str]]:
        """Those of the two ends, now."""
        return {host.name: sockets(host) for host in (self.world.client, self.world.relay)}

    def close(self) -> None:
        self.fault.close(self)
        with contextlib.suppress(LabError):
            self.relay.resume()
        self._closing.close()
        self.poster.close()
        self.relay.close()
        self.names.close()
        self.world.close()

    def _start_proxy(self) -> None:
        from tests.faults.proxy import Proxy  # A process more, for those cells only.

        with self.world.relay.entered():
            self.proxy = Proxy(bind=f"[::]:{PROXY_PORT}", origin=f"{RELAY}:{HTTPS}")
        self._closing.callback(self.proxy.close)
        self.environment["HTTPS_PROXY"] = f"http://{PROXY_NAME}:{PROXY_PORT}"
