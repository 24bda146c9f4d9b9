"""The measurements of a probe: plain values without behaviour, in the order of a connection's life.

Moments are seconds since the probe began, on the monotonic clock; durations are seconds. None means "not measured".
Every text in here is printable and masked (see `wire_rawsse.redact`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Step: TypeAlias = Literal["", "tcp", "tunnel", "tls", "head"]
"""The step at which an attempt failed; "" if it did not."""


@dataclass
class ProxySetting:
    """Which proxy a hop goes through, and which variable says so."""

    proxy: str = ""
    """Its place, or "" for none."""
    variable: str = ""
    """The variable that decided, or "" if none is set."""
    excepted_by: str = ""
    """The variable that lists the host as an exception (NO_PROXY), or ""."""
    error: str = ""


@dataclass
class Name:
    """A look-up. `host` is the proxy's where there is one."""

    host: str
    seconds: float | None = None
    addresses: list[str] = field(default_factory=list)
    error: str = ""
    timed_out: bool = False


@dataclass
class Certificate:
    """One certificate of a chain. Times are seconds since the epoch."""

    subject: str
    issuer: str
    names: list[str]
    not_before: float | None
    not_after: float | None
    self_issued: bool = False


@dataclass
class TlsFacts:
    """A handshake. `fault` is "" for a certificate that verifies."""

    seconds: float | None = None
    version: str = ""
    cipher: str = ""
    alpn: str = ""
    chain: list[Certificate] = field(default_factory=list)
    fault: Literal["", "expired", "early", "name", "issuer", "other"] = ""
    verified: bool = False


@dataclass
class Tcp:
    """From TCP_INFO (tcp(7)), at the end of the connection or of its failure."""

    rtt: float
    mss_sent: int
    mss_received: int
    path_mtu: int
    unacknowledged: int
    retransmissions: int
    segments_sent: int
    out_of_order: int
    """Segments received beyond a gap."""
    since_acknowledgement: float


@dataclass
class Attempt:
    """One connection to one address, as far as it got."""

    address: str
    tcp: float | None = None
    tunnel: float | None = None
    tls: TlsFacts | None = None
    head: float | None = None
    """From the beginning of the request to the end of the response head."""
    status: int | None = None
    failed_in: Step = ""
    failure: Literal["", "refused", "timeout", "unreachable", "certificate", "closed", "protocol", "alert", "other"] = (
        ""
    )
    error: str = ""
    got: int = 0
    """Bytes of a response that did not become complete."""
    info: Tcp | None = None


@dataclass
class Head:
    """The response head that decides. `error` is why it is no event stream, in words."""

    status: int
    content_type: str
    fields: list[tuple[str, str]]
    framing: str
    """chunked, length or close."""
    coding: str = ""
    error: str = ""
    skew: float | None = None
    """The server's clock minus ours by its Date, 0 if they can agree; None without a Date."""
    held: float | None = None
    """By its own Date, the head is this old; only if the clocks can agree."""
    html: bool = False
    retry_after: str = ""
    age: str = ""


class Arrival(NamedTuple):
    """One reception of body bytes. `stamps` are the times that its events say they were made, on the wall clock."""

    at: float
    wall: float
    size: int
    events: int
    comments: int
    line_open: bool
    """It ended in the middle of a line."""
    stamps: tuple[float, ...] = ()
    late: bool = False
    """The probe itself was held up (a busy or suspended machine), so the time of the arrival is unknown."""


@dataclass
class Life:
    """One response body. `began` is when its request was sent."""

    began: float
    opened: float
    ended: float | None = None
    """None: it was still open when the probe stopped listening."""
    end: Literal["", "clean", "cut", "reset", "malformed", "too large", "other"] = ""
    error: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    stopped: float = 0.0
    """When the probe stopped listening."""


@dataclass
class StreamFacts:
    """All that was heard after accepted heads."""

    lives: list[Life] = field(default_factory=list)
    bytes: int = 0
    events: int = 0
    comments: int = 0
    types: list[str] = field(default_factory=list)
    ids: int = 0
    """Events with an id of their own."""
    retry_ms: int | None = None
    chunks: list[int] = field(default_factory=list)
    """Sizes of the first chunks."""
    refused: str = ""
    """Why the stream could not be connected to again after it had ended."""
    stray: int = 0
    """Receptions without content: chunk framing, extensions or trailers only."""
    alive: Literal["", "answered", "unanswered", "reset"] = ""
    """The answer to a TCP keepalive probe at the end of a silent stream."""
    info: Tcp | None = None


@dataclass
class HopFacts:
    """One URL of a chain of redirects."""

    url: str
    proxy: ProxySetting = field(default_factory=ProxySetting)
    name: Name | None = None
    attempts: list[Attempt] = field(default_factory=list)
    left_out: int = 0
    """Addresses that were not tried."""
    began: float = 0.0
    """When the probe came to it."""
    head: Head | None = None
    redirect: str = ""
    """Its target."""


@dataclass
class Cross:
    """Second opinions, asked only where something failed."""

    repeated: Literal["", "helped", "did not help"] = ""
    """The same once more."""
    small_segments: Literal["", "helped", "did not help"] = ""
    """The same with a maximum segment size of 536 bytes."""
    other_path: Literal["", "answered", "silent"] = ""
    """A request for / of the same server, without credentials, while the stream's own was not answered."""
    other_server: str = ""
    """The Server field of that answer."""


@dataclass
class Replay:
    """A second request with the id of the first event that was seen."""

    result: Literal["", "resumes", "ignores", "nothing", "refused"] = ""
    why_not: str = ""
    """Why it was not tried."""
    error: str = ""


@dataclass
class Measurements:
    """Everything. `error` is for what ended the probe before its time."""

    url: str
    seconds: float
    tls: bool
    credentials: bool = False
    """The request has a token, or another secret field."""
    loopback: bool = False
    hops: list[HopFacts] = field(default_factory=list)
    redirect_error: str = ""
    error: str = ""
    stream: StreamFacts | None = None
    cross: Cross = field(default_factory=Cross)
    replay: Replay = field(default_factory=Replay)
    wall: float = 0.0
    """Seconds since the epoch when the probe began."""
    clocks: tuple[float, float, float] = (10.0, 15.0, 75.0)
    """`Timeouts.connect`, `response` and `read` that are judged."""
