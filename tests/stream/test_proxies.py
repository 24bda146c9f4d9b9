"""Through a proxy: absolute form for http, CONNECT for https; and every way in which one can refuse, stall or lie."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import LENIENT, end, event, first, source, subscriber, told
from tests.support.proxy import forward
from tests.support.server import (
    PATIENCE,
    STREAM,
    Server,
    Step,
    answer,
    byte_by_byte,
    cut,
    pause,
    request,
    reset,
    send,
    stall,
    tls,
)
from tests.support.trust import Authority
from wire_rawsse import Closed, Timeouts
from wire_rawsse.errors import (
    CertificateError,
    ConnectionBrokenError,
    ConnectTimeout,
    DialError,
    HandshakeError,
    ProxyError,
    StatusError,
)

BASIC = "Basic dXNlcjpzZUtyZXQ="  # user:seKret


class Through:
    """Sets the variables that name a proxy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, server: Server, name: str = "ALL_PROXY", userinfo: str = "") -> None:
        self._monkeypatch.setenv(name, f"http://{userinfo}{server.place}")


@pytest.fixture
def through(monkeypatch: pytest.MonkeyPatch) -> Through:
    return Through(monkeypatch)


def https(server: Server) -> str:
    return server.url.replace("http", "https")


class TestHttp:
    @pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
    def test_is_asked_in_absolute_form(self, name: str, serve: Serve, through: Through) -> None:
        origin, proxy = serve(STREAM), serve([forward])
        through(proxy, name)
        with source(f"http://{origin.place}/a?b", bearer_token="t0ken", headers={"X-A": "1"}) as listening:
            assert event(listening).data == "x"
        asked = proxy.asked[0]
        assert (asked.method, asked.target) == ("GET", f"http://{origin.place}/a?b")
        assert asked.get("Host") == origin.place
        assert asked.get("Proxy-Authorization") is None
        assert origin.asked[0].get("Authorization") == "Bearer t0ken"
        assert origin.asked[0].get("X-A") == "1"

    def test_its_credentials(self, serve: Serve, through: Through) -> None:
        origin, proxy = serve(STREAM), serve([forward])
        through(proxy, userinfo="user:seKret@")
        with source(origin.url) as listening:
            event(listening)
        assert proxy.asked[0].get("Proxy-Authorization") == BASIC
        assert origin.asked[0].get("Proxy-Authorization") is None

    def test_a_name_is_left_to_the_proxy(self, serve: Serve, through: Through) -> None:
        """We need not be able to resolve it ourselves."""
        proxy = serve(STREAM)
        through(proxy)
        with source("http://only.the.proxy.knows.invalid/x") as listening:
            event(listening)
        assert proxy.asked[0].target == "http://only.the.proxy.knows.invalid/x"

    def test_its_407_is_its_own_and_not_for_good(self, serve: Serve, through: Through) -> None:
        proxy = serve([request, send(answer("407 Proxy Authentication Required", "Proxy-Authenticate: Basic"))], STREAM)
        through(proxy)
        with source("http://example.invalid/x?secret") as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, ProxyError) and closed.error.status == 407
            assert closed.retry_in is not None
            text = f"the proxy {proxy.place} refused a request to http://example.invalid/x: 407"
            assert text in str(closed.error) and "no credentials were sent" in str(closed.error)
            event(listening)

    def test_a_407_of_an_origin_is_the_origins(self, serve: Serve) -> None:
        """Without a proxy it means nothing; it is a 4xx like any other."""
        closed = end(serve([request, send(answer("407 x"))]).url)
        assert isinstance(closed.error, StatusError) and closed.retry_in is None

    def test_https_proxy_is_not_for_http(self, serve: Serve, through: Through) -> None:
        origin, proxy = serve(STREAM), serve([forward])
        through(proxy, "HTTPS_PROXY")
        with source(origin.url) as listening:
            event(listening)
        assert proxy.peers == []


class TestHttps:
    @pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
    def test_goes_through_a_tunnel(self, name: str, serve: Serve, through: Through, authority: Authority) -> None:
        origin, proxy = serve([tls(authority.server()), *STREAM]), serve([forward])
        through(proxy, name, "user:seKret@")
        with source(f"https://localhost:{origin.port}/a?b", bearer_token="t0ken", tls=authority.file) as listening:
            assert event(listening).data == "x"
        asked = proxy.asked[0]
        assert (asked.method, asked.target) == ("CONNECT", f"localhost:{origin.port}")
        assert asked.get("Host") == f"localhost:{origin.port}"
        assert asked.get("Proxy-Authorization") == BASIC
        assert b"t0ken" not in asked.raw and b"Authorization: Bearer" not in asked.raw
        inner = origin.asked[0]
        assert (inner.target, inner.get("Authorization")) == ("/a?b", "Bearer t0ken")
        assert inner.get("Proxy-Authorization") is None

    def test_the_certificate_is_the_origins(self, serve: Serve, through: Through, authority: Authority) -> None:
        origin, proxy = serve([tls(authority.server("other.example")), *STREAM]), serve([forward])
        through(proxy)
        closed = end(f"https://localhost:{origin.port}/", tls=authority.file)
        assert isinstance(closed.error, CertificateError)
        assert f"through the proxy {proxy.place}" in str(closed.error)

    @pytest.mark.parametrize(
        "yes",
        [
            b"HTTP/1.1 200 Connection established\r\n\r\n",
            b"HTTP/1.0 200\r\nContent-Length: 10\r\n\r\n",
            b"HTTP/1.1 299 Fine\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 100 Wait\r\n\r\nHTTP/1.1 102 \r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ],
    )
    @pytest.mark.parametrize("way", [send, byte_by_byte])
    def test_every_kind_of_yes(
        self,
        yes: bytes,
        way: Callable[[bytes], Step],
        serve: Serve,
        through: Through,
        authority: Authority,
    ) -> None:
        through(serve([request, way(yes), tls(authority.server("example.invalid")), *STREAM]))
        with source("https://example.invalid/", tls=authority.file) as listening:
            assert event(listening).data == "x"

    def test_http_proxy_is_not_for_https(self, serve: Serve, through: Through, authority: Authority) -> None:
        origin, proxy = serve([tls(authority.server()), *STREAM]), serve([forward])
        through(proxy, "HTTP_PROXY")
        with source(https(origin), tls=authority.file) as listening:
            event(listening)
        assert proxy.peers == []

    def test_a_redirect_from_http_to_https(self, serve: Serve, through: Through, authority: Authority) -> None:
        """Each hop asks for its own proxy."""
        secure = serve([tls(authority.server()), *STREAM])
        plain = serve([request, send(answer("302 x", f"Location: {https(secure)}")), stall])
        proxy = serve([forward])
        through(proxy)
        with source(plain.url, tls=authority.file) as listening:
            event(listening)
        assert [asked.method for asked in proxy.asked] == ["GET", "CONNECT"]


class TestExceptions:
    @pytest.mark.parametrize("exceptions", ["127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "*"])
    @pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
    def test_no_proxy(
        self, exceptions: str, name: str, serve: Serve, through: Through, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        origin, proxy = serve(STREAM), serve([forward])
        through(proxy)
        monkeypatch.setenv(name, exceptions)
        with source(origin.url) as listening:
            event(listening)
        assert proxy.peers == []

    def test_a_cgi_program(self, serve: Serve, through: Through, monkeypatch: pytest.MonkeyPatch) -> None:
        origin, proxy = serve(STREAM), serve([forward])
        through(proxy, "HTTP_PROXY")
        monkeypatch.setenv("REQUEST_METHOD", "GET")
        with source(origin.url) as listening:
            event(listening)
        assert proxy.peers == []

    @pytest.mark.parametrize("value", ["socks5://user:seKret@{}", "https://user:seKret@{}", "http://user:seKret@{}:x"])
    def test_one_that_we_do_not_speak_is_an_error_and_never_a_direct_connection(
        self, value: str, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        origin, proxy = serve(STREAM), serve([forward])
        monkeypatch.setenv("ALL_PROXY", value.format(proxy.place))
        with source(origin.url) as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, ProxyError) and closed.retry_in is not None
            assert "ALL_PROXY" in str(closed.error) and "seKret" not in told(closed.error)
            assert origin.peers == [] and proxy.peers == []
            monkeypatch.delenv("ALL_PROXY")  # The setting is read at each connect: it may be repaired meanwhile.
            assert event(listening).data == "x"


class TestATunnelThatFails:
    def closed(self, serve: Serve, through: Through, *steps: Step, **settings: object) -> Closed:
        self.proxy = serve([request, *steps])
        through(self.proxy, userinfo="user:seKret@")
        closed = end("https://example.invalid/", **{"timeouts": LENIENT, **settings})
        assert closed.error is not None and closed.retry_in is not None
        assert self.proxy.place in str(closed.error), "it does not say whose fault it is"
        assert "seKret" not in told(closed.error) and "c2VL" not in told(closed.error)
        return closed

    @pytest.mark.parametrize("status", [400, 403, 404, 407, 500, 502, 503, 301, 302])
    def test_it_refuses(self, status: int, serve: Serve, through: Through) -> None:
        error = self.closed(serve, through, send(answer(f"{status} Because", "Location: http://x/")), stall).error
        assert isinstance(error, ProxyError) and error.status == status
        assert f"refused a tunnel to example.invalid:443: {status} Because" in str(error)
        assert ("credentials" in str(error)) is (status == 407)

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_407_says_what_is_offered_and_what_was_sent(self, scheme: str, serve: Serve, through: Through) -> None:
        refused = answer("407 x", 'Proxy-Authenticate: Digest realm="a, b", qop="auth"', "Proxy-Authenticate: Basic")
        for userinfo, said in (("", "no credentials were sent"), ("user:seKret@", "sent (Basic) were refused")):
            through(serve([request, send(refused), stall]), userinfo=userinfo)
            error = end(f"{scheme}://example.invalid/").error
            assert isinstance(error, ProxyError) and error.status == 407
            assert "it offers Digest, Basic" in str(error) and said in str(error)
            assert "seKret" not in told(error)

    @pytest.mark.parametrize(
        "fields",
        [
            "Content-Length: 5",
            "Content-Length: five",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "transfer-encoding: gzip, chunked\r\nTRANSFER-ENCODING:\r\n  identity",
            "Content-Length: " + "9" * 5000,
        ],
    )
    def test_framing_of_its_yes_is_ignored(
        self, fields: str, serve: Serve, through: Through, authority: Authority
    ) -> None:
        """RFC 9110 §9.3.6, whatever stands there, and however it is cut."""
        yes = f"HTTP/1.1 200 OK\r\nX: y\r\n{fields}\r\nVia: z\r\n\r\n".encode()
        for step in (send(yes), byte_by_byte(yes)):
            through(serve([request, step, tls(authority.server("example.invalid")), *STREAM]))
            with source("https://example.invalid/", tls=authority.file) as listening:
                assert event(listening).data == "x"

    @pytest.mark.parametrize("garbage", [b"SSH-2.0-x\r\n", b"\x05\xff", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"])
    def test_it_answers_garbage(self, garbage: bytes, serve: Serve, through: Through) -> None:
        error = self.closed(serve, through, send(garbage), stall).error
        assert isinstance(error, ProxyError) and "did not answer CONNECT properly" in str(error)

    def test_it_answers_without_end(self, serve: Serve, through: Through) -> None:
        error = self.closed(
            serve, through, send(b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 4000), stall
        ).error
        assert isinstance(error, ProxyError) and "longer than 65536 bytes" in str(error)

    @pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\n"])
    def test_it_closes(self, before: bytes, serve: Serve, through: Through) -> None:
        error = self.closed(serve, through, send(before), cut).error
        assert isinstance(error, ProxyError) and "closed the connection" in str(error)

    def test_it_resets(self, serve: Serve, through: Through) -> None:
        proxy = serve([request, reset])
        through(proxy)
        closed = end("https://example.invalid/")
        assert isinstance(closed.error, (ProxyError, ConnectionBrokenError)) and closed.retry_in is not None
        assert "tunnel" in str(closed.error)

    @pytest.mark.parametrize("steps", [[stall], [send(b"HTTP/1.1 200 OK\r\n"), stall], [send(b"H"), pause(1), stall]])
    def test_it_stalls(self, steps: list[Step], serve: Serve, through: Through) -> None:
        began = time.monotonic()
        error = self.closed(serve, through, *steps, timeouts=Timeouts(connect=0.4)).error
        assert time.monotonic() - began >= 0.4
        assert isinstance(error, ConnectTimeout)
        assert (error.phase, error.clock) == ("tunnel", "connect")
        assert "CONNECT" in str(error)

    def test_it_stalls_behind_its_yes(self, serve: Serve, through: Through) -> None:
        yes = send(b"HTTP/1.1 200 OK\r\n\r\n")
        error = self.closed(serve, through, yes, stall, timeouts=Timeouts(connect=2)).error
        assert isinstance(error, ConnectTimeout) and error.phase == "handshake"

    def test_it_sends_data_of_its_own_into_the_tunnel(self, serve: Serve, through: Through) -> None:
        error = self.closed(serve, through, send(b"HTTP/1.1 200 OK\r\n\r\nhello"), stall).error
        assert isinstance(error, ProxyError) and "data of its own" in str(error)

    def test_it_does_so_a_moment_later(self, serve: Serve, through: Through) -> None:
        error = self.closed(serve, through, send(b"HTTP/1.1 200 OK\r\n\r\n"), pause(0.1), send(b"hello"), stall).error
        assert isinstance(error, (ProxyError, HandshakeError))

    def test_nobody_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{bound.getsockname()[1]}"
            monkeypatch.setenv("ALL_PROXY", f"http://user:seKret@{place}")
            for url in ("http://example.invalid/", "https://example.invalid/"):
                closed = end(url)
                assert isinstance(closed.error, DialError) and closed.retry_in is not None
                assert f"example.invalid/ through the proxy {place}" in str(closed.error)
                assert "seKret" not in told(closed.error)

    def test_a_name_that_does_not_resolve(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> NoReturn:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        monkeypatch.setenv("ALL_PROXY", "http://user:seKret@proxy.invalid:3128")
        closed = end("http://example.invalid/")
        assert "the name proxy.invalid cannot be resolved" in str(closed.error)
        assert "(of the proxy for http" in str(closed.error)


def test_no_proxys_password_in_any_log(
    serve: Serve, through: Through, caplog: pytest.LogCaptureFixture, authority: Authority
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = serve(
        [request, send(answer("407 give me dXNlcjpzZUtyZXQ= or user:seKret")), stall],
        [request, send(b"user:seKret\r\n"), stall],
        [request, reset],
        [request, send(b"HTTP/1.1 200 OK\r\n\r\n"), tls(authority.server("example.invalid")), *STREAM],
    )
    through(proxy, userinfo="user:seKret@")
    with subscriber("https://example.invalid/", tls=authority.file) as listening:
        assert listening.wait(PATIENCE)
        shown = repr(listening) + repr(listening.state)
    assert len(caplog.records) == 4, "three failures, and the end of them"
    for text in (shown, *(record.getMessage() for record in caplog.records)):
        for secret in ("seKr", "eKre", "Kret", "dXNl", "zZUt", "yZXQ"):
            assert secret not in text
