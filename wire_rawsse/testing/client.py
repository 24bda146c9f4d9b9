"""A small blocking client for a relay, ours or wire's own, and for our control call. Imports no asyncio.

It is for the other side of a measurement: the demonstration's sender, the tests, the bench. So it is
plain: a blocking socket with one timeout, h11, one connection that is kept alive, each request a single write with
TCP_NODELAY. It shares nothing with the library's own transport, so that a bug there cannot be hidden by the same bug
here.

A kept connection may have been closed by the relay just when the next request is sent. If that request got not one
byte of an answer, it is sent once more on a new connection; for a post with an `event_id` that is safe, since the relay
knows duplicates. One client serves one thread.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import ssl
import urllib.parse
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

import h11

from wire_rawsse.errors import (
    ConnectError,
    ConnectionBrokenError,
    InvalidRequestError,
    MalformedResponseError,
    ResponseTimeout,
    StatusError,
    TruncatedError,
    excerpt,
)
from wire_rawsse.redact import Secrets
from wire_rawsse.testing.faults import Fault

_HEAD_BYTES: Final = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Slot:
    """A slot's credentials. Its `repr` leaves the token out."""

    slot_id: str
    slot_token: str = dataclasses.field(repr=False)

    @property
    def path(self) -> str:
        return f"/v1/events/{urllib.parse.quote(self.slot_id, safe='')}"

    @property
    def authorization(self) -> tuple[str, str]:
        return "Authorization", f"Bearer {self.slot_token}"


class Posted(NamedTuple):
    """The relay's answer to an event: its id as the relay sees it, and `stored` or `duplicate`."""

    event_id: str | None
    status: str


class ClientResponse(NamedTuple):
    """`fields` by lower-case name; of a field that came twice the last."""

    status: int
    fields: dict[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise MalformedResponseError(f"JSON was expected, but this came: {excerpt(self.body)!r}") from None


class _Stale(Exception):
    """A kept connection ended before the first byte of an answer."""


class _Link:
    """One kept connection to one origin."""

    def __init__(self, url: str, timeout: float, tls: ssl.SSLContext | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https", "unix") or parts.username is not None:
            raise InvalidRequestError("a relay's URL must be http://HOST:PORT, https://HOST:PORT or unix:///PATH")
        self._scheme = parts.scheme
        self._path = urllib.parse.unquote(parts.path)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = "localhost" if parts.scheme == "unix" else parts.netloc
        self._timeout = timeout
        self._tls = tls
        self._socket: socket.socket | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(
        self, method: str, target: str, fields: Sequence[tuple[str, str]], body: bytes | None
    ) -> ClientResponse:
        if self._socket is not None:
            try:
                return self._exchange(self._socket, method, target, fields, body, kept=True)
            except _Stale:
                self.close()
        return self._exchange(self._connect(), method, target, fields, body, kept=False)

    def _connect(self) -> socket.socket:
        try:
            if self._scheme == "unix":
                sock = socket.socket(socket.AF_UNIX)
                self._socket = sock
                sock.settimeout(self._timeout)
                sock.connect(self._path)
            else:
                sock = self._socket = socket.create_connection((self._host, self._port), self._timeout)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._scheme == "https":
                context = self._tls or ssl.create_default_context()
                sock = self._socket = context.wrap_socket(sock, server_hostname=self._host)
        except OSError as error:
            self.close()
            raise ConnectError(f"no connection to the relay at {self._authority}: {error}") from error
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        return sock

    def _exchange(
        self,
        sock: socket.socket,
        method: str,
        target: str,
        fields: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        kept: bool,
    ) -> ClientResponse:
        headers = [("Host", self._authority), *fields]
        if body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        try:
            data = self._framed(h11.Request(method=method, target=target, headers=headers))
            data += self._framed(h11.Data(data=body)) if body else b""
            data += self._framed(h11.EndOfMessage())
        except h11.LocalProtocolError:
            self.close()
            raise InvalidRequestError("a request's method, target or headers cannot be sent as HTTP") from None
        try:
            response = self._response(sock, data, kept)
        except TimeoutError as error:
            text = f"the relay at {self._authority} did not answer within {self._timeout:g} s"
            raise ResponseTimeout("response", self._timeout, "response", text) from error
        except h11.RemoteProtocolError as error:
            if self._http.trailing_data[1]:
                raise TruncatedError(f"the relay at {self._authority} closed the connection within an answer") from None
            shown = Secrets(value for _, value in fields).quote(str(error))
            raise MalformedResponseError(
                f"the relay at {self._authority} did not answer in HTTP/1.1: {shown}"
            ) from None
        finally:
            if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
            else:
                self.close()
        return response

    def _response(self, sock: socket.socket, request: bytes, kept: bool) -> ClientResponse:
        head: h11.Response | None = None
        body: list[bytes] = []
        began = False
        try:
            sock.sendall(request)
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Response):
                    head = event
                elif isinstance(event, h11.Data):
                    body.append(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    assert head is not None
                    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
                    return ClientResponse(head.status_code, found, b"".join(body))
                elif event is h11.NEED_DATA:
                    data = sock.recv(65536)
                    if not (data or began):
                        raise TruncatedError(f"the relay at {self._authority} closed the connection without an answer")
                    began = True
                    self._http.receive_data(data)
        except TimeoutError:
            raise
        except OSError as error:
            if kept and not began:
                raise _Stale from error
            if isinstance(error, TruncatedError):
                raise
            raise ConnectionBrokenError(f"the connection to the relay at {self._authority} broke: {error}") from error

    def _framed(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""


class RelayClient:
    """Talks to the relay at `url`, and to its control port if `control` is that port's URL.

    `timeout` is in seconds, for each wait on the socket; `tls` is used for https as it is. Every method raises a
    `WireRawSSEError`: `ConnectError`, `ConnectionBrokenError`, `TruncatedError`, `ResponseTimeout`,
    `MalformedResponseError`, or `StatusError` for a status that is none of a success.
    """

    def __init__(
        self, url: str, *, control: str | None = None, timeout: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._link = _Link(url, timeout, tls)
        self._control = None if control is None else _Link(control, timeout, None)

    def __enter__(self) -> RelayClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The next call opens them again."""
        self._link.close()
        if self._control is not None:
            self._control.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        slot: Slot | None = None,
        fields: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> ClientResponse:
        """Any request, any status; `slot` adds its token, `body` is sent as JSON."""
        given = [*fields, slot.authorization] if slot is not None else fields
        return self._link.exchange(method, target, given, body)

    def allocate(self, handle: str | None = None) -> Slot:
        body = _json({} if handle is None else {"handle": handle})
        value = self._expect(self.request("POST", "/v1/slot/allocate", body=body)).json()
        return Slot(value["slot_id"], value["slot_token"])

    def post(self, slot: Slot, event: object) -> Posted:
        """Store `event`, any JSON value; one with an `event_id` that is stored already is a `duplicate`."""
        response = self.request("POST", slot.path, slot=slot, body=_json({"event": event}))
        value = self._expect(response, slot).json()
        return Posted(value["event_id"], value["status"])

    def pull(self, slot: Slot, since: str | None = None, limit: int = 100) -> list[Any]:
        """At most `limit` (the relay gives no more than 1000) events after the one with id `since`, oldest first."""
        query = {"limit": str(limit)} if since is None else {"since": since, "limit": str(limit)}
        response = self.request("GET", f"{slot.path}?{urllib.parse.urlencode(query)}", slot=slot)
        events = self._expect(response, slot).json()
        return list(events)

    # The control call.

    def control(self, do: str, **call: Any) -> dict[str, Any]:
        """One control call; see `wire_rawsse.testing.control`."""
        if self._control is None:
            raise InvalidRequestError("this client was given no control port; start the relay with --control")
        response = self._control.exchange("POST", "/control", (), _json({"do": do, **call}))
        return dict(self._expect(response).json())

    def misbehave(self, *faults: Fault) -> None:
        """From now on these faults and no others."""
        self.control("misbehave", faults=[fault.as_json() for fault in faults])

    def normal(self) -> None:
        self.control("normal")

    def report(self) -> dict[str, Any]:
        return self.control("report")

    def published(self, slot: Slot, start: int = 0) -> list[tuple[str | None, float]]:
        """(event_id, CLOCK_MONOTONIC seconds just before it was written to the streams), from position `start` on."""
        return [
            (name, when) for name, when in self.control("published", slot_id=slot.slot_id, start=start)["published"]
        ]

    def wait_until(
        self,
        counter: str,
        at_least: int = 0,
        *,
        at_most: int | None = None,
        slot: Slot | None = None,
        seconds: float = 5.0,
    ) -> int:
        """Wait until a counter (accepted, requests, injected, open, streams) is there; its value.

        Raises `ResponseTimeout` after `seconds`, which must be below the client's `timeout`.
        """
        call = {"at_least": at_least, "at_most": at_most, "seconds": seconds}
        answer = self.control("await", counter=counter, slot_id=slot and slot.slot_id, **call)
        if not answer["reached"]:
            text = f"the relay's counter of {counter} stood at {answer['value']} after {seconds:g} s"
            raise ResponseTimeout("seconds", seconds, "await", text)
        return int(answer["value"])

    def adopt(self, slot: Slot) -> None:
        """Give the relay an empty slot with these credentials."""
        self.control("adopt", slot_id=slot.slot_id, slot_token=slot.slot_token)

    def _expect(self, response: ClientResponse, slot: Slot | None = None) -> ClientResponse:
        if 200 <= response.status < 300:
            return response
        secrets = Secrets(() if slot is None else (slot.slot_token,))
        text = f"the relay answered {response.status}: {secrets.quote(response.body.strip())}"
        raise StatusError(response.status, text, retry_after=response.fields.get("retry-after"))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
