"""TLS: what is trusted, that trust is built once, and what building it loads."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.hosts.support import PATIENCE, InThread
from tests.support.fixtures import Serve
from tests.support.server import stall, tls
from tests.support.trust import Authority
from tests.transport.handshakes import fails, shake_hands
from wire_rawsse.errors import CertificateError, TrustError
from wire_rawsse.transport import certificates as under_test
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.trust import UNVERIFIED

pytestmark = pytest.mark.usefixtures("fresh_contexts")


class TestTrust:
    def test_a_context_is_built_once_for_each_setting(
        self, authority: Authority, stranger: Authority, contexts_built: list[object]
    ) -> None:
        for _ in range(3):
            contexts = [context_for(trust) for trust in (None, authority.file, stranger.file, UNVERIFIED)]
            assert len(set(contexts)) == 4
        assert len(contexts_built) == 4
        assert context_for(str(authority.file)) is context_for(authority.file)

    def test_a_file_that_was_replaced_is_read_again(
        self, serve: Serve, authority: Authority, stranger: Authority, tmp_path: Path
    ) -> None:
        file = tmp_path / "ca.pem"
        file.write_bytes(authority.file.read_bytes())
        server = serve([tls(stranger.server()), stall])
        with pytest.raises(CertificateError):
            shake_hands(server.port, file)
        replacement = tmp_path / "new.pem"
        replacement.write_bytes(stranger.file.read_bytes())
        replacement.replace(file)
        shake_hands(server.port, file)

    def test_a_file_that_was_written_over_is_read_again(self, authority: Authority, tmp_path: Path) -> None:
        file = tmp_path / "ca.pem"
        file.write_bytes(authority.file.read_bytes())
        first = context_for(file)
        assert context_for(file) is first
        file.write_bytes(authority.file.read_bytes() * 2)
        assert context_for(file) is not first

    def test_a_path_in_bytes_is_that_file_too(self, authority: Authority) -> None:
        """And not, unnoticed, the default roots."""
        assert context_for(os.fsencode(authority.file)).cert_store_stats()["x509"] == 1  # type: ignore[arg-type]  # an unchecked caller

    @pytest.mark.parametrize(
        ("content", "why"), [(b"", "no certificate"), (b"garbage", "no certificate"), (None, "No such file")]
    )
    def test_a_file_that_cannot_be_used(self, content: bytes | None, why: str, tmp_path: Path) -> None:
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(TrustError, match=why) as failed:
            context_for(file)
        assert str(file) in str(failed.value)
        assert not failed.value.permanent, "it may be put there while a daemon runs"
        assert isinstance(failed.value, OSError)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(TrustError, match="cannot be used") as failed:
            context_for(tmp_path)
        assert not str(failed.value).endswith(": ")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        """Nobody may ever write into it, and anyone who read it would attend no stream meanwhile."""
        os.mkfifo(tmp_path / "ca.pem")
        with pytest.raises(TrustError, match="expected a regular file"):
            context_for(tmp_path / "ca.pem")

    def test_a_path_that_is_none(self) -> None:
        with pytest.raises(TrustError, match="no path may have"):
            context_for("a\0b")

    def test_half_a_certificate(self, authority: Authority, tmp_path: Path) -> None:
        file = tmp_path / "ca.pem"
        whole = authority.file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(TrustError):
            context_for(file)
        file.write_bytes(whole)
        context_for(file)

    def test_the_system_store_is_trusted_too(
        self, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """SSL_CERT_FILE is where OpenSSL looks for it."""
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        shake_hands(serve([tls(authority.server()), stall]).port, None)
        assert context_for(None).cert_store_stats()["x509"] > 50, "and certifi's roots"

    def test_certifi_may_fail(
        self, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        monkeypatch.setattr(under_test, "certifi_file", lambda: str(tmp_path / "missing"))
        shake_hands(serve([tls(authority.server()), stall]).port, None)

    def test_certifi_may_be_missing(self, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        monkeypatch.setitem(sys.modules, "certifi", None)
        shake_hands(serve([tls(authority.server()), stall]).port, None)

    def test_the_system_store_may_fail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(context: ssl.SSLContext) -> None:
            raise ssl.SSLError("the store is broken")

        monkeypatch.setattr(ssl.SSLContext, "load_default_certs", fail)
        assert context_for(None).cert_store_stats()["x509"] > 50

    @pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in its file system")
    def test_a_pipe_for_the_system_store_is_refused_and_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        monkeypatch.setenv("SSL_CERT_FILE", str(pipe))
        with pytest.raises(TrustError, match=r"pipe \(of SSL_CERT_FILE\) cannot be used: expected a regular file"):
            context_for(None)
        monkeypatch.delenv("SSL_CERT_FILE")
        assert context_for(None).cert_store_stats()["x509"] > 50, "not for good"

    @pytest.mark.parametrize("path", ["/no/such/file", "/", os.devnull, ""])
    def test_nothing_for_the_system_store_is_nothing(self, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        assert context_for(None).cert_store_stats()["x509"] > 50

    def test_both_may_fail_and_then_nobody_is_trusted(
        self, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        monkeypatch.setattr(under_test, "certifi_file", lambda: str(tmp_path / "missing"))
        assert isinstance(fails(serve, [tls(authority.server()), stall], None), CertificateError)

    def test_certifis_roots_are_where_certifi_says(self) -> None:
        assert under_test.certifi_file() == certifi.where()

    @pytest.mark.parametrize("loaded", [True, False])
    def test_no_lock_of_the_import_system_is_taken(self, loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        """A signal handler that raises could leave it held, and then no thread could import anything any more."""
        import _imp

        under_test.certifi_file()  # Its imports are done from now on.
        if not loaded:
            monkeypatch.delitem(sys.modules, "certifi")
        _imp.acquire_lock()
        try:
            call = InThread(under_test.certifi_file)
            call.join(PATIENCE)
            assert not call.is_alive()
        finally:
            _imp.release_lock()
        assert call.result() == certifi.where()

    def test_certifi_is_asked_where_its_file_is_elsewhere(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As distributions have it that put their own in its place."""
        (tmp_path / "certifi.py").write_text(f"def where(): return {str(authority.file)!r}\n")
        monkeypatch.delitem(sys.modules, "certifi")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
        assert under_test.certifi_file() == str(authority.file)
        assert context_for(None).cert_store_stats()["x509"] == 1

    def test_certifi_is_asked_where_it_does_not_say_what_it_was_loaded_from(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As in a frozen program."""
        frozen = ModuleType("certifi")
        frozen.where = lambda: str(authority.file)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "certifi", frozen)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
        assert context_for(None).cert_store_stats()["x509"] == 1

    def test_a_file_of_more_than_certificates_is_read_whole(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As a distribution or a company may put it in the place of certifi's."""
        now = datetime.now(timezone.utc)
        revoked = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")]))
            .last_update(now)
            .next_update(now + timedelta(days=1))
            .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        )
        file = tmp_path / "more.pem"
        file.write_bytes(revoked.public_bytes(Encoding.PEM) + authority.file.read_bytes())
        monkeypatch.setattr(under_test, "certifi_file", lambda: str(file))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
        assert context_for(None).cert_store_stats()["x509"] == 1

    def test_a_root_that_both_bring_is_kept_once(
        self, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        roots = Path(certifi.where()).read_bytes()
        (tmp_path / "roots.pem").write_bytes(roots + authority.file.read_bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
        assert context_for(None).cert_store_stats()["x509"] == roots.count(b"-----BEGIN") + 1


def test_ssl_is_loaded_by_the_first_context_and_certifis_code_by_none() -> None:
    """Its file is read, but its code would bring all that makes a file of an archive's member."""
    code = """
import sys
import wire_rawsse.connection
from wire_rawsse.transport.contexts import context_for
from wire_rawsse.transport.trust import UNVERIFIED
watched = {"ssl", "certifi", "importlib.resources", "tempfile", "zipfile", "urllib.parse"}
print(watched & set(sys.modules))
context_for(UNVERIFIED)
print(watched & set(sys.modules))
context_for(None)
print(watched & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["set()", "{'ssl'}", "{'ssl'}"]
