"""Faults of wire's files: rotated slots, half a relay.json, a disk that is full or read-only.

They take effect only if a daemon of wire's is simulated; otherwise they end at once.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from tests.simulation.faults_of_relays import End, Fault, over

if TYPE_CHECKING:
    from tests.simulation.life import Side


def rotated(side: Side, dice: random.Random) -> End:
    """Another slot for the same relay; the old stream stays as healthy as it was."""
    wires = side.life.wires
    if wires is not None:
        for _ in range(dice.choice([1, 1, 1, 6])):
            side.relay.keeps_old_slots = dice.random() < 0.7
            side.rotate()
        wires.write(in_place=dice.random() < 0.2)
    return over


def rotated_again_and_again(side: Side, dice: random.Random) -> End:
    """And the relay, at times, takes no connection meanwhile."""
    if side.life.wires is None:
        return over
    going_on, longest = True, dice.choice([6.0, 30.0])
    refused = dice.random() < 0.5

    def again() -> None:
        if going_on:
            rotated(side, dice)
            side.life.kernel.after(dice.uniform(0.5, longest), again)

    again()
    for place in side.places:
        place.refuses += refused

    def end() -> None:
        nonlocal going_on
        going_on = False
        for place in side.places:
            place.refuses -= refused

    return end


def unnamed(side: Side, dice: random.Random) -> End:
    """An endpoint goes, and comes back: with the same slot or with another."""
    wires = side.life.wires
    if wires is None or not side.named:
        return over
    side.named = False
    wires.write()

    def end() -> None:
        side.named = True
        if dice.random() < 0.5:
            side.rotate()
        wires.write()

    return end


def relay_json_half_written(side: Side, dice: random.Random) -> End:
    wires = side.life.wires
    if wires is None:
        return over
    wires.write(whole=False, in_place=dice.random() < 0.5)
    return wires.write


def relay_json_spoilt(side: Side, dice: random.Random) -> End:
    """Edited by hand, overwritten by another version, or a very long one."""
    wires = side.life.wires
    if wires is None:
        return over
    wires.spoil(dice.choice([b"", b"[]", b"\xff\xfe", b'{"self": {"endpoints": 5}}', b'{"self": {"endpoints": [{}]}}']))
    return wires.write


def relay_json_unreadable(side: Side, dice: random.Random) -> End:
    return _disk(side, dice.choice(["unreadable", "failing"]))


def disk_full(side: Side, dice: random.Random) -> End:
    wires = side.life.wires
    if wires is not None:
        wires.disk.room = dice.choice([0, 0, 100])
    return _disk(side, dice.choice(["full", "no_inodes"]))


def disk_read_only(side: Side, dice: random.Random) -> End:
    return _disk(side, "read_only")


def struck_in_a_file(side: Side, dice: random.Random) -> End:
    """A signal handler of the host's raises in the middle of some work on wire's files."""
    wires = side.life.wires
    if wires is not None:
        wires.disk.calls_left = dice.randint(0, 12)
    return over


def _disk(side: Side, what: str) -> End:
    wires = side.life.wires
    if wires is None:
        return over
    disk = wires.disk
    setattr(disk, what, getattr(disk, what) + 1)

    def end() -> None:
        setattr(disk, what, getattr(disk, what) - 1)
        wires.mended()

    return end


ALL: Final[list[Fault]] = [
    Fault(rotated, 4),
    Fault(rotated_again_and_again, 2, longest=5000.0, lasting=True),
    Fault(unnamed, 2),
    Fault(relay_json_half_written, 3),
    Fault(relay_json_spoilt, 1),
    Fault(relay_json_unreadable, 2),
    Fault(disk_full, 2),
    Fault(disk_read_only, 2),
    Fault(struck_in_a_file, 2),
]
