"""A server that echoes what we sent, wherever it can: not four characters of a secret may show in anything we say.

Looked through are the text and repr of every error, its traceback with every cause, every log record, the reprs of the
objects that a program holds, and a subscriber's state.
"""

from __future__ import annotations

import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import first, source, subscriber, told
from tests.support.server import Asked, Peer, Step, byte_by_byte, request, send, stall, tls
from tests.support.trust import Authority
from wire_rawsse import Closed, Opened
from wire_rawsse.errors import InvalidRequestError, WireRawSSEError

TOKEN = "Zq7xW9vKmPf2TgB8nJ4cRh6Y"
PASSWORD = "Lu5dXe0QsHw3"
"""Nothing that we say of ourselves has four characters in common with either, in upper or lower case."""

Echo = Callable[[str], bytes]

STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"

ECHOES: dict[str, Echo] = {
    "reason": lambda s: f"HTTP/1.1 403 no {s}\r\nContent-Length: 0\r\n\r\n".encode(),
    "reason of a retried status": lambda s: f"HTTP/1.1 503 {s} {s}\r\nContent-Length: 0\r\n\r\n".encode(),
    "reason behind the cut": lambda s: f"HTTP/1.1 403 {'x' * 70}{s}\r\nContent-Length: 0\r\n\r\n".encode(),
    "reason across the cut": lambda s: f"HTTP/1.1 403 {'x' * 77}{s}\r\nContent-Length: 0\r\n\r\n".encode(),
    "reason with controls between": lambda s: f"HTTP/1.1 403 \t{s}\t\r\nContent-Length: 0\r\n\r\n".encode(),
    "reason in another case": lambda s: f"HTTP/1.1 403 {s.lower()} {s.upper()}\r\nContent-Length: 0\r\n\r\n".encode(),
    "retry-after": lambda s: f"HTTP/1.1 503 x\r\nRetry-After: {s}\r\nContent-Length: 0\r\n\r\n".encode(),
    "status line": lambda s: f"HTTP/1.1 {s} OK\r\n\r\n".encode(),
    "instead of http": lambda s: f"{s}\r\n".encode(),
    "http with a version": lambda s: f"HTTP/1.{s} 200 OK\r\n\r\n".encode(),
    "content-type": lambda s: f"HTTP/1.1 200 OK\r\nContent-Type: text/{s}\r\n\r\n".encode(),
    "content-type parameter": lambda s: f"HTTP/1.1 200 OK\r\nContent-Type: text/html;x={s}\r\n\r\n".encode(),
    "content-encoding": lambda s: (STREAM + f"Content-Encoding: gzip, {s}\r\n\r\n").encode(),
    "field name": lambda s: (STREAM + f"{s}\r\n\r\n").encode(),
    "field value with a control": lambda s: (STREAM + f"X: {s}\0\r\n\r\n").encode(),
    "content-length": lambda s: f"HTTP/1.1 200 OK\r\nContent-Length: {s}\r\n\r\n".encode(),
    "transfer-encoding": lambda s: f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {s}\r\n\r\n".encode(),
    "chunk header": lambda s: (STREAM + f"\r\n{s}\r\n").encode(),
    "chunk behind data": lambda s: (STREAM + f"\r\n2\r\n: \r\n{s}\r\n").encode(),
    "behind a chunk": lambda s: (STREAM + f"\r\n2\r\n: {s}\r\n").encode(),
    "trailer": lambda s: (STREAM + "\r\n0\r\n" + s.replace(":", "-") + "\r\n\r\n").encode(),
    "endless chunk header": lambda s: (STREAM + f"\r\n5;{s * 4000}").encode(),
    "endless head": lambda s: (STREAM + f"X: {s * 4000}").encode(),
    "bad location": lambda s: f"HTTP/1.1 302 x\r\nLocation: http://{s}:{s}/\r\n\r\n".encode(),
    "location of another scheme": lambda s: f"HTTP/1.1 302 x\r\nLocation: {s}://x/\r\n\r\n".encode(),
    "location off to a socket": lambda s: f"HTTP/1.1 302 x\r\nLocation: unix:///run/{s}\r\n\r\n".encode(),
}
"""Ways in which a server can put a secret into an error of ours."""


@pytest.fixture(autouse=True)
def every_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def pieces(secret: str) -> Iterator[str]:
    for start in range(len(secret) - 3):
        yield secret[start : start + 4].lower()


def check(texts: list[str], caplog: pytest.LogCaptureFixture, *secrets: str) -> None:
    for record in caplog.records:
        texts += [record.getMessage(), repr(record), repr(record.args)]
        if record.exc_info and record.exc_info[1]:
            texts += traceback.format_exception(record.exc_info[1])
    whole = "\n".join(texts).lower()
    assert whole
    for secret in secrets:
        for piece in pieces(secret):
            assert piece not in whole


def echo(how: Echo, what: Callable[[Asked], str], way: Callable[[bytes], Step] = send) -> Step:
    def step(peer: Peer) -> None:
        way(how(what(peer.asked[-1])))(peer)

    return step


def authorization(asked: Asked) -> str:
    value = asked.get("Authorization")
    assert value is not None
    return value


def errors(url: str, **settings: object) -> list[str]:
    """The text about the first end of a source, whether it is for good or not."""
    texts: list[str] = []
    with source(url, **settings) as listening:
        try:
            for item in listening.items():
                texts.append(repr(item))
                if isinstance(item, Closed):
                    assert item.error is not None, "there was nothing wrong"
                    texts.append(told(item.error))
                    if item.retry_in is not None:
                        break
        except WireRawSSEError as error:
            texts.append(told(error))
        texts.append(repr(listening))
    return texts


def _told(closed: Closed) -> str:
    assert closed.error is not None
    return told(closed.error)


def test_the_secrets_are_their_own_only() -> None:
    """Or a test here could fail by chance."""
    assert len(set(pieces(TOKEN))) == len(TOKEN) - 3


@pytest.mark.parametrize("way", [send, byte_by_byte])
@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_a_bearer_token(
    how: Echo, way: Callable[[bytes], Step], serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    if way is byte_by_byte and how in (ECHOES["endless chunk header"], ECHOES["endless head"]):
        way = send  # 100,000 segments show nothing new.
    server = serve([request, echo(how, authorization, way), stall])
    check(errors(server.url, bearer_token=TOKEN), caplog, TOKEN)


@pytest.mark.parametrize("part", [slice(0, 9), slice(5, 13), slice(-9, None), slice(3, 7)])
@pytest.mark.parametrize("name", ["reason", "instead of http", "content-type", "chunk header"])
def test_a_part_of_one(name: str, part: slice, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve([request, echo(ECHOES[name], lambda _: TOKEN[part]), stall])
    check(errors(server.url, bearer_token=TOKEN), caplog, TOKEN)


@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_any_header_of_the_callers(how: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve([request, echo(how, lambda asked: asked.get("X-Api-Key") or ""), stall])
    check(errors(server.url, headers={"X-Api-Key": TOKEN}), caplog, TOKEN)


@pytest.mark.parametrize("name", ["reason", "instead of http", "content-type", "chunk header", "bad location"])
def test_one_that_a_callable_gave(name: str, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve([request, echo(ECHOES[name], authorization), stall])
    check(errors(server.url, bearer_token=lambda: TOKEN), caplog, TOKEN)


@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_userinfo_encoded_and_decoded(how: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def decoded(asked: Asked) -> str:
        encoded = authorization(asked).removeprefix("Basic ")
        return f"{encoded}-{base64.b64decode(encoded).decode()}"

    server = serve([request, echo(how, decoded), stall])
    encoded = base64.b64encode(f"{PASSWORD}:{TOKEN}".encode()).decode()
    check(errors(f"http://{PASSWORD}:{TOKEN}@{server.place}/"), caplog, PASSWORD, TOKEN, encoded)


@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_a_token_in_the_query(how: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve([request, echo(how, lambda asked: asked.target), stall])
    check(errors(f"http://{server.place}/x?access_token={TOKEN}"), caplog, TOKEN)


@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_over_tls(how: Echo, serve: Serve, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    server = serve([tls(authority.server()), request, echo(how, authorization), stall])
    url = f"https://localhost:{server.port}/"
    check(errors(url, bearer_token=TOKEN, tls=authority.file), caplog, TOKEN)


@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_behind_a_redirect_that_hands_it_on(how: Echo, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The second server was never sent the token, and has it from the first one's Location."""
    there = serve([request, echo(how, lambda asked: asked.target), stall])
    location = lambda s: f"HTTP/1.1 302 x\r\nLocation: http://{there.place}/{s}\r\n\r\n".encode()  # noqa: E731  # a row like those above
    here = serve([request, echo(location, lambda asked: TOKEN), stall])
    check(errors(here.url, bearer_token=TOKEN), caplog, TOKEN)


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/{}",
        "http://{}.invalid/",
        "http://user:{}@127.0.0.1:1/",
        "http://127.0.0.1:1/?{}",
        "https://127.0.0.1:1/{}#{}",
    ],
)
def test_a_redirect_that_leads_nowhere(location: str, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    answer = f"HTTP/1.1 302 x\r\nLocation: {location.format(TOKEN, TOKEN)}\r\n\r\n".encode()
    server = serve([request, send(answer), stall])
    check(errors(server.url, bearer_token=TOKEN), caplog, TOKEN)


def test_a_redirect_from_https_to_http(serve: Serve, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    answer = f"HTTP/1.1 302 x\r\nLocation: http://{TOKEN}.invalid/{TOKEN}\r\n\r\n".encode()
    server = serve([tls(authority.server()), request, send(answer), stall])
    check(errors(f"https://localhost:{server.port}/", bearer_token=TOKEN, tls=authority.file), caplog, TOKEN)


@pytest.mark.parametrize("how", ECHOES.values(), ids=ECHOES.keys())
def test_a_proxys_credentials(
    how: Echo, serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(asked: Asked) -> str:
        encoded = (asked.get("Proxy-Authorization") or "").removeprefix("Basic ")
        return f"{encoded}-{base64.b64decode(encoded).decode()}"

    server = serve([request, echo(how, decoded), stall])
    monkeypatch.setenv("ALL_PROXY", f"http://{PASSWORD}:{TOKEN}@{server.place}")
    encoded = base64.b64encode(f"{PASSWORD}:{TOKEN}".encode()).decode()
    check(errors("http://example.invalid/"), caplog, PASSWORD, TOKEN, encoded)
    status_is_2xx = how(".").startswith(b"HTTP/1.1 2")
    if not status_is_2xx:  # Then it is a tunnel, and what follows is none of HTTP's.
        check(errors("https://example.invalid/"), caplog, PASSWORD, TOKEN, encoded)


# An answer of 2xx to CONNECT opens a tunnel, in which nothing is HTTP any more.
REFUSALS = {name: how for name, how in ECHOES.items() if not how(".").startswith(b"HTTP/1.1 2")}


@pytest.mark.parametrize("how", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_proxy_that_echoes_to_connect_what_it_saw_before_a_redirect(
    how: Echo, serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To an http URL it sees the fields of the request; the CONNECT after it has none of them."""
    leave = b"HTTP/1.1 302 x\r\nLocation: https://example.invalid/?x=PLACE\r\nContent-Length: 0\r\n\r\n"
    proxy = serve([request, send(leave), stall], [request, echo(how, lambda _: f"{TOKEN} {PASSWORD}"), stall])
    monkeypatch.setenv("ALL_PROXY", f"http://{proxy.place}")
    check(errors(f"http://example.invalid/?q={PASSWORD}", bearer_token=TOKEN), caplog, TOKEN, PASSWORD)


@pytest.mark.parametrize("name", ["reason", "instead of http", "content-type", "chunk header"])
def test_a_token_of_the_attempt_before(name: str, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    tokens = iter([TOKEN, PASSWORD])
    server = serve(
        [request, send(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"), stall],
        [request, echo(ECHOES[name], lambda _: TOKEN), stall],
    )
    with source(server.url, bearer_token=lambda: next(tokens)) as listening:
        texts = [_told(first(listening, Closed)) for _ in range(2)]
    check(texts, caplog, TOKEN, PASSWORD)


def test_a_cause_of_the_systems(serve: Serve, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """OpenSSL quotes the host name that does not match, and the resolver's encoder the name that is none."""
    for location in (f"https://{TOKEN}.localhost:PORT/", f"https://{TOKEN}{'x' * 40}.invalid/"):
        there = serve([tls(authority.server()), stall])
        answer = f"HTTP/1.1 302 x\r\nLocation: {location.replace('PORT', str(there.port))}\r\n\r\n".encode()
        server = serve([request, send(answer), stall])
        check(errors(server.url, bearer_token=TOKEN, tls=authority.file), caplog, TOKEN)


def test_a_callable_that_quotes_the_token_of_the_attempt_before(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[int] = []

    def headers() -> dict[str, str]:
        asked.append(1)
        if len(asked) > 1:
            raise ValueError(f"expired: {TOKEN}")
        return {"X-Key": TOKEN}

    server = serve([request, send(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"), stall])
    with source(server.url, headers=headers) as listening:
        texts = [_told(first(listening, Closed)) for _ in range(2)]
    assert "raised ValueError" in texts[1]
    check(texts, caplog, TOKEN)


@pytest.mark.parametrize(
    "failing",
    [
        lambda: int(f"no {TOKEN}"),
        lambda: json.loads(f"{{{TOKEN}"),  # Its error keeps the whole document.
        lambda: f"{TOKEN}\udc80",
        lambda: f"{TOKEN}\n",
        lambda: {TOKEN: 1}[PASSWORD],
    ],
)
@pytest.mark.parametrize("name", ["bearer_token", "headers", "url"])
def test_a_callable_that_quotes_a_token_that_was_never_sent(
    name: str, failing: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    def give() -> object:
        found = failing()
        return {"X": found} if name == "headers" else f"http://x/?{found}" if name == "url" else f"{found}\n"

    settings: dict[str, Any] = {"url": "http://127.0.0.1:1/", name: give}
    with source(**settings) as listening:
        error = first(listening, Closed).error
    assert error is not None and f"the callable given as {name} r" in str(error)
    check([told(error), *map(repr, _values(error))], caplog, TOKEN, PASSWORD)


def _values(error: BaseException | None) -> Iterator[object]:
    """The arguments and attributes of an error and of everything that it leads to."""
    while error is not None:
        yield error.args, vars(error), getattr(error, "object", None), getattr(error, "doc", None)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        (f"http://x/?{TOKEN}\udc80", {}),
        (f"http://x/{TOKEN}\udc80", {}),
        (f"unix:///x?path=/{TOKEN}%FF", {}),
        (f"http://{TOKEN}\xad..{'x' * 70}\xe9/", {}),
        ("http://x/", {"headers": {"X": f"{TOKEN}\udc80"}}),
        ("http://x/", {"bearer_token": f"{TOKEN}\udc80"}),
        ("http://x/", {"headers": {"X": f"{TOKEN}\n"}}),
    ],
)
def test_an_argument_that_is_refused(url: str, settings: dict[str, object], caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the error nor in the one of the codec that came before it, which keeps what it worked on."""
    with pytest.raises(InvalidRequestError) as refused:
        source(url, **settings)
    check([told(refused.value), *map(repr, _values(refused.value))], caplog, TOKEN)


def test_a_text_without_a_secret_is_cut_all_the_same(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever its length comes from: a peer's Location, our own URL, the name of a file."""
    path = "x" * 60_000
    there = serve([request, send(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"), stall])
    here = serve([request, send(f"HTTP/1.1 302 x\r\nLocation: http://{there.place}/{path}\r\n\r\n".encode()), stall])
    texts = errors(here.url) + errors(there.url + path)
    with source(f"https://{there.place}/", tls=f"/{path}") as listening:
        texts.append(_told(first(listening, Closed)))
    with subscriber(there.url + path) as listening_too:
        texts += [repr(listening_too), *(one.url for one in listening_too.state.endpoints)]
    assert [len(text) for text in texts if len(text) > 2500] == []  # With tracebacks, in which the text is twice.
    assert [len(record.getMessage()) for record in caplog.records if len(record.getMessage()) > 600] == []


def test_two_hosts_are_not_quoted() -> None:
    with pytest.raises(WireRawSSEError) as refused:
        source("http://127.0.0.1:1/", headers=[("Host", TOKEN), ("Host", PASSWORD)])
    assert TOKEN not in told(refused.value) and PASSWORD not in told(refused.value)


@pytest.mark.parametrize("name", ["reason", "instead of http", "content-type", "chunk header", "bad location"])
def test_a_subscriber(name: str, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = serve([request, echo(ECHOES[name], authorization), stall])
    with subscriber(f"http://{PASSWORD}@{server.place}/?{TOKEN}", bearer_token=TOKEN) as listening:
        for _ in range(1000):
            listening.wait(0.01)
            if listening.state.last_error is not None and len(caplog.records) > 1:
                break
        texts = [repr(listening), repr(listening.state), str(listening.state.last_error)]
    assert len(caplog.records) > 1
    check(texts, caplog, TOKEN, PASSWORD)


def test_an_accepted_head_is_not_in_the_repr(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    answer = STREAM + "X-Echo: {}\r\n\r\n"
    server = serve([request, echo(lambda s: answer.format(s).encode(), authorization), stall])
    with source(server.url, bearer_token=TOKEN) as listening:
        opened = first(listening, Opened)
    check([repr(opened), str(opened)], caplog, TOKEN)
    assert TOKEN in str(opened.headers), "it was not even echoed"
