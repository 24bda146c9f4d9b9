"""One stretch of simulated time: a machine, some relays, a daemon, and the weather, all drawn from a seed.

Years are made of lives, a few days each: so a violation is replayed in a second, and "nothing is left at the end" is
tested fifty times a year. Half of the lives have the default settings; the others stretch the clocks or squeeze them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation import weather
from tests.simulation.answers import Proxy, well
from tests.simulation.host import Inline, Looks, Select, Struck, Thread
from tests.simulation.kernel import Kernel
from tests.simulation.network import Place
from tests.simulation.paths import Path
from tests.simulation.relay import CHUNKED, CLOSE, LENGTH, Relay, compose
from tests.simulation.scene import Scene, Stream
from tests.simulation.tls import Endpoint, MemoryContext
from tests.simulation.watch import Watch
from wire_rawsse.errors import ClosedError
from wire_rawsse.policy import Timeouts
from wire_rawsse.protocol.sse import Event
from wire_rawsse.source import EventSink, Opened
from wire_rawsse.streams import WakeSink

DAY = 86400.0
EVENT = re.compile(r'\{"event_id": (\d+)\}')
PATIENCE = 300.0
"""Seconds after which a program that uses an `EventSource` makes another when one has ended for good."""
HOSTS: dict[str, type[Inline]] = {"inline": Inline, "select": Select, "looks": Looks, "thread": Thread}


@dataclass(frozen=True)
class Setting:
    """What one life is like."""

    days: float
    host: str
    interval: float
    work: float
    streams: int
    scheme: str
    addresses: int
    sink: str
    timeouts: Timeouts
    heartbeat: float
    post_every: float
    fault_every: float
    tick: float


def draw(seed: str) -> Setting:
    dice = random.Random(f"{seed}/setting")
    pace = dice.choices(["default", "long", "short"], [6, 3, 1])[0]
    timeouts, heartbeat, days = {
        "default": (Timeouts(), 30.0, dice.uniform(4, 9)),
        "long": (Timeouts(connect=30, response=60, read=300), 120.0, dice.uniform(12, 24)),
        "short": (Timeouts(connect=2, response=3, read=10), 4.0, dice.uniform(0.2, 0.6)),
    }[pace]
    streams = dice.choices([1, 2, 3, 20], [12, 3, 2, 1])[0]
    host = dice.choices(["inline", "select", "thread", "looks"], [5, 3, 3, 2])[0]
    interval = (
        dice.choices([5.0, 300.0, 3600.0], [1, 2, 2])[0] if host != "looks" else dice.choice([0.5, 1.5, 5.0, 20.0])
    )
    return Setting(
        days=days / (streams if host != "looks" else streams * 3 / interval + 1) / (3 if interval == 5.0 else 1),
        host=host,
        interval=interval,
        work=dice.choice([0.0, 0.05, 3.0]),
        streams=streams,
        scheme=dice.choices(["http", "https", "unix", "http by proxy", "https by proxy"], [4, 6, 1, 1, 3])[0],
        addresses=dice.choices([0, 1, 2, 4], [1, 4, 3, 1])[0],
        sink=dice.choices(["wakes", "events", "replayed events"], [4, 1, 2])[0],
        timeouts=timeouts,
        heartbeat=heartbeat,
        post_every=dice.choices([20.0, 300.0, 3600.0], [1, 2, 2])[0] * (timeouts.read / 75),
        fault_every=dice.choices([900.0, 3600.0, 14400.0], [1, 2, 2])[0] * (timeouts.read / 75),
        tick=dice.choice([0.0, 1e-6, 2e-5]),
    )


class Side:
    """One stream and what is at the other end of it."""

    def __init__(self, life: Life, number: int) -> None:
        setting, scene = life.setting, life.scene
        self.life: Life = life
        self.name: str = f"stream {number}" if setting.streams > 1 else "stream"
        tls = setting.scheme.startswith("https")
        self.framing: int = life.dice.choice([CHUNKED, CHUNKED, CLOSE, LENGTH])
        self.answer = well(self.framing)
        self.relay = Relay(scene.kernel, self.answer, heartbeat=setting.heartbeat, tls=tls)
        self.endpoint = Endpoint(self.relay) if tls else None
        self.relay.gate.program = self.endpoint or self.relay
        self.relay.replays = setting.sink == "replayed events"
        self.compose = self.relay.compose = weather.with_id if self.relay.replays else compose
        self.proxy = Proxy(self.relay.gate) if setting.scheme == "https by proxy" else None
        self.url: str = ""
        host, path = f"relay-{number}.test", f"/run/relay-{number}.sock"
        proxied = setting.scheme.endswith("by proxy")
        port = 3128 if proxied else 443 if tls else 80
        numbers = range(setting.addresses)
        addresses = [f"2001:db8:{number}::{one}" if one % 2 else f"192.0.{number}.{one}" for one in numbers]
        self.hosts = addresses or [f"192.0.{number}.200"]
        self.paths: list[Path] = []
        self.places: list[Place] = []
        if setting.scheme == "unix":
            self._listen(path)
            self.url = f"unix://{path}?path=/v1/stream"
        else:
            for one in self.hosts:
                self._listen((one, port))
            self.url = f"{'https' if tls else 'http'}://{host if addresses or proxied else self.hosts[0]}/v1/stream"
        proxy = f"proxy-{number}.test" if addresses else self.hosts[0]
        self.environ = {"ALL_PROXY": f"http://{proxy}:3128"} if proxied else {}
        self.names = [] if not addresses or setting.scheme == "unix" else [proxy if proxied else host]
        for name in self.names:
            scene.name(name, *self.hosts, delay=0.02)
        self.context = MemoryContext(lambda: life.dice.random() < 0.5) if tls else None
        self.last_seen = 0
        self.gap_told = True
        self.last_id = ""
        self.again_at = 0.0
        self.stream = self._subscribe()
        self.watch = Watch(self.stream, self.relay, self.name)
        for place in [*scene.network.places]:
            if scene.network.places[place] in self.places:
                scene.network.owners[place] = self.watch

    def _listen(self, place: tuple[str, int] | str) -> None:
        path = Path(self.life.kernel, self.life.dice.choice(self.life.latencies))
        self.paths.append(path)
        program = self.proxy or self.relay.gate
        self.life.scene.network.places[place] = made = Place(path, program)
        self.places.append(made)

    def _subscribe(self) -> Stream:
        setting = self.life.setting
        self.sink = WakeSink() if setting.sink == "wakes" else EventSink(self.last_id, 1 << 20)
        return self.life.scene.stream(
            self.url,
            self.sink,
            persistent=setting.sink == "wakes",
            environ=self.environ,
            timeouts=setting.timeouts,
            tls=self.context,
        )

    def consume(self) -> None:
        """What the consumer of an `EventSource` does between two sleeps."""
        sink = self.sink
        if not isinstance(sink, EventSink):
            return
        kernel = self.life.kernel
        while sink.items:
            item = sink.items.popleft()
            if isinstance(item, Opened):
                self.watch.saw(0)
                self.gap_told = True
            elif isinstance(item, Event):
                found = EVENT.fullmatch(item.data)
                if found is None:
                    kernel.fail(f"{self.name}: an event that nobody posted: {item.data!r}")
                number = int(found[1])
                if number <= self.last_seen:
                    kernel.fail(f"{self.name}: event {number} came twice")
                if number != self.last_seen + 1 and (self.relay.replays or not self.gap_told):
                    kernel.fail(f"{self.name}: event {number} follows {self.last_seen}, and nothing told of a gap")
                self.last_seen, self.gap_told = number, False
                self.watch.saw(number)
        self.last_id = sink.last_event_id
        if sink.ended is None or self.life.closing:
            return
        if not self.watch.over:
            kernel.tell("%s: ended for good", self.name)
            self.watch.over = True
            self.again_at = kernel.now + PATIENCE
        elif kernel.now >= self.again_at:
            kernel.tell("%s: subscribes anew", self.name)
            self.stream = self._subscribe()
            self.watch.follow(self.stream)


class Life:
    """`number` of the lives of `seed`."""

    def __init__(self, seed: str, number: int, listener: Callable[[str], None] | None = None) -> None:
        self.seed = f"{seed}/{number}"
        self.setting: Setting = draw(self.seed)
        setting = self.setting
        self.dice = random.Random(f"{self.seed}/life")
        self.scene = Scene(
            self.seed,
            start=self.dice.choice([0.5, 1000.0, 1e6, 9e7]),
            wall=self.dice.choice([0.0, 1.8e9]),
            granularity=self.dice.choice([0.001, 1e-9]),
            tick=setting.tick,
        )
        self.kernel: Kernel = self.scene.kernel
        self.kernel.listener = listener
        self.loop = self.scene.loop
        self.closing = False
        self.handled: dict[Side, int] = {}
        # What connects within 2 s has no 0.3 s for each way of each step.
        self.latencies = (0.0005, 0.01, 0.08, 0.3 if setting.timeouts.connect > 2 else 0.02)
        self.active = 0
        """Faults at present."""
        self.faults = 0
        self.kinds: dict[str, int] = {}
        """How often there was which."""
        self.kernel.tell("a life of %.2f days: %s", setting.days, setting)
        self.sides = [Side(self, number) for number in range(setting.streams)]
        self.host = HOSTS[setting.host](self, setting.interval, setting.work)
        self.kernel.before_sleep = [*(side.watch.check for side in self.sides), self._check_threads]

    # The host's employer.

    def woken(self) -> None:
        if self.setting.sink == "wakes":
            for side in self.sides:
                side.watch.woken()

    def pulled(self) -> None:
        for side in self.sides:
            self.handled[side] = side.relay.posted

    def turn(self) -> None:
        for side in self.sides:
            side.consume()
        if self.setting.host == "looks" and self.loop.deadline() > self.kernel.now:
            for side in self.sides:
                side.watch.check(sleeps=False)

    # The world.

    def run(self) -> None:
        """Live it to the end. Raises `Violation`."""
        kernel = self.kernel
        until = kernel.now + self.setting.days * DAY
        for side in self.sides:
            self._post(side, until)
        weather.set_in(self, until)
        self.host.run(until)
        kernel.tell("the weather is over")
        self.host.run(kernel.now + 2 * self.setting.timeouts.read + 60)
        for _ in range(300):
            if self.active == 0 and all(self._settled(side) for side in self.sides):
                break
            self.host.run(kernel.now + 60)
        else:
            self._tell_what_is_missing()
        self._close()

    @property
    def seconds(self) -> float:
        return self.kernel.now - self.kernel.start

    def weather_changed(self, change: int) -> None:
        self.active += change
        for side in self.sides:
            side.watch.fair_since = None if self.active else self.kernel.now

    def _check_threads(self) -> None:
        if self.kernel.threads > len(self.sides):
            self.kernel.fail(f"{self.kernel.threads} threads look names up for {len(self.sides)} streams")

    def _settled(self, side: Side) -> bool:
        """Connected, and for so long that it must be true; everything that was posted has been handled."""
        lived = self.kernel.now - side.watch.since
        connected = side.watch.record.phase == "streaming" and lived > 2 * self.setting.timeouts.read
        return connected and self._handled(side) == side.relay.posted

    def _handled(self, side: Side) -> int:
        if self.setting.sink == "events":
            return side.relay.posted  # What is not replayed is not promised; that a gap is told is.
        return side.last_seen if side.relay.replays else self.handled.get(side, 0)

    def _post(self, side: Side, until: float) -> None:
        if self.kernel.now < until:
            if not side.relay.dead:
                side.relay.post()
            self.kernel.after(self.dice.expovariate(1 / self.setting.post_every), self._post, side, until)

    def _tell_what_is_missing(self) -> None:
        for side in self.sides:
            if self._handled(side) != side.relay.posted:
                self.kernel.fail(f"{side.name}: {side.relay.posted} events were posted, {self._handled(side)} handled")
        self.kernel.fail("five hours of fair weather, and not all streams are connected")

    def _close(self) -> None:
        kernel = self.kernel
        self.closing = True
        for side in self.sides:
            side.watch.closing = True
        self.loop.close()
        try:
            self.loop.run(0)
            kernel.fail("a loop that is closed runs")
        except ClosedError:
            pass
        held = list(kernel.descriptors.values())
        if held or kernel.pollers:
            kernel.fail(f"left behind: {held or kernel.pollers}")
        for side in self.sides:
            if side.watch.record.phase != "closed":
                kernel.fail(f"{side.name}: closed, and says {side.watch.record.phase}")
        kernel.run_until(kernel.now + 120)
        if kernel.threads:
            kernel.fail(f"left behind: {kernel.threads} threads that look a name up")

    def strike(self) -> None:
        """A signal, if the host sleeps: its handler raises."""
        if self.kernel.sleeping and not self.kernel.stopped:
            for side in self.sides:
                side.watch.interrupt()
            raise Struck
