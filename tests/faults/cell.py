"""One cell, from an empty world to what was measured.

Four rounds without any fault come first. The one loads what is loaded once, two only connect, and the last is the
measure for the rest: what a living stream holds, what an event costs, and that nothing is left when it is closed. What
a connection costs is the median of those three. The fifth round is the test. While it lasts an event is posted every
fifth of a second, whatever happens to the stream.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.faults import bounds
from tests.faults.bounds import Expectation, Promise, Setup
from tests.faults.catalogue.base import Fault
from tests.faults.daemon import Daemon, StateWatch, environment
from tests.faults.lines import Line, state, word
from tests.faults.look import Held, sockets
from tests.faults.names import Names
from tests.faults.phases import HOLDS, PROXY_PORT
from tests.faults.stage import HTTPS, PROXY_NAME, Post, Poster, Relay
from tests.faults.tools import LabError, program
from tests.faults.world import RELAY, World
from wire_rawsse.relay.faults import Fault as RelayFault

MEASURED_EVENTS: Final = 8
WAKE_SECONDS: Final = 1.0
"""From the end of a post, or the opening of a stream, to its wake: for a busy machine's scheduling, not our latency."""
STATE_SECONDS: Final = bounds.STATE_FILE_INTERVAL + 2 * bounds.SLACK
"""Seconds for which the state file is watched at the least, after what kept it from being written is over."""
ROUND_SECONDS: Final = 2.0
"""The tested round lasts at least so long: what one attempt costs, held against a moment, is no share of a core."""
LINGER: Final = 0.3
"""Seconds that a fault stays after it was noticed."""
MOMENT: Final = 1.0
"""Seconds for which a fault stays that the stream is to live through, where it says nothing else."""
LATE: Final = 4.0
"""Seconds beyond a bound for which the lab goes on waiting, so that it can say how late it was."""
SETTLE: Final = 3.0
"""Seconds within which all that was posted is to be fetched once the stream is back, and leftovers to be gone."""


@dataclasses.dataclass
class Measured:
    """All that a verdict is made from. Moments are on CLOCK_MONOTONIC."""

    promise: Promise
    injected: float = 0.0
    lifted: float = 0.0
    struck: float = 0.0
    noticed: Line | None = None
    back: Line | None = None
    mend_bound: float = 0.0
    round_began: float = 0.0
    lines: list[Line] = dataclasses.field(default_factory=list)
    """What the daemon said in the tested round."""
    mark: int = 0
    """The position in `lines` from which a failure is the fault's doing."""
    flowed: float = math.inf
    """When the first event came through after the lifting."""
    spared: bool = False
    """An open stream is kept waiting by nothing while the fault lasts."""
    calm: list[Post] = dataclasses.field(default_factory=list)
    """Events that were posted one by one while the stream was open and well."""
    posts: list[Post] = dataclasses.field(default_factory=list)
    stored: list[str] = dataclasses.field(default_factory=list)
    known: set[str] = dataclasses.field(default_factory=set)
    """Events that were fetched in the rounds before."""
    living: Held | None = None
    idle: Held | None = None
    living_after: Held | None = None
    idle_after: Held | None = None
    per_connection: float = 0.0
    """Seconds of processor, from the name to the open stream: the median of the calm rounds, without the first."""
    per_event: float = 0.0
    """Seconds of processor for a wake and its pull, or for an event that is handed over: the mean of the last calm
    round's."""
    bulk: float = 0.0
    """Seconds of processor for the same bytes as the fault moves, in a run without it."""
    bulk_events: int = 0
    """And how often the daemon was woken in that, or handed an event."""
    cpu: float = 0.0
    wall: float = 0.0
    watch: StateWatch | None = None
    silence: float | None = None
    """Seconds that the stream's bytes stayed away at the longest, where the fault could see that on the wire."""
    ended: int | None = 0
    """The daemon's exit status; None where it had to be killed."""


class Cell:
    """Made in a world of its own; `measure` runs it. What a fault may use is public."""

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
        self.measured = Measured(bounds.promise(expectation, setup), spared=fault.spares or expectation.stranger)
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
        wanted = self.relay.report()["strikes"] + len(deeds)
        self.relay.misbehave(*deeds)

        def wait() -> None:
            done = self.relay.control("await", counter="strikes", at_least=wanted, seconds=3.0)
            if not done["reached"]:
                raise LabError(f"the relay did not do {', '.join(deed.action for deed in deeds)}")

        return wait

    def measure(self) -> Measured:
        """Run it. Raises `LabError`, `Unproven` among them."""
        self.fault.prepare(self)
        self.daemon = Daemon(self.world, self.setup, self.environment)
        self._closing.callback(self.daemon.close)
        watch = self.measured.watch = StateWatch(self.daemon.state_file)
        self._closing.callback(watch.close)
        if self.daemon.ours:
            self._rounds_without_fault()
        self._test()
        return self.measured

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

    def _rounds_without_fault(self) -> None:
        found = self.measured
        self.daemon.ready()
        self._calm_round(first=True)
        costs = [self._calm_round(events=False), self._calm_round(events=False), self._calm_round()]
        found.per_connection = statistics.median(costs)
        found.known = {event for line in self.daemon.log.since() for event in _events(line)}

    def _calm_round(self, *, events: bool = True, first: bool = False) -> float:
        """A stream that opens, brings `events` or none, and is closed; what opening it cost."""
        found = self.measured
        before = self.daemon.held()
        position = self._go()
        self._await(state("streaming"), position, "connect")
        time.sleep(0.05)
        connected = self.daemon.held()
        if events:
            self.poster.several(MEASURED_EVENTS, gap=0.03)
            self._fetched()
            found.living = self.daemon.held()
            found.per_event = (found.living.cpu - connected.cpu) / MEASURED_EVENTS
        if first:
            mark, before_it = len(self.daemon.log), self.daemon.held()
            self.fault.move_the_same(self)
            found.bulk = self.daemon.held().cpu - before_it.cpu
            found.bulk_events = handled(self.daemon.log.since(mark))
        self._stop(position)
        found.idle = self.daemon.held()
        return connected.cpu - before.cpu

    def _test(self) -> None:
        found, setup = self.measured, self.setup
        early = setup.phase in self.fault.early and not self.expectation.stranger
        hold = HOLDS[setup.phase](self, early)
        hold.arrange()
        if early and setup.phase not in ("streaming", "mid-line", "backing-off", "reconnecting"):
            self.begun = len(self.daemon.log)
            self.inject()
        cpu, found.round_began = self.daemon.held().cpu, time.monotonic()
        self.begun = self._go()
        hold.reach()
        self.inject()
        self.poster.go()
        hold.release()
        if found.promise.survives:
            self._survive()
        else:
            self._notice()
        self.note(sockets_after=self._sockets())
        self.note(proof=self.fault.proof(self))
        found.struck = self.fault.struck(self)
        self.fault.lift(self)
        found.lifted = time.monotonic()
        self._mend(found.lifted)
        self.poster.pause()
        self.opening_has_woken()
        self._flows()
        found.flowed = time.monotonic()
        found.silence = self.fault.silence(self)  # Now: TCP may go on waiting for what was lost before.
        self.calm_events(3)
        found.stored = self.relay.stored()
        self._fetched()
        if self.fault.blinds and setup.consumer == "subscriber":  # The state file is to be seen mended.
            time.sleep(max(0.0, found.lifted + STATE_SECONDS - time.monotonic()))
        time.sleep(max(0.0, found.round_began + ROUND_SECONDS - time.monotonic()))
        found.wall = time.monotonic() - found.round_began
        found.cpu = self.daemon.held().cpu - cpu
        found.living_after = self._settled(found.living)
        self._stop(self.begun)
        found.idle_after = self._settled(found.idle)
        found.lines = self.daemon.log.since(self.begun)
        found.mark = self.mark - self.begun
        found.posts = self.poster.posts
        self.note(relay=self.relay.report())
        found.ended = self.daemon.close()

    def _sockets(self) -> dict[str, list[str]]:
        return {host.name: sockets(host) for host in (self.world.client, self.world.relay)}

    def _survive(self) -> None:
        until = time.monotonic() + (self.fault.lasts or MOMENT)
        self.note(sockets=self._sockets())
        limit = until + self.fault.patience
        while (now := time.monotonic()) < until or (now < limit and not self.fault.done(self)):
            time.sleep(0.02)

    def _notice(self) -> None:
        wait = self.measured.promise.within + LATE + self.settings.maximum
        self.note(sockets=self._sockets())
        ends = word("failed")
        if not self.daemon.ours:  # It need not say more than its states.
            ended, left = ends, state("backing-off", "resolving", "connecting", "closed")
            ends = (lambda line: ended(line) or left(line)) if self.setup.live else ended
        self.measured.noticed = self.daemon.log.wait(ends, wait, self.mark)
        if self.measured.noticed is not None:
            time.sleep(LINGER)

    def _mend(self, lifted: float) -> None:
        """Wait until the stream is back; how long that may take follows from what it was doing."""
        found = self.measured
        now_in, bound = self._mend_bound(lifted)
        found.mend_bound = bound
        if found.noticed is None and now_in == "streaming":
            return  # It never was away.
        position = self.mark
        if found.noticed is not None:
            position = self.daemon.log.since().index(found.noticed)
        found.back = self.daemon.log.wait(state("streaming"), bound + LATE, position)
        # Once more: what the daemon said just before the lifting may have been on its way to us then.
        found.mend_bound = self._mend_bound(lifted)[1]
        if found.back is None:
            raise Stuck("the stream did not come back", found)

    def _mend_bound(self, lifted: float) -> tuple[str, float]:
        """In which phase the stream was when the fault was lifted, and within how many seconds it must be back."""
        now_in, since, failures, pause = self._present(lifted)
        if now_in == "backing-off":
            return now_in, bounds.mended_within(now_in, 0.0, max(0.0, since + pause - lifted), self.settings)
        longest = bounds.longest_pause(failures, self.settings)
        return now_in, bounds.mended_within(now_in, lifted - since, longest, self.settings)

    def _present(self, moment: float) -> tuple[str, float, int, float]:
        """At `moment`: the phase, when its clock began, the attempts that failed in a row, the last pause ordered."""
        now_in, since, failures, pause = "idle", moment, 0, 0.0
        for line in self.daemon.log.since(self.begun):
            if line.at > moment:
                break
            if line.word == "failed":
                failures += 1
                pause = line.named("pause") or 0.0
            elif line.word == "state":
                if line.first == "streaming":
                    failures = 0
                # One clock runs from the name to the end of the handshake.
                if line.first not in ("connecting", "tunnel", "handshake") or now_in == "backing-off":
                    since = line.at
                now_in = line.first
        return now_in, since, failures, pause

    def _go(self) -> int:
        position = len(self.daemon.log)
        self.daemon.order("go")
        return position

    def _stop(self, position: int) -> None:
        if not self.daemon.ours:
            return
        self.daemon.order("stop")
        self._await(word("over"), position, "stop")
        self.daemon.ready(position)

    def _await(self, there: Any, position: int, what: str) -> Line:
        found = self.daemon.log.wait(there, 10.0, position)
        if found is None:
            raise LabError(f"the daemon did not {what}: {self.daemon.last_words()}")
        return found

    def said(self, event: str) -> bool:
        """Whether the daemon has said of an event that it fetched it or was handed it."""
        new = self.daemon.log.since(self._looked)
        self._looked += len(new)
        for line in new:
            self._said.update(_events(line))
        return event in self._said

    def _flows(self) -> None:
        """Wait until an event comes through: TCP may still be waiting to send again what was lost."""
        post = self.poster.one()
        position, until = self.begun, time.monotonic() + SETTLE
        while time.monotonic() < until:
            if self.said(post.event_id):
                return
            if not self.daemon.ours and self.daemon.log.wait(
                lambda line: line.word == "wake" and line.at >= post.began, 0.0, position
            ):
                return
            time.sleep(0.01)

    def _fetched(self) -> None:
        """Give the daemon time to fetch all that there is."""
        last = self.relay.stored()[-1:]
        until = time.monotonic() + SETTLE
        while last and not self.said(last[0]) and time.monotonic() < until:
            time.sleep(0.01)

    def _settled(self, before: Held | None) -> Held:
        """What is held once all that ends by itself has ended, or at the end of `SETTLE`."""
        until = time.monotonic() + SETTLE
        while True:
            now = self.daemon.held()
            if before is None or time.monotonic() > until:
                return now
            if now.threads <= before.threads and now.descriptors <= before.descriptors:
                return now
            time.sleep(0.02)


class Stuck(Exception):
    """The daemon did not come back. Not the lab's fault: `found` is what there is for the verdict."""

    def __init__(self, text: str, found: Measured) -> None:
        super().__init__(text)
        self.found = found


def asked(lines: list[Line]) -> int:
    """How many connections came as far as their request, which is after a whole handshake."""
    return sum(line.word == "state" and line.first == "head" for line in lines)


def handled(lines: list[Line]) -> int:
    """How often a daemon was woken, or handed an event."""
    return sum(line.word in ("wake", "event") for line in lines)


def _events(line: Line) -> list[str]:
    return line.words.split() if line.word in ("pulled", "event") else []


@contextlib.contextmanager
def recorded(world: World, path: str | None) -> Iterator[None]:
    """Packets of the middle host into a pcap file, by tcpdump, while this lasts."""
    if path is None:
        yield
        return

    with world.middle.entered():
        dump = subprocess.Popen(
            [program("tcpdump"), "-i", "any", "-U", "-w", path], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    assert dump.stderr is not None
    dump.stderr.readline()  # "listening on any …": from now on nothing is missed.
    try:
        yield
    finally:
        dump.terminate()
        dump.communicate()
