"""Trust that changes on disk: the default roots are read again, cheaply, softly, and without keeping the old ones."""

from __future__ import annotations

import datetime
import gc
import ipaddress
import os
import ssl
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.fixtures import Serve
from tests.support.server import OPEN, event_stream, request, send, stall, tls
from tests.support.trust import Authority
from tests.transport.handshakes import fails, shake_hands
from wire_rawsse import Backoff, EventSource, Timeouts
from wire_rawsse.errors import CertificateError, TrustError
from wire_rawsse.transport import certificates, contexts
from wire_rawsse.transport.certificates import Content, Place
from wire_rawsse.transport.contexts import context_for

pytestmark = [
    pytest.mark.usefixtures("fresh_contexts"),
    pytest.mark.skipif(sys.platform == "win32", reason="the system's store is no file there"),
]

Write = Callable[[Path, bytes], None]


def by_rename(path: Path, content: bytes) -> None:
    new = path.with_name("new~")
    new.write_bytes(content)
    new.replace(path)


def in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content)


BOTH_WAYS = pytest.mark.parametrize("write", [by_rename, in_place])


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three places of the default roots, all empty."""
    found = {"file": tmp_path / "bundle.pem", "folder": tmp_path / "hashed", "certifi": tmp_path / "certifi.pem"}
    found["folder"].mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(found["file"]))
    monkeypatch.setenv("SSL_CERT_DIR", str(found["folder"]))
    monkeypatch.setattr(certificates, "certifi_file", lambda: str(found["certifi"]))
    monkeypatch.setattr(certificates, "_looks", {})
    return found


def roots() -> int:
    return context_for(None).cert_store_stats()["x509"]


def hashed(folder: Path, authority: Authority) -> Path:
    """The name that OpenSSL looks for, as openssl-rehash(1) makes it."""
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(authority.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder / f"{done.stdout.strip()}.0"


@BOTH_WAYS
@pytest.mark.parametrize("kind", ["file", "certifi"])
def test_a_file_that_is_renewed_is_read_again(
    kind: str, write: Write, places: dict[str, Path], serve: Serve, authority: Authority, stranger: Authority
) -> None:
    places[kind].write_bytes(stranger.file.read_bytes())
    assert isinstance(fails(serve, [tls(authority.server()), stall], None), CertificateError)
    write(places[kind], authority.file.read_bytes())
    shake_hands(serve([tls(authority.server()), stall]).port, None)
    assert isinstance(fails(serve, [tls(stranger.server()), stall], None), CertificateError), "not trusted any more"


def test_a_folder_that_gets_another_certificate_is_read_again(
    places: dict[str, Path], serve: Serve, authority: Authority, stranger: Authority
) -> None:
    hashed(places["folder"], stranger).write_bytes(stranger.file.read_bytes())
    assert isinstance(fails(serve, [tls(authority.server()), stall], None), CertificateError)
    hashed(places["folder"], authority).symlink_to(authority.file)
    shake_hands(serve([tls(authority.server()), stall]).port, None)
    shake_hands(serve([tls(stranger.server()), stall]).port, None)


def test_a_file_of_a_folder_that_is_written_over_is_read_again(
    places: dict[str, Path], serve: Serve, authority: Authority, stranger: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder itself does not change then; its files are looked at each second."""
    file = places["folder"] / "0123abcd.0"
    file.write_bytes(stranger.file.read_bytes())
    assert roots() == 1
    file.write_bytes(authority.file.read_bytes())
    monkeypatch.setattr(certificates, "_ENTRIES_EVERY", 0.0)
    shake_hands(serve([tls(authority.server()), stall]).port, None)


def test_a_stream_goes_on_after_the_rotation(
    places: dict[str, Path], serve: Serve, authority: Authority, stranger: Authority
) -> None:
    """An `EventSource` would end for good with the first certificate that it cannot verify."""
    places["file"].write_bytes(authority.file.read_bytes())
    server = serve(
        [tls(authority.server()), request, send(event_stream(b"data: old\n\n"))],
        [tls(stranger.server()), request, send(OPEN + b"data: new\n\n"), stall],
    )
    url = f"https://localhost:{server.port}/"
    with EventSource(url, timeouts=Timeouts(5, 5, 5), backoff=Backoff(0.05, 0.1, 0.1)) as listening:
        old = listening.next(20)
        by_rename(places["file"], authority.file.read_bytes() + stranger.file.read_bytes())
        new = listening.next(20)
    assert (old and old.data, new and new.data) == ("old", "new")


def test_nothing_is_read_or_made_again_while_nothing_changes(
    places: dict[str, Path], authority: Authority, contexts_built: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    places["file"].write_bytes(authority.file.read_bytes())
    os.utime(places["file"], (1, 1))
    monkeypatch.setattr(certificates, "_GRANULE", 0.0)  # As if it were older than the file system's clock is coarse.
    context = context_for(None)
    reads: list[str] = []
    read = certificates.contents

    def contents(place: Place) -> Iterator[Content]:
        reads.append(place.path)
        return read(place)

    monkeypatch.setattr(certificates, "contents", contents)
    assert all(context_for(None) is context for _ in range(10))
    assert reads == []
    by_rename(places["file"], authority.file.read_bytes())
    assert context_for(None) is context, "the same content in another file"
    assert reads and len(contexts_built) == 1


def test_two_writes_within_one_tick_of_the_clock(
    places: dict[str, Path], authority: Authority, stranger: Authority
) -> None:
    """The second leaves the size and the stamps of the first."""
    size = max(authority.file.stat().st_size, stranger.file.stat().st_size) + 1
    places["file"].write_bytes(stranger.file.read_bytes().ljust(size, b"\n"))
    first = context_for(None)
    places["file"].write_bytes(authority.file.read_bytes().ljust(size, b"\n"))
    kept = contexts._contexts[contexts.Setting(None)]
    # As on a file system whose clock is coarse: it had these stamps when it was read.
    contexts._contexts[contexts.Setting(None)] = kept._replace(stamps=certificates.stamps(kept.places))
    assert context_for(None) is not first


@pytest.mark.parametrize("state", ["missing", "empty", "cut short", "a pipe", "a folder"])
def test_what_works_stays_while_the_bundle_cannot_be_read(
    state: str, places: dict[str, Path], authority: Authority, stranger: Authority, serve: Serve
) -> None:
    whole = authority.file.read_bytes()
    places["file"].write_bytes(whole)
    context = context_for(None)
    places["file"].unlink()
    if state == "a pipe":
        os.mkfifo(places["file"])
    elif state == "a folder":
        places["file"].mkdir()
    elif state != "missing":
        places["file"].write_bytes(whole[: len(whole) // 2] if state == "cut short" else b"")
    assert context_for(None) is context
    if state == "a folder":
        places["file"].rmdir()
    by_rename(places["file"], stranger.file.read_bytes())
    shake_hands(serve([tls(stranger.server()), stall]).port, None)


def test_the_old_context_is_freed(places: dict[str, Path], authority: Authority, stranger: Authority) -> None:
    places["file"].write_bytes(authority.file.read_bytes())
    old = weakref.ref(context_for(None))
    by_rename(places["file"], stranger.file.read_bytes())
    context_for(None)
    gc.collect()
    assert old() is None


def test_a_bundle_may_come_later(places: dict[str, Path], authority: Authority, serve: Serve) -> None:
    assert roots() == 0
    places["file"].write_bytes(authority.file.read_bytes())
    shake_hands(serve([tls(authority.server()), stall]).port, None)


def test_an_explicit_ca_file_must_be_there(authority: Authority, tmp_path: Path) -> None:
    """Nothing else, and nothing older, is trusted in its place."""
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.file.read_bytes())
    context_for(file)
    file.unlink()
    with pytest.raises(TrustError, match="No such file"):
        context_for(file)


def test_a_damaged_certificate_among_the_default_roots_spoils_no_other(
    places: dict[str, Path], authority: Authority, stranger: Authority
) -> None:
    damaged = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    places["file"].write_bytes(authority.file.read_bytes() + damaged + stranger.file.read_bytes())
    assert roots() == 2


def test_openssls_trusted_certificates_are_read(places: dict[str, Path], authority: Authority) -> None:
    """As in the hashed folder of some distributions."""
    command = ["openssl", "x509", "-trustout", "-addtrust", "serverAuth", "-in", str(authority.file)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"TRUSTED CERTIFICATE" in done.stdout
    (places["folder"] / "0123abcd.0").write_bytes(done.stdout)
    assert roots() == 1


# Nothing in any of the places blocks.


@pytest.mark.parametrize("name", ["0123abcd.0", "0123abcd.1"])
def test_a_pipe_in_the_folder_is_passed_over(
    name: str, places: dict[str, Path], authority: Authority, serve: Serve
) -> None:
    """OpenSSL itself would open it in the middle of a handshake, looking for the issuer."""
    hashed(places["folder"], authority).write_bytes(authority.file.read_bytes())
    for path in (places["folder"] / name, hashed(places["folder"], authority).with_suffix(".1")):
        if not path.exists():
            os.mkfifo(path)
    shake_hands(serve([tls(authority.server()), stall]).port, None)


def test_a_pipe_under_the_name_of_the_issuer_hangs_no_handshake(
    places: dict[str, Path], authority: Authority, serve: Serve
) -> None:
    os.mkfifo(hashed(places["folder"], authority))
    assert isinstance(fails(serve, [tls(authority.server()), stall], None), CertificateError)


def test_a_pipe_for_certifis_roots_is_passed_over(places: dict[str, Path], authority: Authority) -> None:
    places["file"].write_bytes(authority.file.read_bytes())
    os.mkfifo(places["certifi"])
    assert roots() == 1


# Common names.


def by_common_name(folder: Path, *alternative: x509.GeneralName) -> tuple[ssl.SSLContext, Path]:
    """A server whose certificate says localhost in its common name only, and what a client must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(7).not_valid_before(now - day).not_valid_after(now + day)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    both = folder / "common-name.pem"
    both.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    file = folder / "authority.pem"
    file.write_bytes(certificate)
    return context, file


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside an address"])
@pytest.mark.parametrize("setting", ["default", "file"])
def test_a_common_name_identifies_no_server(
    beside: bool, setting: str, places: dict[str, Path], serve: Serve, tmp_path: Path
) -> None:
    alternative = [x509.IPAddress(ipaddress.ip_address("192.0.2.1"))] if beside else []
    context, file = by_common_name(tmp_path, *alternative)
    places["file"].write_bytes(file.read_bytes())
    error = fails(serve, [tls(context), stall], None if setting == "default" else file)
    assert isinstance(error, CertificateError)
    assert "localhost" in str(error) or "ostname" in str(error)


# No ssl module.


def test_a_python_without_ssl_says_so_for_good() -> None:
    code = """
import sys
sys.modules["_ssl"] = sys.modules["ssl"] = None
import wire_rawsse
from wire_rawsse.errors import TrustError
try:
    wire_rawsse.EventSource("https://127.0.0.1:9/").next(10)
except TrustError as error:
    assert error.permanent
    print(error)
with wire_rawsse.StreamSubscriber("https://127.0.0.1:9/") as subscriber:
    subscriber.wait(0.2)
    print(subscriber.state.endpoints[0].last_error)
print(wire_rawsse.EventSource("http://127.0.0.1:9/").next(0.2))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, second, third = done.stdout.splitlines()
    assert first == second and "this Python was built without it" in first
    assert third == "None", "http goes on"
