"""TLS: every certificate that is wrong, and every handshake that fails."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.drive import drive
from tests.support.fixtures import Serve
from tests.support.listen import told
from tests.support.server import PATIENCE, Peer, Step, cut, reset, send, stall, tls, wait_for
from tests.support.trust import Authority
from tests.transport.handshakes import fails, shake_hands
from wire_rawsse.errors import CertificateError, ConnectTimeout, DialError, HandshakeError
from wire_rawsse.policy import Keepalive
from wire_rawsse.services import HostServices
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.deadline import Deadline
from wire_rawsse.transport.dial import dial
from wire_rawsse.transport.tls import secure
from wire_rawsse.transport.trust import UNVERIFIED
from wire_rawsse.waits import Address, Coroutine

pytestmark = pytest.mark.usefixtures("fresh_contexts")


class TestCertificates:
    @pytest.mark.parametrize(
        ("names", "host"),
        [
            (("localhost",), "localhost"),
            (("other.example", "localhost"), "localhost"),
            (("127.0.0.1",), "127.0.0.1"),
            (("::1",), "::1"),
            (("*.relay.example",), "a.relay.example"),
        ],
    )
    def test_right(self, names: tuple[str, ...], host: str, serve: Serve, authority: Authority) -> None:
        server = serve([tls(authority.server(*names)), stall], host="::1" if host == "::1" else "127.0.0.1")
        shake_hands(server.port, authority.file, host)

    @pytest.mark.parametrize(
        ("make", "host", "why"),
        [
            (Authority.expired, "localhost", "certificate has expired"),
            (Authority.not_yet_valid, "localhost", "certificate is not yet valid"),
            (Authority.not_yet_valid, "localhost", "; check the clock of this machine, which says 20"),
            (lambda a: a.server("other.example"), "localhost", "Hostname mismatch"),
            (lambda a: a.server("*.example"), "a.b.example", "Hostname mismatch"),
            (lambda a: a.server("localhost"), "127.0.0.1", "IP address mismatch"),
            (lambda a: a.server("127.0.0.2"), "127.0.0.1", "IP address mismatch"),
        ],
    )
    def test_wrong(
        self, make: Callable[[Authority], ssl.SSLContext], host: str, why: str, serve: Serve, authority: Authority
    ) -> None:
        error = fails(serve, [tls(make(authority)), stall], authority.file, host)
        assert isinstance(error, CertificateError)
        assert error.permanent
        assert why in str(error)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)

    def test_an_unknown_issuer(self, serve: Serve, authority: Authority, stranger: Authority) -> None:
        error = fails(serve, [tls(stranger.server()), stall], authority.file)
        assert isinstance(error, CertificateError) and error.permanent
        assert "unable to get local issuer certificate; if its issuer is a CA of your own" in str(error)

    def test_self_signed(self, serve: Serve, authority: Authority, stranger: Authority) -> None:
        error = fails(serve, [tls(stranger.self_signed()), stall], authority.file)
        assert isinstance(error, CertificateError) and error.permanent
        assert "self-signed certificate; if its issuer is a CA of your own" in str(error)

    def test_the_default_roots_do_not_trust_a_stranger(self, serve: Serve, stranger: Authority) -> None:
        error = fails(serve, [tls(stranger.server()), stall], None)
        assert isinstance(error, CertificateError)

    def test_a_file_is_trusted_instead_of_the_default_roots(self, authority: Authority) -> None:
        assert context_for(authority.file).cert_store_stats()["x509"] == 1
        assert context_for(None).cert_store_stats()["x509"] > 50

    def test_unverified_takes_anything(self, serve: Serve, stranger: Authority) -> None:
        for context in (stranger.server("other.example"), stranger.expired(), stranger.self_signed()):
            shake_hands(serve([tls(context), stall]).port, UNVERIFIED)
        assert repr(UNVERIFIED) == "UNVERIFIED"

    def test_a_context_is_used_as_it_is(self, serve: Serve, authority: Authority) -> None:
        mine = ssl.create_default_context(cafile=str(authority.file))
        mine.maximum_version = ssl.TLSVersion.TLSv1_2
        assert context_for(mine) is mine
        server = serve([tls(authority.server()), stall])
        assert shake_hands(server.port, mine) == ("TLSv1.2", "")  # No ALPN was set on it by its maker.


class TestAgreement:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_servers_of_one_version_only(self, version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
        context = authority.server()
        context.minimum_version = context.maximum_version = version
        agreed, _ = shake_hands(serve([tls(context), stall]).port, authority.file)
        assert agreed == version.name.replace("_", ".")

    def test_nothing_older(self, authority: Authority) -> None:
        for trust in (None, authority.file, UNVERIFIED):
            assert context_for(trust).minimum_version == ssl.TLSVersion.TLSv1_2

    @pytest.mark.parametrize(
        ("offered", "agreed"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], "")]
    )
    def test_alpn_says_http_1_1(self, offered: list[str], agreed: str, serve: Serve, authority: Authority) -> None:
        context = authority.server()
        if offered:
            context.set_alpn_protocols(offered)
        assert shake_hands(serve([tls(context), stall]).port, authority.file)[1] == agreed

    @pytest.mark.parametrize(("host", "sent"), [("localhost", "localhost"), ("127.0.0.1", None), ("::1", None)])
    def test_sni_is_the_name_and_never_an_address(
        self, host: str, sent: str | None, serve: Serve, authority: Authority
    ) -> None:
        heard: list[str | None] = []
        context = authority.server()

        def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
            heard.append(name)

        context.sni_callback = note
        server = serve([tls(context), stall], host="::1" if host == "::1" else "127.0.0.1")
        shake_hands(server.port, authority.file, host)
        assert heard == [sent]

    def test_no_version_in_common(self, serve: Serve, authority: Authority) -> None:
        mine = ssl.create_default_context(cafile=str(authority.file))
        mine.maximum_version = ssl.TLSVersion.TLSv1_2
        context = authority.server()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        error = fails(serve, [tls(context), stall], mine)
        assert isinstance(error, HandshakeError) and not isinstance(error, CertificateError)
        assert "protocol version" in str(error)
        assert not error.permanent


class TestBrokenHandshakes:
    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            b"<html>400 Bad Request</html>",
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"220 smtp\r\n",
            b"\0" * 64,
        ],
    )
    def test_a_server_without_tls(self, answer: bytes, serve: Serve, authority: Authority) -> None:
        error = fails(serve, [send(answer), stall], authority.file)
        assert type(error) is HandshakeError
        assert "does not speak TLS there; is it an http:// URL?" in str(error)
        assert not error.permanent

    def test_a_server_that_stalls(self, serve: Serve, authority: Authority) -> None:
        server = serve([stall])
        began = time.monotonic()
        with pytest.raises(ConnectTimeout, match=r"connect=0\.3 s") as failed:
            shake_hands(server.port, authority.file, within=0.3)
        assert time.monotonic() - began >= 0.3
        assert (failed.value.phase, failed.value.clock, failed.value.seconds) == ("handshake", "connect", 0.3)
        assert "TLS handshake" in str(failed.value)

    def test_a_server_that_stalls_in_the_middle(self, serve: Serve, authority: Authority) -> None:
        """The first half of a real server's answer, and then nothing."""
        server = serve([half_a_handshake(authority), stall])
        with pytest.raises(ConnectTimeout) as failed:
            shake_hands(server.port, authority.file, within=0.3)
        assert failed.value.phase == "handshake"

    def test_a_server_that_drips(self, serve: Serve, authority: Authority) -> None:
        """One budget covers it all: bytes restart nothing."""
        server = serve([dripping(authority)])
        with pytest.raises(ConnectTimeout) as failed:
            shake_hands(server.port, authority.file, within=0.3)
        assert failed.value.phase == "handshake"

    @pytest.mark.parametrize("how", [cut, reset])
    @pytest.mark.parametrize("when", ["at once", "after the hello", "in the middle"])
    def test_a_server_that_goes_away(self, how: Step, when: str, serve: Serve, authority: Authority) -> None:
        before: dict[str, list[Step]] = {
            "at once": [],
            "after the hello": [hear],
            "in the middle": [half_a_handshake(authority)],
        }
        error = fails(serve, [*before[when], how], authority.file)
        assert not error.permanent
        if when == "at once" and isinstance(error, DialError):
            return  # It went away even sooner.
        assert type(error) is HandshakeError
        assert "the peer closed the connection" in str(error) or "the peer reset the connection" in str(error)

    def test_a_server_that_was_reset_before_the_handshake_began(self, serve: Serve, authority: Authority) -> None:
        """The kernel knows it already when TLS is laid over the socket: one more place where a descriptor may leak."""
        connected = threading.Event()
        server = serve([wait_for(connected), reset])

        def start(services: HostServices) -> Coroutine[None]:
            budget = Deadline(services.now(), PATIENCE, "https://relay")
            address = Address(socket.AF_INET, socket.SOCK_STREAM, 6, ("127.0.0.1", server.port))
            sock = yield from dial(services, [address], budget, Keepalive())
            connected.set()
            server.until(lambda: bool(server.over))
            time.sleep(0.01)  # RST is on its way through the loopback device.
            yield from secure(services, sock, context_for(authority.file), "localhost", budget)

        with pytest.raises(HandshakeError, match=r"reset|closed"):
            drive(start)

    def test_a_server_that_refuses_the_client(self, serve: Serve, authority: Authority) -> None:
        """It asks for a certificate of ours; with TLS 1.2 it says no within the handshake."""
        context = authority.server()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        error = fails(serve, [tls(context), stall], authority.file)
        assert type(error) is HandshakeError
        assert "handshake failed" in str(error)

    @pytest.mark.parametrize("host", [".example", "", "ü.example"])
    def test_a_host_that_cannot_be_a_name(self, host: str, serve: Serve, authority: Authority) -> None:
        error = fails(serve, [stall], authority.file, host=host)
        assert isinstance(error, HandshakeError)


def hear(peer: Peer) -> None:
    assert peer.receive()


def half_a_handshake(authority: Authority) -> Step:
    """Answer the client's hello with the first half of what a server would say."""

    def step(peer: Peer) -> None:
        flight = flight_of(authority, peer)
        peer.sock.sendall(flight[: len(flight) // 2])

    return step


def flight_of(authority: Authority, peer: Peer) -> bytes:
    """A server's answer to the client's hello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    machine = authority.server().wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(peer.receive())
    with pytest.raises(ssl.SSLWantReadError):
        machine.do_handshake()
    return outgoing.read()


def dripping(authority: Authority) -> Step:
    """A correct answer, byte by byte, much too slowly."""

    def step(peer: Peer) -> None:
        for byte in flight_of(authority, peer):
            peer.sock.sendall(bytes([byte]))
            peer.server.closing.wait(0.02)

    return step


def test_errors_never_hold_the_certificate(serve: Serve, authority: Authority, stranger: Authority) -> None:
    error = fails(serve, [tls(stranger.server()), stall], authority.file)
    assert "BEGIN" not in told(error)
