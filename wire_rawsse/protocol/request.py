"""What is sent: every value that a caller gave is checked here, and here the request is put together.

Nothing a caller gave reaches h11 unchecked. h11 would refuse most of what is bad as well, but by quoting it, and it
cannot know that the value it quotes is a token. Our own check names the place the value came from instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from wire_rawsse._version import __version__
from wire_rawsse.errors import CredentialsError, InvalidRequest
from wire_rawsse.protocol.url import Url

HeaderList: TypeAlias = "list[tuple[bytes, bytes]]"
Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
HeaderSource: TypeAlias = "Headers | Callable[[], Headers] | None"

# RFC 9110 §5.6.2.
_IN_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_BAD_IN_VALUE: Final = frozenset({*range(32), 127} - {9})  # RFC 9110 §5.5: visible, space, tab, obs-text
_OURS_ALONE: Final = (
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"expect",
    b"te",
    b"trailer",
)


def check_method(method: str) -> bytes:
    """RFC 9110 §9.1. `CONNECT` is refused: it has no response that could be a stream. Raises `InvalidRequest`."""
    encoded = method.encode("ascii", "replace")
    if not _is_token(encoded) or encoded.upper() in (b"CONNECT", b"HEAD"):
        raise InvalidRequest("the method must be an HTTP token such as GET or POST, and neither CONNECT nor HEAD")
    return encoded


def _is_token(name: bytes) -> bool:
    return bool(name) and _IN_TOKEN.issuperset(name)


def check_value(value: str | bytes, what: str) -> bytes:
    """A field value (RFC 9110 §5.5) as UTF-8, or `InvalidRequest`, which names `what` and never quotes the value."""
    if isinstance(value, str):
        try:
            value = value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidRequest(f"{what} holds a lone surrogate, which has no UTF-8") from None
    elif not isinstance(value, bytes):
        raise InvalidRequest(f"{what} must be a str, not {type(value).__name__}")
    if not _BAD_IN_VALUE.isdisjoint(value):
        raise InvalidRequest(f"{what} holds a line end or another control character; remove it")
    if value != value.strip(b" \t"):
        raise InvalidRequest(f"{what} begins or ends with a space; remove it")
    return value


def check_headers(headers: Headers) -> HeaderList:
    """The caller's header fields, checked. Raises `InvalidRequest`, which names a field but never its value."""
    checked: HeaderList = []
    pairs: Iterable[tuple[str, str]] = headers.items() if isinstance(headers, Mapping) else headers
    for number, (name, value) in enumerate(pairs, 1):
        encoded = name.encode("utf-8", "replace") if isinstance(name, str) else b""
        if not _is_token(encoded):
            raise InvalidRequest(f"header {number} has a name that is not an HTTP token (RFC 9110 §5.1)")
        if encoded.lower() in _OURS_ALONE:
            raise InvalidRequest(f"the header {encoded.decode()} belongs to the connection and cannot be given")
        checked.append((encoded, check_value(value, f"the value of the header {encoded.decode()}")))
    return checked


def ask_headers(source: HeaderSource) -> HeaderList:
    """The caller's fields as of now: `source` may be a callable, asked at each connect.

    Raises `CredentialsError` where the callable raises or returns what cannot be sent (its text may hold a secret, so
    it stays in `__cause__`); `InvalidRequest` where the values were given directly.
    """
    if source is None:
        return []
    if not callable(source):
        return check_headers(source)
    try:
        return check_headers(source())
    except InvalidRequest as error:
        raise CredentialsError(f"the callable given as headers returned something unusable: {error}") from None
    except Exception as error:
        raise CredentialsError(f"the callable given as headers raised {type(error).__name__}") from error


def ask_bearer(source: str | Callable[[], str] | None) -> HeaderList:
    """`Authorization: Bearer …` (RFC 6750 §2.1) as of now. One trailing line end is dropped, as token files have one.

    Raises as `ask_headers` does.
    """
    if source is None:
        return []
    if not callable(source):
        return [(b"Authorization", b"Bearer " + _check_token(source))]
    try:
        return [(b"Authorization", b"Bearer " + _check_token(source()))]
    except InvalidRequest as error:
        raise CredentialsError(f"the callable given as bearer_token returned something unusable: {error}") from None
    except Exception as error:
        raise CredentialsError(f"the callable given as bearer_token raised {type(error).__name__}") from error


def _check_token(token: str) -> bytes:
    if not isinstance(token, str):
        raise InvalidRequest(f"the bearer token must be a str, not {type(token).__name__}")
    token = token.removesuffix("\n").removesuffix("\r")
    if not token or not token.isascii():
        raise InvalidRequest("the bearer token must be non-empty ASCII")
    if " " in token:
        raise InvalidRequest("the bearer token holds a space; remove it")
    return check_value(token, "the bearer token")


def can_carry(last_event_id: str) -> bool:
    """Whether HTTP can carry this id as a field value: no controls, no outer spaces, and there is a UTF-8 for it."""
    try:
        check_value(last_event_id, "")
    except InvalidRequest:
        return False
    return True


class Request(NamedTuple):
    """One request, checked and ready for h11. `secrets` are the values that an error must never show."""

    method: bytes
    target: bytes
    headers: HeaderList
    body: bytes
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Request {self.method.decode()} with {len(self.headers)} header fields>"


def compose(
    url: Url,
    *,
    method: bytes = b"GET",
    body: bytes | None = None,
    headers: HeaderList | None = None,
    last_event_id: str = "",
    absolute_form: bool = False,
    proxy_authorization: str | None = None,
    secrets_before: tuple[str, ...] = (),
) -> Request:
    """The request for an event stream: the caller's fields override ours (names compare without case).

    `absolute_form` is how a proxy is asked for an http URL (RFC 9112 §3.2.2). An id that HTTP cannot carry is left out.
    `secrets_before` are those of the requests that were redirected to here.
    """
    given = headers or []
    ours: HeaderList = [
        (b"Host", url.authority.encode("ascii")),
        (b"User-Agent", b"wire_rawsse/" + __version__.encode("ascii")),
        (b"Accept", b"text/event-stream"),
        (b"Accept-Encoding", b"identity"),
        (b"Cache-Control", b"no-cache"),
    ]
    secrets = [value.decode("latin-1") for _, value in given]
    secrets.append(url.target.partition("?")[2])  # Where tokens are put that should be in a field.
    if url.authorization is not None:
        ours.append((b"Authorization", url.authorization.encode("ascii")))
        secrets.append(url.authorization)
    if proxy_authorization is not None:
        ours.append((b"Proxy-Authorization", proxy_authorization.encode("ascii")))
        secrets.append(proxy_authorization)
    if last_event_id and can_carry(last_event_id):
        ours.append((b"Last-Event-ID", last_event_id.encode("utf-8")))
    overridden = {name.lower() for name, _ in given}
    fields = [field for field in ours if field[0].lower() not in overridden] + given
    if body is not None or method == b"POST":  # RFC 9110 §8.6: with a method that expects content, even for none.
        fields.append((b"Content-Length", str(len(body or b"")).encode("ascii")))
    target = f"http://{url.authority}{url.target}" if absolute_form else url.target
    return Request(method, target.encode("ascii"), fields, body or b"", every_form(secrets) + secrets_before)


def every_form(values: Iterable[str]) -> tuple[str, ...]:
    """Every form of these values that an error must not show.

    A peer may change their case, as we do with what we compare without it, and may quote the password that it took out
    of Basic credentials (RFC 7617 §2).
    """
    found = [value for value in values if value]
    for value in list(found):
        scheme, _, encoded = value.partition(" ")
        if scheme.lower() == "basic":
            import binascii

            try:
                found.append(binascii.a2b_base64(encoded).decode("latin-1"))
            except ValueError:
                pass  # Not base64, so nobody can decode it.
    return tuple(dict.fromkeys(form for value in found for form in (value, value.lower(), value.upper())))


def compose_connect(url: Url, proxy_authorization: str | None) -> Request:
    """Ask a proxy for a tunnel to `url` (RFC 9110 §9.3.6)."""
    place = url.host_and_port.encode("ascii")
    fields: HeaderList = [(b"Host", place), (b"User-Agent", b"wire_rawsse/" + __version__.encode("ascii"))]
    if proxy_authorization is not None:
        fields.append((b"Proxy-Authorization", proxy_authorization.encode("ascii")))
    return Request(b"CONNECT", place, fields, b"", every_form([proxy_authorization or ""]))
