"""What a fault is: how it begins, how it is proven, how it ends, and what is to come of it in each phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tests.faults.bounds import Expectation, Setup
from tests.faults.tools import LabError
from wire_rawsse.relay.faults import Fault as RelayFault

if TYPE_CHECKING:
    from tests.faults.cell import Cell


class Unproven(LabError):
    """The fault did not take place, so nobody can be judged by it."""


class Fault:
    """One fault of the catalogue. A cell uses one instance, in the order prepare, inject, proof, lift.

    name:    as on the command line.
    words:   what it is, as a person would say it.
    group:   under which heading the list shows it.
    needs:   programs that it uses.
    lasts:   seconds after which it is lifted by itself; None: once it has been noticed.
    patience: seconds beyond `lasts` for which it may go on until it is `done`.
    early:   in these phases the fault itself is what holds the stream there, so it is injected before the attempt.
    armed:   what the relay is told to do wrong, where it is the relay's doing.
    tls12:   the relay is to speak nothing newer than TLS 1.2.
    blinds:  while it lasts the daemon cannot write down how its stream is doing, and for as long again it may not have
             tried anew.
    memory:  KiB by which the daemon may have grown: allocators keep pages, and caches fill.
    excuses: checks that this fault makes meaningless, with the reason.
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
    blinds: ClassVar[bool] = False
    memory: ClassVar[int] = 1024
    armed: tuple[RelayFault, ...] = ()
    excuses: ClassVar[dict[str, str]] = {}
    transports: ClassVar[tuple[str, ...] | None] = None
    consumers: ClassVar[tuple[str, ...] | None] = None

    def expect(self, setup: Setup) -> Expectation | str:
        """What is to happen; or, in words, why this cell makes no sense."""
        raise NotImplementedError

    def prepare(self, cell: Cell) -> None:
        """Before the daemon starts. `cell.environment` is what it will be given."""

    def inject(self, cell: Cell) -> None:
        """Begin."""
        raise NotImplementedError

    def done(self, cell: Cell) -> bool:
        """Asked while what is to be survived lasts: whether it has done enough to be lifted once `lasts` is over."""
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

    def close(self, cell: Cell) -> None:
        """Give back what the fault still holds. Called whatever happened."""


def past(at: str, setup: Setup) -> str | None:
    """Why a fault that strikes new connections `at` a place means nothing to a stream that is in `setup.phase`."""
    order = ("resolving", "connecting", "handshake", "head", "streaming", "mid-line")
    if at == "handshake" and not setup.tls:
        return "without TLS there is no handshake"
    if setup.phase in order and order.index(setup.phase) > order.index(at):
        return f"the connection is past {_PLACES[at]} already, and the fault concerns new ones"
    return None


_PLACES = {"resolving": "its name", "connecting": "connecting", "handshake": "its handshake", "head": "its head"}
