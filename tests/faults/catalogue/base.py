"""Defines a fault: how it begins, how it is proven, how it ends, and its expected outcome in each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.faults.bounds import Expectation, Kind, Setup
from tests.faults.check import Check
from tests.faults.stranger import knock
from tests.faults.tools import LabError
from wire_rawsse.testing.faults import Fault as RelayFault

if TYPE_CHECKING:
    from tests.faults.cell import Cell


class Unproven(LabError):
    """The fault did not take place, so nobody can be judged by it."""


class Fault:
    """One fault of the catalogue. A cell uses one instance, in the order prepare, inject, proof, lift.

    name:    as on the command line.
    words:   a description for people.
    group:   the heading under which the list shows it.
    needs:   programs that it uses.
    lasts:   seconds after which it is lifted; None: once it has been noticed, or after a moment if no clock
             is expected to notice it.
    patience: seconds beyond `lasts` for which it may go on until it is `done`.
    early:   in these phases the fault itself is what holds the stream there, so it is injected before the attempt.
    goes_on: inside a line it takes effect at the point where the relay is held, so the relay is not released.
    armed:   the fault injected into the relay, if the relay causes it.
    tls12:   the relay speaks no TLS version newer than 1.2.
    blinds:  while it lasts the state file cannot be kept up to date.
    spares:  an open stream neither loses data nor waits because of it, so its wakes arrive as usual.
    burns:   it takes processor time for as long as it lasts, so what that costs is no check, and notices may be later.
    memory:  KiB by which the daemon may have grown: allocators keep pages, caches fill, and a fault loads modules that
             Python may have to compile.
    transports, consumers: the only ones that it concerns; None: all.
    """

    name: ClassVar[str]
    words: ClassVar[str]
    group: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    lasts: float | None = None
    patience: float = 4.0
    early: tuple[str, ...] = ()
    tls12: ClassVar[bool] = False
    blinds: bool = False
    spares: ClassVar[bool] = False
    burns: ClassVar[bool] = False
    memory: ClassVar[int] = 512
    goes_on: ClassVar[bool] = False
    armed: tuple[RelayFault, ...] = ()
    transports: ClassVar[tuple[str, ...] | None] = None
    consumers: ClassVar[tuple[str, ...] | None] = None

    def expect(self, setup: Setup) -> Expectation | str:
        """The expected outcome, or the reason why this cell makes no sense."""
        raise NotImplementedError

    def prepare(self, cell: Cell) -> None:
        """Before the daemon starts. `cell.environment` is what it will be given."""

    def move_the_same(self, cell: Cell) -> None:
        """If the fault moves bytes, move as many beforehand without it, to measure their cost."""

    def inject(self, cell: Cell) -> None:
        """Begin."""
        raise NotImplementedError

    def meet(self, cell: Cell) -> str:
        """If the fault spares the stream, meet it with a connection of the lab's own and return the result."""
        return knock(cell)

    def done(self, cell: Cell) -> bool:
        """Asked while what must be survived lasts: whether it has done enough to be lifted once `lasts` is over."""
        return True

    def proof(self, cell: Cell) -> dict[str, Any]:
        """Evidence that it took place, asked for before it is lifted. Raises `Unproven`."""
        raise NotImplementedError

    def lift(self, cell: Cell) -> None:
        """End it: everything works again."""

    def struck(self, cell: Cell) -> float:
        """When it struck, on CLOCK_MONOTONIC; asked before it is lifted."""
        return cell.injected

    def silence(self, cell: Cell) -> float | None:
        """Seconds that the stream's bytes stayed away at the longest, as seen on the wire; None: not known."""
        return None

    def checks(self, cell: Cell) -> list[Check]:
        """Checks that belong to this fault alone, made at the end of the tested round."""
        return []

    def close(self, cell: Cell) -> None:
        """Give back what the fault still holds. Called whatever happened."""


def past(at: str, setup: Setup) -> Expectation | str | None:
    """The expected effect of a fault that strikes new connections `at` a phase on a stream in `setup.phase`.

    No effect if the stream is past that phase (another connection then proves the fault), the reason if there is no
    such phase, or None if the stream is struck.
    """
    order = ("resolving", "connecting", "handshake", "head", "streaming", "mid-line")
    if at == "handshake" and not setup.tls:
        return "without TLS there is no handshake"
    if setup.phase in order and order.index(setup.phase) > order.index(at):
        return Expectation(Kind.SURVIVED, setup.strikes_in, stranger=True)
    return None
