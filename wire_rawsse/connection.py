"""One stream's life: resolve, connect, handshake, ask, read, and the reason why it ended.

This is the linear generator that everything else exists for. It reads from top to bottom as things happen on the wire.
To wait, it yields (see `waits`). Each wait has a deadline, set by one of these clocks:

* `connect`: one budget for the name, TCP, the proxy and TLS of one hop.
* `response`: from the first byte of the request to the last byte of the response head.
* `read`: silence. Only body bytes restart it, so a dead stream is kept open neither by dripping chunk extensions nor by
  a kernel that answers keepalive probes. It is shorter once the server's heartbeat is known (see `heartbeat`).
* `min_rate`: only while a line is unfinished. One byte a minute would satisfy `read` for ever.

`reconnect` decides whether and when to connect again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wire_rawsse.body import BodyReader
from wire_rawsse.errors import (
    ConnectionBrokenError,
    MalformedResponseError,
    ProxyError,
    RedirectError,
    ResolveError,
    ResponseTimeout,
    StatusError,
    TruncatedError,
    WireRawSSEError,
)
from wire_rawsse.plan import Asked, Plan
from wire_rawsse.protocol.http import Exchange, check_event_stream, is_event_stream
from wire_rawsse.protocol.proxy import Proxy, proxy_for
from wire_rawsse.protocol.redirect import REDIRECTS, Hop, fields_for, follow
from wire_rawsse.protocol.request import Request, compose, compose_connect
from wire_rawsse.protocol.response import Response
from wire_rawsse.protocol.url import Url
from wire_rawsse.read_clocks import ReadClocks
from wire_rawsse.record import Record
from wire_rawsse.transport import alerts
from wire_rawsse.transport.channel import Channel
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial, unix_address
from wire_rawsse.waits import WAKE, Address, Coroutine, Wait

if TYPE_CHECKING:
    import ssl

    from wire_rawsse.services import HostServices
    from wire_rawsse.sink import Sink

MOST_REDIRECTS: Final = 10
ERROR_BODY_SECONDS: Final = 1.0
ERROR_BODY_BYTES: Final = 1024
MAX_AGE_JITTER: Final = 0.1


class Live:
    """An open stream: its channel, body reader and clocks, and the wait for its next bytes."""

    __slots__ = ("body", "channel", "clocks", "receive")

    def __init__(self, channel: Channel, body: BodyReader, clocks: ReadClocks) -> None:
        self.channel = channel
        self.body = body
        self.clocks = clocks
        self.receive = receive = channel.receive(clocks.deadline)
        receive.restarts = True
        receive.expect_few()
        body.prepare(receive)
        body.feed(None)


Accepted: TypeAlias = "tuple[Channel, Exchange, str]"
"""An accepted response, with the origin and path that answered, for error texts."""
Renew: TypeAlias = (
    "Callable[[HostServices, Plan, Record, Any, Live, WireRawSSEError | None], Coroutine[Accepted | Live | None]]"
)
"""Replaces a connection that has reached its `max_age`, or that an error puts in doubt. Returns the new one, or the old
one if it goes on, or None if the stream ends instead."""


def one_stream(
    services: HostServices, plan: Plan, record: Record, sink: Sink, renew: Renew | None = None
) -> Coroutine[None]:
    """From the first look-up to the end of the stream. Returns when the peer has ended it cleanly.

    At its `max_age`, and when it is in doubt, the connection is renewed by `renew`; without that, the stream ends.
    Raises one `WireRawSSEError` for every other end.
    """
    channel: Channel | None = None
    try:
        channel, exchange, place = yield from open_stream(services, plan, record, sink)
        record.accepted(services.now(), services.time())
        live: Live | None = None
        while True:
            opening, doubt = live is None, None
            if live is None:
                channel.settle()
                body = _body_reader(record, sink, channel, exchange, place)
                live = Live(channel, body, _read_clocks(services, plan, record, place))
            try:
                if not (yield from read(services, record, live, opening)):
                    return
            except WireRawSSEError as error:
                if renew is None or not error.in_doubt:
                    raise
                doubt = error.with_traceback(None)  # Which would keep what has been read alive.
            if renew is None:
                record.renewed = True
                return
            following = yield from renew(services, plan, record, sink, live, doubt)
            if following is None:
                return
            if not isinstance(following, Live):
                live = None
                channel, exchange, place = following
    except WireRawSSEError:
        raise
    except OSError as error:
        raise broken(record, error) from error
    finally:
        if channel is not None:
            channel.end(services)


def broken(record: Record, error: OSError) -> WireRawSSEError:
    """The public error for one of the system's."""
    place = f"{record.url} ({record.phase})"
    if error.errno is None or "EOF" in type(error).__name__:
        # OpenSSL's report of a TCP end without close_notify (RFC 8446 §6.1). Anybody on the path may have cut it.
        return TruncatedError(f"{place}: the peer closed the connection without ending TLS first")
    return ConnectionBrokenError(f"{place}: {alerts.failure(error) or error.strerror or type(error).__name__}")


def open_stream(services: HostServices, plan: Plan, record: Record, sink: Sink) -> Coroutine[Accepted]:
    """Follow redirects until a response is an event stream. The caller ends the channel."""
    asked = plan.ask()
    record.goes_to(asked.url.redacted)
    given = record.resume.begin(asked.headers, sink)
    hop = Hop(asked.url, plan.method, plan.body, credentials=True)
    sets_cookies = False
    for _ in range(MOST_REDIRECTS + 1):
        place = hop.place
        proxy = proxy_for(hop.url, plan.environ)
        channel: Channel | None = yield from _connect(services, plan, record, hop, proxy)
        assert channel is not None
        try:
            fields = fields_for(hop, given, plan.method)
            request = compose(
                hop.url,
                method=hop.method,
                body=hop.body,
                headers=fields,
                last_event_id=record.resume.id_to_send(sink) if hop.credentials else "",
                absolute_form=proxy is not None and hop.url.scheme == "http",
                proxy_authorization=proxy.url.authorization if proxy and hop.url.scheme == "http" else None,
                secrets=record.secrets,
            )
            exchange, response = yield from _ask(services, plan, record, channel, request, place)
            if response.status not in REDIRECTS:
                if response.status == 407 and proxy is not None:
                    # Only a proxy answers 407 (RFC 9110 §15.5.8), even if it otherwise forwards requests for http.
                    raise _refusal(record, proxy, response, f"a request to {place}")
                body = b""
                if response.status != 200:
                    record.resume.refused(response.status, request)
                if response.status >= 400 or (response.status == 200 and not is_event_stream(response)):
                    body = yield from error_body(services, channel, exchange)
                left_at = hop.left_at if asked.url.authorization or len(fields) < len(given) else ""
                check_event_stream(response, request, place, body, left_at)
                sink.opened(response, record.resume.accepted(request, sink))
                accepted, channel = channel, None
                return accepted, exchange, place
            sets_cookies = sets_cookies or response.get("set-cookie") is not None
            hop = follow(response, hop, record.secrets)
            record.redirected = True
        except StatusError as error:
            if error.status == 401 and hop.credentials:
                _ask_once_more(plan, record, asked)
            raise
        finally:
            if channel is not None:
                channel.end(services)
    hint = "; it sets cookies, which are not kept here: is a login expected?" if sets_cookies else ""
    raise RedirectError(f"{record.url} redirects more than {MOST_REDIRECTS} times{hint}")


def _ask_once_more(plan: Plan, record: Record, asked: Asked) -> None:
    """After a 401, ask the caller's callables for other credentials. Of several 401s in a row only the first does this.

    Raises `CredentialsError` if a callable fails. That is retried, so the callable is asked again at the next connect.
    """
    refused_before, record.refused = record.refused_before, True
    if plan.reconnect and plan.may_answer_differently and not refused_before:
        record.renewed = plan.ask() != asked


def error_body(
    services: HostServices, channel: Channel, exchange: Exchange, until: float = math.inf
) -> Coroutine[bytes]:
    """Read the beginning of the content of a refusal: at most 1 KiB, for at most a second. Raises no `OSError`.

    `until`: the latest end, on the stream's clock, if a second would be too long.
    """
    found = bytearray()
    receive = channel.receive(min(until, services.now() + ERROR_BODY_SECONDS))
    try:
        for piece in exchange.body(None):  # The bytes that came with the head.
            found += piece
        received: bytes | None = None
        while not exchange.ended and len(found) < ERROR_BODY_BYTES:
            for data in channel.plaintext(received):
                for piece in exchange.body(data):
                    found += piece
            received = yield from channel.received(receive)
            if not received:
                break
    except OSError:
        pass  # The bytes received until then may say enough.
    return bytes(found[:ERROR_BODY_BYTES])


def _connect(services: HostServices, plan: Plan, record: Record, hop: Hop, proxy: Proxy | None) -> Coroutine[Channel]:
    url = hop.url
    context: ssl.SSLContext | None = None
    if url.scheme == "https":
        from wire_rawsse.transport.contexts import context_for  # Loaded by the first https URL, as `tls` is.

        context = context_for(plan.trust, plan.client_cert if hop.credentials else None)
    first = proxy.url if proxy else url
    place = f"{hop.place} through the proxy {proxy}" if proxy else hop.place
    deadline = Deadline(services.now(), plan.timeouts.connect, place)
    if first.scheme == "unix":
        addresses = [unix_address(first.socket_path)]
    else:
        record.enter("resolving", services.time())
        name = first.host if proxy else hop.shown(first.host)
        addresses = yield from _resolve(services, first, name, deadline, hop.place if proxy else "")
    record.enter("connecting", services.time())
    sock = yield from dial(services, addresses, deadline, plan.keepalive, record.addresses)
    if proxy is not None and context is not None:
        record.enter("tunnel", services.time())
        try:
            yield from _open_tunnel(services, record, Channel(sock), hop, proxy, deadline)
        except BaseException:
            services.release(sock)
            raise
    if context is None:
        return Channel(sock)
    from wire_rawsse.transport.tls import secure

    record.enter("handshake", services.time())
    return Channel(sock, (yield from secure(services, sock, context, url.server_name, deadline)))


def _resolve(
    services: HostServices, url: Url, shown: str, deadline: Deadline, proxied: str
) -> Coroutine[list[Address]]:
    """`proxied`: the place to reach, if `url` is that of a proxy; otherwise ""."""
    answer = services.resolve(url.host, url.port)
    if not answer.done and (yield Wait({}, deadline.at, answer)) is None:
        raise deadline.ran_out("resolving", f"looking up {shown}")
    if answer.error is not None:
        reason = getattr(answer.error, "strerror", None) or type(answer.error).__name__
        whose = f" (of the proxy for {proxied})" if proxied else ""
        raise ResolveError(f"the name {shown} cannot be resolved: {reason}{whose}") from answer.error
    return answer.value or []


def _open_tunnel(
    services: HostServices, record: Record, channel: Channel, hop: Hop, proxy: Proxy, deadline: Deadline
) -> Coroutine[None]:
    """CONNECT (RFC 9110 §9.3.6). Afterwards the connection leads to the origin."""
    request = compose_connect(hop.url, proxy.url.authorization, record.secrets)
    exchange = Exchange(request)
    try:
        response = yield from final_head(channel, exchange, deadline.at)
    except (MalformedResponseError, TruncatedError) as error:
        raise ProxyError(f"the proxy {proxy} did not answer CONNECT properly: {error}") from error
    if response is None:
        raise deadline.ran_out("tunnel", "waiting for the proxy's answer to CONNECT")
    if not 200 <= response.status < 300:
        raise _refusal(record, proxy, response, f"a tunnel to {hop.shown(hop.url.host_and_port)}")
    if exchange.rest():
        # The client speaks first in TLS (RFC 8446 §2), so these bytes are the proxy's. They would break the handshake.
        raise ProxyError(f"the proxy {proxy} sent data of its own into the tunnel")


def _refusal(record: Record, proxy: Proxy, response: Response, wanted: str) -> ProxyError:
    from wire_rawsse.protocol.tunnel import refusal  # Loaded by the first proxy that refuses.

    return refusal(proxy, response, wanted, record.secrets)


def _ask(
    services: HostServices, plan: Plan, record: Record, channel: Channel, request: Request, place: str
) -> Coroutine[tuple[Exchange, Response]]:
    """Send the request and receive the head of the final response."""
    record.enter("head", services.time())
    patience, timeouts, began = record.patience, plan.timeouts, services.now()
    seconds = patience.seconds(timeouts)
    exchange = Exchange(request)
    try:
        response = yield from final_head(channel, exchange, began + seconds)
    except (MalformedResponseError, TruncatedError) as error:
        raise type(error)(f"{place}: {error}") from None
    if response is None:
        patience.ran_out(timeouts)
        following = patience.seconds(timeouts) if plan.reconnect else 0.0
        raise ResponseTimeout("response", seconds, "head", _no_head(place, exchange.sent, seconds, following))
    if response.status in REDIRECTS:
        patience.redirected(services.now() - began)
    else:
        patience.answered(services.now() - began, timeouts)
    return exchange, response


def _no_head(place: str, sent: bool, seconds: float, following: float) -> str:
    if not sent:
        return f"{place} did not take the whole request within response={seconds:g} s"
    text = f"{place} sent no complete response head within response={seconds:g} s of the request"
    if following > seconds:
        return f"{text}; a server may send it with its first event only, so the next attempt waits {following:g} s"
    return f"{text}; if the server sends it with its first event only, give larger Timeouts(response=…, read=…)"


def final_head(channel: Channel, exchange: Exchange, deadline: float) -> Coroutine[Response | None]:
    """Send the request and receive the head of the final response, or None if `deadline` passed.

    A final head ends the sending (RFC 9112 §9.5), because the server has decided without the rest of the request.
    """
    found: list[Response] = []

    def take_head(data: bytes) -> bool:
        response = exchange.head(data)
        if response is not None:
            found.append(response)
        return bool(found)

    exchange.sent = yield from channel.send(exchange.to_send, deadline, take_head)
    receive = channel.receive(deadline)
    received: bytes | None = None
    while exchange.sent and not found:
        for data in channel.plaintext(received):
            if take_head(data):
                return found[0]
        received = yield from channel.received(receive)
        if received is None:
            return None
    return found[0] if found else None


def _body_reader(record: Record, sink: Sink, channel: Channel, exchange: Exchange, place: str) -> BodyReader:
    if channel.tls is None:
        return BodyReader(exchange, sink, place)
    from wire_rawsse.early_wakes import EarlyWakes
    from wire_rawsse.tls_body import TlsBodyReader, TlsWakeReader

    if sink.is_wake is None:
        return TlsBodyReader(exchange, sink, place, channel.tls)
    if record.early_wakes is None:
        record.early_wakes = EarlyWakes()
    return TlsWakeReader(exchange, sink, place, channel.tls, sink.is_wake, record.early_wakes)


def read(services: HostServices, record: Record, live: Live, opening: bool = True) -> Coroutine[bool]:
    """Read the stream until it ends (False), or until the connection has reached its `max_age` (True).

    After True it can be read again. `opening`: the connection is new, which is a wake. Body bytes that came with the
    head belong to the same wake.
    """
    channel, body, clocks, receive = live.channel, live.body, live.clocks, live.receive
    if not opening:
        body.size, body.wake = 0, False  # The last reception has been noted already.
    fed_by_host = body.fed_by_host
    while True:
        now, wall = services.now(), services.time()
        if body.size:
            record.heard(now, wall, body.wake)
            receive.deadline = clocks.heard(now, body.size, body.lines, body.text)
            receive.renewed = clocks.renewed
        if body.wake or opening or receive.woke_early:
            record.last_wake_at = wall
            record.wake_count += 1
            # After an early wake the host has returned to its caller already, so no second wake is given.
            if not receive.woke_early:
                yield WAKE
            opening = False
            receive.woke_early = False
        # The end follows the wake for the data before it.
        if body.failure is not None:
            raise body.failure
        if body.ended:
            return False
        # If TLS has something to send, `received` also waits until the socket is writable.
        while (received := (yield from channel.received(receive)) if body.unsent else (yield receive)) is None:
            if clocks.expired(services.now()):
                return True
            receive.deadline = clocks.passed(services.now())  # Raises, unless the unfinished line came fast enough.
        if len(received) == receive.bufsize:
            receive.expect_many()
        if not fed_by_host:
            body.feed(received)


def _read_clocks(services: HostServices, plan: Plan, record: Record, place: str) -> ReadClocks:
    now, timeouts = services.now(), plan.timeouts
    expires_at = math.inf
    if timeouts.max_age:
        expires_at = now + timeouts.max_age * (1 - MAX_AGE_JITTER * services.random())
    return ReadClocks(
        now, timeouts, place, record.heartbeat if timeouts.learn else None, expires_at, services.unwatched
    )
