"""The phases of a connection's life, as data: state names, log words and the README's picture are made from this table.

Each row has the activity of a phase, the clock that bounds it, wire's word for it, and the phases that may follow.
`Record.enter` asserts that each step is in this table. Only `Record.start_over` leads to `idle` from any phase, because
a signal handler of the host may raise anywhere.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from wire_rawsse.state import State

PhaseName: TypeAlias = Literal[
    "idle",
    "waiting",
    "resolving",
    "connecting",
    "tunnel",
    "handshake",
    "head",
    "streaming",
    "backing off",
    "closed",
]


class Phase(NamedTuple):
    """`state` is None if wire's word depends on the phases before: see `Record.state`."""

    name: PhaseName
    doing: str
    clock: str
    state: State | None
    then: tuple[PhaseName, ...]


_ANY_TIME: Final[tuple[PhaseName, ...]] = ("backing off", "closed")
_BEGINS: Final[tuple[PhaseName, ...]] = ("waiting", "resolving", "connecting")

PHASES: Final[dict[str, Phase]] = {
    phase.name: phase
    for phase in (
        Phase("idle", "not started", "", "connecting", (*_BEGINS, *_ANY_TIME)),
        Phase("waiting", "waiting for its turn to connect", "", None, ("resolving", "connecting", *_ANY_TIME)),
        Phase("resolving", "looking up the name", "connect", None, ("connecting", *_ANY_TIME)),
        Phase("connecting", "connecting", "connect", None, ("tunnel", "handshake", "head", *_ANY_TIME)),
        Phase("tunnel", "asking the proxy for a tunnel", "connect", None, ("handshake", *_ANY_TIME)),
        Phase("handshake", "agreeing on TLS", "connect", None, ("head", *_ANY_TIME)),
        Phase(
            "head", "waiting for the response", "response", None, ("streaming", "resolving", "connecting", *_ANY_TIME)
        ),
        Phase("streaming", "listening", "read, min_rate", "connected", _ANY_TIME),
        Phase("backing off", "waiting to try again", "backoff", None, (*_BEGINS, *_ANY_TIME)),
        Phase("closed", "closed", "", "error", ("idle",)),
    )
}
"""By name, in the order of a connection's life. A redirect leads from `head` back to `resolving`.

Only a stream in a set of several is ever `waiting` (see `gate`).
"""


def doing(phase: str) -> str:
    """The activity of a phase, in words for people. A name that is no phase here is returned unchanged."""
    known = PHASES.get(phase)
    return phase if known is None else known.doing
