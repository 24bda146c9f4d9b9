"""The request: checks every value that a caller gives, and composes the request.

No value reaches h11 unchecked. h11 would refuse most bad values too, but it quotes them, and cannot know that a value
is a token. Our check names the argument or field instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from wire_rawsse import checks
from wire_rawsse._version import __version__
from wire_rawsse.errors import CredentialsError, InvalidRequestError
from wire_rawsse.protocol.url import Url, parse_url
from wire_rawsse.redact import Secrets

HeaderList: TypeAlias = "list[tuple[bytes, bytes]]"
Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
HeaderSource: TypeAlias = "Headers | Callable[[], Headers] | None"

# RFC 9110 §5.6.2.
_IN_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BAD_IN_VALUE: Final = bytes((*range(9), *range(10, 32), 127))  # RFC 9110 §5.5: visible, space, tab, obs-text
LONGEST_ID: Final = 4096
"""Bytes of a last event id that is sent."""
_OURS_ALONE: Final = (
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"expect",
    b"te",
    b"trailer",
)

PUBLIC: Final = frozenset(
    (
        # They say what is asked for and in which form, so an answer must be able to name the same.
        *("accept", "accept-charset", "accept-encoding", "accept-language", "prefer", "range"),
        *("content-type", "content-encoding", "content-language"),
        # They control caches and scheduling.
        *("cache-control", "pragma", "if-modified-since", "if-none-match", "priority", "date", "save-data"),
        *("upgrade-insecure-requests", "x-accel-buffering"),
        # They name the client, the server, or one request in a log.
        *("user-agent", "host", "origin", "via", "x-requested-with", "dnt", "sec-gpc"),
        *("traceparent", "x-request-id", "x-correlation-id"),
        # The server issued it.
        "last-event-id",
    )
)
"""Fields that hold no secret, so that their values are never masked. The value of every other field is a secret."""
_PUBLIC_PREFIXES: Final = ("sec-fetch-", "sec-ch-", "x-forwarded-")
_PUBLIC_SUFFIXES: Final = ("-version", "-beta")
_WORDS: Final = frozenset(
    (
        *("true", "false", "yes", "no", "on", "off", "none", "null", "all", "any", "default", "auto", "asc", "desc"),
        *("json", "jsonl", "ndjson", "xml", "html", "text", "plain", "csv", "utf-8", "gzip", "identity", "raw", "full"),
        *("sse", "stream", "event", "events", "event-stream", "eventstream", "message", "messages", "data", "update"),
        *("updates", "notification", "notifications", "status", "error", "info", "debug", "latest", "live", "public"),
        *("get", "post", "http", "https"),
    )
)
"""Values that ask for a format or a kind of events. They occur in answers, so they are not masked as secrets."""
_MEDIA_TYPE: Final = r"(?i)(?:application|audio|font|image|message|model|multipart|text|video|\*)/[a-z.+*-]+"
_SCHEMES: Final = ("basic", "bearer", "digest", "token", "negotiate", "apikey", "hmac")
_LONGEST_NAME: Final = 24
_IN_NAME: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.[]"
# Compiled by the first request with a body.
_LIKE_A_TOKEN: Final = rb"[A-Za-z0-9_~+/=.-]{16,512}"
_SEARCHED_OF_BODY: Final = 64 * 1024
_MOST_OF_BODY: Final = 32


def check_method(method: str) -> bytes:
    """RFC 9110 §9.1. `CONNECT` is refused: it has no response that could be a stream. Raises `InvalidRequestError`."""
    checks.text(method, "method")
    encoded = method.encode("ascii", "replace")
    if not _is_token(encoded) or encoded.upper() in (b"CONNECT", b"HEAD"):
        raise InvalidRequestError("the method must be an HTTP token such as GET or POST, and neither CONNECT nor HEAD")
    return encoded


def check_body(body: bytes | None) -> bytes | None:
    """Raises `InvalidRequestError`."""
    if body is not None and not isinstance(body, bytes):
        raise checks.wrong("body", "bytes or None", body)
    return body


def _is_token(name: bytes) -> bool:
    return bool(name) and not name.strip(_IN_TOKEN)


def check_value(value: str | bytes, what: str) -> bytes:
    """A field value (RFC 9110 §5.5) as UTF-8. Raises `InvalidRequestError`, which names `what` and quotes no value."""
    if isinstance(value, str):
        value = checks.utf8(value, what)
    elif not isinstance(value, bytes):
        raise checks.wrong(what, "a str", value)
    if len(value.translate(None, _BAD_IN_VALUE)) != len(value):
        raise InvalidRequestError(f"{what} holds a line end or another control character; remove it")
    if value != value.strip(b" \t"):
        raise InvalidRequestError(f"{what} begins or ends with a space; remove it")
    return value


def check_headers(headers: Headers) -> HeaderList:
    """The caller's header fields, checked. Raises `InvalidRequestError`, which names a field but never its value."""
    checked: HeaderList = []
    for number, (name, value) in enumerate(pairs_of(headers), 1):
        encoded = name.encode("utf-8", "replace") if isinstance(name, str) else b""
        if not _is_token(encoded):
            raise InvalidRequestError(f"header {number} has a name that is not an HTTP token (RFC 9110 §5.1)")
        if encoded.lower() in _OURS_ALONE:
            raise InvalidRequestError(f"the header {encoded.decode()} belongs to the connection and cannot be given")
        if encoded.lower() in (b"host", b"last-event-id") and any(encoded.lower() == one.lower() for one, _ in checked):
            raise InvalidRequestError(f"the header {encoded.decode()} is given twice; give it once")  # RFC 9112 §3.2
        checked.append((encoded, check_value(value, f"the value of the header {encoded.decode()}")))
    return checked


def pairs_of(headers: Headers) -> list[tuple[str, str]]:
    """The caller's header fields as pairs of anything. Raises `InvalidRequestError` if they are no pairs."""
    expected = "a mapping of str to str, pairs of them, or a callable that returns either"
    given: Any = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise checks.wrong("headers", expected, given)
    pairs: list[tuple[str, str]] = []
    for pair in given:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            count = f" of {len(pair)}" if isinstance(pair, (tuple, list)) else ""
            raise InvalidRequestError(
                f"headers must be {expected}; item {len(pairs) + 1} is a {type(pair).__name__}{count}"
            )
        pairs.append((pair[0], pair[1]))
    return pairs


def ask_headers(source: HeaderSource) -> HeaderList:
    """The caller's fields as of now: `source` may be a callable, asked at each connect.

    Raises `CredentialsError` if the callable raises or returns what cannot be sent; `InvalidRequestError` where the
    values were given directly. A `CredentialsError` that the callable itself raises passes through with its own text.
    """
    if source is None:
        return []
    if not callable(source):
        return check_headers(source)
    return _ask("headers", source, check_headers)


def ask_bearer(source: str | Callable[[], str] | None) -> HeaderList:
    """`Authorization: Bearer …` (RFC 6750 §2.1) as of now. One trailing line end is dropped, as token files have one.

    Raises as `ask_headers` does.
    """
    if source is None:
        return []
    if not callable(source):
        return [(b"Authorization", b"Bearer " + _check_token(source))]
    return [(b"Authorization", b"Bearer " + _ask("bearer_token", source, _check_token))]


def ask_url(source: Callable[[], str]) -> Url:
    """The URL to connect to now. Raises `CredentialsError`, which never quotes the URL."""
    return _ask("url", source, parse_url)


Value = TypeVar("Value")
Checked = TypeVar("Checked")


def _ask(name: str, source: Callable[[], Value], check: Callable[[Value], Checked]) -> Checked:
    """The present answer of the caller's callable for `name`, checked."""
    try:
        answer = source()
    except CredentialsError:
        raise
    except Exception as error:
        raise CredentialsError(_raised(name, error)) from error
    try:
        return check(answer)
    except InvalidRequestError as error:
        raise CredentialsError(f"the callable given as {name} returned something unusable: {error}") from None
    except Exception as error:  # An answer that fails while it is looked at, as a lazy iterator may.
        raise CredentialsError(_raised(name, error)) from error


def _raised(name: str, error: Exception) -> str:
    """Names the type and the line, but not the text: it may quote a token that is not known here yet."""
    text = f"the callable given as {name} raised {type(error).__name__}"
    trace = error.__traceback__ and error.__traceback__.tb_next  # The first frame is that of `_ask`.
    if trace is None:
        return text
    return f"{text} ({os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno})"


def _check_token(token: str) -> bytes:
    if not isinstance(token, str):
        raise checks.wrong("the bearer token", "a str", token)
    token = token.removesuffix("\n").removesuffix("\r")
    if not token or not token.isascii():
        raise InvalidRequestError("the bearer token must be non-empty ASCII")
    if " " in token:
        raise InvalidRequestError("the bearer token holds a space; remove it")
    return check_value(token, "the bearer token")


def can_carry(last_event_id: str) -> bool:
    """Whether this id can be a field value: no controls, no outer spaces, valid in UTF-8, and at most 4 KiB of it.

    Servers refuse requests whose head is longer than 8 KiB or so, and would do so each time.
    """
    try:
        return len(check_value(last_event_id, "")) <= LONGEST_ID
    except InvalidRequestError:
        return False


def take_last_event_id(headers: HeaderList) -> tuple[HeaderList, str]:
    """The fields without `Last-Event-ID`, and its value or ""."""
    values = [value for name, value in headers if name.lower() == b"last-event-id"]
    if not values:
        return headers, ""
    return [field for field in headers if field[0].lower() != b"last-event-id"], values[0].decode("utf-8", "replace")


def first_event_id(source: HeaderSource, last_event_id: str) -> str:
    """The id that a stream begins with: `last_event_id=`, or a `Last-Event-ID` among headers that were given directly.

    Raises `InvalidRequestError` where both are given.
    """
    checks.text(last_event_id, "last_event_id")
    if source is None or callable(source):
        return last_event_id
    _, given = take_last_event_id(check_headers(source))
    if given and last_event_id:
        raise InvalidRequestError(
            "Last-Event-ID is given both among the headers and as last_event_id=; give one of them"
        )
    return given or last_event_id


class Request(NamedTuple):
    """One request, checked and ready for h11. `secrets` holds every value of it that a text must never show."""

    method: bytes
    target: bytes
    headers: HeaderList
    body: bytes
    secrets: Secrets

    @property
    def sends_id(self) -> bool:
        """Whether it has a `Last-Event-ID`."""
        return any(name.lower() == b"last-event-id" for name, _ in self.headers)

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
    secrets: Secrets | None = None,
) -> Request:
    """The request for an event stream: the caller's fields override ours (names compare without case).

    `absolute_form` is how a proxy is asked for an http URL (RFC 9112 §3.2.2). An id that HTTP cannot carry is left out.
    Whatever is secret in it is added to `secrets`, those of the stream, before any of it can be sent.
    """
    given = headers or []
    secrets = Secrets() if secrets is None else secrets
    secrets.add(*_secrets_of_body(body), *secrets_of_query(url.target.partition("?")[2]))
    for name, value in given:
        secrets.add(*secrets_of_field(name, value))
    ours: HeaderList = [
        (b"Host", url.authority.encode("ascii")),
        (b"User-Agent", b"wire_rawsse/" + __version__.encode("ascii")),
        (b"Accept", b"text/event-stream"),
        (b"Accept-Encoding", b"identity"),
        (b"Cache-Control", b"no-cache"),
    ]
    if url.authorization is not None:
        ours.append((b"Authorization", url.authorization.encode("ascii")))
    if proxy_authorization is not None:
        ours.append((b"Proxy-Authorization", proxy_authorization.encode("ascii")))
    for credentials in (url.authorization, proxy_authorization):
        secrets.add(*_credentials(credentials or ""))
    if last_event_id and can_carry(last_event_id):
        ours.append((b"Last-Event-ID", last_event_id.encode("utf-8")))
    overridden = {name.lower() for name, _ in given}
    fields = [field for field in ours if field[0].lower() not in overridden] + given
    if body is not None or method == b"POST":  # RFC 9110 §8.6: with a method that expects content, even for none.
        fields.append((b"Content-Length", str(len(body or b"")).encode("ascii")))
    target = f"http://{url.place}{url.target}" if absolute_form else url.target
    return Request(method, target.encode("ascii"), fields, body or b"", secrets)


def compose_connect(url: Url, proxy_authorization: str | None, secrets: Secrets | None = None) -> Request:
    """Ask a proxy for a tunnel to `url` (RFC 9110 §9.3.6). `secrets` as for `compose`."""
    secrets = Secrets() if secrets is None else secrets
    secrets.add(*_credentials(proxy_authorization or ""))
    place = url.host_and_port.encode("ascii")
    fields: HeaderList = [(b"Host", place), (b"User-Agent", b"wire_rawsse/" + __version__.encode("ascii"))]
    if proxy_authorization is not None:
        fields.append((b"Proxy-Authorization", proxy_authorization.encode("ascii")))
    return Request(b"CONNECT", place, fields, b"", secrets)


def secrets_of_field(name: bytes, value: bytes) -> Iterator[str]:
    """The secret part of a field that the caller gave: its value, unless the field is known to hold no secret."""
    lower = name.lower().decode("ascii")
    public = lower in PUBLIC or lower.startswith(_PUBLIC_PREFIXES) or lower.endswith(_PUBLIC_SUFFIXES)
    text = value.decode("latin-1")
    if lower == "cookie":
        yield from _secrets_of_pairs(pair.strip() for pair in text.split(";"))
    elif not public and not _is_word(text):
        yield from _credentials(text)


def secrets_of_query(query: str) -> Iterator[str]:
    """Tokens are put there that should be in a field."""
    return _secrets_of_pairs(query.split("&"))


def _secrets_of_pairs(pairs: Iterable[str]) -> Iterator[str]:
    """The values of parameters or cookies, and the names that may be tokens."""
    for pair in pairs:
        name, _, value = pair.partition("=")
        if value and not _is_word(value):
            yield value
        if not value or len(name) > _LONGEST_NAME or name.strip(_IN_NAME):
            yield name


def _is_word(value: str) -> bool:
    """Whether a value asks for a format or a kind of events, by a word or by a media type: `format=json`."""
    return value.lower() in _WORDS or ("/" in value and re.fullmatch(_MEDIA_TYPE, value) is not None)


def _credentials(value: str) -> Iterator[str]:
    """A field value without the name of its scheme, which is no secret (RFC 9110 §11.4).

    For Basic credentials (RFC 7617 §2) also the decoded text, since a server may quote the password.
    """
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if not rest or scheme.lower() not in _SCHEMES:
        yield value
        return
    yield rest
    if scheme.lower() == "basic":
        import binascii

        try:
            yield binascii.a2b_base64(rest).decode("latin-1")
        except ValueError:
            pass  # Not base64, so nobody can decode it.


def _secrets_of_body(body: bytes | None) -> list[str]:
    """The texts in a body that look like a token. Words do not, since a server must be able to name a wrong one."""
    if not body:
        return []
    found = re.findall(_LIKE_A_TOKEN, body[:_SEARCHED_OF_BODY])[:_MOST_OF_BODY]
    return [one.decode("ascii") for one in found if not one.isalpha()]
