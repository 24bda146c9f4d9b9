"""The exceptions of this library. All of them derive from `WireRawSSEError`.

Each class also derives from the builtin exceptions in the second column, which a caller would expect to catch.
`permanent` is True for an error that is for good: an `EventSource` raises such errors and retries the others. A
`StreamSubscriber`, and an `EventSource` with `persistent=True`, retry all of them.

    WireRawSSEError
    ├── InvalidRequestError       ValueError, TypeError        for good
    ├── ClosedError               RuntimeError                 for good
    ├── BusyError                 RuntimeError                 for good
    ├── CredentialsError          RuntimeError
    ├── TrustError                OSError                      for good without an ssl module
    ├── DeadlineError             TimeoutError
    │   ├── ConnectTimeout
    │   ├── ResponseTimeout
    │   ├── ReadTimeout
    │   │   └── HeartbeatTimeout
    │   └── RateTimeout
    ├── ConnectError              ConnectionError
    │   ├── ResolveError
    │   ├── DialError
    │   ├── ProxyError
    │   └── HandshakeError
    │       └── CertificateError                               for good
    ├── ConnectionBrokenError     ConnectionError
    │   └── StaleConnectionError
    ├── TruncatedError            ConnectionError, EOFError
    ├── MalformedResponseError    ConnectionError
    ├── StatusError               ConnectionError              for good, but for 408, 425, 429 and from 500 on
    ├── NotAnEventStreamError     ValueError                   for good
    ├── RedirectError             ConnectionError              for good, but for too many redirects
    ├── EventTooLargeError        ValueError                   for good
    └── RelayFileError            ValueError

No error text holds a secret or is longer than 500 characters. Text of a peer is quoted only through `redact.Secrets`,
which masks every piece of a secret that was sent, and a URL only through `protocol.url.Url.redacted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "BusyError",
    "CertificateError",
    "ClosedError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionBrokenError",
    "CredentialsError",
    "DeadlineError",
    "DialError",
    "EventTooLargeError",
    "HandshakeError",
    "HeartbeatTimeout",
    "InvalidRequestError",
    "MalformedResponseError",
    "NotAnEventStreamError",
    "ProxyError",
    "RateTimeout",
    "ReadTimeout",
    "RedirectError",
    "RelayFileError",
    "ResolveError",
    "ResponseTimeout",
    "StaleConnectionError",
    "StatusError",
    "TruncatedError",
    "TrustError",
    "WireRawSSEError",
]

EXCERPT_CHARACTERS = 80
"""Characters of foreign text that an error quotes, at most."""
MOST_CHARACTERS = 500
"""Characters of a whole error text, and of each text among its attributes, at most."""
MOST_BODY_CHARACTERS = 1024
"""Characters of `StatusError.body`, at most."""


def one_line(text: str, most: int = MOST_CHARACTERS, *, ascii_only: bool = False) -> str:
    """At most `most` printable characters. A dot replaces each other character, and an ellipsis a rest that was cut."""
    cut = text[:most]
    if not cut.isprintable() or (ascii_only and not cut.isascii()):
        cut = "".join(one if one.isprintable() and (one < "\x7f" or not ascii_only) else "." for one in cut)
    return cut[: most - 1] + "…" if len(text) > most else cut


def excerpt(what: bytes | str) -> str:
    """At most 80 printable ASCII characters of foreign text. Only for text that cannot hold a secret."""
    text = what.decode("latin-1") if isinstance(what, bytes) else what
    return one_line(text, EXCERPT_CHARACTERS, ascii_only=True)


class WireRawSSEError(Exception):
    """The root of all exceptions of this library. `permanent` is True if trying again cannot help."""

    permanent: bool = False
    in_doubt: bool = False
    """True if the connection may be alive all the same."""
    address: str | None = None
    """The address that was connected when the error happened, or None. A name may have several addresses."""
    redirected_from: str | None = None
    """The URL of the stream, if the error is about another URL to which it redirected."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by `args` and attributes, because `__init__` takes other arguments than `args`."""
        return _restored, (type(self), self.args), vars(self)

    def __str__(self) -> str:
        text = super().__str__()
        if self.redirected_from is not None:
            text = f"{text} (after a redirect from {self.redirected_from})"
        host = (self.address or "").rpartition(":")[0]
        return text if host in text else f"{text} (connected to {self.address})"


def _restored(kind: type[WireRawSSEError], arguments: tuple[Any, ...]) -> WireRawSSEError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


class InvalidRequestError(WireRawSSEError, ValueError, TypeError):
    """An argument of a wrong type or value, refused when it is given: a URL, method, header, token or setting.

    The text names the argument, the expected type or value, and the type of the given value. It never quotes a value
    that may be a secret.
    """

    permanent = True


class ClosedError(WireRawSSEError, RuntimeError):
    """The stream is used although it was closed: by `close`, by a 204, at the end of its one response, or by a fork."""

    permanent = True


class BusyError(WireRawSSEError, RuntimeError):
    """Two threads or tasks wait on one stream at once, or two event loops attend it.

    Make one stream for each of them. Threads can also share one `WakeChannel`.
    """

    permanent = True


class CredentialsError(WireRawSSEError, RuntimeError):
    """A callable for headers or a token raised or returned something unusable.

    The text names the type of the callable's exception and the line that raised it. That exception is not quoted and
    not kept as the cause, since it may hold a secret. If a callable raises `CredentialsError` itself, its text is shown
    and logged, with secrets that were sent masked.
    """


class TrustError(WireRawSSEError, OSError):
    """A CA file, a client certificate or its key cannot be used. For good if this Python has no `ssl` module."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class DeadlineError(WireRawSSEError, TimeoutError):
    """A clock ran out: `clock` is the name of a field of `Timeouts`, or `heartbeat`. `seconds` is its value.

    `phase` is the phase of the connection in which it ran out.
    """

    def __init__(self, clock: str, seconds: float, phase: str, text: str) -> None:
        super().__init__(text)
        self.clock = clock
        self.seconds = seconds
        self.phase = phase


class ConnectTimeout(DeadlineError):
    """Name, TCP, proxy and TLS together took longer than `Timeouts.connect`. `phase` tells which of them stalled."""


class ResponseTimeout(DeadlineError):
    """No complete response head came within `Timeouts.response` of the request. Consecutive timeouts double it."""


class ReadTimeout(DeadlineError):
    """No body byte came for `Timeouts.read`, so the stream is wedged, even if its socket seems healthy."""


class HeartbeatTimeout(ReadTimeout):
    """The server was silent for longer than its heartbeat allows; `clock` is `heartbeat`. See `Timeouts.learn`."""

    in_doubt = True


class RateTimeout(DeadlineError):
    """An unfinished line brought less than `Timeouts.min_rate` bytes a second over a whole `Timeouts.read`."""


class ConnectError(WireRawSSEError, ConnectionError):
    """No connection was established."""


class ResolveError(ConnectError):
    """The host name could not be resolved."""


class DialError(ConnectError):
    """Every address failed. `attempts` keeps each address with its error, in the order they were tried."""

    def __init__(self, text: str, attempts: Sequence[tuple[str, OSError]]) -> None:
        super().__init__(text)
        self.attempts = tuple(attempts)


class ProxyError(ConnectError):
    """The proxy refused, did not answer as a proxy, or is of an unsupported kind.

    `status` is the status of its answer, or None.
    """

    def __init__(self, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class HandshakeError(ConnectError):
    """The TLS handshake failed: the peer speaks something else, refused, or closed the connection."""


class CertificateError(HandshakeError):
    """The peer's certificate does not verify."""

    permanent = True


class ConnectionBrokenError(WireRawSSEError, ConnectionError):
    """An established connection was reset or failed. `__cause__` is the error of the system or of TLS, if any."""


class StaleConnectionError(ConnectionBrokenError):
    """The network or the machine has changed, so that the connection is dead or in doubt.

    Its local address is gone; or it was silent, and new connections leave from another address (`in_doubt` is True); or
    the machine was suspended. The next connection follows within `spread` seconds.
    """

    def __init__(self, text: str, *, spread: float = 0.0, in_doubt: bool = False) -> None:
        super().__init__(text)
        self.spread = spread
        self.in_doubt = in_doubt


class TruncatedError(WireRawSSEError, ConnectionError, EOFError):
    """The peer closed in the middle of a message."""


class MalformedResponseError(WireRawSSEError, ConnectionError):
    """The peer sent something other than a valid HTTP/1 response."""


class StatusError(WireRawSSEError, ConnectionError):
    """The server answered with a status other than 200.

    `retry_after` is the value of that header field, or None. `headers` are pairs of lower-case name and value, without
    the fields in which a server sends secrets (cookies, tokens). `body` is the beginning of the content as one line of
    at most 1,024 characters. In all three, secrets that were sent are masked.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        retry_after: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        body: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after
        self.headers = headers
        self.body = body
        # The same request would get the same answer, except after 408, 425 and 429 (RFC 9110 §15.5.9, RFC 8470 §5.2,
        # RFC 6585 §4), and after a failure of the server: 5xx, or an unknown class (RFC 9110 §15).
        self.permanent = status < 500 and status not in (408, 425, 429)


class NotAnEventStreamError(WireRawSSEError, ValueError):
    """The content of a 200 is not an event stream, or is compressed. `headers` and `body` are as in `StatusError`."""

    permanent = True

    def __init__(self, text: str, *, headers: tuple[tuple[str, str], ...] = (), body: str = "") -> None:
        super().__init__(text)
        self.headers = headers
        self.body = body


class RedirectError(WireRawSSEError, ConnectionError):
    """A redirect that is not followed.

    It is for good if it has no usable Location, or if it leads from https to http, to or from a Unix-domain socket,
    or with a body to another origin. The eleventh redirect in a row is retried.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class EventTooLargeError(WireRawSSEError, ValueError):
    """An event is larger than `max_event_bytes`, so a retry would fail in the same way. `limit` is in bytes."""

    permanent = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event is larger than max_event_bytes={limit}; raise the limit or make the events smaller")
        self.limit = limit


class RelayFileError(WireRawSSEError, ValueError):
    """wire's relay.json cannot be found or read, or has the wrong shape. Never for good, because it is read again."""
