"""Streams over TLS: events in both versions, what truncation means, and a trust setting that changes on disk."""

from __future__ import annotations

import errno
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.listen import end, event, first, source, subscriber
from tests.support.server import (
    CHUNKED,
    EVENT,
    LAST_CHUNK,
    OPEN,
    PATIENCE,
    STREAM,
    Peer,
    Server,
    Step,
    chunk,
    cut,
    drip_for,
    event_stream,
    request,
    reset,
    send,
    stall,
    tls,
    wait_for,
)
from tests.support.trust import Authority
from wire_rawsse import Closed, Timeouts
from wire_rawsse.errors import (
    CertificateError,
    ConnectError,
    ConnectionBrokenError,
    ConnectTimeout,
    ReadTimeout,
    TruncatedError,
    TrustError,
)

pytestmark = pytest.mark.usefixtures("fresh_contexts")


def https(server: Server) -> str:
    return f"https://localhost:{server.port}/stream"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
class TestBothVersions:
    def context(self, authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = authority.server()
        context.minimum_version = context.maximum_version = version
        return context

    def test_events_come(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        second = threading.Event()
        steps = [request, send(CHUNKED + chunk(EVENT)), wait_for(second), send(chunk(EVENT * 2)), stall]
        server = serve([tls(self.context(authority, version)), *steps])
        with source(https(server), tls=authority.file) as listening:
            event(listening)
            second.set()
            event(listening)
            event(listening)

    def test_a_record_larger_than_one_read(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        """One event is cut over many records, and several are in one; none waits for a readiness that never comes."""
        big = b"data: " + b"y" * 300_000 + b"\n\n"
        server = serve([tls(self.context(authority, version)), request, send(OPEN + EVENT * 500 + big + EVENT), stall])
        with source(https(server), tls=authority.file) as listening:
            got = [len(event(listening).data) for _ in range(502)]
        assert got == [1] * 500 + [300_000, 1]

    def test_wakes_come(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        more = threading.Event()
        steps = [request, send(OPEN), wait_for(more), send(EVENT), stall]
        server = serve([tls(self.context(authority, version)), *steps])
        with subscriber(https(server), tls=authority.file) as listening:
            assert listening.wait(PATIENCE)
            assert not listening.wait(0.1), "session tickets are no wake"
            more.set()
            assert listening.wait(PATIENCE)

    def test_silence_is_noticed(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        """Session tickets, which come behind the handshake, are no life either."""
        server = serve([tls(self.context(authority, version)), request, send(OPEN + EVENT), stall])
        settings = Timeouts(connect=PATIENCE, response=PATIENCE, read=0.3)
        with source(https(server), tls=authority.file, timeouts=settings) as listening:
            event(listening)
            assert isinstance(first(listening, Closed).error, ReadTimeout)

    @pytest.mark.parametrize("body", [OPEN + EVENT, OPEN, event_stream(EVENT), CHUNKED + chunk(EVENT) + LAST_CHUNK])
    def test_an_end_with_close_notify_is_clean(
        self, body: bytes, version: ssl.TLSVersion, serve: Serve, authority: Authority
    ) -> None:
        server = serve([tls(self.context(authority, version)), request, send(body)])
        assert end(https(server), tls=authority.file).error is None

    @pytest.mark.parametrize("body", [event_stream(EVENT), CHUNKED + chunk(EVENT) + LAST_CHUNK])
    def test_an_end_that_http_has_told_needs_none(
        self, body: bytes, version: ssl.TLSVersion, serve: Serve, authority: Authority
    ) -> None:
        server = serve([tls(self.context(authority, version)), request, send(body), cut])
        assert end(https(server), tls=authority.file).error is None

    @pytest.mark.parametrize(
        "body",
        [
            OPEN + EVENT,
            OPEN,
            CHUNKED + chunk(EVENT),
            CHUNKED + b"fff\r\n" + EVENT,
            event_stream(EVENT)[:-1],
            OPEN[:20],
            b"",
        ],
    )
    def test_a_fin_without_close_notify_is_truncation(
        self, body: bytes, version: ssl.TLSVersion, serve: Serve, authority: Authority
    ) -> None:
        """Anybody on the way can send a FIN; only the peer can say goodbye (RFC 8446 §6.1)."""
        server = serve([tls(self.context(authority, version)), request, send(body), cut])
        closed = end(https(server), tls=authority.file)
        assert type(closed.error) is TruncatedError
        assert closed.retry_in is not None
        assert "localhost" in str(closed.error)

    def test_a_reset(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        heard = threading.Event()
        steps = [request, send(OPEN + EVENT), wait_for(heard), reset]
        server = serve([tls(self.context(authority, version)), *steps])
        with source(https(server), tls=authority.file) as listening:
            event(listening)
            heard.set()
            closed = first(listening, Closed)
        assert closed.error is not None and closed.retry_in is not None
        if sys.platform == "linux":  # Elsewhere Python before 3.11.9 and 3.12.3 takes it for an end (gh-115627).
            assert type(closed.error) is ConnectionBrokenError
            assert isinstance(closed.error.__cause__, OSError) and closed.error.__cause__.errno == errno.ECONNRESET
        else:
            assert isinstance(closed.error, (ConnectionBrokenError, TruncatedError))

    def test_a_record_that_was_tampered_with(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        server = serve([tls(self.context(authority, version)), request, send(OPEN + EVENT), tampered, stall])
        with source(https(server), tls=authority.file) as listening:
            event(listening)
            closed = first(listening, Closed)
        assert isinstance(closed.error, ConnectionBrokenError) and closed.retry_in is not None
        # OpenSSL's words for it; the second are those of 3.5 and newer.
        assert any(words in str(closed.error).lower() for words in ("bad record mac", "record layer failure"))

    def test_our_end_is_a_goodbye(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        heard: list[bytes] = []

        def hear(peer: Peer) -> None:
            peer.server.keep(heard, peer.sock.recv(1))  # Which raises where close_notify is missing.

        server = serve([tls(self.context(authority, version)), request, send(OPEN + EVENT), hear])
        with source(https(server), tls=authority.file) as listening:
            event(listening)
        server.until(lambda: bool(server.over))
        assert heard == [b""]


def tampered(peer: Peer) -> None:
    """A record of application data that no key ever made."""
    socket.socket.sendall(peer.sock, b"\x17\x03\x03\x00\x20" + b"\xa5" * 32)


class TestTrustOverReconnects:
    def test_one_context_for_all(self, serve: Serve, authority: Authority, contexts_built: list[object]) -> None:
        """Over reconnects and over subscribers: building it costs tens of milliseconds and megabytes."""
        server = serve([tls(authority.server()), request, send(event_stream(EVENT))])
        with (
            source(https(server), tls=authority.file) as one,
            source(https(server), tls=str(authority.file)) as two,
            subscriber(https(server), tls=authority.file) as three,
        ):
            for _ in range(3):
                event(one)
                event(two)
                assert three.wait(PATIENCE)
        assert len(contexts_built) == 1

    def test_a_file_that_is_replaced_is_used_from_the_next_connect_on(
        self, serve: Serve, authority: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        file = tmp_path / "ca.pem"
        file.write_bytes(authority.file.read_bytes())
        server = serve(
            [tls(authority.server()), request, send(event_stream(EVENT))],
            [tls(stranger.server()), *STREAM],
        )
        with source(https(server), tls=file) as listening:
            event(listening)
            replacement = tmp_path / "new.pem"
            replacement.write_bytes(stranger.file.read_bytes())
            replacement.replace(file)
            event(listening)

    def test_and_it_is_trusted_instead_so_the_old_one_is_not_any_more(
        self, serve: Serve, authority: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        file = tmp_path / "ca.pem"
        file.write_bytes(authority.file.read_bytes())
        server = serve([tls(authority.server()), request, send(event_stream(EVENT))])
        with source(https(server), tls=file) as listening:
            event(listening)
            file.write_bytes(stranger.file.read_bytes() + b"\n")
            with pytest.raises(CertificateError):
                listening.next(PATIENCE)

    @pytest.mark.parametrize("content", [None, b"", b"garbage"])
    def test_a_file_that_cannot_be_read_is_retried(
        self, content: bytes | None, serve: Serve, authority: Authority, tmp_path: Path
    ) -> None:
        """Until it is there; and nothing is connected to before that."""
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_bytes(content)
        server = serve([tls(authority.server()), *STREAM])
        with source(https(server), tls=file) as listening:
            closed = first(listening, Closed)
            assert isinstance(closed.error, TrustError) and closed.retry_in is not None
            assert str(file) in str(closed.error)
            assert server.peers == []
            file.write_bytes(authority.file.read_bytes())
            assert event(listening).data == "x"

    def test_a_context_of_the_callers(self, serve: Serve, authority: Authority) -> None:
        mine = ssl.create_default_context(cafile=str(authority.file))
        before = mine.options, mine.minimum_version, mine.verify_mode
        with source(https(serve([tls(authority.server()), *STREAM])), tls=mine) as listening:
            event(listening)
        assert (mine.options, mine.minimum_version, mine.verify_mode) == before

    def test_a_client_certificate(self, serve: Serve, authority: Authority) -> None:
        """Which a context of the caller's may hold."""
        mine = ssl.create_default_context(cafile=str(authority.file))
        authority.ca.issue_cert("me@example.invalid").configure_cert(mine)
        context = authority.server()
        context.verify_mode = ssl.CERT_REQUIRED
        authority.ca.configure_trust(context)
        with source(https(serve([tls(context), *STREAM])), tls=mine) as listening:
            event(listening)

    def test_a_client_certificate_that_is_missing(self, serve: Serve, authority: Authority) -> None:
        """With TLS 1.3 the server says so after its handshake: an alert where the head should be."""
        context = authority.server()
        context.verify_mode = ssl.CERT_REQUIRED
        authority.ca.configure_trust(context)
        closed = end(https(serve([tls(context), *STREAM])), tls=authority.file)
        assert isinstance(closed.error, (ConnectionBrokenError, TruncatedError)) and closed.retry_in is not None
        assert "localhost" in str(closed.error)


class TestBrokenHandshakes:
    @pytest.mark.parametrize(
        "steps",
        [[send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), stall], [send(OPEN + EVENT), stall], [cut], [reset]],
    )
    def test_are_retried(self, steps: list[Step], serve: Serve, authority: Authority) -> None:
        server = serve(steps)
        closed = end(https(server), tls=authority.file)
        assert isinstance(closed.error, ConnectError) and not closed.error.permanent
        assert closed.retry_in is not None

    def test_a_stall(self, serve: Serve, authority: Authority) -> None:
        closed = end(https(serve([stall])), tls=authority.file, timeouts=Timeouts(connect=0.3))
        assert isinstance(closed.error, ConnectTimeout)
        assert (closed.error.phase, closed.error.clock) == ("handshake", "connect")

    def test_https_spoken_to_an_http_url(self, serve: Serve, authority: Authority) -> None:
        """The other way round: TLS on the port of an http URL."""
        closed = end(serve([tls(authority.server()), *STREAM]).url)
        assert closed.error is not None and closed.retry_in is not None


def test_the_dot_at_the_end_of_a_name_is_for_the_resolver_only(
    serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6066 §3 sends the name without it, certificates and virtual hosts are named without it."""
    names: list[str | None] = []
    asked: list[object] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, *more: Any, **named: Any) -> Any:
        asked.append(host)
        return resolve("127.0.0.1", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    context = authority.server()
    context.sni_callback = lambda sock, name, context: names.append(name)
    server = serve([tls(context), request, send(OPEN + b"data: x\n\n"), stall])
    with source(f"https://localhost.:{server.port}/", tls=authority.file) as listening:
        assert event(listening).data == "x"
    assert names == ["localhost"] and set(asked) == {"localhost."}
    assert server.asked[0].get("Host") == f"localhost:{server.port}"


def test_life_over_tls_is_body_bytes_only(serve: Serve, authority: Authority) -> None:
    server = serve([tls(authority.server()), request, send(CHUNKED + b"5;"), drip_for(5, b"x", 0.02), stall])
    settings = Timeouts(connect=PATIENCE, response=PATIENCE, read=0.4, min_rate=0)
    assert isinstance(end(https(server), tls=authority.file, timeouts=settings).error, ReadTimeout)
