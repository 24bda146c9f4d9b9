"""The promises: for each place in the matrix, the clock that must notice and the time it may take.

Pure functions over plain values; no clock is read here. The rules are those of the README's table "What notices which
failure, and when", with the clocks scaled down so that a cell takes seconds. The scale keeps the defaults' order and
ratios where they matter: keepalive gives up at 0.8 of `read` (60 s of 75), a heartbeat comes each 0.4 of it (30 s), and
no clock outlasts one that it must be told apart from.

Each measurement begins where its clock begins, not where the fault did: `connect` at the start of the attempt,
`response` when the request goes out, `read` and keepalive with the last byte heard, `min_rate` with the first byte of
its line. A failure that ends the connection at once is measured from the moment the fault struck.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import Final

PHASES: Final = (
    "resolving",
    "connecting",
    "handshake",
    "head",
    "streaming",
    "mid-line",
    "backing-off",
    "reconnecting",
)
HOSTS: Final = ("inline", "thread", "asyncio")
TRANSPORTS: Final = ("https", "http", "proxy")
CONSUMERS: Final = ("subscriber", "source", "source-ids")

SLACK: Final = 0.25
"""Seconds beyond its clock within which a failure must be noticed."""
BUSY_SLACK: Final = 1.0
"""Seconds more where the fault keeps the daemon busy, which then waits for its turn on a shared machine."""
MEND_SLACK: Final = 1.0
"""Seconds beyond the running attempt and one backoff step until the stream must be back."""
SURVIVABLE: Final = 0.8
"""Silence below this part of `read` must cost no reconnect."""
STATE_FILE_INTERVAL: Final = 1.0
"""Seconds: stream_state.json is written at most this often, so it may lag by as much."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The clocks of a cell, in seconds; `min_rate` in bytes a second. The names are those of the library's settings."""

    connect: float = 1.5
    response: float = 1.5
    read: float = 2.5
    min_rate: float = 100.0
    keepalive_idle: int = 1
    keepalive_interval: int = 1
    keepalive_count: int = 1
    initial: float = 0.8
    maximum: float = 3.2
    healthy_after: float = 0.5
    heartbeat: float = 1.0

    @property
    def keepalive(self) -> float:
        """When TCP gives up on a peer whose kernel answers nothing: seconds after the last packet from there."""
        return float(self.keepalive_idle + self.keepalive_interval * self.keepalive_count)


@dataclasses.dataclass(frozen=True)
class Setup:
    """The position of a cell in the matrix, without its fault."""

    phase: str = "streaming"
    host: str = "inline"
    transport: str = "https"
    consumer: str = "subscriber"
    settings: Settings = Settings()
    seed: int = 1
    command: str | None = None
    """The daemon of somebody else's that takes the place of ours."""

    @property
    def tls(self) -> bool:
        return self.transport != "http"

    @property
    def ids(self) -> bool:
        """The relay sends ids and replays what came after the last."""
        return self.consumer == "source-ids"

    @property
    def live(self) -> bool:
        """A stream is open when the fault comes."""
        return self.phase in ("streaming", "mid-line")

    @property
    def strikes_in(self) -> str:
        """The phase whose clock runs when the fault comes, or runs next."""
        if self.phase == "reconnecting":
            return "handshake" if self.tls else "head"
        if self.phase == "backing-off":
            return "connecting"
        return self.phase


class Kind(enum.Enum):
    """The effect of a fault on the stream that it strikes."""

    SILENCE = "nothing comes any more, though the peer's kernel may still answer"
    UNREACHABLE = "nothing comes any more, and the peer's kernel does not answer either"
    UNHEARD = "the peer hears nothing of the client, and goes on sending until that stops it"
    ENDED = "the connection ends, or what comes is no event stream"
    REFUSED = "the attempt fails at once"
    DRIP = "bytes come, but a line never ends"
    PROBED = "anyone who forgot the connection answers its next packet, a keepalive probe, with RST"
    SURVIVED = "trouble that a stream is to live through"


@dataclasses.dataclass(frozen=True)
class Expectation:
    """The expected outcome of a cell: `kind`, and the phase `at` which the fault strikes. `names`: clocks that may also
    notice.

    If the stream must survive the fault, `names` are the clocks that may give up an attempt which the fault delays too
    much.
    """

    kind: Kind
    at: str
    names: tuple[str, ...] = ()
    stranger: bool = False
    """It spares this stream, and somebody else is to meet it."""


@dataclasses.dataclass(frozen=True)
class Promise:
    """The clocks that must notice the fault, and the time they have.

    clocks:  the names of the clocks of which one must notice; empty if none is expected to notice.
    start:   the event from which time is measured: attempt, dial, tunnel, request, heard, line or strike.
    least:   seconds; an earlier notice must come from another clock.
    within:  seconds within which it must be noticed.
    allowed: if none is expected to notice, the clocks that may still give up an attempt.
    """

    clocks: tuple[str, ...]
    start: str = "strike"
    least: float = 0.0
    within: float = 0.0
    allowed: tuple[str, ...] = ()

    @property
    def survives(self) -> bool:
        return not self.clocks


AT_ONCE: Final = "peer"
"""In the place of a clock's name: the read, the resolver or the parser itself said so."""


def promise(expectation: Expectation, setup: Setup) -> Promise:
    """Which clock must notice, and within what time."""
    given, at, kind = setup.settings, expectation.at, expectation.kind
    more = expectation.names
    if kind is Kind.SURVIVED:
        return Promise((), allowed=more)
    if kind is Kind.PROBED:
        # The probe goes out once nothing has come for so long, and its answer is there at once.
        return Promise((AT_ONCE, *more), "strike", 0.0, given.keepalive_idle + SLACK)
    if kind in (Kind.ENDED, Kind.REFUSED):
        starts = {"resolving": "attempt", "connecting": "dial", "tunnel": "tunnel"}
        return Promise((AT_ONCE, *more), starts[at] if kind is Kind.REFUSED else "strike", 0.0, SLACK)
    if kind is Kind.DRIP:
        return Promise(("min_rate", *more), "line", given.read, 2 * given.read + SLACK)
    if at in ("resolving", "connecting", "tunnel", "handshake"):
        return Promise(("connect", *more), "attempt", given.connect, given.connect + SLACK)
    if at == "head":
        return Promise(("response", *more), "request", given.response, given.response + SLACK)
    if kind is Kind.UNHEARD:
        # Retransmissions by the peer do not count as data for `read`, but they postpone the kernel's keepalive.
        clocks = ("read", "keepalive") if given.keepalive < given.read else ("read",)
        return Promise((*clocks, *more), "heard", min(given.keepalive, given.read), given.read + SLACK)
    if kind is Kind.UNREACHABLE and given.keepalive < given.read:
        return Promise(("keepalive", "read", *more), "heard", min(given.keepalive, given.read), given.keepalive + SLACK)
    return Promise(("read", *more), "heard", given.read, given.read + SLACK)


def mended_within(phase: str, elapsed: float, pause: float, settings: Settings) -> float:
    """Seconds from the end of the fault within which the stream must be back.

    phase:   where the stream is when the fault ends, `elapsed` seconds after its clock began.
    pause:   the longest pause that the backoff can order next, or what is left of the present one.
    """
    clocks = {
        "resolving": settings.connect,
        "connecting": settings.connect,
        "tunnel": settings.connect,
        "handshake": settings.connect,
        "head": max(settings.response, settings.read),  # Consecutive timeouts double it, up to `read`.
        "streaming": settings.read,
    }
    left = max(0.0, clocks.get(phase, 0.0) - elapsed)
    return left + pause + MEND_SLACK


def longest_pause(attempt: int, settings: Settings) -> float:
    """The longest that the backoff can wait after `attempt` failures in a row before this one."""
    return min(settings.maximum, settings.initial * 2.0 ** min(attempt, 30))
