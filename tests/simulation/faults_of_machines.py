"""The machine under a daemon and the messages of its kernel: addresses, routes, links, suspends. See `machine`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.simulation.faults_of_relays import End, Fault, over
from tests.simulation.machine import FIRST, V4, V6

if TYPE_CHECKING:
    from tests.simulation.life import Life, Side

_OTHER: Final = {V4: "198.51.100.2", V6: "2001:db8:2::1"}


def _tell(life: Life) -> None:
    """A change of the network or a suspend: it may end pauses."""
    for side in life.sides:
        side.watch.network_changed()


def suspended(side: Side, dice: random.Random) -> End:
    """For moments, which nobody notices, or for hours."""
    _tell(side.life)
    side.life.scene.machine.suspend(dice.choice([1.0, 4.9, 60.0, 30_000.0]))
    return over


def address_lost(side: Side, dice: random.Random) -> End:
    """The address of all connections of a family is replaced by another, and comes back in the end."""
    machine, family = side.life.scene.machine, dice.choice([V4, V6])
    if _OTHER[family] in machine.addresses[family]:
        return over
    _tell(side.life)
    machine.add(family, _OTHER[family])
    machine.remove(FIRST[family])

    def end() -> None:
        _tell(side.life)
        machine.add(family, FIRST[family])
        machine.remove(_OTHER[family])

    return end


def routes_change(side: Side, dice: random.Random) -> End:
    """New connections leave from elsewhere, again and again, as with a VPN that flaps."""
    life, going_on = side.life, True
    machine, family = life.scene.machine, dice.choice([V4, V6])

    def flap(there: bool) -> None:
        if going_on:
            _tell(life)
            other, first = f"{_OTHER[family]}0", FIRST[family]
            machine.route_over(family, other if there else first)
            life.kernel.after(dice.uniform(0.2, 40.0), flap, not there)

    def end() -> None:
        nonlocal going_on
        going_on = False
        _tell(life)
        machine.route_over(family, FIRST[family])

    flap(True)
    return end


def announcements(side: Side, dice: random.Random) -> End:
    """Hundreds of changes that concern nobody, and at times some were lost."""
    life = side.life
    for number in range(300):
        life.kernel.after(number * 0.01, _announce, life, dice.random() < 0.05)
    return over


def _announce(life: Life, everything: bool) -> None:
    _tell(life)
    life.scene.machine.tell(gone=["203.0.113.1"], up=[V4, V6], everything=everything)


def host_knows_better(side: Side, dice: random.Random) -> End:
    """`notify_network_change()`."""
    _tell(side.life)
    side.life.notice.network_changed()
    return over


ALL: Final[list[Fault]] = [
    Fault(suspended, 2),
    Fault(address_lost, 2),
    Fault(routes_change, 1, longest=600.0),
    Fault(announcements, 1),
    Fault(host_knows_better, 1),
]
