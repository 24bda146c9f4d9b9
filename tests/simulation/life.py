"""One stretch of simulated time: a machine, some relays, a daemon, and the weather, all drawn from a seed.

Years are made of lives, a few days each: so a violation is replayed in a second, and "nothing is left at the end" is
tested fifty times a year. Half of the lives have the default settings; the others stretch the clocks or squeeze them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final
from unittest import mock

from tests.simulation import habits, weather
from tests.simulation.answers import Proxy, well
from tests.simulation.changes import check_turns
from tests.simulation.host import Inline, Looks, Select, Struck, Thread
from tests.simulation.kernel import Kernel
from tests.simulation.network import Place
from tests.simulation.paths import Path
from tests.simulation.relay import CHUNKED, CLOSE, LENGTH, Relay, compose
from tests.simulation.scene import Scene, Watched
from tests.simulation.setting import Setting, draw
from tests.simulation.tls import Endpoint, MemoryContext
from tests.simulation.wakes import Wakes
from tests.simulation.watch import Watch
from tests.simulation.wires import Wires
from wire_rawsse.errors import ClosedError
from wire_rawsse.event_source import EventSink, Opened
from wire_rawsse.hosts.clock import MAX_GRACES
from wire_rawsse.hosts.notice import Notice
from wire_rawsse.protocol.events import Event
from wire_rawsse.reconnect import Restart
from wire_rawsse.record import Record
from wire_rawsse.sink import OwnedSink
from wire_rawsse.wake_streams import WakeSink
from wire_rawsse.wire import paths

DAY = 86400.0
EVENT = re.compile(r'\{"event_id": (\d+)(?:, "body": "x+")?\}')
PATIENCE = 300.0
"""Seconds after which a program that uses an `EventSource` makes another when one has ended for good."""
MOST_LOOKS: Final = MAX_GRACES + 10
"""So often a host that only looks in does so in fair weather, as somebody counts how often it comes late."""
MOST_IDLE: Final = 300
"""Minutes of fair weather in which nothing that was posted is handled, and something is still amiss."""
HOSTS: dict[str, type[Inline]] = {"inline": Inline, "select": Select, "looks": Looks, "thread": Thread}


class Side:
    """One stream and what is at the other end of it."""

    def __init__(self, life: Life, number: int) -> None:
        setting, scene = life.setting, life.scene
        self.life: Life = life
        life.numbers[self] = number
        self.name: str = f"stream {number}" if setting.streams > 1 else "stream"
        tls = setting.scheme.startswith("https")
        self.framing: int = life.dice.choice([CHUNKED, CHUNKED, CLOSE, LENGTH])
        self.answer = well(self.framing)
        self.relay = Relay(scene.kernel, self.answer, heartbeat=setting.heartbeat, tls=tls)
        self.endpoint = Endpoint(self.relay) if tls else None
        self.relay.gate.program = self.endpoint or self.relay
        self.relay.habit = habits.ALL[setting.habit]
        self.relay.replays = setting.sink == "replayed events"
        self.compose = self.relay.compose = weather.with_id if self.relay.replays or setting.ids else compose
        self.proxy = Proxy(self.relay.gate) if setting.scheme == "https by proxy" else None
        self.url: str = ""
        self.base: str = ""
        """The `relay_url` of relay.json."""
        self.named = True
        """relay.json has it."""
        self.slots = 0
        """How many slots it has had."""
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
            self.base = f"unix://{path}"
            self.url = f"{self.base}?path=/v1/stream"
        else:
            for one in self.hosts:
                self._listen((one, port))
            self.base = f"{'https' if tls else 'http'}://{host if addresses or proxied else self.hosts[0]}"
            self.url = f"{self.base}/v1/stream"
        proxy = f"proxy-{number}.test" if addresses else self.hosts[0]
        self.environ = {"ALL_PROXY": f"http://{proxy}:3128"} if proxied else {}
        self.names = [] if not addresses or setting.scheme == "unix" else [proxy if proxied else host]
        for name in self.names:
            scene.name(name, *self.hosts, delay=0.02)
        self.context = MemoryContext() if tls else None
        self.items = 0
        """How many the consumer of an `EventSource` has had."""
        self.last_seen = 0
        self.gap_told = True
        self.last_id = ""
        self.again_at = 0.0
        self.watch = Watch(scene, self.relay, self.name, self.names)
        self.sink: OwnedSink | None = None
        self.stream: Watched
        if setting.sink == "wire":
            self.rotate()  # It will be joined by the follower.
        else:
            self._subscribe()
        for place in [*scene.network.places]:
            if scene.network.places[place] in self.places:
                scene.network.owners[place] = self.watch

    def _listen(self, place: tuple[str, int] | str) -> None:
        path = Path(self.life.kernel, self.life.dice.choice(self.life.latencies))
        self.paths.append(path)
        program = self.proxy or self.relay.gate
        self.life.scene.network.places[place] = made = Place(path, program)
        self.places.append(made)

    @property
    def slot(self) -> bytes:
        return b"slot-%d-%d" % (self.life.numbers[self], self.slots)

    @property
    def token(self) -> bytes:
        return b"token-%d-%d" % (self.life.numbers[self], self.slots)

    @property
    def stream_slot(self) -> bytes:
        """The one that its present stream asks for."""
        return self.stream.plan.url.target.split("/")[3].encode()

    def rotate(self) -> None:
        """Another slot, another token. relay.json has yet to say so."""
        self.slots += 1
        self.relay.slot = self.slot, self.token

    def _subscribe(self) -> None:
        setting = self.life.setting
        self.sink = sink = WakeSink() if setting.sink == "wakes" else EventSink(self.last_id, 1 << 20)
        self.stream = self.life.scene.stream(
            self.url,
            sink,
            persistent=setting.sink == "wakes",
            environ=self.environ,
            timeouts=setting.timeouts,
            backoff=setting.backoff,
            tls=self.context,
        )
        self.watch.follow(self.stream)

    def news(self) -> int:
        """How much there was so far that is worth a wake: for an `EventSource` its items, otherwise what the watch
        knows.
        """
        return self.items if isinstance(self.sink, EventSink) else self.watch.news

    def restart(self) -> None:
        """`restart()`, or what a subscriber's does to each of its streams.

        A stream that has not begun needs no new beginning: its first connection waits until its pace allows it.
        """
        if not self.watch.absent:
            if self.stream.task.started:
                self.watch.restarted()
            self.life.loop.interrupt(self.stream.task, Restart())

    def consume(self) -> None:
        """The work of an `EventSource`'s consumer between two sleeps."""
        sink = self.sink
        if not isinstance(sink, EventSink):
            return
        kernel = self.life.kernel
        while sink.items:
            item = sink.items.popleft()
            self.items += 1
            if isinstance(item, Opened):
                self.watch.saw(0)
                self.gap_told = True
            elif isinstance(item, Event):
                found = EVENT.fullmatch(item.data)
                if found is None:
                    kernel.fail(f"{self.name}: an event that nobody posted: {item.data!r}")
                number = int(found[1])
                if number <= self.last_seen and not self.life.setting.ids and number <= self.watch.repeatable:
                    continue  # It came on both connections of a renewal.
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
            kernel.tell("%s: subscribes again", self.name)
            self._subscribe()


class Life:
    """`number` of the lives of `seed`."""

    def __init__(
        self,
        seed: str,
        number: int,
        listener: Callable[[str], None] | None = None,
        setting: Setting | None = None,
    ) -> None:
        self.seed = f"{seed}/{number}"
        self.setting: Setting = setting or draw(self.seed)
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
        if setting.torn:
            self.scene.network.gives = 1500
        self.kernel.listener = listener
        self.loop = self.scene.loop
        self.scene.machine.has_timer = setting.has_timer
        self.notice = Notice(self.loop, setting.watch)
        self.closing = self._watches = False
        self.handled: dict[Side, int] = {}
        # Connecting within 2 s does not leave 0.3 s for each way of each step.
        self.latencies = (0.0005, 0.01, 0.08, 0.3 if setting.timeouts.connect > 2 else 0.02)
        self.active = 0
        """Faults at present."""
        self.faults = 0
        self.kinds: dict[str, int] = {}
        """How often there was which."""
        self.kernel.tell("a life of %.2f days: %s", setting.days, setting)
        self.numbers: dict[Side, int] = {}
        self.wires = Wires(self) if setting.sink == "wire" else None
        self.sides: list[Side] = []
        for number in range(setting.streams):
            self.sides.append(Side(self, number))
        if self.wires is not None:
            self.wires.begin(self.sides[0].context)
        self._records: dict[Side, Record] = {}
        self._spurious_before = 0
        """The final count of the records before those. A life has thousands of them."""
        self.wakes = Wakes(self.kernel, [side.news for side in self.sides], self._spurious)
        self.host = HOSTS[setting.host](self, setting.interval, setting.work)
        if isinstance(self.host, Looks):
            self.host.twice = setting.twice
        self.checks = [*(side.watch.check for side in self.sides), *([self.wires.check] if self.wires else [])]
        self.kernel.before_sleep = [
            self.scene.check_deadlines,
            *self.checks,
            self._check_threads,
            self._check_machine,
            self.wakes.before_sleep,
        ]

    def _spurious(self) -> int:
        """How many wakes were given for a record of TLS without news, on all streams so far."""
        for side in self.sides:
            if not side.watch.absent and self._records.get(side) is not side.watch.record:
                self._spurious_before += _admitted(self._records.get(side))
                self._records[side] = side.watch.record
        return self._spurious_before + sum(map(_admitted, self._records.values()))

    # The host's employer.

    def woken(self) -> None:
        self.wakes.given()
        if self.setting.sink in ("wakes", "wire"):
            for side in self.sides:
                side.watch.woken()

    def pulled(self) -> None:
        for side in self.sides:
            self.handled[side] = side.relay.posted

    def turn(self) -> None:
        for side in self.sides:
            side.consume()
        begun = bool(self.kernel.pollers)  # There was a descriptor for it.
        if self.setting.host == "looks" and begun and self.loop.deadline() > self.kernel.now:
            for check in self.checks:
                check(sleeps=False)

    # The world.

    def run(self) -> None:
        """Live it to the end. Raises `Violation`."""
        with mock.patch.object(paths, "_home_of_user", lambda: None):  # It has what its environment says, or none.
            self._run()

    def _run(self) -> None:
        kernel = self.kernel
        until = kernel.now + self.setting.days * DAY
        for side in self.sides:
            self._post(side, until)
        weather.set_in(self, until)
        self.host.run(until)
        kernel.tell("the weather is over")
        for side in self.sides:
            side.relay.habit = side.relay.habit.afterwards
        looks = MOST_LOOKS * self.setting.interval if self.setting.host == "looks" else 0.0
        self.host.run(kernel.now + 2 * self.setting.timeouts.read + 60 + looks)
        idle, handled = 0, -1
        while self.active or not all(map(self._settled, self.sides)):
            if idle == MOST_IDLE:
                self._tell_what_is_missing()
            self.host.run(kernel.now + 60)
            before, handled = handled, sum(map(self._handled, self.sides))
            idle = idle + 1 if handled == before else 0
        self.close()

    @property
    def seconds(self) -> float:
        return self.kernel.now - self.kernel.start

    def weather_changed(self, change: int) -> None:
        self.active += change
        for side in self.sides:
            side.watch.fair_since = None if self.active else self.kernel.now

    def _check_machine(self) -> None:
        """Nothing here ends the watch: an error in it does, and would be a line of the log."""
        check_turns(side.watch for side in self.sides)
        self._watches |= bool(self.scene.machine.sockets)
        if self._watches and not (self.scene.machine.sockets or self.closing):
            self.kernel.fail("the machine is not watched any more")

    def _check_threads(self) -> None:
        if self.kernel.threads > len(self.sides):
            self.kernel.fail(f"{self.kernel.threads} threads look names up for {len(self.sides)} streams")

    def _settled(self, side: Side) -> bool:
        """Connected, and for so long that it must be true; everything that was posted has been handled."""
        lived = self.kernel.now - side.watch.since
        if side.watch.absent:
            return False
        connected = side.watch.record.phase == "streaming" and lived > 2 * self.setting.timeouts.read
        return connected and self._handled(side) == side.relay.posted

    def _handled(self, side: Side) -> int:
        if self.setting.sink == "events":
            return side.relay.posted  # Without replay only the report of the gap is promised.
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

    def close(self) -> None:
        """The end, and nothing may be left of it."""
        kernel = self.kernel
        self.closing = True
        for side in self.sides:
            side.watch.closing = True
        self.loop.close()
        if not isinstance(self.host, Select):  # It has our descriptor, which stays open until its next look.
            self._check_nothing_held()
        try:
            self.loop.run(0)
            kernel.fail("a loop that is closed runs")
        except ClosedError:
            pass
        if self.wires is not None:
            self.wires.closed()
        self._check_nothing_held()
        for side in self.sides:
            begun = not side.watch.absent and side.stream.task.started
            if begun and side.watch.record.phase != "closed":
                kernel.fail(f"{side.name}: closed, and says {side.watch.record.phase}")
        kernel.run_until(kernel.now + 120)
        if kernel.threads:
            kernel.fail(f"left behind: {kernel.threads} threads that look a name up")

    def _check_nothing_held(self) -> None:
        held = list(self.kernel.descriptors.values())
        if held or self.kernel.pollers:
            self.kernel.fail(f"left behind: {held or self.kernel.pollers}")

    def strike(self) -> None:
        """A signal, if the host sleeps: its handler raises."""
        if self.kernel.sleeping and not self.kernel.stopped:
            self.struck()

    def struck(self) -> None:
        """A signal handler of the host's raises, here and now."""
        for side in self.sides:
            side.watch.interrupt()
        raise Struck


def _admitted(record: Record | None) -> int:
    """How many wakes it gave for records of TLS without news."""
    return 0 if record is None or record.early_wakes is None else record.early_wakes.spurious
