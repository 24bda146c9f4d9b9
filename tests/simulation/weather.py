"""Bad weather: every fault that makes sense in memory, at any time, one over the other.

A fault begins on one of the sides (or on the host), and most of them end: `begin` returns what ends it. How long it
lasts is drawn from moments to hours. In some lives a few faults are far more frequent, so that faults which aggravate
each other coincide. Faults of the network and of the machine are here, those of a relay's behaviour in
`faults_of_relays`, those of TLS and of proxies in `faults_of_tls`, those of wire's files in `faults_of_files`. Things
that cannot be simulated in memory are left out: processes, and packets themselves (reordering, duplication and
corruption end as delay, which is all that TCP lets through).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tests.simulation import faults_of_files as files
from tests.simulation import faults_of_machines as machines
from tests.simulation import faults_of_relays as relays
from tests.simulation import faults_of_tls as tls
from tests.simulation.faults_of_relays import End, Fault, over, with_id
from tests.simulation.kernel import ENOUGH
from tests.simulation.network import Connection
from wire_rawsse.transport.dial import ATTEMPT_DELAY

if TYPE_CHECKING:
    from tests.simulation.life import Life, Side
    from tests.simulation.names import Name
    from tests.simulation.paths import Path

# The network.


def blackhole(side: Side, dice: random.Random) -> End:
    """Packets dropped both ways, to the client only, or to the relay only."""
    directions = dice.choice([(0, 1), (0,), (1,)])
    for path in side.paths:
        for direction in directions:
            path.block(direction)

    def end() -> None:
        for path in side.paths:
            for direction in directions:
                path.unblock(direction)

    return end


def loss(side: Side, dice: random.Random) -> End:
    """1, 10 or 30 % of the packets lost, reordered or corrupted: all of these have the same effect on TCP."""
    return _while(side, "loss", dice.choice([0.01, 0.1, 0.3]), 0.0)


def jitter(side: Side, dice: random.Random) -> End:
    return _while(side, "jitter", dice.choice([0.2, 1.0]), 0.0)


def narrow(side: Side, dice: random.Random) -> End:
    """16 kbit/s."""
    return _while(side, "bandwidth", 2000.0, 0.0)


def _while(side: Side, what: str, value: float, usual: float) -> End:
    for path in side.paths:
        setattr(path, what, value)

    def end() -> None:
        for path in side.paths:
            setattr(path, what, usual)

    return end


def bursts(side: Side, dice: random.Random) -> End:
    """Everything is lost for a moment, and again a while later."""
    kernel, going_on = side.life.kernel, True

    def lose() -> None:
        if going_on:
            lift = blackhole(side, dice)
            seconds = dice.uniform(0.05, 3.0)
            kernel.after(seconds, lift)
            kernel.after(seconds + dice.uniform(1.0, 30.0), lose)

    def end() -> None:
        nonlocal going_on
        going_on = False

    lose()
    return end


def route_replaced(side: Side, dice: random.Random) -> End:
    """A way of another length from now on, after a moment without any."""
    for path in side.paths:
        path.latency = dice.choice(side.life.latencies)
        path.block(0)
        side.life.kernel.after(dice.uniform(0.0, 4.0), path.unblock, 0)
    return over


def mtu_blackhole(side: Side, dice: random.Random) -> End:
    for path in side.paths:
        path.mtu_hole += 1

    def end() -> None:
        for path in side.paths:
            path.mtu_hole -= 1
            path.resume()

    return end


def _swallowing(paths: Sequence[Path]) -> End:
    for path in paths:
        path.block(0)

    def end() -> None:
        for path in paths:
            path.unblock(0)

    return end


def one_family_dead(side: Side, dice: random.Random) -> End:
    """Some of the addresses swallow everything, the first one among them."""
    dead = side.paths[:: dice.choice([1, 2])][: max(1, len(side.paths) - 1)]
    return _swallowing(dead)


class DeadAfterTcp:
    """A listener that accepts connections and then does nothing useful."""

    def __init__(self, then: Callable[[Connection], object]) -> None:
        self._then = then

    def accepted(self, connection: Connection) -> None:
        self._then(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        pass

    def ended(self, connection: Connection) -> None:
        connection.finish()


def one_address_dead(side: Side, dice: random.Random) -> End:
    """The first of several addresses accepts TCP, and is silent, closes or resets."""
    first, *others = side.places
    if not others or isinstance(first.program, DeadAfterTcp):
        return over
    usual = first.program
    first.program = DeadAfterTcp(dice.choice([lambda connection: None, Connection.finish, Connection.reset]))

    def end() -> None:
        first.program = usual

    return end


def ipv6_blackholed(side: Side, dice: random.Random) -> End:
    return _swallowing(side.paths[1::2])


def syn_blackhole(side: Side, dice: random.Random) -> End:
    return _counted(side.places, "gone")


def refused(side: Side, dice: random.Random) -> End:
    return _counted(side.places, "refuses")


def _counted(things: Sequence[object], what: str) -> End:
    """One reason more for `what` in each of them: faults may overlap."""
    for one in things:
        setattr(one, what, getattr(one, what) + 1)

    def end() -> None:
        for one in things:
            setattr(one, what, getattr(one, what) - 1)

    return end


def link_down(side: Side, dice: random.Random) -> End:
    """Our own link: new connections fail at once, the others hang."""
    life = side.life
    life.scene.network.down += 1
    ends = [blackhole(other, random.Random(0)) for other in life.sides if life.setting.scheme != "unix"]

    def end() -> None:
        life.scene.network.down -= 1
        for one in ends:
            one()

    return end


def forgotten_by_nat(side: Side, dice: random.Random) -> End:
    """Our address has changed, or a NAT has lost its table: nothing comes any more, or a reset for what is sent."""
    answers = dice.random() < 0.5
    for visit in list(side.relay.visits.values()):
        visit.connection.down.cut = True
        visit.connection.forgotten = answers
        visit.over = True
        side.relay.visits.pop(visit.connection)
    return over


# Names.


def silent_names(side: Side, dice: random.Random) -> End:
    return _counted(_names(side), "silent")


def unknown_name(side: Side, dice: random.Random) -> End:
    return _counted(_names(side), "unknown")


def _names(side: Side) -> list[Name]:
    return [side.life.scene.names.known[name] for name in side.names]


def slow_names(side: Side, dice: random.Random) -> End:
    """Up to twice as slow as a connection may be, or so that next to nothing is left for the rest of it."""
    names = _names(side)
    connect = side.life.setting.timeouts.connect
    seconds = connect * dice.uniform(0.05, 2.0) if dice.random() < 0.5 else connect - dice.uniform(0.0, 0.3)
    for name in names:
        name.delay = seconds

    def end() -> None:
        for name in names:
            name.delay = 0.02

    return end


def wrong_names(side: Side, dice: random.Random) -> End:
    """Addresses where nobody is: two, or more than there is time to try; at times the right ones stand behind them."""
    names = _names(side)
    count = dice.choice([2, 6, int(side.life.setting.timeouts.connect / ATTEMPT_DELAY) + 20])
    right = side.hosts if dice.random() < 0.3 else []
    for name in names:
        name.wrong = [f"2001:db8:ffff::{one}" if one % 2 else f"198.51.100.{one}" for one in range(count)] + right

    def end() -> None:
        for name in names:
            name.wrong = []

    return end


# The machine, and whose daemon it is.


def no_descriptors(side: Side, dice: random.Random) -> End:
    kernel = side.life.kernel
    kernel.most_descriptors = len(kernel.descriptors) + dice.choice([-1, 0, 1])

    def end() -> None:
        kernel.most_descriptors = ENOUGH
        if side.life.wires is not None:
            side.life.wires.mended()

    return end


def no_room_to_watch(side: Side, dice: random.Random) -> End:
    kernel = side.life.kernel
    kernel.most_watched = 1

    def end() -> None:
        kernel.most_watched = 1 << 16

    return end


def no_threads(side: Side, dice: random.Random) -> End:
    names = side.life.scene.names
    names.no_threads += 1

    def end() -> None:
        names.no_threads -= 1

    return end


def wall_clock_set(side: Side, dice: random.Random) -> End:
    """By an hour, a day or years, forward or back."""
    side.life.kernel.wall_ahead += dice.choice([-1, 1]) * dice.choice([3600.0, 86400.0, 3e8])
    return over


def stopped(side: Side, dice: random.Random) -> End:
    """The whole process, past its deadlines."""
    kernel = side.life.kernel
    if kernel.sleeping and not kernel.stopped:
        kernel.stop(dice.choice([0.5, 20.0, 100.0, 4000.0]))
    return over


def late(side: Side, dice: random.Random) -> End:
    """The host is busy for a while, or for an hour."""
    side.life.host.absent += dice.choice([0.5, 20.0, 100.0, 4000.0])
    return over


def restarted(side: Side, dice: random.Random) -> End:
    """`restart()`, from another thread, or by the host as soon as it has been woken; twice, at times."""
    for _ in range(dice.choice([1, 1, 2])):
        if dice.random() < 0.5:
            side.restart()
        else:
            side.life.host.errands.append(side.restart)
    return over


def impatient(side: Side, dice: random.Random) -> End:
    """`restart()` again and again, as if that helped."""
    going_on = True

    def again() -> None:
        if going_on:
            restarted(side, dice)
            side.life.kernel.after(dice.uniform(0.2, 3.0), again)

    again()

    def end() -> None:
        nonlocal going_on
        going_on = False

    return end


def struck(side: Side, dice: random.Random) -> End:
    side.life.strike()
    return over


NETWORK: Final[list[Fault]] = [
    Fault(blackhole, 6),
    Fault(loss, 2),
    Fault(bursts, 1),
    Fault(jitter, 2),
    Fault(route_replaced, 1),
    Fault(narrow, 1),
    Fault(mtu_blackhole, 1),
    Fault(one_family_dead, 2, anew=True),
    Fault(ipv6_blackholed, 1, anew=True),
    Fault(one_address_dead, 2, anew=True),
    Fault(syn_blackhole, 2, anew=True),
    Fault(refused, 2, anew=True),
    Fault(link_down, 2),
    Fault(forgotten_by_nat, 3, each=True),
    Fault(silent_names, 2, anew=True),
    Fault(unknown_name, 1, anew=True),
    Fault(slow_names, 2, anew=True),
    Fault(wrong_names, 2, anew=True),
]
MACHINE: Final[list[Fault]] = [
    Fault(no_descriptors, 1),
    Fault(no_room_to_watch, 1),
    Fault(no_threads, 1, anew=True),
    Fault(wall_clock_set, 1),
    Fault(stopped, 2),
    Fault(late, 3),
    Fault(restarted, 3),
    Fault(impatient, 1, longest=60.0),
    Fault(struck, 1),
]
ALL: Final[list[Fault]] = [*NETWORK, *MACHINE, *machines.ALL, *relays.ALL, *tls.ALL]
EVERY: Final = [*ALL, *files.ALL]

SEASONS: Final[dict[str, set[str]]] = {
    "none": set(),
    "the way to a stream": {
        *("slow names", "wrong names", "silent names", "one family dead", "syn blackhole", "handshake trouble"),
        *("one address dead", "proxy trouble", "head drips", "other answers"),
    },
    "what a stream carries": {
        *("halting", "line drips", "chunk extension drips", "storm", "large event", "tickets", "key update"),
        *("control records", "full records", "narrow", "jitter", "restarted", "cut in an event"),
    },
    "the host": {
        *("late", "stopped", "restarted", "impatient", "struck", "line drips", "head drips", "handshake trouble"),
    },
    "the network of the host": {*("suspended", "address lost", "routes change", "announcements", "link down")},
    "outages": {"refused", "killed", "unknown name", "link down", "blackhole", "hangs", "impatient"},
    "files": {"rotated again and again", "unnamed", "struck in a file", "relay json unreadable", "killed", "hangs"},
}
"""Which faults come `_MORE_OFTEN`."""
_MORE_OFTEN: Final = 8


def set_in(life: Life, until: float) -> None:
    """Faults from now on until then, all of them over by then."""
    _next(life, until)


def _next(life: Life, until: float) -> None:
    """One fault, or a storm of them, after a while."""
    dice, kernel = life.dice, life.kernel
    gap = dice.expovariate(1 / life.setting.fault_every)
    if dice.random() < 0.1:
        for _ in range(dice.randint(2, 12)):
            kernel.after(gap + dice.uniform(0, 120), _begin, life, until)
    else:
        kernel.after(gap, _begin, life, until)
    if kernel.now + gap < until:
        kernel.after(gap, _next, life, until)


def _begin(life: Life, until: float) -> None:
    dice, kernel = life.dice, life.kernel
    if kernel.now >= until:
        return
    side = dice.choice(life.sides)
    kinds = ALL if life.wires is None or dice.random() < 0.7 else files.ALL
    season = SEASONS[life.setting.season]
    fault = dice.choices(kinds, [one.weight * (_MORE_OFTEN if one.name in season else 1) for one in kinds])[0]
    lasts = fault.lasts(dice, life.setting.long_spells)
    seconds = min(lasts * life.setting.timeouts.read / 75, until - kernel.now)
    life.weather_changed(+1)
    life.faults += 1
    life.kinds[fault.name] = life.kinds.get(fault.name, 0) + 1
    kernel.tell("weather: %s on %s for %.3f s", fault.name, side.name, seconds)
    end = over
    try:
        end = fault.begin(side, dice)
        if fault.anew and dice.random() < 0.5:
            relays.reset(side, dice)
    finally:  # It may be one that raises.
        kernel.after(0.0 if end is over else seconds, _end, life, fault, end)


def _end(life: Life, fault: Fault, end: End) -> None:
    life.kernel.tell("weather: %s is over", fault.name)
    end()
    life.weather_changed(-1)


__all__ = ["ALL", "set_in", "with_id"]
