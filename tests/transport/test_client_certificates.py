"""Client certificates: against a real TLS server that requires one, rotated on disk, and every broken file."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support.fixtures import Serve
from tests.support.server import OPEN, Peer, Server, answer, event_stream, request, send, stall, tls
from tests.support.trust import Authority
from wire_rawsse import Backoff, Closed, Event, EventSource, Timeouts
from wire_rawsse.errors import InvalidRequestError, TrustError, WireRawSSEError
from wire_rawsse.transport import contexts
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.trust import ClientFiles, check_client_cert

pytestmark = pytest.mark.usefixtures("fresh_contexts")

EVENT = b"data: x\n\n"
PATIENCE = 20.0


class Issued:
    """A client's certificate and key in two files, which `issue` replaces."""

    def __init__(self, folder: Path, ca: trustme.CA) -> None:
        self.ca = ca
        self.certificate = folder / "client.pem"
        self.key = folder / "client.key"
        self.issue("first@example.invalid")

    def issue(self, name: str, ca: trustme.CA | None = None, *, only: str = "") -> None:
        issued = (ca or self.ca).issue_cert(name)
        if only != "key":
            self._replace(self.certificate, b"".join(part.bytes() for part in issued.cert_chain_pems))
        if only != "certificate":
            self._replace(self.key, issued.private_key_pem.bytes())

    def _replace(self, path: Path, content: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.chmod(0o600)
        new.replace(path)

    @property
    def files(self) -> ClientFiles:
        return ClientFiles(str(self.certificate), str(self.key))


@pytest.fixture
def issued(authority: Authority, tmp_path: Path) -> Issued:
    return Issued(tmp_path, authority.ca)


def requires(authority: Authority, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """A server that refuses a client without a certificate of this authority."""
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(authority.file))
    context.minimum_version = context.maximum_version = version
    return context


def https(server: Server) -> str:
    return f"https://localhost:{server.port}/"


def source(url: str, authority: Authority, client: object) -> EventSource:
    return EventSource(
        url,
        tls=authority.file,
        client_cert=client,  # type: ignore[arg-type]
        timeouts=Timeouts(5, 5, 5),
        backoff=Backoff(0.05, 0.1, 0.1),
    )


def shown_by(peer: Peer) -> str:
    """The name in the client's certificate; empty where it showed none."""
    assert isinstance(peer.sock, ssl.SSLSocket)
    found: Any = peer.sock.getpeercert()
    return str(dict(found["subjectAltName"])["email"]) if found else ""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_it_is_shown_and_read_again_when_it_changes(
    version: ssl.TLSVersion, serve: Serve, authority: Authority, issued: Issued
) -> None:
    seen: list[str] = []
    context = requires(authority, version)

    def name(peer: Peer) -> None:
        seen.append(shown_by(peer))

    server = serve(
        [tls(context), name, request, send(event_stream(EVENT))],
        [tls(context), name, request, send(event_stream(EVENT))],
        [tls(context), name, request, send(OPEN + EVENT), stall],
    )
    with source(https(server), authority, (issued.certificate, issued.key)) as listening:
        assert listening.next(PATIENCE) == Event("message", "x", "")
        issued.issue("second@example.invalid")
        assert listening.next(PATIENCE)
        # Only half of the next rotation is there: what works stays.
        issued.issue("third@example.invalid", only="certificate")
        assert listening.next(PATIENCE)
    assert seen == ["first@example.invalid", "second@example.invalid", "second@example.invalid"]


def test_one_file_may_hold_both(serve: Serve, authority: Authority, issued: Issued, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(issued.key.read_bytes() + issued.certificate.read_bytes())
    both.chmod(0o600)
    server = serve([tls(requires(authority)), request, send(OPEN + EVENT), stall])
    with source(https(server), authority, both) as listening:
        assert listening.next(PATIENCE)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_server_that_wants_one_is_understood(version: ssl.TLSVersion, serve: Serve, authority: Authority) -> None:
    server = serve([tls(requires(authority, version)), request])
    with source(https(server), authority, None) as listening:
        assert "client certificate" in str(closed(listening).error)


def test_a_server_that_refuses_ours_is_understood(
    serve: Serve, authority: Authority, stranger: Authority, issued: Issued
) -> None:
    issued.issue("foreign@example.invalid", stranger.ca)
    server = serve([tls(requires(authority)), request])
    with source(https(server), authority, tuple(issued.files)) as listening:
        assert "refused our certificate (unknown ca)" in str(closed(listening).error)


def test_no_other_origin_sees_it(serve: Serve, authority: Authority, issued: Issued) -> None:
    optional = requires(authority)
    optional.verify_mode = ssl.CERT_OPTIONAL
    seen: list[str] = []

    def note(peer: Peer) -> None:
        seen.append(shown_by(peer))

    other = serve([tls(optional), note, request, send(OPEN + EVENT), stall])
    first = serve(
        [tls(optional), note, request, send(answer("302 Found", f"Location: https://127.0.0.1:{other.port}/"))]
    )
    with source(https(first), authority, tuple(issued.files)) as listening:
        assert listening.next(PATIENCE)
    assert seen == ["first@example.invalid", ""]


def closed(listening: EventSource) -> Closed:
    try:
        while not isinstance(item := listening.next_item(PATIENCE), Closed):
            assert item is not None
        return item
    except WireRawSSEError as error:
        return Closed(error, None)


# Files.


def refused(files: ClientFiles) -> str:
    with pytest.raises(TrustError) as failed:
        context_for(None, files)
    assert not failed.value.permanent, "it may be put right while a daemon runs"
    return str(failed.value)


def test_a_key_of_another_certificate(issued: Issued) -> None:
    issued.issue("other@example.invalid", only="key")
    told = refused(issued.files)
    assert told.startswith(f"the key {issued.key} cannot be used: it does not belong to the certificate")


def test_an_encrypted_key_is_refused_and_nothing_is_asked(issued: Issued) -> None:
    key = load_pem_private_key(issued.key.read_bytes(), None)
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        issued.key.write_bytes(key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret")))
        assert "is encrypted, and no password is asked for" in refused(issued.files)


@pytest.mark.parametrize("which", ["certificate", "key"])
@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "it holds no "), (b"-----BEGIN", "it holds no "), (b"x" * (2 << 20), "expected at")],
)
def test_a_file_that_cannot_be_used(which: str, content: bytes | None, why: str, issued: Issued) -> None:
    path: Path = getattr(issued, which)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    told = refused(issued.files)
    assert told.startswith(f"the {which} {path} cannot be used: ") and why in told


@pytest.mark.parametrize("damaged", ["certificate", "key"])
def test_half_a_file(damaged: str, issued: Issued) -> None:
    path: Path = getattr(issued, damaged)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be used" in refused(issued.files)


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in its file system")
@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_pipe_is_not_waited_for(which: str, issued: Issued) -> None:
    context = context_for(None, issued.files)
    path: Path = getattr(issued, which)
    path.unlink()
    os.mkfifo(path)
    assert context_for(None, issued.files) is context, "what works stays"
    contexts._contexts.clear()
    assert "expected a regular file, found a named pipe" in refused(issued.files)


@pytest.mark.parametrize("wrong", [5, (), ("a",), ("a", "b", "c"), ("a", None), "", b"", ("a", ""), object(), True])
def test_what_is_no_client_certificate(wrong: object) -> None:
    with pytest.raises(InvalidRequestError, match="client_cert must be"):
        EventSource("https://localhost/", client_cert=wrong)  # type: ignore[arg-type]


def test_a_context_of_the_callers_must_hold_its_own() -> None:
    with pytest.raises(InvalidRequestError, match="load_cert_chain"):
        check_client_cert("a", ssl.create_default_context())
