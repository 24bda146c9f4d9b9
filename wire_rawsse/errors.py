"""One exception tree: everything this library raises is a `WireRawSSEError`.

Each class also derives from the builtin that a caller would expect to catch (`TimeoutError`, `ConnectionError`,
`ValueError`, …), keeps the facts as attributes, and says in `permanent` whether asking again can help: an `EventSource`
raises what is permanent and retries the rest; a `StreamSubscriber` retries everything.

No text here ever holds a secret. What a peer sent is quoted only through `excerpt`, which masks whatever looks like a
piece of a secret that we sent (a server may echo our headers), and a URL only through `protocol.url.Url.shown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

EXCERPT_CHARACTERS = 80
_SHORTEST_SECRET_PIECE = 4


def excerpt(what: bytes | str, secrets: Iterable[str] = ()) -> str:
    """At most 80 printable characters of what a peer sent; every piece (4 characters on) of `secrets` is masked."""
    text = what.decode("latin-1") if isinstance(what, bytes) else what
    cut = len(text) > EXCERPT_CHARACTERS
    # Masked before it is cut and escaped, so that neither can hide a piece; the look-ahead lets a piece cross the cut.
    text = text[: EXCERPT_CHARACTERS + _SHORTEST_SECRET_PIECE]
    masked = [False] * len(text)
    for secret in secrets:
        size = min(_SHORTEST_SECRET_PIECE, len(secret))
        for start in range(len(text) - size + 1):
            if size and text[start : start + size] in secret:
                masked[start : start + size] = [True] * size
    shown: list[str] = []
    for character, hidden in zip(text[:EXCERPT_CHARACTERS], masked, strict=False):
        shown.append("*" if hidden else character if character.isprintable() and character < "\x7f" else ".")
    return "".join(shown[: EXCERPT_CHARACTERS - 1]) + "…" if cut else "".join(shown)


class WireRawSSEError(Exception):
    """The root. `permanent`: True where trying again cannot help."""

    permanent: bool = False


class InvalidRequest(WireRawSSEError, ValueError):
    """A URL, method, header, token or setting that cannot be sent; refused before a byte is. Never quotes the value."""

    permanent = True


class ClosedError(WireRawSSEError, RuntimeError):
    """The stream was closed (by you, by a 204, or by a fork) and is used again."""

    permanent = True


class BusyError(WireRawSSEError, RuntimeError):
    """Two threads wait on one stream at once. Give each its own, or share one `WakeChannel`."""

    permanent = True


class CredentialsError(WireRawSSEError, RuntimeError):
    """A callable for headers or a token raised or returned something unusable. Its text is not repeated here."""


class TrustError(WireRawSSEError, OSError):
    """The CA file given as `tls=` cannot be read or holds no certificate."""


class DeadlineError(WireRawSSEError, TimeoutError):
    """A clock ran out. `clock` names the field of `Timeouts`, `seconds` its value, `phase` where it ran out."""

    def __init__(self, clock: str, seconds: float, phase: str, text: str) -> None:
        super().__init__(text)
        self.clock = clock
        self.seconds = seconds
        self.phase = phase


class ConnectTimeout(DeadlineError):
    """Name, TCP, proxy and TLS together took longer than `Timeouts.connect`; `phase` says in which it ended."""


class ResponseTimeout(DeadlineError):
    """No complete response head within `Timeouts.response` of the request."""


class ReadTimeout(DeadlineError):
    """No body byte for `Timeouts.read`: the stream is wedged, whatever its socket says."""


class RateTimeout(DeadlineError):
    """An unfinished line brought less than `Timeouts.min_rate` bytes a second over a whole `Timeouts.read`."""


class ConnectError(WireRawSSEError, ConnectionError):
    """No connection came about."""


class ResolveError(ConnectError):
    """The host name could not be resolved."""


class DialError(ConnectError):
    """Every address failed. `attempts` keeps each address with its error, in the order they were tried."""

    def __init__(self, text: str, attempts: Sequence[tuple[str, OSError]]) -> None:
        super().__init__(text)
        self.attempts = tuple(attempts)


class ProxyError(ConnectError):
    """The proxy refused, lied, or is of a kind that is not spoken here. `status` is its answer, if it gave one."""

    def __init__(self, text: str, *, status: int | None = None, permanent: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.permanent = permanent


class HandshakeError(ConnectError):
    """TLS could not be agreed: the peer speaks something else, refused, or closed."""


class CertificateError(HandshakeError):
    """The peer's certificate does not verify."""

    permanent = True


class ConnectionBroken(WireRawSSEError, ConnectionError):
    """The connection was reset or failed under us; the cause is the system's own error."""


class Truncated(WireRawSSEError, ConnectionError, EOFError):
    """The peer closed in the middle of a message."""


class MalformedResponse(WireRawSSEError, ConnectionError):
    """What came is not an HTTP/1 response, or not a correct one."""


class StatusError(WireRawSSEError, ConnectionError):
    """The server answered, but not with 200. `retry_after` is the field's raw value, or None."""

    def __init__(self, status: int, text: str, *, retry_after: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after
        # A 4xx is our fault and stays so, but for the three that ask us to come back (RFC 9110 §15.5.9, RFC 8470 §5.2,
        # RFC 6585 §4). 204 is how a server tells an event stream to stop (WHATWG HTML, "server-sent events").
        self.permanent = status == 204 or (400 <= status < 500 and status not in (408, 425, 429))


class NotAnEventStream(WireRawSSEError, ValueError):
    """A 200 whose content is no event stream, or comes in a coding that was not asked for."""

    permanent = True


class RedirectError(WireRawSSEError, ConnectionError):
    """A redirect that leads nowhere, is one too many, or (then for good) leads from https to http or off a socket."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class EventTooLarge(WireRawSSEError, ValueError):
    """One event exceeds `max_event_bytes`; a retry would fetch it again. `limit` is in bytes."""

    permanent = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"an event is larger than max_event_bytes={limit}; raise the limit or make the events smaller")
        self.limit = limit


class RelayFileError(WireRawSSEError, ValueError):
    """wire's relay.json is missing, unreadable or of the wrong shape; it is read again, so this is never for good."""
