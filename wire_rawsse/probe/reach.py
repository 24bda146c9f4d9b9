"""One connection to one address, measured step by step: TCP, the proxy's tunnel, TLS, the response head."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wire_rawsse.connection import final_head
from wire_rawsse.errors import (
    CertificateError,
    DialError,
    HandshakeError,
    MalformedResponseError,
    ProxyError,
    TruncatedError,
    TrustError,
    WireRawSSEError,
)
from wire_rawsse.foreign import reason
from wire_rawsse.policy import Keepalive
from wire_rawsse.probe.blocking import BlockingHost
from wire_rawsse.probe.chain import chain_of
from wire_rawsse.probe.measurements import Attempt, Step, TlsFacts
from wire_rawsse.probe.tcp_info import tcp_info
from wire_rawsse.protocol.http import Exchange
from wire_rawsse.protocol.proxy import Proxy
from wire_rawsse.protocol.redirect import Hop
from wire_rawsse.protocol.request import Request, compose_connect
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.tunnel import refusal
from wire_rawsse.redact import Secrets
from wire_rawsse.transport import alerts
from wire_rawsse.transport.channel import Channel
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial
from wire_rawsse.transport.tls import secure
from wire_rawsse.transport.trust import UNVERIFIED
from wire_rawsse.waits import Address

if TYPE_CHECKING:
    import ssl

_FAULTS: Final = {
    9: "early",
    10: "expired",
    18: "issuer",
    19: "issuer",
    20: "issuer",
    21: "issuer",
    62: "name",
    64: "name",
}
"""X509_STORE_CTX_get_error(3)."""
_AWAITED: Final[dict[Step, str]] = {
    "tcp": "answer",
    "tunnel": "answer of the proxy to CONNECT",
    "tls": "complete TLS handshake",
    "head": "complete response head",
}
_UNREACHABLE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


@dataclass
class Way:
    """The common values of all connections of one hop.

    `step` is the budget of TCP, of the tunnel and of TLS, each, in seconds. No step ends after `end`, a moment on the
    monotonic clock.
    """

    hop: Hop
    proxy: Proxy | None
    context: ssl.SSLContext | None
    step: float
    end: float
    secrets: Secrets

    def deadline(self, now: float) -> Deadline:
        """For a step that begins now."""
        return Deadline(now, max(0.0, min(self.step, self.end - now)), self.place)

    @property
    def place(self) -> str:
        return self.hop.shown(self.hop.url.host_and_port)


class Observed(Exchange):
    """An exchange that keeps what came up to the end of the head."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.raw = b""

    def head(self, data: bytes) -> Response | None:
        self.raw += data
        return super().head(data)

    @property
    def behind_head(self) -> bytes:
        """The bytes that came with the head, unchanged."""
        rest = self.raw
        while True:
            head, _, rest = rest.partition(b"\r\n\r\n")
            if not head.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
                return rest


@dataclass
class Reached:
    """An attempt that is over, or holds an open channel: with `response`, its body is still to be read."""

    attempt: Attempt
    address: Address
    host: BlockingHost
    doing: Step = "tcp"
    over: bool = False
    """Set by the caller that runs it."""
    began: float = 0.0
    channel: Channel | None = None
    exchange: Observed | None = None
    response: Response | None = None
    asked_at: float = 0.0
    """When the request began to be sent, on the monotonic clock."""
    asked_wall: float = 0.0
    answered_wall: float = 0.0

    def end(self) -> None:
        """Close the connection. Twice is fine."""
        if self.channel is not None:
            self.attempt.info = tcp_info(self.channel.sock)
            self.channel.end(self.host)
            self.channel = None


def connect(way: Way, address: Address, *, mss: int | None = None, verify: bool = True) -> Reached:
    """A new connection: TCP, tunnel and TLS."""
    reached = Reached(Attempt(str(address)), address, BlockingHost(mss))
    go(reached, way, verify=verify)
    return reached


def go(reached: Reached, way: Way, *, verify: bool = True) -> None:
    """TCP, tunnel and TLS. A failure is noted in the attempt; no error of a network is raised."""
    attempt, host, address = reached.attempt, reached.host, reached.address
    try:
        reached.doing = "tcp"
        reached.began = began = host.now()
        deadline = way.deadline(began)
        sock = host.run(dial(host, [address], deadline, Keepalive()))
        attempt.tcp = host.now() - began
        reached.channel = Channel(sock)
        if way.proxy is not None and way.context is not None:
            reached.doing, began = "tunnel", host.now()
            deadline = way.deadline(began)
            _tunnel(host, way, reached.channel, way.proxy, deadline)
            attempt.tunnel = host.now() - began
        if way.context is not None:
            reached.doing, began = "tls", host.now()
            attempt.tls = TlsFacts()
            context = way.context if verify else context_for(UNVERIFIED)
            reached.channel = None  # `secure` takes the socket over.
            deadline = way.deadline(began)
            tls = host.run(secure(host, sock, context, way.hop.url.server_name, deadline))
            reached.channel = Channel(sock, tls)
            attempt.tls = _facts(tls.session, host.now() - began, way.secrets, verify)
    except (OSError, WireRawSSEError) as error:
        note_failure(reached, error, way.secrets, deadline.seconds)
        reached.end()
        if attempt.info is None:
            attempt.info = host.last_info


def _tunnel(host: BlockingHost, way: Way, channel: Channel, proxy: Proxy, deadline: Deadline) -> None:
    exchange = Exchange(compose_connect(way.hop.url, proxy.url.authorization, way.secrets))
    response = host.run(final_head(channel, exchange, deadline.at))
    if response is None:
        raise TimeoutError(errno.ETIMEDOUT, f"the proxy did not answer CONNECT within {deadline.seconds:.3g} s")
    if not 200 <= response.status < 300:
        raise refusal(proxy, response, f"a tunnel to {way.place}", way.secrets)
    if exchange.rest():
        raise ProxyError(f"the proxy {proxy} sent data of its own into the tunnel")


def look_at_certificate(way: Way, address: Address) -> TlsFacts | None:
    """A second handshake, without verification, that shows the certificates. Nothing is sent over it.

    It shows no client certificate either.
    """
    try:
        reached = connect(way, address, verify=False)
    except TrustError:
        return None
    reached.end()
    return reached.attempt.tls if not reached.attempt.failed_in else None


def ask(reached: Reached, request: Request, deadline: float, secrets: Secrets) -> None:
    """Send the request and receive the head, by `deadline` on the monotonic clock. A failure is noted."""
    host, attempt, channel = reached.host, reached.attempt, reached.channel
    assert channel is not None
    exchange = reached.exchange = Observed(request)
    reached.doing = "head"
    reached.asked_at, reached.asked_wall = host.now(), host.time()
    try:
        response = host.run(final_head(channel, exchange, deadline))
    except (OSError, WireRawSSEError) as error:
        note_failure(reached, error, secrets, deadline - reached.asked_at)
    else:
        reached.answered_wall = host.time()
        if response is None:
            note_failure(reached, TimeoutError(), secrets, host.now() - reached.asked_at)
        else:
            attempt.head = host.now() - reached.asked_at
            attempt.status = response.status
            reached.response = response
            channel.settle()
    attempt.got = len(exchange.raw)
    if reached.response is None:
        reached.end()


def _facts(session: ssl.SSLObject, seconds: float, secrets: Secrets, verified: bool) -> TlsFacts:
    cipher = session.cipher()
    return TlsFacts(
        seconds=seconds,
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=session.selected_alpn_protocol() or "",
        chain=chain_of(session, secrets),
        verified=verified,
    )


def note_failure(reached: Reached, error: BaseException, secrets: Secrets, budget: float) -> None:
    """Note in the attempt how and where it failed; `budget` is in seconds, for an error that is a timeout."""
    attempt, step = reached.attempt, reached.doing
    attempt.failed_in = step
    secrets.cleanse(error)
    attempt.error = str(error)
    cause = error.__cause__
    if isinstance(error, DialError) and error.attempts:
        cause = error.attempts[0][1]
        attempt.error = reason(cause)
    if isinstance(error, TimeoutError):
        attempt.failure, attempt.error = "timeout", f"no {_AWAITED[step]} within {budget:.3g} s"
    elif isinstance(error, CertificateError):
        attempt.failure = "certificate"
        assert attempt.tls is not None
        attempt.tls.fault = _FAULTS.get(getattr(cause, "verify_code", 0), "other")  # type: ignore[assignment]  # each is one of its literals
    elif isinstance(error, ProxyError):
        attempt.failure = "refused"
    elif isinstance(error, MalformedResponseError):
        attempt.failure = "protocol"
    elif isinstance(error, TruncatedError):
        attempt.failure = "closed"
    elif isinstance(error, HandshakeError):
        attempt.failure = "alert" if cause is not None and alerts.is_alert(cause) else "protocol"
        if isinstance(cause, (ConnectionError, EOFError)) or "closed the connection" in attempt.error:
            attempt.failure = "closed"
    elif isinstance(error, OSError) or isinstance(cause, OSError):
        _note_system(attempt, cause if isinstance(cause, OSError) else error)


def _note_system(attempt: Attempt, error: BaseException) -> None:
    """An error of the system or of OpenSSL, whose numbers are not those of errno."""
    code = None if type(error).__name__.startswith("SSL") else getattr(error, "errno", None)
    if isinstance(error, TimeoutError):
        attempt.failure = "timeout"
    elif alerts.is_alert(error):
        attempt.failure, attempt.error = "alert", alerts.failure(error) or attempt.error
    elif isinstance(error, ConnectionRefusedError) or (attempt.failed_in == "tcp" and code == errno.ENOENT):
        attempt.failure = "refused"
    elif code in _UNREACHABLE:
        attempt.failure = "unreachable"
    elif isinstance(error, (ConnectionError, EOFError)) or "EOF" in type(error).__name__:
        attempt.failure = "closed"
        attempt.error = getattr(error, "strerror", None) or attempt.error
    else:
        attempt.failure = "other"
