"""One HTTP/1.1 request and its response, on h11 but for the chunks: what is sent, and what is made of what comes.

h11 knows the grammar; this module knows what an event stream wants of it, and what must never be sent:

* Nothing a caller gave reaches h11 unchecked. h11 would refuse most of what is bad as well, but by quoting it, and it
  cannot know that the value it quotes is a token. Our own check names the place the value came from instead.
* A head may be 64 KiB, all interim responses included, however it is split into reads; an endless one is refused
  when the limit is reached and not a byte later.
* Body bytes are handed on as they come, before their chunk is complete, so the size of a chunk costs no latency.
* What came instead of a response (HTTP/2, SSH, a web page) is quoted in the error, printable and masked.

No socket, no clock: `Exchange` is fed with bytes and asked for facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import h11

from wire_rawsse._version import __version__
from wire_rawsse.errors import (
    CredentialsError,
    InvalidRequest,
    MalformedResponse,
    NotAnEventStream,
    RedirectError,
    StatusError,
    Truncated,
    excerpt,
)
from wire_rawsse.protocol.chunked import BadChunk, ChunkedBody
from wire_rawsse.protocol.url import Url, resolve

HEAD_BYTES: Final = 64 * 1024
"""The largest response head, interim responses included. (curl takes 300 KiB; nginx sends 4 or 8 KiB a line.)"""

REDIRECTS: Final = (301, 302, 303, 307, 308)
"""RFC 9110 §15.4, without 300 (a choice for a person) and 304 (nothing was conditional)."""

HeaderList: TypeAlias = "list[tuple[bytes, bytes]]"
Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"
HeaderSource: TypeAlias = "Headers | Callable[[], Headers] | None"

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_BAD_IN_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110 §5.5: visible, space, tab, obs-text
# One element of a list (RFC 9110 §5.6.1), with the commas in its quoted strings.
_ELEMENT: Final = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*"?)+')
_ESSENCE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+/[!#$%&'*+.^_`|~0-9a-z-]+")
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
    if not _TOKEN.fullmatch(encoded) or encoded.upper() in (b"CONNECT", b"HEAD"):
        raise InvalidRequest("the method must be an HTTP token such as GET or POST, and neither CONNECT nor HEAD")
    return encoded


def check_value(value: str | bytes, what: str) -> bytes:
    """A field value (RFC 9110 §5.5) as UTF-8, or `InvalidRequest`, which names `what` and never quotes the value."""
    if isinstance(value, str):
        try:
            value = value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidRequest(f"{what} holds a lone surrogate, which has no UTF-8") from None
    elif not isinstance(value, bytes):
        raise InvalidRequest(f"{what} must be a str, not {type(value).__name__}")
    if _BAD_IN_VALUE.search(value):
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
        if not _TOKEN.fullmatch(encoded):
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


class Response(NamedTuple):
    """A final response head. Field names are lower-case, values Latin-1 text, in the order they came."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The values of one field, joined as RFC 9110 §5.3 says, or None."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class Exchange:
    """One request and its response. Feed `head` until it returns a `Response`, then `body`.

    `to_send` is the request's bytes. `ended` turns True at the end of the response's message.
    """

    def __init__(self, request: Request) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._secrets = request.secrets
        self._first = b""
        self._head_bytes = 0
        self._chunked: ChunkedBody | None = None
        self._behind_head = b""
        self.ended = False
        try:
            sent = [
                self._h11.send(h11.Request(method=request.method, target=request.target, headers=request.headers)),
                self._h11.send(h11.Data(data=request.body)) if request.body else b"",
                self._h11.send(h11.EndOfMessage()),
            ]
        except h11.LocalProtocolError:
            # Never chained: h11 quotes the offending value, which may be a token.
            raise InvalidRequest("the header fields contradict each other (two Host fields?)") from None
        self.to_send = b"".join(part or b"" for part in sent)

    def head(self, data: bytes) -> Response | None:
        """Take more bytes (b"" is the end of the connection); the final response's head once it is complete.

        Interim responses (RFC 9110 §15.2) are skipped; they count towards the 64 KiB, so not for ever. What follows the
        head is kept for `body(None)`. Raises `MalformedResponse`, or `Truncated` where the peer closed.
        """
        if len(self._first) < 128:
            self._first = (self._first + data)[:128]
        if not self._first.startswith(b"HTTP/1."[: len(self._first)]):
            raise MalformedResponse(f"expected an HTTP/1 response, got: {excerpt(self._first, self._secrets)}")
        if not data:
            got = f"only: {excerpt(self._first, self._secrets)}" if self._first else "nothing"
            raise Truncated(f"the peer closed the connection before the response head was complete; it sent {got}")
        # Fed no further than the limit, so that whether a head is too long never depends on how it was split.
        allowed = data[: HEAD_BYTES - self._head_bytes]
        self._head_bytes += len(allowed)
        response = self._next_head(allowed)
        if response is not None:
            if self._chunked is not None:
                self._behind_head = self.rest() + data[len(allowed) :]
            elif len(data) > len(allowed):
                self._h11.receive_data(data[len(allowed) :])
        elif self._head_bytes >= HEAD_BYTES:
            raise MalformedResponse(f"the response head is longer than {HEAD_BYTES} bytes")
        return response

    def _next_head(self, data: bytes) -> Response | None:
        try:
            self._h11.receive_data(data)
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.InformationalResponse):
                    continue
                if not isinstance(event, h11.Response):
                    return None
                fields = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
                if any(name == "transfer-encoding" for name, _ in fields):  # h11 takes no coding but chunked.
                    self._chunked = ChunkedBody()
                return Response(event.status_code, event.reason.decode("latin-1"), fields)
        except h11.RemoteProtocolError:
            # h11's own text may quote a header line, and the line may echo a secret of ours.
            raise MalformedResponse(
                f"the response head breaks HTTP/1.1 (RFC 9112): {excerpt(self._first, self._secrets)}"
            ) from None

    def rest(self) -> bytes:
        """What came behind the head of a response that switched to a tunnel (RFC 9110 §9.3.6)."""
        return bytes(self._h11.trailing_data[0])

    def body(self, data: bytes | None) -> Iterator[bytes]:
        """The body bytes in `data`, chunk framing removed, each piece as soon as it is there.

        None asks for what came with the head; b"" says that the connection ended. Raises `Truncated` or
        `MalformedResponse`, after the pieces before the fault.
        """
        if self._chunked is None:
            yield from self._plain_body(data)
            return
        read = data or b""
        if self._behind_head:
            read, self._behind_head = self._behind_head + read, b""
        try:
            yield from self._chunked.feed(read)
        except BadChunk as error:
            shown = excerpt(read, self._secrets)
            raise MalformedResponse(f"{error} (chunked coding, RFC 9112 §7.1), near: {shown}") from None
        self.ended = self._chunked.ended
        if data == b"" and not self.ended:
            raise Truncated(_CUT_SHORT)

    def _plain_body(self, data: bytes | None) -> Iterator[bytes]:
        """A body that ends with its Content-Length or with the connection (RFC 9112 §6.3)."""
        try:
            if data is not None:
                self._h11.receive_data(data)
            while not self.ended:
                event = self._h11.next_event()
                if isinstance(event, h11.Data):
                    yield event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.ended = True
                else:
                    return
        except h11.RemoteProtocolError:
            raise Truncated(_CUT_SHORT) from None


_CUT_SHORT: Final = "the peer closed the connection in the middle of the response body"


def check_event_stream(response: Response, request: Request, place: str) -> None:
    """Accept a 200 whose content is an event stream, or raise `StatusError` or `NotAnEventStream`.

    The type is compared by its essence, without case and parameters (MIME Sniffing §4.2; WHATWG HTML, section
    "server-sent events"); charset is ignored, as an event stream is always UTF-8.
    """
    status = response.status
    if status != 200:
        reason = excerpt(response.reason, request.secrets)
        expected = "which tells an event stream to stop" if status == 204 else "expected 200"
        text = f"{place} answered {status}{' ' + reason if reason else ''}, {expected}"
        raise StatusError(status, text, retry_after=response.get("retry-after"))
    kind = response.get("content-type") or ""
    if _essence(kind) != "text/event-stream":
        came = f"Content-Type {excerpt(kind, request.secrets)}" if kind else "no Content-Type"
        raise NotAnEventStream(f"{place} answered 200 with {came}, expected text/event-stream")
    coding = (response.get("content-encoding") or "identity").strip().lower()
    if coding != "identity":
        shown = excerpt(coding, request.secrets)
        raise NotAnEventStream(f"{place} sent Content-Encoding {shown}, which was not asked for")


def _essence(content_type: str) -> str:
    """The type that it names: of several the last that is one (Fetch, "extract a MIME type"), or ""."""
    found = ""
    for element in _ELEMENT.findall(content_type):
        essence = element.partition(";")[0].strip(" \t").lower()
        if _ESSENCE.fullmatch(essence) and essence != "*/*":
            found = essence
    return found


class Hop(NamedTuple):
    """Where a redirect leads and what is left of the request."""

    url: Url
    method: bytes
    body: bytes | None
    credentials: bool
    """False once the origin has changed: the caller's credentials are not sent on."""
    secrets: tuple[str, ...] = ()
    """Of the requests before this one: whoever wrote the Location knew them."""

    def shown(self, text: str) -> str:
        """A piece of the URL for logs and errors. What came in a Location is a peer's text."""
        return excerpt(text, self.secrets) if self.secrets else text

    @property
    def place(self) -> str:
        return self.shown(self.url.shown)


def follow(response: Response, hop: Hop, secrets: tuple[str, ...] = ()) -> Hop:
    """The next hop of a redirect (RFC 9110 §15.4). `secrets` are those of the request. Raises `RedirectError`.

    POST becomes GET on 301, 302 and 303, as every browser has it; 307 and 308 keep method and body.
    """
    location = response.get("location")
    if location is None:
        raise RedirectError(f"{hop.place} answered {response.status} without a Location")
    try:
        # Field values are Latin-1 for us, but a Location is most often raw UTF-8 where it is not ASCII.
        url = resolve(hop.url, location.encode("latin-1").decode("utf-8", "replace"))
    except InvalidRequest as error:
        raise RedirectError(f"{hop.place} answered {response.status} with a bad Location: {error}") from None
    same = url.origin == hop.url.origin
    if same and url.authorization is None:
        url = url._replace(authorization=hop.url.authorization)
    became_get = response.status == 303 or (response.status in (301, 302) and hop.method == b"POST")
    method, body = (b"GET", None) if became_get else (hop.method, hop.body)
    following = Hop(url, method, body, hop.credentials and same, secrets)
    if hop.url.scheme == "https" and url.scheme == "http":
        raise RedirectError(f"{hop.place} redirects from https to http ({following.place}); refused", permanent=True)
    if "unix" in (hop.url.scheme, url.scheme) and not same:
        raise RedirectError(f"{hop.place} redirects on or off a Unix-domain socket; refused", permanent=True)
    return following


CREDENTIALS: Final = (b"authorization", b"cookie", b"proxy-authorization", b"host")
"""The fields that are the origin's own: dropped when a redirect changes it (RFC 9110 §15.4)."""

CONTENT: Final = (b"content-type", b"content-encoding", b"content-language", b"content-location")
"""The fields about a body: dropped with it, when a redirect makes a GET of a POST (RFC 9110 §15.4)."""


def without(headers: HeaderList, names: tuple[bytes, ...]) -> HeaderList:
    return [(name, value) for name, value in headers if name.lower() not in names]
